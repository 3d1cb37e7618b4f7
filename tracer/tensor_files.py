"""Tensors on disk: safetensors, written whole or not at all, and checked."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from tracer.errors import UserError
from tracer.storage import require_file

_UNSEALED = "0" * hashlib.sha256().digest_size * 2
_SEAL = re.compile(rb'sha256\\?": ?\\?"([0-9a-f]{64})')  # in files of earlier versions under a key beside "tracer"
_CHUNK = 1 << 24  # bytes
_LONGEST_HEADER = 100_000_000  # bytes, which safetensors itself allows


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors and JSON metadata to `path` so that a reader finds either the old file or the whole new one.

    A checksum goes into the metadata (see `require_sound`). Tensors that share memory, as tied weights do, are written each. What
    is equal gives equal files: `storage.content_name` tells by them whether weights are the same.

    Raises:
        UserError: if the file cannot be written, for a full disk say; nothing half-written stays behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sealed = json.dumps({"sha256": _UNSEALED, **metadata})  # under one key: safetensors writes several in any order
        save_file(_apart(tensors), temporary, metadata={"tracer": sealed})
        _seal(temporary)
        temporary.chmod(0o666 & ~_umask())  # safetensors makes its files private
        os.replace(temporary, path)
    except (OSError, RuntimeError, SafetensorError) as error:
        advice = "free some space or choose another folder" if _is_full(error) else "choose another folder"
        raise UserError(f"cannot write {path}: {_reason(error)}; {advice}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _apart(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors on the CPU, each with memory of its own: safetensors refuses weights that share it, as tied ones do."""
    apart: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        whole = tensor.detach().cpu().contiguous()
        memory = whole.untyped_storage().data_ptr()
        apart[name] = whole.clone() if memory in seen else whole
        seen.add(memory)
    return apart


def require_sound(path: Path) -> None:
    """Compare a file from `save_tensors` with its checksum, the SHA-256 of the whole file with zeros for the checksum.

    Raises:
        UserError: if a bit is wrong, or the file is absent or has no checksum.
    """
    try:
        with path.open("rb") as file:
            kept, _, computed = _checksum(file)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}: check the path") from error
    except OSError as error:
        raise UserError(f"cannot read {path} ({_reason(error)}): replace it") from error
    if kept != computed:
        reason = "its checksum does not match" if kept else "it has no checksum, or is of an earlier version"
        raise UserError(f"{path} is damaged or cut short ({reason}): replace it")


def _seal(path: Path) -> None:
    """Put the checksum in the place that is kept for it, and see the file on the disk."""
    with path.open("r+b") as file:
        _, place, checksum = _checksum(file)
        file.seek(place)
        file.write(checksum)
        file.flush()
        os.fsync(file.fileno())


def _checksum(file: IO[bytes]) -> tuple[bytes | None, int, bytes]:
    """The checksum that a file has, the position of it in the file, and the one that it should have."""
    length = file.read(8)
    header = file.read(min(int.from_bytes(length, "little"), _LONGEST_HEADER))
    found = _SEAL.search(header)
    kept, start = (found[1], found.start(1)) if found else (None, 0)
    sha = hashlib.sha256(length + header[:start] + _UNSEALED.encode() + header[start + len(_UNSEALED) :])
    while chunk := file.read(_CHUNK):
        sha.update(chunk)
    return kept, len(length) + start, sha.hexdigest().encode()


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file, on the CPU.

    Raises:
        UserError: if the file is absent, cut short or not of this format.
    """
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)


def load_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a file from `save_tensors`; raises as `load_tensors` does."""
    with _opened(path) as file:
        text = (file.metadata() or {}).get("tracer", "{}")
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"the metadata of {path} are damaged: replace it") from error
    if not isinstance(metadata, dict):
        raise UserError(f"the metadata of {path} are damaged: replace it")
    metadata.pop("sha256", None)
    return metadata


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is damaged or cut short ({error}): replace it") from error


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of tensors: their names, types, shapes and bytes."""
    sha = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive: torch's other zip files hold no constants."""
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith("/constants.pkl") for name in file.namelist())
    except (zipfile.BadZipFile, ValueError, RuntimeError):  # of a way of packing, or a password, that is not known
        return False


def _is_full(error: Exception) -> bool:
    """Whether a disk is; safetensors has the system's number in its text alone."""
    return getattr(error, "errno", None) == errno.ENOSPC or f"os error {errno.ENOSPC}" in str(error)


def _reason(error: Exception) -> str:
    if _is_full(error):
        return "the disk is full"
    return getattr(error, "strerror", None) or (str(error).strip().splitlines() or [type(error).__name__])[0]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
