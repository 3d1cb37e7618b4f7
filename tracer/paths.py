"""Paths as users write them, and what is looked at before a command writes or reads there."""

import os
from pathlib import Path

from tracer.errors import UserError

LONGEST_NAME = 255  # bytes: what file systems take
LONGEST_PATH = 4095


def at_home(text: str) -> str:
    """A path's text with a leading ~ or ~user replaced by that home folder.

    Raises:
        ValueError: for a user without a home folder.
    """
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        raise ValueError(
            f"there is no home folder {text.split('/')[0]}: write the path out, or ./ before a name that begins with ~"
        )
    return expanded


def located(text: str | Path) -> Path:
    """The path that a text names, with ~ as the home folder.

    Raises:
        ValueError: if it is empty, holds a NUL, or is longer than file systems take.
    """
    path = at_home(str(text))
    if not path.strip():
        raise ValueError("a path cannot be empty: write one, or . for the folder that the command runs in")
    if "\0" in path:
        raise ValueError("a path cannot hold a NUL character: remove it")
    if len(os.fsencode(path)) > LONGEST_PATH or any(len(os.fsencode(name)) > LONGEST_NAME for name in path.split("/")):
        raise ValueError(f"a name of over {LONGEST_NAME} bytes, or a path of over {LONGEST_PATH}, is too long: shorten it")
    return Path(path)


def given(text: str, option: str) -> Path:
    """The path that an option names, `~` being the home folder.

    Raises:
        UserError: if it can be none.
    """
    try:
        return located(text)
    except ValueError as error:
        raise UserError(f"{option} is {text!r}: {error}") from None


def require_folder(path: Path, option: str) -> None:
    """Refuse a folder that is a file, or that could neither be made nor written to."""
    there = _existing(path)
    if not there.is_dir():
        where = "it" if there == path else f"its part {there}"
        raise UserError(f"{option} is {path}, but {where} is a file: choose another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{option} is {path}, but {there} cannot be written to: change its permissions or choose another folder")


def require_file(path: Path, option: str) -> None:
    """Refuse a file to write that is a folder or anything but a file, or whose folder could not be written to."""
    if path.exists() and not path.is_file():
        raise UserError(f"{option} is {path}, which is no file but a folder or device: name a file")
    require_folder(path.parent, option)


def _existing(path: Path) -> Path:
    """The path itself, or the nearest of its folders that is there (a link to nothing counts as what it is: in the way)."""
    while not (path.exists() or path.is_symlink()) and path != path.parent:
        path = path.parent
    return path
