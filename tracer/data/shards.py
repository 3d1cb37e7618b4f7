"""WebDataset shards: tar files in which the members of one sample lie together, 000.jpg and 000.txt say.

Every shard is read through once for where its members lie; then any image is one seek away, and a batch stays a pure function of
seed and step. Where members lie is kept in a file beside the shard.
"""

import json
import os
import re
import tarfile
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from tracer.data.images import CorruptSample, decode
from tracer.data.sets import CaptionedImages
from tracer.errors import UserError

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "ppm")
END = b"\0" * tarfile.BLOCKSIZE  # a whole archive ends with at least one such block
INDEX_VERSION = 1


Samples = list[tuple[str, dict[str, tuple[int, int]]]]
"""Each sample of a shard by its name, and where its members lie (first byte, bytes) by suffix, in lower case without the dot."""


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

    def __getitem__(self, index):
        """The image at a position; raises a `CorruptSample` if it is no whole image, a `UserError` if the shard cannot be read."""
        name, content = self.read(index)
        return decode(content, name)


class ShardCaptions(_Joined, Sequence[Sequence[str]]):
    """One caption a sample, read when asked for.

    Args:
        parts: the members.
        key: where in a JSON member the caption is; empty if the member is text.
    """

    def __init__(self, parts: Sequence[Members], key: str):
        super().__init__(parts)
        self.key = key

    def __getitem__(self, index):
        """The caption at a position, in a tuple; raises a `CorruptSample` if there is none, a `UserError` as images do."""
        name, content = self.read(index)
        try:
            text = json.loads(content)[self.key] if self.key else content.decode("utf-8")
        except (ValueError, KeyError, TypeError) as error:
            wanted = f"JSON with the key {self.key!r}" if self.key else "text in UTF-8"
            raise CorruptSample(name, f"it is not {wanted}") from error
        if not (isinstance(text, str) and text.strip()):
            raise CorruptSample(name, "it holds no caption")
        return (text.strip(),)


def webdataset(pattern: str, caption: str) -> CaptionedImages:
    """Pairs from WebDataset shards.

    Args:
        pattern: path of the shards with braces for numbers or choices: "data/{00000..00012}.tar", "{coco,flickr}/{0..9}.tar".
        caption: where captions are: the suffix of a text member ("txt"), or of a JSON one, a dot and a key in it ("json.caption").

    Raises:
        UserError: if a shard is missing, damaged, cut short or empty, or a sample lacks its image or caption.
    """
    paths = [Path(text) for text in expanded(pattern)]
    absent = [path for path in paths if not path.is_file()]
    if absent:
        raise UserError(f"{len(absent)} of the {len(paths)} shards {pattern} are not there, first {absent[0]}: check the path")
    suffix, _, key = caption.partition(".")
    images, captions = [], []
    for path in paths:
        samples = _samples(path)
        images.append(_select(path, samples, IMAGE_SUFFIXES, "image"))
        captions.append(_select(path, samples, (suffix,), "caption"))
    return CaptionedImages(ShardImages(images), ShardCaptions(captions, key))


def expanded(pattern: str) -> list[str]:
    """The paths that braces stand for: {a,b} is a choice, {08..11} a range whose numbers keep the width they are written with."""
    braces = re.search(r"\{([^{}]*)\}", pattern)
    if braces is None:
        return [pattern]
    bounds = re.fullmatch(r"(\d+)\.\.(\d+)", braces[1])
    if bounds is None:
        choices = braces[1].split(",")
    else:
        width = len(bounds[1]) if bounds[1].startswith("0") else 0
        choices = [str(number).zfill(width) for number in range(int(bounds[1]), int(bounds[2]) + 1)]
    if not choices:
        raise UserError(f"the range {braces[0]} in {pattern} is empty: write the lower number first")
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    return [path for choice in choices for path in expanded(f"{before}{choice}{after}")]


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
        raise UserError(
            f"{len(bare)} of {len(samples)} samples in {path} have no {what}, first {name}, whose members are {', '.join(members)} "
            f"and none of {', '.join(suffixes)}: complete the shard, or name another member"
        )
    return Members(path, np.array([name for name, _ in found]), np.array([place for _, place in found], dtype=np.int64))


def _samples(path: Path) -> Samples:
    """What is in a shard, by the index beside it or, where that is missing or of another state of the file, by reading it through.

    Raises:
        UserError: if it is no tar file, cut short or empty.
    """
    status = path.stat()
    state = {"version": INDEX_VERSION, "bytes": status.st_size, "modified_ns": status.st_mtime_ns}
    cache = path.with_name(f"{path.name}.index")
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
        if kept["state"] == state:
            return kept["samples"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no index, or a file of that name that is none
    samples = _scanned(path)
    if not samples:
        raise UserError(f"the shard {path} holds no samples: take it out of the pattern")
    _keep(cache, {"state": state, "samples": samples})
    return samples


def _scanned(path: Path) -> Samples:
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                folder, _, base = member.name.rpartition("/")
                name, _, suffix = base.partition(".")
                if member.isreg() and name and not name.startswith("__"):  # .hidden and __meta__ files are of no sample
                    sample = samples.setdefault(f"{folder}/{name}".lstrip("/"), {})
                    sample[suffix.lower()] = member.offset_data, member.size
            end = archive.offset
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(f"the shard {path} is no uncompressed tar file, or is cut short ({error}): restore it") from error
    with path.open("rb") as file:
        file.seek(end)
        if file.read(len(END)) != END:  # tarfile takes the end of the file, or what is no header, for that of the archive
            raise UserError(f"the shard {path} is cut short or damaged after {len(samples)} samples: restore it")
    return list(samples.items())


def _keep(cache: Path, index: dict[str, Any]) -> None:
    """Write an index whole or not at all: without one, the next run reads the shard through again."""
    temporary = cache.with_name(f".{cache.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(index), encoding="utf-8")
        os.replace(temporary, cache)
    except OSError:
        temporary.unlink(missing_ok=True)
