"""Banks of texts: lines of a file, class names in templates, random words, captions between those."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tracer.data.image_files import check_templates
from tracer.errors import UserError
from tracer.storage import require_regular

COUNT = 100_000  # texts of random words
MIXING = 1  # a stream of randomness beside that of the random texts


def lines(path: Path) -> dict[int, str]:
    """The texts of a file in UTF-8 by the numbers of their lines, counted from 1, without the blank ones.

    Raises:
        UserError: if the file cannot be read, is not in UTF-8, or holds no text.
    """
    try:
        with require_regular(path).open(encoding="utf-8-sig") as file:  # whose lines end at \n, \r\n and \r alone
            found = {number: text for number, line in enumerate(file, 1) if (text := line.strip())}
    except OSError as error:
        raise UserError(f"cannot read the texts {path} ({error.strerror}): check that this user may") from error
    except UnicodeDecodeError as error:
        raise UserError(f"the texts {path} are not in UTF-8 ({error.reason}): save them in UTF-8") from error
    if not found:
        raise UserError(f"{path} holds no text: write one a line")
    return found


def filled(templates: Sequence[str], names: Iterable[str]) -> list[str]:
    """Every template with every name in place of its `{}`, the templates of one name together.

    Raises:
        UserError: if a template has not one `{}`.
    """
    check_templates(templates)
    return [template.format(name) for name in names for template in templates]


class RandomTexts(Sequence[str]):
    """Texts of 1 to `longest` words, all drawn independently: each text is a pure function of these arguments and its number.

    Args:
        words: what to draw from.
        longest: words of the longest texts.
        seed: of all that is random.
        count: how many texts there are.
    """

    def __init__(self, words: Sequence[str], longest: int, seed: int, count: int = COUNT):
        self.words, self.longest, self.seed, self.positions = words, longest, seed, range(count)

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: Any) -> Any:
        """The text at a position; raises an IndexError beyond the last."""
        rng = np.random.default_rng([self.seed, self.positions[index]])
        return " ".join(
            self.words[word] for word in rng.integers(len(self.words), size=rng.integers(1, self.longest, endpoint=True))
        )


class Mixed(Sequence[str]):
    """Captions in random order, and random texts in place of a share of them: as many as the latter, each as `RandomTexts` draws.

    Args:
        captions: what to draw from.
        texts: the random texts.
        share: of the random texts, in [0, 1].
    """

    def __init__(self, captions: Sequence[str], texts: RandomTexts, share: float):
        self.captions, self.texts, self.share = captions, texts, share

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: Any) -> Any:
        """The text at a position; raises an IndexError beyond the last."""
        rng = np.random.default_rng([self.texts.seed, self.texts.positions[index], MIXING])
        return self.texts[index] if rng.random() < self.share else self.captions[int(rng.integers(len(self.captions)))]
