"""The toy's world: scikit-learn's handwritten digits, grey and coloured, each seed with a split and colours of its own."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import Dataset

from tracer.data.datasets import LabelledImages
from tracer.toy.tokenizer import WordTokenizer
from tracer.training.batches import Batch

Look = Literal["grey", "coloured", "reversed"]
Split = Literal["train", "validation", "test"]

SIZE = 8  # pixels of an image's side
DIGITS = tuple("0123456789")
TEMPLATES = ("the digit {}", "a handwritten {}", "a picture of a {}", "the number {}", "this is a {}")
TOKENIZE = WordTokenizer(sorted({word for t in TEMPLATES for word in t.replace("{}", "").split()} | {*DIGITS}), context_length=7)
RED, BLUE = (0.8, 0.2, 0.2), (0.2, 0.2, 0.8)  # gains of the three channels
CORRELATION = 0.95  # share of digits that have their group's colour: red below 5, blue from 5
TRAINING, VALIDATION = 100, 30  # images of each digit; the rest, 44 to 53, is the test split


@dataclass(frozen=True)
class World:
    """Digits in three looks and three splits, all drawn from one seed.

    `grey` has equal channels; in `coloured` a digit has its group's colour with probability 0.95, else the other one; in `reversed`
    it always has the other one.
    """

    seed: int

    def images(self, look: Look, split: Split) -> LabelledImages:
        """The images of a split, uint8 (n, 8, 8, 3), digit by digit."""
        chosen = np.concatenate([rows[_SPLITS[split]] for rows in self._rows()])
        grey, labels = _digits()
        shown = grey[chosen, ..., None] * self._gains(look)[chosen, None, None, :]
        return LabelledImages(shown.round().astype(np.uint8), labels[chosen], DIGITS, TEMPLATES)

    def batches(self, look: Look) -> "Batches":
        """The batches of a run on the training split."""
        return Batches(self.images(look, "train"), self.seed)

    def _rows(self) -> list[np.ndarray]:
        """For each digit its images in the order in which the splits take them."""
        rng, labels = np.random.default_rng([self.seed, 0]), _digits()[1]
        return [rng.permutation(np.flatnonzero(labels == digit)) for digit in range(len(DIGITS))]

    def _gains(self, look: Look) -> np.ndarray:
        """(all images, 3), the factors of the channels."""
        labels = _digits()[1]
        if look == "grey":
            return np.ones((len(labels), 3))
        faithful = np.random.default_rng([self.seed, 1]).random(len(labels)) < CORRELATION
        red = (labels < 5) == (faithful if look == "coloured" else False)
        return np.where(red[:, None], RED, BLUE)


_SPLITS = {
    "train": slice(TRAINING),
    "validation": slice(TRAINING, TRAINING + VALIDATION),
    "test": slice(TRAINING + VALIDATION, None),
}


class Batches(Dataset[Batch]):
    """Batch t of a run for every step t: one image of every digit, with a caption by a random template.

    With one image of a digit in a batch, every other text is a true negative of it. In random batches some would be its own caption
    or another template of it, and the contrastive loss would push the image away from what it is.

    Args:
        images: `TRAINING` images of each digit, digit by digit; an epoch shows each once.
        seed: of orders and templates.
    """

    def __init__(self, images: LabelledImages, seed: int):
        self.images = preprocess(images.images).unflatten(0, (len(DIGITS), TRAINING))
        self.tokens = TOKENIZE([t.format(d) for d in DIGITS for t in TEMPLATES]).unflatten(0, (len(DIGITS), len(TEMPLATES)))
        self.seed = seed

    def __getitem__(self, step: int) -> Batch:
        epoch, position = divmod(step, TRAINING)
        each = np.arange(len(DIGITS))
        order = np.random.default_rng([self.seed, 2, epoch]).permuted(np.tile(np.arange(TRAINING), (len(DIGITS), 1)), axis=1)
        templates = np.random.default_rng([self.seed, 3, step]).integers(len(TEMPLATES), size=len(DIGITS))
        return Batch(self.images[each, order[:, position]], self.tokens[each, templates])


def preprocess(images) -> Tensor:
    """n uint8 images (8, 8, 3) to float32 (n, 3, 8, 8), from [0, 255] to [-1, 1]."""
    return torch.from_numpy(np.stack(list(images))).permute(0, 3, 1, 2).float() / 127.5 - 1


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """All images, from 0 to 255, (1797, 8, 8), and their digits."""
    digits = load_digits()
    return digits.images * (255 / 16), digits.target.astype(np.int64)
