"""Training batches as a pure function of the seed and the step, so that a resumed run sees exactly what it would have seen."""

import copy
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple, Self, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tracer.data.datasets import CaptionedImages
from tracer.data.images import CorruptSample
from tracer.errors import UserError
from tracer.models.dual_encoder import Encoder
from tracer.training import distributed, interruption
from tracer.training.corrupt_samples import MAX_CORRUPT_SHARE, CorruptSamples, require_few
from tracer.training.replay import Replay

Item = TypeVar("Item")


class Batch(NamedTuple):
    """Inputs of one optimiser step.

    Attributes:
        images: (n, ...).
        tokens: (n, context), the images' captions.
        replay: (m, ...) further images, on which the student is held to what another model says of them. They pass the image tower
            together with `images`, so that batch norm in train mode would take its statistics over both.
        replay_tokens: (b, context), further texts likewise.
        skipped: the corrupt pairs that others stand in for, if there were any; `load` takes them off.
        skipped_replay: the corrupt replay images likewise.
    """

    images: Tensor
    tokens: Tensor
    replay: Tensor | None = None
    replay_tokens: Tensor | None = None
    skipped: tuple[CorruptSample, ...] | None = None
    skipped_replay: tuple[CorruptSample, ...] | None = None

    def to(self, device: torch.device, precision: torch.dtype) -> "Batch":
        """The batch on a device, what is floating-point in the given precision."""

        def moved(part: Tensor) -> Tensor:
            return part.to(device, precision if part.is_floating_point() else None, non_blocking=True)

        replay, replay_tokens = (None if part is None else moved(part) for part in (self.replay, self.replay_tokens))
        return Batch(moved(self.images), moved(self.tokens), replay, replay_tokens)

    def pairs_alone(self) -> "Batch":
        """The batch without replay images and texts."""
        return Batch(self.images, self.tokens)

    def replay_alone(self) -> "Batch":
        """The batch with no more than one pair, since a tower need not bear inputs of none."""
        return self._replace(images=self.images[:1], tokens=self.tokens[:1])


