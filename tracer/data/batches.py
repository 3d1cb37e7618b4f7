"""Training batches as a pure function of the seed and the step, so that a resumed run sees exactly what it would have seen."""

import copy
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tracer import processes
from tracer.data.sets import CaptionedImages
from tracer.errors import UserError
from tracer.models.dual_encoder import Encoder


class Batch(NamedTuple):
    """Inputs of one optimiser step.

    Attributes:
        images: (n, ...).
        tokens: (n, context), the images' captions.
        replay: (m, ...) further images, on which student and teacher are compared. They pass the image tower together with
            `images`, so that batch norm in train mode would take its statistics over both.
    """

    images: Tensor
    tokens: Tensor
    replay: Tensor | None = None


class Batches(Dataset):
    """Batch t of a run for every step t.

    Each epoch is one permutation of the pairs, cut into whole batches. The permutation depends on (seed, epoch) alone, the captions
    drawn on (seed, step), and an image's random crop on (seed, step, row), so that no row needs the others to be prepared.

    Args:
        pairs: what to draw from.
        encoder: gives `augment` and `tokenize`.
        batch_size: pairs per batch.
        total_steps: number of batches.
        seed: of everything random here.

    Raises:
        UserError: if the pairs do not fill one batch, or a batch has no second pair to contrast with.
    """

    def __init__(self, pairs: CaptionedImages, encoder: Encoder, batch_size: int, total_steps: int, seed: int):
        if batch_size < 2:
            raise UserError(f"a contrastive loss needs at least 2 pairs in a batch, and batch_size is {batch_size}: raise it")
        if len(pairs) < batch_size:
            raise UserError(f"the training set has {len(pairs)} pairs, fewer than one batch of {batch_size}: lower batch_size")
        self.pairs, self.batch_size, self.total_steps, self.seed = pairs, batch_size, total_steps, seed
        self.augment, self.tokenize = encoder.augment, encoder.tokenize
        self.augments_randomly = encoder.augment is not encoder.preprocess
        self.rows = slice(None)
        self.per_epoch = len(pairs) // batch_size
        self._kept_order: tuple[int, np.ndarray] = (-1, np.empty(0))

    def __len__(self) -> int:
        return self.total_steps

    def __getitem__(self, step: int) -> Batch:
        epoch, position = divmod(step, self.per_epoch)
        chosen = self._order(epoch)[position * self.batch_size : (position + 1) * self.batch_size]
        rng = np.random.default_rng([self.seed, 1, step])
        captions = [_draw(self.pairs.captions[i], rng) for i in chosen]
        seeds = rng.integers(2**63, size=self.batch_size)
        return Batch(self._images(chosen[self.rows], seeds[self.rows]), self.tokenize(captions[self.rows]))

    def share(self) -> Self:
        """The same batches, of which only the rows that fall to this process are prepared.

        Raises:
            UserError: if the processes cannot share a batch equally.
        """
        mine = copy.copy(self)
        mine.rows = processes.equal_share(self.batch_size, "batch_size")
        return mine

    def _images(self, chosen: np.ndarray, seeds: np.ndarray) -> Tensor:
        """Images as the model takes them, each augmented by a seed of its own."""
        images = [self.pairs.images[i] for i in chosen]
        if not self.augments_randomly:
            return self.augment(images)
        augmented = []
        with torch.random.fork_rng(devices=[]):
            for image, seed in zip(images, seeds, strict=True):
                torch.default_generator.manual_seed(int(seed))  # this one alone: a GPU's is the model's
                augmented.append(self.augment([image]))
        return torch.cat(augmented)

    def _order(self, epoch: int) -> np.ndarray:
        """The epoch's permutation, kept until another epoch is asked for: that of a million pairs takes longer than a step."""
        if self._kept_order[0] != epoch:
            self._kept_order = epoch, np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.pairs))
        return self._kept_order[1]


def shared(batches: Dataset[Batch]) -> Dataset[Batch]:
    """Of each batch the rows that fall to this process; `Batches` prepare no others, any other dataset is cut after the fact.

    Raises:
        UserError: if the processes cannot share a batch equally, at once or when it is drawn.
    """
    if processes.count() == 1:
        return batches
    return batches.share() if isinstance(batches, Batches) else _Cut(batches)


def load(batches: Dataset[Batch], first_step: int, total_steps: int, workers: int = 0) -> Iterator[Batch]:
    """Batches from `first_step` to the end in order, prepared by `workers` background processes (0: in this one).

    Raises:
        UserError: as preparing a batch does.
    """
    loader = DataLoader(
        _Guarded(batches),
        batch_size=None,
        sampler=range(first_step, total_steps),
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(0),
    )
    for batch in loader:
        if isinstance(batch, UserError):
            raise batch
        yield batch


class _Cut(Dataset):
    """This process's rows of the batches of another dataset."""

    def __init__(self, batches: Dataset[Batch]):
        self.batches = batches

    def __getitem__(self, step: int) -> Batch:
        images, tokens, replay = self.batches[step]
        rows = processes.equal_share(len(images), "the batch's number of pairs")
        if replay is not None:
            replay = replay[processes.equal_share(len(replay), "the batch's number of replay images")]
        return Batch(images[rows], tokens[rows], replay)


class _Guarded(Dataset):
    """Hands a user's error over as a value: raised in a worker, torch would bury its sentence in a traceback."""

    def __init__(self, batches: Dataset[Batch]):
        self.batches = batches

    def __getitem__(self, step: int) -> Batch | UserError:
        try:
            return self.batches[step]
        except UserError as error:
            return error


def _draw(captions: Sequence[str], rng: np.random.Generator) -> str:
    return captions[int(rng.integers(len(captions)))]
