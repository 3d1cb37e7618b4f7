"""Pools of unlabelled images, each a folder of PNG files of 32 x 32 pixels, made once.

`photos` and `textures` are crops of photographs that the package scikit-image ships: install scikit-image 0.26 to make them.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tracer.data import pools
from tracer.errors import UserError
from tracer.toy import world
from tracer.toy.renderer import SIZE

PLACE = "images"  # folder of the pools, among those of the single runs
COUNT, SEED = 4000, 999
PHOTOS = ("astronaut", "camera", "cell", "chelsea", "coffee", "coins", "hubble_deep_field", "immunohistochemistry", "moon")
PHOTOS = (*PHOTOS, "retina", "rocket")
TEXTURES = ("brick", "grass", "gravel")
PATCH = 8  # pixels along a side of what is shuffled


def folder(name: str, below: Path) -> Path:
    """The folder of a pool, which is made if it is not there."""
    place = below / name
    if not place.exists():
        unfinished = below / f"{name}.part"
        unfinished.mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(POOLS[name]()):
            Image.fromarray(image).save(unfinished / f"{number:04d}.png")
        unfinished.rename(place)
    return place


def _task() -> np.ndarray:
    return np.asarray(world.task("train").images)


def _glyphs() -> Iterator[np.ndarray]:
    yield from world.pretraining_pairs(COUNT, SEED).images


def _drawn(kind: type[pools.Drawn]) -> Iterator[np.ndarray]:
    drawn = kind(SIZE, SEED, COUNT)
    return (drawn[number] for number in range(COUNT))


def _mixed() -> Iterator[np.ndarray]:
    """Two of the task's images laid over one another."""
    images, rng = _task(), np.random.default_rng(SEED)
    for _ in range(COUNT):
        one, other = images[rng.choice(len(images), 2, replace=False)].astype(float)
        share = rng.uniform(0.2, 0.8)
        yield (share * one + (1 - share) * other).round().astype(np.uint8)


def _shuffled() -> Iterator[np.ndarray]:
    """The task's images with their patches in another order."""
    images, rng = _task(), np.random.default_rng(SEED)
    cells = SIZE // PATCH
    for _ in range(COUNT):
        image = images[rng.integers(len(images))]
        patches = image.reshape(cells, PATCH, cells, PATCH, 3).swapaxes(1, 2).reshape(-1, PATCH, PATCH, 3)
        shuffled = patches[rng.permutation(len(patches))].reshape(cells, cells, PATCH, PATCH, 3)
        yield shuffled.swapaxes(1, 2).reshape(SIZE, SIZE, 3)


def _crops(names: tuple[str, ...]) -> Iterator[np.ndarray]:
    """Square crops of scikit-image's photographs, as `pools.Photographs` takes them of scikit-learn's."""
    try:
        from skimage import data
    except ImportError as error:
        raise UserError("the pools photos and textures need scikit-image: pip install scikit-image==0.26.0") from error
    photographs = [Image.fromarray(getattr(data, name)()).convert("RGB") for name in names]
    rng = np.random.default_rng(SEED)
    for number in range(COUNT):
        photograph = photographs[number % len(photographs)]
        side = round(float(np.exp(rng.uniform(np.log(pools.SMALLEST_CROP), np.log(min(photograph.size))))))
        left, top = (int(rng.integers(length - side, endpoint=True)) for length in photograph.size)
        yield np.asarray(photograph.resize((SIZE, SIZE), Image.Resampling.BICUBIC, (left, top, left + side, top + side)))


POOLS: dict[str, Callable[[], Iterator[np.ndarray]]] = {
    "glyphs": _glyphs,
    "photos": lambda: _crops(PHOTOS),
    "two photographs": lambda: _drawn(pools.Photographs),
    "noise": lambda: _drawn(pools.Noise),
    "textures": lambda: _crops(TEXTURES),
    "mixed task images": _mixed,
    "shuffled task images": _shuffled,
    "task images": lambda: iter(_task()),
}
"""Every pool: what pretraining showed, photographs that have nothing to do with it, drawn images, and three made of the task's."""