class Batches(Dataset[Batch]):
    """Batch t of a run for every step t.

    Each epoch is one permutation of the pairs, cut into whole batches. The permutation depends on (seed, epoch) alone, the captions
    drawn on (seed, step), and an image's random crop on (seed, step, row), so that no row needs the others to be prepared.

    A corrupt pair is passed over: the pair in its row of the next batch stands in, or of the one after that, round the epoch's end.
    So the batch keeps its size, each row depends on (seed, step) and the files alone, and no two rows are of the same pair (unless
    all that could stand in for one of them are corrupt too: then any other pair does).

    Args:
        pairs: what to draw from.
        encoder: gives `augment` and `tokenize`.
        batch_size: pairs per batch.
        total_steps: number of batches.
        seed: of everything random here.
        max_corrupt_share: corrupt pairs that one batch bears, as a share of all pairs (of all batches: `CorruptSamples`).
        replay: further images and texts that each batch shows; None: none. They are augmented and tokenised as the pairs are.

    Raises:
        UserError: if the pairs do not fill one batch, or a batch has no second pair to contrast with.
    """

    def __init__(
        self,
        pairs: CaptionedImages,
        encoder: Encoder,
        batch_size: int,
        total_steps: int,
        seed: int,
        max_corrupt_share: float = MAX_CORRUPT_SHARE,
        replay: Replay | None = None,
    ):
        if batch_size < 2:
            raise UserError(f"a contrastive loss needs at least 2 pairs in a batch, and batch_size is {batch_size}: raise it")
        require_a_batch(pairs, batch_size)
        self.pairs, self.batch_size, self.total_steps, self.seed = pairs, batch_size, total_steps, seed
        self.max_corrupt_share, self.replay = max_corrupt_share, replay
        self.augment, self.tokenize = encoder.augment, encoder.tokenize
        self.augments_randomly = encoder.augment is not encoder.preprocess
        self.rows = slice(None)
        self.per_epoch = len(pairs) // batch_size
        self._kept_order: tuple[int, np.ndarray] = (-1, np.empty(0))

    def __len__(self) -> int:
        return self.total_steps

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step.

        Raises:
            IndexError: past the last one, which ends a loop over all.
            UserError: if too many pairs are corrupt.
        """
        if not 0 <= step < self.total_steps:
            raise IndexError(f"step {step} of {self.total_steps}, counted from 0")
        epoch, position = divmod(step, self.per_epoch)
        rng = np.random.default_rng([self.seed, 1, step])
        picks = self._picks(rng, step, self._order(epoch)[position * self.batch_size : (position + 1) * self.batch_size])
        seeds = rng.integers(2**63, size=self.batch_size)
        rows = range(self.batch_size)[self.rows]
        skipped: dict[str, CorruptSample] = {}
        skipped_replay: dict[str, CorruptSample] = {}
        pairs = [self._first_readable(self._candidates(epoch, position, row), skipped) for row in rows]
        captions = [options[picks[row] % len(options)] for row, (_, options) in zip(rows, pairs, strict=True)]
        images = self._augmented([image for image, _ in pairs], seeds[self.rows])
        replay, texts = self._replayed(step, skipped_replay)
        tokens = self.tokenize([*captions, *texts])  # together, so that all are as long
        replay_tokens = tokens[len(captions) :] if texts else None
        passed_over = (tuple(each.values()) or None for each in (skipped, skipped_replay))
        return Batch(images, tokens[: len(captions)], replay, replay_tokens, *passed_over)

    def share(self) -> Self:
        """The same batches, of which only the rows that fall to this process are prepared.

        Raises:
            UserError: if the processes cannot share a batch equally.
        """
        mine = copy.copy(self)
        mine.rows = distributed.equal_share(self.batch_size, "batch_size")
        mine.replay = self.replay and self.replay.share()
        return mine

    def _replayed(self, step: int, skipped: dict[str, CorruptSample]) -> tuple[Tensor | None, list[str]]:
        """Further images of a step as the model takes them, None if there are none, and further texts."""
        if self.replay is None:
            return None, []
        images = self._augmented(*self.replay.images_of(step, skipped)) if self.replay.images_per_step else None
        return images, self.replay.texts_of(step) if self.replay.texts_per_step else []

    def _picks(self, rng: np.random.Generator, step: int, chosen: np.ndarray) -> list[int]:
        """Which caption each row takes: a draw is made even if another pair stands in, or another process prepares the row.

        Where captions are in files, only the process that reads them knows how many a pair has. Then the draws are large, and are
        taken modulo that number.
        """
        captions = self.pairs.captions
        if isinstance(captions, (list, tuple)):
            return [int(rng.integers(len(captions[index]))) for index in chosen]
        return [int(draw) for draw in np.random.default_rng([self.seed, 2, step]).integers(2**63, size=self.batch_size)]

    def _candidates(self, epoch: int, position: int, row: int) -> Iterator[int]:
        """The pair of a row, and those that stand in for it, best first."""
        order, start, end = self._order(epoch), position * self.batch_size, (position + 1) * self.batch_size
        same_row = islice(chain(order[end:], order[:start]), row, None, self.batch_size)
        return chain([order[start + row]], same_row, order[end:], order[:start])

    def _first_readable(self, candidates: Iterator[int], skipped: dict[str, CorruptSample]) -> tuple[np.ndarray, Sequence[str]]:
        for index in candidates:
            try:
                return self.pairs.images[index], self.pairs.captions[index]
            except CorruptSample as error:
                skipped[error.sample] = error
                require_few(list(skipped.values()), self.max_corrupt_share, len(self.pairs))
        first = next(iter(skipped.values()))
        raise UserError(
            f"no pair is left to stand in for corrupt ones such as {first.sample} ({first.reason}): of the "
            f"{len(self.pairs) - self.batch_size} pairs outside the batch none can be read, so repair some, or lower batch_size"
        )

    def _augmented(self, images: Sequence[np.ndarray], seeds: np.ndarray) -> Tensor:
        """Images as the model takes them, each augmented by a seed of its own."""
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


def require_a_batch(pairs: CaptionedImages, batch_size: int) -> None:
    """Refuse pairs that do not fill one batch, before anything slow is done with them.

    Raises:
        UserError: if they do not.
    """
    if len(pairs) < batch_size:
        raise UserError(f"the training set has {len(pairs)} pairs, fewer than one batch of {batch_size}: lower batch_size")


def shared(batches: Dataset[Batch]) -> Dataset[Batch]:
    """Of each batch the rows that fall to this process; `Batches` prepare no others, any other dataset is cut after the fact.

    Raises:
        UserError: if the processes cannot share a batch equally, at once or when it is drawn.
    """
    if distributed.count() == 1:
        return batches
    return batches.share() if isinstance(batches, Batches) else _Cut(batches)


def load(
    batches: Dataset[Batch], first_step: int, total_steps: int, workers: int = 0, corrupt_samples: CorruptSamples | None = None
) -> Iterator[Batch]:
    """Batches from `first_step` to the end in order, prepared by `workers` background processes (0: in this one).

    Args:
        batches: item t is the batch of step t.
        first_step: the first to prepare, from 0.
        total_steps: the end.
        workers: processes.
        corrupt_samples: where corrupt pairs and replay images are written down, when their batch is handed out.

    Raises:
        UserError: as preparing a batch does, or if too many pairs or replay images are corrupt.
    """
    steps = range(first_step, total_steps)
    for step, batch in zip(steps, in_order(batches, steps, workers), strict=True):
        if corrupt_samples is not None and batch.skipped:
            corrupt_samples.add(batch.skipped, step + 1)
        if corrupt_samples is not None and batch.skipped_replay:
            corrupt_samples.add(batch.skipped_replay, step + 1, replayed=True)
        yield batch._replace(skipped=None, skipped_replay=None)


def in_order(items: Dataset[Item], positions: Sequence[int], workers: int = 0) -> Iterator[Item]:
    """The items at some positions, in that order, prepared by `workers` background processes (0: in this one).

    Raises:
        UserError: as preparing an item does.
    """
    loader = DataLoader(
        _Guarded(items),
        batch_size=None,
        sampler=positions,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(0),
        worker_init_fn=_leave_signals,
    )
    for item in loader:
        if isinstance(item, UserError):
            raise item
        yield item


def _leave_signals(worker: int) -> None:
    interruption.leave_to_parent()


class _Cut(Dataset[Batch]):
    """This process's rows of the batches of another dataset."""

    def __init__(self, batches: Dataset[Batch]):
        self.batches = batches

    def __getitem__(self, step: int) -> Batch:
        batch = Batch(*self.batches[step])
        rows = distributed.equal_share(len(batch.images), "the batch's number of pairs")
        replay, replay_tokens = _share_of(batch.replay, "replay images"), _share_of(batch.replay_tokens, "replay texts")
        return Batch(batch.images[rows], batch.tokens[rows], replay, replay_tokens)


def _share_of(part: Tensor | None, what: str) -> Tensor | None:
    return None if part is None else part[distributed.equal_share(len(part), f"the batch's number of {what}")]


class _Guarded(Dataset[Item | UserError]):
    """Hands a user's error over as a value: raised in a worker, torch would bury its sentence in a traceback."""

    def __init__(self, items: Dataset[Item]):
        self.items = items

    def __getitem__(self, position: int) -> Item | UserError:
        try:
            return self.items[position]
        except UserError as error:
            return error
