"""Tasks in several processes: order, failures that stay alone, processes that are killed, and an end that leaves none behind."""

import multiprocessing
import os
import signal
import time

import pytest

from tracer.errors import Stopped, UserError
from tracer.runs import pool
from tracer.runs.pool import Failure

CONTEXT = multiprocessing.get_context("forkserver")


def work(task):
    """Do what the task says."""
    what, value = task
    if what == "refuse":
        raise UserError(value)
    if what == "fault":
        raise ZeroDivisionError(value)
    if what == "die":
        os.kill(os.getpid(), value)
    if what == "leave":
        os._exit(value)
    if what == "save when asked to end":
        signal.signal(signal.SIGTERM, lambda *_: (value.with_suffix(".saved").touch(), os._exit(0)))
        value.touch()
        time.sleep(60)
    if what == "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        value.touch()
        time.sleep(60)
    return value


def prepare():
    """Nothing."""


def outcomes(tasks, processes=2, waiting=lambda: None):
    return pool.outcomes(work, tasks, processes, CONTEXT, prepare, waiting)


def test_outcomes_come_in_the_order_of_the_tasks():
    assert outcomes([("give", number) for number in range(7)]) == list(range(7))
    assert outcomes([]) == []


def test_large_outcomes_pass():
    assert outcomes([("give", "x" * 3_000_000)] * 2) == ["x" * 3_000_000] * 2


def test_failures_stay_alone():
    found = outcomes([("refuse", "no good"), ("give", 1), ("fault", "by zero"), ("give", 2)])
    assert found[0] == Failure("no good")
    assert found[1::2] == [1, 2]
    assert "ZeroDivisionError: by zero" in found[2].reason


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_process_costs_its_own_task(processes):
    found = outcomes([("die", signal.SIGKILL), *[("give", n) for n in range(4)], ("leave", 3), ("give", 4)], processes)
    assert "SIGKILL" in found[0].reason
    assert "fewer processes" in found[0].reason
    assert "code 3" in found[5].reason
    assert [each for each in found if not isinstance(each, Failure)] == [0, 1, 2, 3, 4]


def interrupted_once(path, error):
    """Something to call while waiting, that raises once the task has begun."""

    def waiting():
        if path.exists():
            raise error

    return waiting


def test_interruption_gives_those_at_work_time_to_save(tmp_path):
    path = tmp_path / "task"
    tasks = [("save when asked to end", path), *[("give", n) for n in range(3)]]
    with pytest.raises(KeyboardInterrupt):
        outcomes(tasks, waiting=interrupted_once(path, KeyboardInterrupt()))
    assert (tmp_path / "task.saved").exists()
    assert not multiprocessing.active_children()


def test_those_that_do_not_end_are_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "GRACE_SECONDS", 0.2)
    path = tmp_path / "task"
    with pytest.raises(KeyboardInterrupt):
        outcomes([("ignore", path)], waiting=interrupted_once(path, KeyboardInterrupt()))
    assert not multiprocessing.active_children()


def test_sigterm_ends_it_as_ctrl_c_does(tmp_path):
    path, before = tmp_path / "task", signal.getsignal(signal.SIGTERM)

    def waiting():
        if path.exists():
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match="goes on from the checkpoints") as stopped:
        outcomes([("save when asked to end", path)], waiting=waiting)
    assert stopped.value.code == 143
    assert (tmp_path / "task.saved").exists()
    assert signal.getsignal(signal.SIGTERM) == before
