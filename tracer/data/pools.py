"""Pools of images that need no files: each image is drawn from the seed and its number, whenever it is asked for."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image

COUNT = 100_000  # images of a pool
FEWEST, MOST = 2, 16  # cells along a side of a noise image, and its colours
PHOTOGRAPHS = ("china.jpg", "flower.jpg")  # of 427 x 640 pixels
SMALLEST_CROP = 32  # pixels along a side


class Drawn(Sequence[np.ndarray], ABC):
    """Images that are a pure function of the seed and their number, each uint8 (size, size, 3).

    Args:
        size: pixels along a side.
        seed: of all that is random.
        count: how many there are.
    """

    def __init__(self, size: int, seed: int, count: int = COUNT):
        self.size, self.seed, self.positions = size, seed, range(count)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: Any) -> Any:
        """The image at a position; raises an IndexError beyond the last."""
        return self._draw(np.random.default_rng([self.seed, self.positions[index]]))

    @abstractmethod
    def _draw(self, rng: np.random.Generator) -> np.ndarray: ...


class Noise(Drawn):
    """Grids of 2 to 16 cells a side in 2 to 16 random colours, enlarged with sharp edges or smoothly."""

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        side, colors = rng.integers(FEWEST, MOST, size=2, endpoint=True)
        palette = rng.integers(256, size=(colors, 3), dtype=np.uint8)
        grid = Image.fromarray(palette[rng.integers(colors, size=(side, side))])
        return np.asarray(grid.resize((self.size, self.size), rng.choice([Image.Resampling.NEAREST, Image.Resampling.BICUBIC])))


class Photographs(Drawn):
    """Square crops of scikit-learn's two photographs, a Chinese temple and a flower; half of them are mirrored.

    The logarithm of a crop's side is uniform between that of `SMALLEST_CROP` and that of the photograph's height.
    """

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        photograph = _photographs()[rng.integers(len(PHOTOGRAPHS))]
        width, height = photograph.size
        side = round(math.exp(rng.uniform(math.log(SMALLEST_CROP), math.log(height))))
        left, top = rng.integers((width - side, height - side), endpoint=True).tolist()
        crop = photograph.resize((self.size, self.size), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
        return np.asarray(ImageOps.mirror(crop) if rng.integers(2) else crop)


@cache  # once in each process that draws crops
def _photographs() -> tuple[Image.Image, ...]:
    return tuple(Image.fromarray(load_sample_image(name)) for name in PHOTOGRAPHS)
