"""One owner for an output folder: two runs in one would mix their files.

The owner holds a lock of the operating system's, which ends with it however it ends, and writes down who it is. A lock that another
machine holds may not be seen from here, so what another machine wrote is taken to be true.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tracer.errors import UserError
from tracer.training import distributed

NAME = "lock.json"
_LONGEST = 4096  # bytes of it
_TAKEN = (errno.EACCES, errno.EAGAIN)
_held: dict[tuple[int, Path], int] = {}
"""Open files by process and path: the operating system keeps no process out of its own locks, and gives them to no fork of it."""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Own a folder, which is made if need be; of several processes the first owns it for all.

    Raises:
        UserError: in all processes, if the folder cannot be written to or another run has it.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    distributed.by_first(lambda: _take(folder, made))
    try:
        yield
    finally:
        if distributed.is_first():
            _release(folder, made)


def _take(folder: Path, made: list[Path]) -> None:
    path = (folder / NAME).resolve()
    if (os.getpid(), path) in _held:
        raise UserError(_in_use(folder, _me()))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file, free = _opened(path)
    except OSError as error:
        _remove_empty(made)
        raise UserError(f"cannot write into {folder} ({error.strerror}): choose another output folder") from error
    owner = _owner(os.pread(file, _LONGEST, 0))  # not by its name: closing a second file would end the lock
    if not free or (owner and owner["host"] != socket.gethostname()):
        os.close(file)
        raise UserError(_in_use(folder, owner) + (f"; if that run is dead, delete {path}" if free else ""))
    os.ftruncate(file, 0)
    os.write(file, json.dumps(_me()).encode())
    _held[os.getpid(), path] = file


def _release(folder: Path, made: list[Path]) -> None:
    path = (folder / NAME).resolve()
    with contextlib.suppress(OSError):
        path.unlink()  # while it is locked: who opened it before looks again
    os.close(_held.pop((os.getpid(), path)))
    _remove_empty(made)


def _remove_empty(folders: list[Path]) -> None:
    """Take away folders that were made for a run that left nothing in them, the innermost first."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _opened(path: Path) -> tuple[int, bool]:
    """The lock file, open, and whether it could be locked.

    The lock is this process's alone: one of the open file's would live on in the workers that it forks.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _TAKEN:
                return file, False
            # a file system without locks: what is written down has to do
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), path.stat()):
                return file, True
        os.close(file)  # its owner took it away meanwhile


def _me() -> dict[str, Any]:
    return {"host": socket.gethostname(), "process": os.getpid()}


def _owner(written: bytes) -> dict[str, Any] | None:
    """Who is written down; None where that is nobody, or someone who has not come to it yet."""
    try:
        owner = json.loads(written)
        return {"host": owner["host"], "process": owner["process"]}
    except (ValueError, KeyError, TypeError):
        return None


def _in_use(folder: Path, owner: dict[str, Any] | None) -> str:
    who = f"process {owner['process']} on {owner['host']}" if owner else "another process"
    return f"{folder} is in use by {who}: wait for that run, stop it, or choose another output folder"
