"""An output folder has one owner."""

import json
import os
import signal
import socket
import threading

import pytest

from tests.processes import in_processes
from tracer.errors import UserError
from tracer.runs import lock


def forked(work):
    """The exit code of `work` in another process."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except UserError as error:
            os.write(2, str(error).encode())
            os._exit(2)
        except BaseException:
            os._exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def own(folder):
    with lock.held(folder):
        pass


def killed_owner(folder):
    """A process that owns the folder and is killed; what it left behind."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with lock.held(folder):
            os.write(writing, b".")
            signal.pause()
        os._exit(1)
    os.read(reading, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return child


def test_second_process_is_refused_and_told_who_is_in(tmp_path, capfd):
    with lock.held(tmp_path / "run"):
        assert forked(lambda: own(tmp_path / "run")) == 2
        assert forked(lambda: own(tmp_path / "other")) == 0
    told = capfd.readouterr().err
    assert f"run is in use by process {os.getpid()} on {socket.gethostname()}" in told
    assert "choose another output folder" in told
    assert forked(lambda: own(tmp_path / "run")) == 0


def test_one_process_owns_a_folder_once(tmp_path):
    with lock.held(tmp_path), pytest.raises(UserError, match="in use"):
        own(tmp_path)
    own(tmp_path)


def test_reading_who_is_in_does_not_end_the_lock(tmp_path):
    """Closing any file of the same name would, for the operating system's locks of a process."""
    killed_owner(tmp_path)
    with lock.held(tmp_path):
        assert forked(lambda: own(tmp_path)) == 2


def test_folder_of_a_dead_owner_is_taken_over(tmp_path):
    dead = killed_owner(tmp_path)
    assert json.loads((tmp_path / lock.NAME).read_text())["process"] == dead
    with lock.held(tmp_path):
        assert json.loads((tmp_path / lock.NAME).read_text())["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_what_a_dead_owner_forked_does_not_hold_the_lock(tmp_path):
    """As background workers do for some seconds."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with lock.held(tmp_path):
            worker = os.fork()
            if worker == 0:
                signal.pause()
            os.write(writing, str(worker).encode())
            signal.pause()
    worker = int(os.read(reading, 20))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    own(tmp_path)
    assert list(tmp_path.iterdir()) == []
    os.kill(worker, signal.SIGKILL)


@pytest.mark.parametrize("written", [b"", b"{", b"[]", b"null", b'{"host": 1}', b"\xff"])
def test_lock_that_says_nothing_is_taken_over(tmp_path, written):
    (tmp_path / lock.NAME).write_bytes(written)
    own(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_another_machine_wrote_is_believed(tmp_path):
    (tmp_path / lock.NAME).write_text(json.dumps({"host": "elsewhere", "process": 7}))
    with pytest.raises(UserError, match=r"process 7 on elsewhere.*if that run is dead, delete .*lock.json"):
        own(tmp_path)
    (tmp_path / lock.NAME).unlink()
    own(tmp_path)


def test_nothing_is_left_where_nothing_was_written(tmp_path):
    with lock.held(tmp_path / "deep" / "run"):
        assert (tmp_path / "deep" / "run" / lock.NAME).exists()
    assert list(tmp_path.iterdir()) == []
    with lock.held(tmp_path / "deep" / "run"):
        (tmp_path / "deep" / "run" / "mine").write_text("")
    assert [path.name for path in (tmp_path / "deep" / "run").iterdir()] == ["mine"]


@pytest.mark.parametrize("number", range(3))
def test_of_many_that_come_at_once_one_is_in(tmp_path, number):
    """Also while an owner is leaving and takes the file away."""

    def visit():
        for _ in range(40):
            try:
                with lock.held(tmp_path):
                    (tmp_path / "inside").mkdir()  # fails if anyone is in
                    (tmp_path / "inside").rmdir()
            except UserError:
                pass

    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            try:
                visit()
                os._exit(0)
            except BaseException:
                os._exit(1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4


def test_processes_of_one_run_share_it(tmp_path):
    def work(index):
        with lock.held(tmp_path / "run"):
            return json.loads((tmp_path / "run" / lock.NAME).read_text())["process"] if index == 0 else os.getpid()

    first, second = in_processes(tmp_path / "a", work)
    assert first != second
    with lock.held(tmp_path / "run"):
        answers = in_processes(tmp_path / "b", work)
    assert all("is in use by process" in answer for answer in answers)


def test_other_threads_are_refused_too(tmp_path):
    answers = []

    def enter():
        try:
            own(tmp_path)
        except UserError as error:
            answers.append(str(error))

    with lock.held(tmp_path):
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
    assert len(answers) == 1
