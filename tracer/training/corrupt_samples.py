"""The corrupt pairs and replay images that training passes over: counted, written down, and no more than a run allows."""

from collections.abc import Sequence
from pathlib import Path

from tracer.data.images import CorruptSample
from tracer.errors import UserError
from tracer.tracking import JsonLines, read

MAX_CORRUPT_SHARE = 0.01


def require_few(
    corrupt: Sequence[CorruptSample], share: float, total: int, what: str = "training pairs", setting: str = "data"
) -> None:
    """Refuse more corrupt samples than `share` of all `total`; `what` they are is told, and which `setting` names them.

    Raises:
        UserError: naming the first.
    """
    if len(corrupt) > share * total:
        first = corrupt[0]
        raise UserError(
            f"{len(corrupt)} of the {total} {what} met so far {'is' if len(corrupt) == 1 else 'are'} corrupt, "
            f"more than {setting}.max_corrupt_share = {share:g} allows, first {first.sample} ({first.reason}): "
            "repair or remove them, or raise it"
        )


class CorruptSamples:
    """The corrupt pairs and replay images that a run has met, each once and in order, written to a JSONL file as they come.

    Args:
        path: the file; it is made for the first of them.
        share: how many corrupt pairs the run bears, as a share of all pairs.
        total: pairs in the training set.
        resumed_at: the step that the run goes on from; what was met after it is forgotten, to be met again.
        replay: the same share of replay images, and how many of these there are.
    """

    def __init__(
        self, path: Path, share: float, total: int, resumed_at: int = 0, replay: tuple[float, int] = (MAX_CORRUPT_SHARE, 0)
    ):
        self._bounds = {False: (share, total, "training pairs", "data"), True: (*replay, "replay images", "replay.images")}
        self._file = JsonLines(path, resumed_at)
        self._met = {
            (line.get("replayed", False), line["sample"]): CorruptSample(line["sample"], line["reason"]) for line in read(path)
        }

    def __len__(self) -> int:
        return len(self._met)

    @property
    def samples(self) -> list[CorruptSample]:
        """All of them, in the order met."""
        return list(self._met.values())

    def add(self, corrupt: Sequence[CorruptSample], step: int, replayed: bool = False) -> None:
        """Write down what `step` (counted from 1) met, of the pairs or of what is replayed.

        Raises:
            UserError: if that makes too many.
        """
        for error in corrupt:
            if (replayed, error.sample) not in self._met:
                self._met[replayed, error.sample] = error
                self._file.log({"sample": error.sample, "reason": error.reason, "replayed": replayed}, step)
        require_few([error for (kind, _), error in self._met.items() if kind == replayed], *self._bounds[replayed])
