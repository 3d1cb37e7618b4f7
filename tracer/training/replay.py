"""Further images and texts that a step shows beside its pairs, as a pure function of the seed and the step."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from tracer.data.images import CorruptSample
from tracer.errors import UserError
from tracer.training import distributed
from tracer.training.corrupt_samples import MAX_CORRUPT_SHARE, require_few

IMAGES, TEXTS, STANDING_IN = 3, 4, 5  # streams of randomness, beside those of `Batches`


@dataclasses.dataclass(frozen=True)
class Replay:
    """What is drawn at every step from a pool of images and a bank of texts, without repetition within a step.

    A corrupt image is passed over, and any other of the pool stands in.

    Attributes:
        images: the pool, uint8 (height, width, 3) each; may be empty.
        images_per_step: images of a step, of all processes together; 0 shows none.
        texts: the bank; may be empty.
        texts_per_step: texts of a step likewise.
        seed: of the draws.
        max_corrupt_share: corrupt images that one step bears, as a share of the pool.

    Raises:
        UserError: if pool or bank are smaller than what a step shows of them.
    """

    images: Sequence[np.ndarray] | np.ndarray = ()
    images_per_step: int = 0
    texts: Sequence[str] = ()
    texts_per_step: int = 0
    seed: int = 0
    max_corrupt_share: float = MAX_CORRUPT_SHARE
    _image_rows: slice = dataclasses.field(default_factory=lambda: slice(None))
    _text_rows: slice = dataclasses.field(default_factory=lambda: slice(None))

    def __post_init__(self) -> None:
        for what, there, shown in (("images", self.images, self.images_per_step), ("texts", self.texts, self.texts_per_step)):
            if len(there) < shown:
                raise UserError(f"there are {len(there)} replay {what}, fewer than the {shown} of a step: add some, or show fewer")

    def share(self) -> "Replay":
        """The same draws, of which only those that fall to this process are prepared.

        Raises:
            UserError: if the processes cannot share them equally.
        """
        images = distributed.equal_share(self.images_per_step, "replay.images_per_step")
        texts = distributed.equal_share(self.texts_per_step, "replay.texts_per_step")
        return dataclasses.replace(self, _image_rows=images, _text_rows=texts)

    def images_of(self, step: int, skipped: dict[str, CorruptSample]) -> tuple[list[np.ndarray], np.ndarray]:
        """This process's images of a step, and a seed for each; corrupt ones that were met are added to `skipped`.

        Raises:
            UserError: if too many are corrupt.
        """
        rng = np.random.default_rng([self.seed, IMAGES, step])
        drawn = rng.choice(len(self.images), self.images_per_step, replace=False)
        seeds = rng.integers(2**63, size=self.images_per_step)
        rows = range(self.images_per_step)[self._image_rows]
        return [self._first_readable(self._candidates(step, row, int(drawn[row])), skipped) for row in rows], seeds[rows]

    def texts_of(self, step: int) -> list[str]:
        """This process's texts of a step."""
        drawn = np.random.default_rng([self.seed, TEXTS, step]).choice(len(self.texts), self.texts_per_step, replace=False)
        return [self.texts[int(position)] for position in drawn[self._text_rows]]

    def _candidates(self, step: int, row: int, first: int) -> Iterator[int]:
        """The image of a row, and those that stand in for it."""
        yield first
        yield from np.random.default_rng([self.seed, STANDING_IN, step, row]).permutation(len(self.images)).tolist()

    def _first_readable(self, candidates: Iterator[int], skipped: dict[str, CorruptSample]) -> np.ndarray:
        corrupt: dict[str, CorruptSample] = {}
        for position in candidates:
            try:
                return self.images[position]
            except CorruptSample as error:
                corrupt[error.sample] = skipped[error.sample] = error
                require_few([*corrupt.values()], self.max_corrupt_share, len(self.images), "replay images", "replay.images")
        raise UserError("none of the replay images can be read: repair some, or name other ones")
