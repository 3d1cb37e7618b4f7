"""Where the members of a tar file lie: found by reading its headers, and kept in a file beside it.

The file, SHARD.index, has two lines of JSON: the state of the shard that it is of, with a checksum of the second line, which lists
the samples. A file of that name in another format is somebody else's, and is left alone.
"""

import contextlib
import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

from tracer.errors import UserError
from tracer.storage import require_regular

END = b"\0" * tarfile.BLOCKSIZE  # a whole archive ends with at least one such block
FORMAT = "places of samples in a tar file"
VERSION = 2
OWN_STARTS = (f'{{"format": "{FORMAT}"'.encode(), b'{"state": {"version": 1,')  # of this version, and of the first one
EDGE, PROBE, PROBES = 2**18, 2**12, 16  # bytes hashed at both ends of a shard, and at each of some places between
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}

Samples = list[tuple[str, dict[str, tuple[int, int]]]]
"""Each sample of a shard by its name, and where its members lie (first byte, bytes) by suffix, in lower case without the dot."""


def samples(path: Path) -> Samples:
    """What is in a shard, by the index beside it or, where that is missing or of another state of the file, by reading it through.

    Raises:
        UserError: if it is no tar file, cut short or empty, or a member comes twice, is no plain file, or has a name not in UTF-8.
    """
    try:
        state = _state(require_regular(path))
        cache = path.with_name(f"{path.name}.index")
        kept = _kept(cache, state)
        if kept is not None:
            return kept
        found = _scanned(path)
    except OSError as error:
        raise UserError(f"cannot read the shard {path} ({error.strerror}): check that this user may") from error
    if not found:
        raise UserError(f"the shard {path} holds no samples: take it out of the pattern")
    if _is_free(cache):
        _keep(cache, state, found)
    return found


def _state(path: Path) -> dict[str, Any]:
    """What tells a shard's content from another's without reading all of it: its size, time, and a hash of parts of it."""
    status = path.stat()
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        digest.update(file.read(EDGE))
        for part in range(1, PROBES + 1):
            file.seek(status.st_size * part // (PROBES + 1))
            digest.update(file.read(PROBE))
        file.seek(max(status.st_size - EDGE, 0))
        digest.update(file.read(EDGE))
    return {"version": VERSION, "bytes": status.st_size, "modified_ns": status.st_mtime_ns, "hash": digest.hexdigest()}


def _scanned(path: Path) -> Samples:
    found: dict[str, dict[str, tuple[int, int]]] = {}
    with path.open("rb") as file:
        _refuse_compression(path, file.read(6))
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.size < 0:  # which would lead back to its own header, for ever
                    raise tarfile.ReadError("negative size")
                _add(path, found, member)
            end = archive.offset
    except UserError:
        raise
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise UserError(f"the shard {path} is no uncompressed tar file, or is cut short ({error}): restore it") from error
    with path.open("rb") as file:
        file.seek(end)
        if file.read(len(END)) != END:  # tarfile takes the end of the file, or what is no header, for that of the archive
            raise UserError(f"the shard {path} is cut short or damaged after {len(found)} samples: restore it")
    return list(found.items())


def _refuse_compression(path: Path, start: bytes) -> None:
    kind = next((kind for magic, kind in COMPRESSED.items() if start.startswith(magic)), None)
    if kind:
        raise UserError(f"the shard {path} is no uncompressed tar file but {kind}, of which no member can be sought: unpack it")


def _add(path: Path, found: dict[str, dict[str, tuple[int, int]]], member: tarfile.TarInfo) -> None:
    """Put a member to the others of its sample, which is what comes before the first dot of its name."""
    folder, _, base = member.name.rpartition("/")
    name, _, suffix = base.partition(".")
    if member.isdir() or not name or name.startswith("__") or _is_hidden(folder):  # .hidden and __meta__ files are of no sample
        return
    try:
        member.name.encode()
    except UnicodeEncodeError:
        raise UserError(f"the shard {path} has a member {member.name!a}, whose name is not in UTF-8: rename it") from None
    if not member.isreg() or member.issparse():
        raise UserError(
            f"{member.name} in the shard {path} is a link, sparse, or no file: write the shard anew with links followed (tar -h "
            "--hard-dereference)"
        )
    sample = found.setdefault(f"{folder}/{name}".lstrip("/"), {})
    if suffix.lower() in sample:
        raise UserError(f"{member.name} comes twice in the shard {path}: give each sample a name of its own")
    sample[suffix.lower()] = member.offset_data, member.size


def _is_hidden(folder: str) -> bool:
    return any(part == "__MACOSX" or (part[:1] == "." and part not in (".", "..")) for part in folder.split("/"))


def _kept(cache: Path, state: dict[str, Any]) -> Samples | None:
    """The samples of an index, None if it is not of this state, damaged, or not there."""
    try:
        if not cache.is_file():
            return None
        first, _, second = cache.read_bytes().partition(b"\n")
        head = json.loads(first)
        if head == {"format": FORMAT, "state": state, "checksum": _checksum(second)}:
            samples: Samples = json.loads(second)
            return samples
    except (OSError, ValueError, RecursionError):
        pass
    return None


def _is_free(cache: Path) -> bool:
    """Whether an index may be written to a place: nothing is there, or one of ours."""
    if not os.path.lexists(cache):
        return True
    try:
        if not cache.is_file():
            return False
        with cache.open("rb") as file:
            return file.read(max(map(len, OWN_STARTS))).startswith(OWN_STARTS)
    except OSError:
        return False


def _keep(cache: Path, state: dict[str, Any], found: Samples) -> None:
    """Write an index whole or not at all: without one, the next run reads the shard through again."""
    second = json.dumps(found).encode()
    head = {"format": FORMAT, "state": state, "checksum": _checksum(second)}
    temporary = cache.with_name(f".{cache.name}.{os.getpid()}")
    try:
        temporary.write_bytes(json.dumps(head).encode() + b"\n" + second)
        os.replace(temporary, cache)
    except OSError:
        with contextlib.suppress(OSError):  # a mount for reading alone refuses even to remove what is not there
            temporary.unlink(missing_ok=True)


def _checksum(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
