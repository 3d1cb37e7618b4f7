"""The one way in which images are found in folders.

Links to files and folders are followed; entries that are hidden or a system's are passed over; images are regular files. Names
are compared in Unicode's composed form (NFC), because macOS writes them decomposed. What is left out is counted and told.
"""

import logging
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tracer.data.images import SUFFIXES
from tracer.errors import UserError

IMAGE_SUFFIXES = frozenset(f".{suffix}" for suffix in SUFFIXES)
OTHER_PICTURES = frozenset(
    {
        ".arw",
        ".avif",
        ".cr2",
        ".dng",
        ".eps",
        ".gif",
        ".heic",
        ".heif",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jxl",
        ".nef",
        ".psd",
        ".svg",
        ".tga",
    }
)
LITTER = frozenset(
    {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
)  # of macOS, NAS, Windows, ext4
READ = ", ".join(sorted(IMAGE_SUFFIXES))
_log = logging.getLogger("tracer")


class Listing(NamedTuple):
    """Images in order, and how many entries were left out, by reason."""

    images: list[Path]
    left_out: Counter[str]


def images(folder: Path) -> Listing:
    """The images in a folder and all below it, each folder once, however many links lead to it.

    Raises:
        UserError: if there is no such folder, a link leads nowhere, or this user may not read a folder or an image.
    """
    found: list[Path] = []
    left_out: Counter[str] = Counter()
    met, waiting = _above(require_folder(folder)), [folder]
    while waiting:
        here = waiting.pop()
        if (place := _place(here)) in met:
            left_out["a link to a folder met before"] += 1
            continue
        met.add(place)
        for entry in _entries(here, left_out):
            if entry.is_dir():
                waiting.append(Path(entry.path))
            elif _is_image(entry, left_out):
                found.append(Path(entry.path))
    _require_readable(found)
    return Listing(sorted(found, key=lambda path: nfc(str(path)).split(os.sep)), left_out)


def subfolders(folder: Path) -> tuple[list[Path], Counter[str]]:
    """The folders in a folder in order of their names, class folders say, and what was left out beside them.

    Raises:
        UserError: as `images` does.
    """
    left_out: Counter[str] = Counter()
    above = {*_above(require_folder(folder)), _place(folder)}
    found = []
    for entry in _entries(folder, left_out):
        if entry.is_dir():
            if _place(Path(entry.path)) in above:
                left_out["a link to a folder met before"] += 1
            else:
                found.append(Path(entry.path))
        elif _is_image(entry, left_out):
            left_out["in no class folder"] += 1
    return found, left_out


def tell(folder: Path, left_out: Counter[str]) -> None:
    """Say once what was left out of a folder."""
    if +left_out:
        _log.warning("left out of %s: %s", folder, counted(left_out))


def counted(left_out: Counter[str]) -> str:
    """What was left out in words."""
    return ", ".join(f"{number} {reason}" for reason, number in sorted((+left_out).items()))


def listed(table: Path, names: Sequence[Path]) -> list[Path]:
    """The images that a table names, as they are called on the disk.

    Raises:
        UserError: if one is not there, no regular file, or not this user's to read.
    """
    directory = cache(_by_composed_name)
    found = [name if os.path.isfile(name) else _in_another_form(name, directory) for name in names]
    absent = [name for name, place in zip(names, found, strict=True) if place is None]
    if absent:
        reason = "are no regular files" if os.path.exists(absent[0]) else "are not there"
        raise UserError(f"{table} names {len(absent)} images that {reason}, first {_short(absent[0])}: check the paths")
    there = [place for place in found if place is not None]
    _require_readable(there)
    return there


def require_folder(path: Path) -> Path:
    """The path, if it is a folder's.

    Raises:
        UserError: if not.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise UserError(f"there is no folder {path}: check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        raise UserError(f"cannot open the folder {_short(path)} ({reason}): check the path") from None
    if not stat.S_ISDIR(mode):
        raise UserError(f"{path} is not a folder: check the path")
    return path


def nfc(name: str) -> str:
    """A name in Unicode's composed form."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _entries(folder: Path, left_out: Counter[str]) -> Iterator[os.DirEntry[str]]:
    """What is in a folder, in order of names, without what is hidden."""
    try:
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: nfc(entry.name))
    except OSError as error:
        raise UserError(f"cannot list the folder {folder} ({error.strerror}): check that this user may read it") from error
    for entry in entries:
        if entry.name.startswith(".") or entry.name in LITTER:
            left_out["hidden"] += entry.is_dir() or _suffix(entry.name) in IMAGE_SUFFIXES
            continue
        if entry.is_symlink():
            _require_target(entry)
        yield entry


def _require_target(link: os.DirEntry[str]) -> None:
    try:
        os.stat(link)
    except OSError as error:
        target = os.readlink(link)
        raise UserError(f"{link.path} is a link to {target} ({error.strerror}): restore what it leads to, or remove it") from None


def _is_image(entry: os.DirEntry[str], left_out: Counter[str]) -> bool:
    suffix = _suffix(entry.name)
    if suffix in OTHER_PICTURES:
        left_out[f"{suffix} (not read)"] += 1
    if suffix not in IMAGE_SUFFIXES:
        return False
    left_out["no regular file"] += not entry.is_file()
    return entry.is_file()


def _require_readable(paths: Sequence[Path]) -> None:
    closed = [path for path in paths if not os.access(path, os.R_OK)]
    if closed:
        raise UserError(f"{len(closed)} images are not this user's to read, first {closed[0]}: give the right to read them")


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _place(folder: Path) -> tuple[int, int]:
    """What is the same for all paths that lead to a folder."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _above(folder: Path) -> set[tuple[int, int]]:
    """The places of all folders that a folder lies in, by its path or by where that leads."""
    return {_place(parent) for path in (folder.absolute(), folder.resolve()) for parent in path.parents}


def _in_another_form(path: Path, directory: Callable[[Path], dict[str, str]]) -> Path | None:
    """The file that is called as a path is but for the Unicode form of its names, if there is one."""
    if str(path).isascii():
        return None
    here = Path(path.anchor)
    for part in path.parts[bool(path.anchor) :]:
        here /= directory(here).get(nfc(part), part)
    return here if os.path.isfile(here) else None


def _by_composed_name(folder: Path) -> dict[str, str]:
    try:
        return {nfc(name): name for name in os.listdir(folder)}
    except OSError:
        return {}


def _short(path: Path) -> str:
    """A path for a sentence, in which a caption that was taken for one would not fit."""
    text = str(path)
    return text if len(text) <= 300 else f"{text[:300]}..."
