"""Paths as users write them, in configurations and on the command line."""

import os
from pathlib import Path

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
