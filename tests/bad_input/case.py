"""One mistake of a user's, given to the command line: what lies in the folder, what is typed, and what has to be answered."""

import re
import shlex
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tracer.cli import main

SECONDS_TO_ANSWER = 120  # of a command that takes a few, and hangs if it takes that many
LONGEST_ANSWER = 1000  # characters: what a screen shows


class Late(BaseException):
    """No answer in time; no `Exception`, for those a command turns into an answer."""


class Case(NamedTuple):
    """A mistake.

    Attributes:
        name: what it is, for the test's name.
        command: what follows `tracer`; words are split as a shell does. `base.yaml` (see `folder`) is a sound configuration.
        answer: a regular expression that the message holds.
        files: what is written into the folder before, each as text, as bytes or by a function of its path.
        ruins: paths that must not be there afterwards.
    """

    name: str
    command: str
    answer: str
    files: Mapping[str, str | bytes | Callable[[Path], object]] = {}
    ruins: tuple[str, ...] = ("run",)


def each(cases: list[Case]):
    """Parametrize a test by cases."""
    assert len({case.name for case in cases}) == len(cases), "every case has a name of its own"
    return pytest.mark.parametrize("case", cases, ids=[case.name.replace(" ", "-") for case in cases])


def assert_told(case: Case, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command exits with code 2 and one sentence a fault, in time, and leaves nothing half-written in the folder."""
    for name, content in case.files.items():
        _write(folder / name, content)
    code = _exit_code(shlex.split(case.command))
    told = capsys.readouterr().err
    assert code == 2, told
    assert "Traceback" not in told
    assert len(told) <= LONGEST_ANSWER, told
    assert all(line.startswith("tracer: ") for line in told.splitlines()), told
    assert re.search(case.answer, told), told
    assert not [ruin for ruin in case.ruins if (folder / ruin).exists()]


def _write(path: Path, content: str | bytes | Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)


def _exit_code(arguments: list[str]) -> int | str | None:
    def late(signum, frame):
        raise Late(f"no answer within {SECONDS_TO_ANSWER} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS_TO_ANSWER)
    try:
        return main(arguments)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
