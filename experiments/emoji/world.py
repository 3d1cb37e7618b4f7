"""The world of drawings: what pretraining shows, the tasks, and the suites they are judged by. Fixed before methods are compared.

A *drawing* is a concept in a style. Some drawings of the judged categories are held out of pretraining. Concepts of shifted sets
and of knowledge are for validation or for test, never both; the task's own images, which show all its classes, are others in each.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zlib import crc32

import numpy as np
from drawings import STYLES, Concept, raster
from pictures import picture
from PIL import Image

PLACE = Path("data/emoji")
JUDGED = ("animals", "food", "travel", "objects")
HELD_OUT = 0.15  # share of the judged categories' drawings that pretraining never shows
SPLITS = ("validation", "test")
VARIANTS = 12  # pictures of a drawing in pretraining
SHARDS = 8
CAPTIONS = 4  # of a picture
TRAINING_POSES = 24  # of a drawing in a task
JUDGED_POSES = {"id": 4, "ood": 2, "unseen": 4, "knowledge": 1}
TEMPLATES = (
    "{name}",
    "a drawing of {name}",
    "an emoji of {name}",
    "a {style} drawing of {name}",
    "{name}, {kind}",
    "{tag}, {name}",
)


@dataclass(frozen=True)
class Task:
    """A category in one artist's style, which a model is fine-tuned on."""

    category: str
    style: str


TASKS = {
    "animals-silhouettes": Task("animals", "monotone"),
    "food-high-contrast": Task("food", "high-contrast"),
    "animals-flat": Task("animals", "twemoji"),
}


@dataclass(frozen=True, eq=False)
class World:
    """Concepts and their drawings.

    Attributes:
        concepts: by code.
        svg: of every drawing, by style and code.
    """

    concepts: Mapping[str, Concept]
    svg: Mapping[str, Mapping[str, str]]

    @cached_property
    def held_out(self) -> frozenset[tuple[str, str]]:
        """Drawings that pretraining never shows, (style, code)."""
        judged = [(style, code) for style, code in self.drawings() if self.concepts[code].category in JUDGED]
        return frozenset(each for each in judged if _chance("held out", *each) < HELD_OUT)

    def drawings(
        self, category: str | None = None, style: str | None = None, split: str | None = None
    ) -> Iterator[tuple[str, str]]:
        """Drawings (style, code) of a category, a style and a split's concepts, or of any."""
        for own in STYLES if style is None else [style]:
            for code in self.svg[own]:
                if category in (None, self.concepts[code].category) and split in (None, split_of(code)):
                    yield own, code

    def pictures(self, style: str, code: str, use: str, count: int) -> Iterator[Image.Image]:
        """Pictures of a drawing for one use, which share no pose with those for another."""
        rng = np.random.default_rng(_seed(use, style, code))
        for _ in range(count):
            yield picture(raster(self.svg[style][code]), rng)


def split_of(code: str) -> str:
    """Whether a concept is for validation or for test."""
    return SPLITS[_chance("split", code) < 0.5]


def shards(world: World, folder: Path, on_drawing: Callable[[int, int], None]) -> None:
    """Write what pretraining shows, captioned, as WebDataset shards; `on_drawing` is told how many of all drawings are done."""
    folder.mkdir(parents=True)
    shown = [each for each in world.drawings() if each not in world.held_out]
    order = np.random.default_rng(_seed("order")).permutation(len(shown) * VARIANTS)
    made = {}
    for done, each in enumerate(shown, start=1):
        made[each] = list(world.pictures(*each, "pretraining", VARIANTS))
        on_drawing(done, len(shown))
    for number in range(SHARDS):
        with tarfile.open(folder / f"{number:05d}.tar", "w") as archive:
            for position in order[number::SHARDS]:
                style, code = shown[position // VARIANTS]
                captions = _captions(world.concepts[code], STYLES[style].word, np.random.default_rng(_seed("captions", position)))
                _add(archive, f"{position:06d}.png", _png(made[style, code][position % VARIANTS]))
                _add(archive, f"{position:06d}.json", json.dumps({"captions": captions}).encode())


def task(world: World, name: str, folder: Path) -> None:
    """Write a task's class folders: to train on, the task's own to be judged by, and the drawings that pretraining never showed."""
    own = TASKS[name]
    for style, code in world.drawings(own.category, own.style):
        _save(world, style, code, folder / "train", f"{name} train", TRAINING_POSES)
        for split in SPLITS:
            _save(world, style, code, folder / split / "id", f"{name} {split}", JUDGED_POSES["id"])
    for split in SPLITS:
        for style, code in world.drawings(own.category, split=split):
            if style == own.style:
                continue
            unseen = (style, code) in world.held_out
            place, number = ("unseen", JUDGED_POSES["unseen"]) if unseen else (style, JUDGED_POSES["ood"])
            if code in world.svg[own.style]:
                _save(world, style, code, folder / split / "ood" / place, f"{split} {place}", number)


def knowledge(world: World, folder: Path) -> None:
    """Write class folders of every judged category in all styles, of drawings that pretraining showed."""
    for split in SPLITS:
        for category in JUDGED:
            for style, code in world.drawings(category, split=split):
                if (style, code) not in world.held_out:
                    _save(world, style, code, folder / split / category, f"{split} knowledge", JUDGED_POSES["knowledge"])


def _save(world: World, style: str, code: str, folder: Path, use: str, count: int) -> None:
    place = folder / world.concepts[code].name
    place.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(world.pictures(style, code, use, count)):
        (place / f"{style}-{number:02d}.png").write_bytes(_png(each))


def _captions(concept: Concept, style: str, rng: np.random.Generator) -> list[str]:
    chosen = rng.choice(len(TEMPLATES), CAPTIONS, replace=False)
    tag = rng.choice(concept.tags or (concept.category,))
    known = {"name": concept.name, "style": style, "kind": concept.kind, "tag": tag}
    return [TEMPLATES[position].format(**known) for position in chosen]


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _seed(*words: object) -> int:
    return crc32(" ".join(map(str, words)).encode())


def _chance(*words: object) -> float:
    """A number in [0, 1) that the words alone decide."""
    return float(np.random.default_rng(_seed(*words)).uniform())
