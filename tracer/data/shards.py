"""WebDataset shards: tar files in which the members of one sample lie together, 000.jpg and 000.txt say.

Every shard is read through once for where its members lie; then any image is one seek away, and a batch stays a pure function of
seed and step. Where members lie is kept in a file beside the shard (see `tracer.data.shard_index`).
"""

import json
import math
import os
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from tracer.data import shard_index
from tracer.data.datasets import CaptionedImages
from tracer.data.images import SUFFIXES, CorruptSample, decode
from tracer.data.shard_index import Samples
from tracer.errors import UserError
from tracer.messages import shortened
from tracer.storage import require_regular

MOST_SHARDS = 10**6
LONGEST_NUMBER = 18  # digits
SHOWN = 10  # members in a sentence
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"([0-9]+)\.\.([0-9]+)")


@dataclass(frozen=True)
class Members:
    """One member of every sample in a shard, its image say. Arrays, because lists of a hundred million would fill the memory.

    Attributes:
        path: the shard.
        names: (n,) names of the members, bytes.
        places: (n, 2) int64, first byte and number of bytes.
    """

    path: Path
    names: np.ndarray
    places: np.ndarray

    def read(self, index: int) -> tuple[str, bytes]:
        """What to call a member in errors, and its bytes.

        Raises:
            UserError: if the shard cannot be read or is shorter than it was.
        """
        name, (start, size) = f"{self.path}/{self.names[index].decode()}", self.places[index].tolist()
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                content = file.read(size)
        except OSError as error:
            raise UserError(f"cannot read the shard {self.path} ({error.strerror}): check that it is still there") from error
        if len(content) < size:
            raise UserError(f"the shard {self.path} was cut short before {name} while it was in use: restore it")
        return name, content


class _Joined:
    """The members of all shards as if of one."""

    def __init__(self, parts: Sequence[Members]):
        self.parts, self.ends = parts, list(accumulate(len(part.names) for part in parts))

    def __len__(self) -> int:
        return self.ends[-1]

    def read(self, index: int) -> tuple[str, bytes]:
        shard = bisect_right(self.ends, index)
        return self.parts[shard].read(index - self.ends[shard])


class ShardImages(_Joined, Sequence[np.ndarray]):
    """Images in shards, each uint8 (height, width, 3), read when asked for."""

    def __getitem__(self, index: Any) -> Any:
        """The image at a position; raises a `CorruptSample` if it is no whole image, a `UserError` if the shard cannot be read."""
        name, content = self.read(index)
        return decode(content, name)


class ShardCaptions(_Joined, Sequence[Sequence[str]]):
    """The captions of each sample, read when asked for.

    Args:
        parts: the members.
        key: where in a JSON member the caption is, or a list of several; empty if the member is text, which is one caption.
    """

    def __init__(self, parts: Sequence[Members], key: str):
        super().__init__(parts)
        self.key = key

    def __getitem__(self, index: Any) -> Any:
        """The captions at a position, in a tuple; raises a `CorruptSample` if there are none, a `UserError` as images do."""
        name, content = self.read(index)
        try:
            text = json.loads(content)[self.key] if self.key else content.decode("utf-8-sig")
        except RecursionError as error:
            raise CorruptSample(name, "its JSON is nested too deeply") from error
        except (ValueError, KeyError, TypeError) as error:
            wanted = f"JSON with the key {self.key!r}" if self.key else "text in UTF-8"
            raise CorruptSample(name, f"it is not {wanted}") from error
        texts = text if isinstance(text, list) else [text]
        if not all(isinstance(each, str) for each in texts):
            raise CorruptSample(name, f"it holds {type(text).__name__} under {self.key!r}, not text")
        captions = tuple(stripped for each in texts if (stripped := each.strip()))
        if not captions:
            raise CorruptSample(name, "it holds no caption")
        return captions


def webdataset(pattern: str, caption: str) -> CaptionedImages:
    """Pairs from WebDataset shards.

    Args:
        pattern: path of the shards with braces for numbers or choices: "data/{00000..00012}.tar", "{coco,flickr}/{0..9}.tar".
        caption: where captions are: the suffix of a text member ("txt"), or of a JSON one, a dot and a key in it ("json.caption").

    Raises:
        UserError: if a shard is missing, named twice, damaged, cut short or empty, or a sample lacks its image or caption.
    """
    paths = [Path(text).expanduser() for text in expanded(pattern)]
    absent = [path for path in paths if not os.path.exists(path)]
    if absent:
        raise UserError(f"{len(absent)} of the {len(paths)} shards {pattern} are not there, first {absent[0]}: check the path")
    if len({*paths}) < len(paths):
        raise UserError(f"the pattern {pattern} names a shard twice: name each once")
    for path in paths:
        require_regular(path)
    suffix, _, key = caption.partition(".")
    images, captions = [], []
    for path in paths:
        samples = shard_index.samples(path)
        images.append(_select(path, samples, SUFFIXES, "image"))
        captions.append(_select(path, samples, (suffix.lower(),), "caption"))
    return CaptionedImages(ShardImages(images), ShardCaptions(captions, key))


def expanded(pattern: str) -> list[str]:
    """The paths that braces stand for: {a,b} is a choice, {08..11} a range whose numbers keep the width they are written with.

    Raises:
        UserError: if a range is empty, or there are more than `MOST_SHARDS` paths.
    """
    if math.prod(_count(pattern, braces[1]) for braces in _BRACES.finditer(pattern)) > MOST_SHARDS:
        raise UserError(f"{shortened(pattern)} stands for more than {MOST_SHARDS} shards: check the numbers in braces")
    braces = _BRACES.search(pattern)
    if braces is None:
        return [pattern]
    bounds = _RANGE.fullmatch(braces[1])
    if bounds is None:
        choices = braces[1].split(",")
    else:
        width = len(bounds[1]) if bounds[1].startswith("0") else 0
        choices = [str(number).zfill(width) for number in range(int(bounds[1]), int(bounds[2]) + 1)]
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    return [path for choice in choices for path in expanded(f"{before}{choice}{after}")]


def _count(pattern: str, inside: str) -> int:
    """How many texts a pair of braces stands for."""
    bounds = _RANGE.fullmatch(inside)
    if bounds is None:
        return inside.count(",") + 1
    if len(inside) > 2 * LONGEST_NUMBER:
        return MOST_SHARDS + 1  # Python itself would refuse numbers of thousands of digits
    if int(bounds[2]) < int(bounds[1]):
        raise UserError(f"the range {{{inside}}} in {pattern} is empty: write the lower number first")
    return int(bounds[2]) - int(bounds[1]) + 1


def _select(path: Path, samples: Samples, suffixes: Sequence[str], what: str) -> Members:
    """For every sample its first member with one of the suffixes."""
    found, bare = [], []
    for name, members in samples:
        suffix = next((suffix for suffix in suffixes if suffix in members), None)
        if suffix is None:
            bare.append((name, members))
        else:
            found.append((f"{name}.{suffix}".encode(), members[suffix]))
    if bare:
        name, members = bare[0]
        dotted = any(member.rpartition(".")[2] in suffixes for member in members)
        hint = " (a sample's name ends at the first dot: names with further dots need others)" if dotted else ""
        raise UserError(
            f"{len(bare)} of {len(samples)} samples in {path} have no {what}, first {name}, whose members are "
            f"{', '.join([*members][:SHOWN])} and none of {', '.join(suffixes)}{hint}: complete the shard, or name another member"
        )
    return Members(path, np.array([name for name, _ in found]), np.array([place for _, place in found], dtype=np.int64))
