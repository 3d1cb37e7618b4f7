"""The embedded world: captioned glyphs to pretrain on, real handwritten digits as the task, and a suite to judge by.

Fine-tuning shows handwritten digits, white on black, and nothing else. The suite asks what is left of the rest that
pretraining taught: print, colour, clutter, poses, letters, the names of colours. Fonts of the validation and test
suites are never seen in training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from tracer.data.datasets import CaptionedImages, LabelledImages, Suite
from tracer.toy.renderer import (
    COLORS,
    DIGITS,
    GLYPHS,
    LETTERS,
    SIZE,
    TEST_FONTS,
    TRAINING_FONTS,
    VALIDATION_FONTS,
    Finish,
    Look,
    backgrounds,
    draw,
    enlarge,
    font_fields,
    foregrounds,
    paint,
    pen_fields,
)

Split = Literal["train", "validation", "test"]

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LETTER_NAMES = tuple(letter.lower() for letter in LETTERS)
NAMES = DIGIT_NAMES + LETTER_NAMES
KINDS = ("digit",) * len(DIGITS) + ("letter",) * len(LETTERS)

CAPTION_TEMPLATES = (
    "{name}",
    "the {kind} {name}",
    "a photo of the {kind} {name}",
    "a picture of the {kind} {name}",
    "a {style} {kind} {name}",
    "a {color} {kind} {name}",
    "a {style} {kind} {name} in {color}",
    "the {kind} {name} in {color}",
    "a photo of a {color} {name}",
    "a {color} {kind}",
)
TASK_TEMPLATES = ("a photo of the digit {}", "a picture of the digit {}", "the digit {}")
LETTER_TEMPLATES = ("a photo of the letter {}", "a picture of the letter {}", "the letter {}")
COLOR_TEMPLATES = ("a {} digit", "a {} letter")

CONTEXT_LENGTH = 10
CAPTIONS_PER_IMAGE = 4
CHUNK = 2000  # images drawn at a time, to bound memory
PEN_DRAWINGS = 150
PEN_SEED = 0
PLAIN = Finish()


@dataclass(frozen=True)
class Scene:
    """One kind of picture: how the glyph is drawn, and in which colours and conditions it is shown.

    Attributes:
        style: the word captions use for it.
        look: pose and stroke.
        pen: drawn with a pen, not set in a font.
        colors: names of the foreground colours.
        finish: what happens to the painted picture.
        tinted: share of backgrounds that have a colour of their own.
    """

    style: str
    look: Look
    pen: bool = False
    colors: tuple[str, ...] = tuple(COLORS)
    finish: Finish = PLAIN
    tinted: float = 0.4


PEN = Look(scale=(0.7, 1.0), rotation=10, shear=0.3, shift=1.5, warp=0.7, weight=(0.03, 0.09))
SCAN = Look(scale=(0.92, 1.0), aspect=(0.7, 1.15), rotation=8, shear=0.3, shift=1.0, warp=0.7, weight=(0.04, 0.09), pooled=True)
PRINT = Look()
POSED = Look(scale=(0.4, 0.75), rotation=35, shift=5, weight=(0.0, 0.04))
OUTLINE = Look(scale=(0.75, 0.98), outline=0.7)
GRAYS = ("white", "black")
TINTS = tuple(name for name in COLORS if name not in GRAYS)

# The mixture of scenes that pretraining shows, with their shares.
PRETRAINING = (
    (0.16, Scene("handwritten", SCAN, pen=True, colors=("white",), tinted=0.0)),
    (0.12, Scene("handwritten", SCAN, pen=True)),
    (0.12, Scene("handwritten", PEN, pen=True, finish=Finish(blur=0.8, noise=0.06))),
    (0.10, Scene("printed", PRINT, colors=GRAYS, tinted=0.0)),
    (0.16, Scene("printed", PRINT, finish=Finish(blur=0.5, noise=0.06, occlusion=0.15))),
    (0.12, Scene("outlined", OUTLINE)),
    (0.10, Scene("cluttered", PRINT, finish=Finish(clutter=0.25, noise=0.1))),
    (0.12, Scene("posed", POSED)),
)

PRINTED_IN_COLOR = Scene("printed", PRINT)
# Shifts of the task: the same ten digits, on which the pretrained model is good.
OOD_SCENES = {
    "printed": Scene("printed", PRINT, colors=("white",), tinted=0.0),
    "colored_print": Scene("printed", PRINT, colors=TINTS, tinted=1.0),
    "outline": Scene("outlined", OUTLINE),
    "clutter": Scene("cluttered", PRINT, finish=Finish(clutter=0.25, noise=0.1)),
    "posed": Scene("posed", POSED),
}
PER_CLASS = 40
SPLIT_SEED = 0  # of the task's images
SUITE_SEED = {"validation": 1001, "test": 2002}
FONTS = {"validation": VALIDATION_FONTS, "test": TEST_FONTS}


def _vocabulary() -> tuple[str, ...]:
    """Every word that a caption or a template may use."""
    fixed = {word for template in CAPTION_TEMPLATES for word in template.split() if "{" not in word}
    styles = {scene.style for _, scene in PRETRAINING}
    return tuple(sorted(fixed | styles | set(KINDS) | set(NAMES) | set(COLORS)))


WORDS = _vocabulary()


def pretraining_pairs(count: int, seed: int) -> CaptionedImages:
    """Captioned glyphs in training fonts and pen strokes; the same seed gives the same pairs."""
    rng = np.random.default_rng(seed)
    shares = np.array([share for share, _ in PRETRAINING])
    scene_of = rng.choice(len(PRETRAINING), count, p=shares / shares.sum())
    images = np.empty((count, SIZE, SIZE, 3), dtype=np.uint8)
    captions: list[tuple[str, ...]] = [()] * count
    for position, (_, scene) in enumerate(PRETRAINING):
        where = np.flatnonzero(scene_of == position)
        glyphs = rng.integers(len(GLYPHS), size=len(where))
        colors = rng.choice(scene.colors, len(where))
        images[where] = _pictures(scene, TRAINING_FONTS, glyphs, colors, rng)
        for image, glyph, color in zip(where, glyphs, colors, strict=True):
            captions[image] = _captions(glyph, color, scene.style, rng)
    return CaptionedImages(images, captions)


def task(split: Split) -> LabelledImages:
    """Scikit-learn's handwritten digits, brought from 8 x 8 to SIZE: 1000 to train on, 300 and 497 held out."""
    gray, labels = _scanned_digits()[split]
    images = (gray[..., None].repeat(3, axis=-1) * 255).round().astype(np.uint8)
    return LabelledImages(images, labels, DIGIT_NAMES, TASK_TEMPLATES)


