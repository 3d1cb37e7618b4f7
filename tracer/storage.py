"""Text files written whole or not at all, and files looked at before they are read."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import math
import os
import shutil
import stat
from pathlib import Path
from typing import Any

from tracer.errors import UserError

_SHOWN = 300  # characters of a path in a sentence, in which a caption that was taken for one would not fit


def write_text(path: Path, text: str) -> None:
    """Write a text file so that a reader finds either the old one or the whole new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        if _is_of_the_dead(left):
            left.unlink(missing_ok=True)


def _is_of_the_dead(temporary: Path) -> bool:
    """Whether the process that made a temporary file was killed before it could rename or remove it."""
    number = temporary.suffix[1:]
    if not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)  # asks, and does nothing
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def link(path: Path, target: Path) -> None:
    """Give a file in the same folder a second name; where there are no links, a copy of that name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(target.name)
    except OSError:
        shutil.copyfile(target, temporary)
    os.replace(temporary, path)


def json_text(values: Any) -> str:
    """Values as JSON, in which NaN and infinite numbers, which JSON has not, are null."""
    return json.dumps(_without_nonfinite(values), indent=1, allow_nan=False) + "\n"


def _without_nonfinite(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _without_nonfinite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_without_nonfinite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def require_regular(path: Path, subject: str = "") -> Path:
    """The path, if it is a regular file's: reading from a pipe or a device may never end.

    Args:
        path: where it should be.
        subject: what the sentence begins with in place of the path, "--weights is w.pt, which" say.

    Raises:
        UserError: if it is absent, out of reach, a folder, a device or a pipe.
    """
    shown = str(path)[:_SHOWN]
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        absent = f"{subject} does not exist" if subject else f"there is no file {shown}"
        raise UserError(f"{absent}: check the path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {shown}: {reason}; check the path and its permissions") from error
    if stat.S_ISDIR(mode):
        raise UserError(f"{subject or shown} is a folder: name a file in it")
    if not stat.S_ISREG(mode):
        raise UserError(f"{subject or shown} is a device or a pipe: name a file")
    return path


def require_file(path: Path) -> None:
    """Refuse what cannot be a file of tensors, without reading more than its beginning.

    Raises:
        UserError: if it is no regular file, unreadable, empty, or a stand-in for a file that was not fetched.
    """
    require_regular(path)
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the path and its permissions") from error
    if not start:
        raise UserError(f"{path} is damaged or cut short (it is empty): replace it")
    if start.startswith(b"version https://git-lfs"):
        raise UserError(f"{path} is a pointer of git-LFS to a file that was not fetched: run git lfs pull")
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise UserError(f"{path} is a web page, not the file that it should link to: download the file itself")


def content_name(path: Path) -> str:
    """A file's name without suffix, and the start of a digest: files called alike have another, wherever they lie."""
    with path.open("rb") as file:
        return f"{path.stem}-{hashlib.file_digest(file, 'sha256').hexdigest()[:8]}"


def name_for(what: str, *files: Path | None) -> str:
    """WHAT-NAME-NAME, with the `content_name` of each file that is given: what is written of them."""
    return "-".join([what, *(content_name(path) for path in files if path)])
