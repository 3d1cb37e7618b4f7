"""Whatever ends a command is a sentence that fits its cause: never a traceback, unless one is asked for."""

import errno
import os
import pickle
import subprocess
import sys

import pytest
import torch

from tracer import cli, commands
from tracer.errors import Stopped, UserError
from tracer.terminal import faults

INTERNAL = "a fault of tracer's own"


def too_deep():
    return too_deep()


def too_large():
    torch.empty(2**60)


@pytest.fixture
def failing(monkeypatch, tmp_path):
    """`tracer strategies`, ended by an exception; its exit code. Traceback files are written to `tmp_path`."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv(faults.SHOW, raising=False)

    def run(error):
        def raising(options):
            raise error

        monkeypatch.setattr(commands, "strategies", raising)
        return cli.main(["strategies"])

    return run


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("no good: mend it"), 2, "tracer: no good: mend it\n"),
        (Stopped("stopped at step 4: the same command goes on there", 143), 143, "goes on there"),
        (KeyboardInterrupt(), 130, "goes on from the last checkpoint"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
        (OSError(errno.ENOSPC, "No space left on device", "/full/x"), 2, "/full/x: No space left on device; free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 2, "change its permissions"),
        (OSError(errno.EROFS, "Read-only file system", "x"), 2, "can be written to"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x"), 2, "a shorter name"),
        (OSError(errno.EMFILE, "Too many open files"), 2, "ulimit -n"),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", "x"), 2, "in a circle"),
        (OSError("the connection was reset"), 2, "the connection was reset"),
        (MemoryError(), 2, "optimization.micro_batch_size"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), 2, "optimization.micro_batch_size"),
        (RuntimeError("[pair.cc:561] Connection closed by peer [127.0.0.1]:5018."), 1, "another process of this run is gone"),
        (ModuleNotFoundError("No module named 'transformers'", name="transformers"), 2, "pip install transformers"),
        (ValueError("shape (3, 4)\nand more"), 1, f"{INTERNAL}, not of your input: ValueError: shape"),
        (AssertionError(), 1, "AssertionError: no more is known"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_each_cause_has_its_advice(failing, capsys, error, code, words):
    assert failing(error) == code
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told
    assert bool(told) == bool(words)
    assert all(line.startswith("tracer: ") for line in told.splitlines())


@pytest.mark.parametrize(("broken", "words"), [(too_deep, "nested too deeply"), (too_large, "out of memory")])
def test_real_exhaustion_is_recognised(failing, capsys, broken, words):
    with pytest.raises(RuntimeError) as raised:  # a RecursionError is one
        broken()
    assert failing(raised.value) == 2
    assert words in capsys.readouterr().err


def test_traceback_of_an_internal_fault_is_kept_in_a_file_or_shown(failing, capsys, monkeypatch, tmp_path):
    assert failing(ZeroDivisionError("by zero")) == 1
    (kept,) = tmp_path.glob("tracer-*.txt")
    assert str(kept) in capsys.readouterr().err
    assert "ZeroDivisionError: by zero" in kept.read_text()
    assert "raise error" in kept.read_text()
    monkeypatch.setenv(faults.SHOW, "1")
    assert failing(ZeroDivisionError("by zero")) == 1
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert INTERNAL in told
    assert len(list(tmp_path.glob("tracer-*.txt"))) == 1


def test_no_place_for_the_traceback_is_no_further_fault(failing, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    assert failing(ZeroDivisionError("by zero")) == 1
    assert f"{faults.SHOW}=1 shows more" in capsys.readouterr().err


class TestLongAnswers:
    def test_many_lines_are_cut_and_counted(self, failing, capsys):
        assert failing(UserError("\n".join(f"error {number}" for number in range(57)))) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == faults.LINES
        assert lines[-1] == "tracer: and 38 more: mend these first"

    def test_a_screenful_is_left_whole(self):
        text = "\n".join(f"error {number}" for number in range(faults.LINES))
        assert faults.shown(text) == "\n".join(f"tracer: error {number}" for number in range(faults.LINES))

    def test_long_lines_keep_their_beginning_and_what_to_do(self):
        told = faults.shown("what is wrong " + "x" * 5000 + ": do this")
        assert told.startswith("tracer: what is wrong x")
        assert told.endswith("x: do this")
        assert len(told) < 1000

    def test_few_long_lines_are_cut_by_their_characters(self):
        told = faults.shown("\n".join("y" * 400 for _ in range(9)))
        assert len(told) < 1000
        assert told.endswith("and 7 more: mend these first")


def test_stopping_passes_between_processes_whole():
    again = pickle.loads(pickle.dumps(Stopped("goes on at 3", 130)))
    assert (str(again), again.code) == ("goes on at 3", 130)


def test_a_closed_pipe_and_a_full_device_are_told_quietly():
    command = [sys.executable, "-m", "tracer", "strategies"]
    reader, writer = os.pipe()
    os.close(reader)
    closed = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (closed.returncode, closed.stderr) == (141, "")
    with open("/dev/full", "w") as full:
        told = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert told.returncode == 2
    assert told.stderr.startswith("tracer: ")
    assert len(told.stderr.splitlines()) == 1