def suite(split: Literal["validation", "test"]) -> Suite:
    """What a model is judged on, drawn from this split's fonts, this split's handwriting and its own seed."""
    rng = np.random.default_rng(SUITE_SEED[split])
    fonts = FONTS[split]
    ood = {name: _digits(scene, fonts, rng) for name, scene in OOD_SCENES.items()}
    handwriting = _scanned_digits()[split]
    ood["inverted"] = _repainted(*handwriting, colors=("black",), tinted=0.0, rng=rng)
    ood["colored_handwriting"] = _repainted(*handwriting, colors=TINTS, tinted=0.4, rng=rng)
    return Suite(task(split), ood, {"letters": _letters(fonts, rng), "colors": _colors(fonts, rng)})


@cache
def _scanned_digits() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per split the digits' coverages, float32 (n, SIZE, SIZE) in [0, 1], and their labels."""
    data = load_digits()
    coverage, labels = enlarge(data.images / 16), data.target.astype(np.int64)
    rest, test = train_test_split(np.arange(len(labels)), test_size=497, stratify=labels, random_state=SPLIT_SEED)
    train, validation = train_test_split(rest, test_size=300, stratify=labels[rest], random_state=SPLIT_SEED)
    parts = {"train": train, "validation": validation, "test": test}
    return {split: (coverage[rows], labels[rows]) for split, rows in parts.items()}


def _pictures(scene: Scene, fonts: tuple[str, ...], glyphs: np.ndarray, colors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One picture per glyph (n,) and colour name (n,): uint8 (n, SIZE, SIZE, 3)."""
    shapes = pen_fields(PEN_DRAWINGS, PEN_SEED) if scene.pen else font_fields(fonts)
    images = np.empty((len(glyphs), SIZE, SIZE, 3), dtype=np.uint8)
    for start in range(0, len(glyphs), CHUNK):
        chunk = slice(start, start + CHUNK)
        fields = shapes[rng.integers(len(shapes), size=len(glyphs[chunk])), glyphs[chunk]]
        images[chunk] = _painted(draw(fields, scene.look, rng), colors[chunk], scene.tinted, scene.finish, rng)
    return images


def _painted(coverage: np.ndarray, colors: np.ndarray, tinted: float, finish: Finish, rng: np.random.Generator) -> np.ndarray:
    foreground = foregrounds(colors, rng)
    return paint(coverage, foreground, backgrounds(foreground, tinted, rng), finish, rng)


def _captions(glyph: int, color: str, style: str, rng: np.random.Generator) -> tuple[str, ...]:
    chosen = rng.choice(len(CAPTION_TEMPLATES), CAPTIONS_PER_IMAGE, replace=False)
    known = {"name": NAMES[glyph], "kind": KINDS[glyph], "color": color, "style": style}
    return tuple(CAPTION_TEMPLATES[position].format(**known) for position in chosen)


def _digits(scene: Scene, fonts: tuple[str, ...], rng: np.random.Generator) -> LabelledImages:
    labels = np.arange(len(DIGITS)).repeat(PER_CLASS)
    images = _pictures(scene, fonts, labels, rng.choice(scene.colors, len(labels)), rng)
    return LabelledImages(images, labels, DIGIT_NAMES, TASK_TEMPLATES)


def _repainted(
    coverage: np.ndarray, labels: np.ndarray, colors: Sequence[str], tinted: float, rng: np.random.Generator
) -> LabelledImages:
    """The task's handwriting in other colours."""
    images = _painted(coverage, rng.choice(colors, len(labels)), tinted, Finish(blur=0, noise=0), rng)
    return LabelledImages(images, labels, DIGIT_NAMES, TASK_TEMPLATES)


def _letters(fonts: tuple[str, ...], rng: np.random.Generator) -> LabelledImages:
    labels = np.arange(len(LETTERS)).repeat(PER_CLASS)
    colors = rng.choice(tuple(COLORS), len(labels))
    images = _pictures(PRINTED_IN_COLOR, fonts, labels + len(DIGITS), colors, rng)
    return LabelledImages(images, labels, LETTER_NAMES, LETTER_TEMPLATES)


def _colors(fonts: tuple[str, ...], rng: np.random.Generator) -> LabelledImages:
    labels = np.arange(len(COLORS)).repeat(PER_CLASS + 10)
    glyphs = rng.integers(len(GLYPHS), size=len(labels))
    images = _pictures(PRINTED_IN_COLOR, fonts, glyphs, np.array(tuple(COLORS))[labels], rng)
    return LabelledImages(images, labels, tuple(COLORS), COLOR_TEMPLATES)
