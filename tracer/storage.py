"""Tensors on disk: safetensors written whole under a temporary name and then renamed; never unpickled."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from tracer.errors import UserError

if TYPE_CHECKING:
    import torch


def save_file(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    """safetensors' function, imported once it is needed: who writes text alone shall not wait for torch."""
    import safetensors.torch

    safetensors.torch.save_file(tensors, path, metadata)


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, Any]) -> None:
    """Write tensors and JSON metadata to `path` so that a reader finds either the old file or the whole new one.

    Raises:
        UserError: if the file cannot be written, for a full disk say; nothing half-written stays behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(whole, temporary, metadata={"tracer": json.dumps(metadata)})
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # safetensors makes its files private
        os.replace(temporary, path)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(f"cannot write {path}: {_reason(error)}; free some space or choose another folder") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file so that a reader finds either the old one or the whole new one."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


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
        return json.loads((file.metadata() or {}).get("tracer", "{}"))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}: check the path") from error
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is damaged or cut short ({error}): replace it") from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full"
    return getattr(error, "strerror", None) or str(error)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive: torch's other zip files hold no constants."""
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith("/constants.pkl") for name in file.namelist())
    except zipfile.BadZipFile:
        return False
