"""Ctrl-C and SIGTERM: a run ends after the step at hand, which is saved."""

import os
import signal
import threading
import time

import pytest
import torch

from tests.models import RandomBatches, TinyDualEncoder
from tests.processes import in_processes
from tracer.averaging import Clock, Static
from tracer.errors import Stopped, UserError
from tracer.schedules import constant, cosine
from tracer.training import distributed, interruption
from tracer.training.checkpoints import Checkpoints
from tracer.training.interruption import Interruption
from tracer.training.objective import Objective
from tracer.training.teacher import Teacher
from tracer.training.trainer import FIRST_CHECKPOINT, Loop, Trainer

STEPS = 12
SIGNALS = [signal.SIGINT, signal.SIGTERM]


def train(folder, on_step=lambda step: None, steps=STEPS, workers=0, weights=None, **parts):
    model = TinyDualEncoder(seed=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    checkpoints = Checkpoints(folder, {}) if folder else None
    loop = Loop(steps, workers=workers)
    parts = {"batches": RandomBatches(steps), "checkpoints": checkpoints, "on_step": on_step, **parts}
    batches = parts.pop("batches")
    Trainer(model, batches, Objective(weights or {"contrastive": 1.0}), optimizer, loop, **parts).fit()
    return [p.detach() for p in model.parameters()]


def sends(number, at, times=1):
    """A step's end at which signals come."""

    def on_step(step):
        if step == at:
            for _ in range(times):
                os.kill(os.getpid(), number)

    return on_step


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_saves_the_next_step_and_says_so(tmp_path, number):
    before = [signal.getsignal(each) for each in SIGNALS]
    with pytest.raises(Stopped, match="stopped at step 6, which is saved: the same command goes on from there") as stopped:
        train(tmp_path / "run", sends(number, 5))
    assert stopped.value.code == 128 + number
    assert Checkpoints(tmp_path / "run", {}).step() == 6
    assert [signal.getsignal(each) for each in SIGNALS] == before
    seen = []
    resumed = train(tmp_path / "run", seen.append)
    assert seen == list(range(7, STEPS + 1))
    assert all(torch.equal(a, b) for a, b in zip(resumed, train(None), strict=True))


def test_in_the_last_step_too(tmp_path):
    with pytest.raises(Stopped, match=f"step {STEPS}"):
        train(tmp_path / "run", sends(signal.SIGINT, STEPS - 1))


def test_second_ctrl_c_ends_at_once(tmp_path):
    seen = []

    def on_step(step):
        seen.append(step)
        sends(signal.SIGINT, 5, times=2)(step)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", on_step)
    assert seen[-1] == 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_checkpoints_nothing_is_held_back():
    with pytest.raises(KeyboardInterrupt):
        train(None, sends(signal.SIGINT, 5))


def test_what_was_ignored_stays_so(tmp_path):
    """As Ctrl-C is for what a shell started in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        train(tmp_path / "run", sends(signal.SIGINT, 5))
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_other_threads_train_without(tmp_path):
    thread = threading.Thread(target=train, args=(tmp_path / "run",))
    thread.start()
    thread.join()
    assert Checkpoints(tmp_path / "run", {}).step() == STEPS


def test_error_that_comes_first_restores_what_was_before(tmp_path):
    def fail(step):
        raise UserError("no")

    with pytest.raises(UserError):
        train(tmp_path / "run", fail)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class SlowBatches(RandomBatches):
    """Workers that take a while, and would die of a Ctrl-C that all processes of a terminal get."""

    def __getitem__(self, step):
        time.sleep(0.05)
        return super().__getitem__(step)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_workers_leave_signals_to_the_run(tmp_path, number):
    """In a process group of its own, all of which gets the signal."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        code = 1
        try:
            group = lambda step: os.killpg(os.getpgid(0), number) if step == 5 else None  # noqa: E731
            train(tmp_path / "run", group, workers=2, batches=SlowBatches(STEPS))
        except Stopped as stopped:
            code = stopped.code
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 128 + number
    assert Checkpoints(tmp_path / "run", {}).step() == 6


class TestProcesses:
    @pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
    @pytest.mark.parametrize("to", [(0,), (1,), (0, 1)], ids=str)
    def test_all_stop_at_the_same_step(self, tmp_path, number, to):
        def work(index):
            try:
                train(tmp_path / "run", sends(number, 4) if index in to else lambda step: None)
            except Stopped as stopped:
                return str(stopped), stopped.code

        answers = in_processes(tmp_path / "a", work)
        assert [bool(told) for told, _ in answers] == [True, False]
        assert all(answers[index][1] == 128 + number for index in to)
        assert Checkpoints(tmp_path / "run", {}).step() == 5

    def test_ctrl_c_that_a_launcher_passes_on_is_the_same(self, tmp_path, monkeypatch):
        monkeypatch.setattr(distributed, "count", lambda: 2)
        with Interruption() as asked:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            assert asked.signal == signal.SIGINT
            monkeypatch.setattr(interruption, "ECHO_SECONDS", 0.0)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(("steps", "saved"), [(FIRST_CHECKPOINT + 2, {50, 52}), (40, {40})])
def test_first_checkpoint_comes_early(tmp_path, steps, saved):
    train(tmp_path / "run", steps=steps)
    assert {int(path.stem.split("-")[1]) for path in Checkpoints(tmp_path / "run", {}).paths()} == saved


class TestHorizon:
    def assert_refused(self, what, **parts):
        model = TinyDualEncoder()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        batches = parts.pop("batches", RandomBatches(STEPS))
        with pytest.raises(UserError, match=f"the {what} is made for 10 steps and the loop takes {STEPS}: give both the same"):
            Trainer(
                model, batches, Objective({"contrastive": 1.0}), optimizer, Loop(STEPS, parts.pop("schedule", constant)), **parts
            )

    def test_of_a_clock(self):
        self.assert_refused("teacher's clock", teacher=Teacher(TinyDualEncoder(), Static(), Clock(10)))

    def test_of_a_schedule(self):
        self.assert_refused("schedule", schedule=cosine(10))

    def test_of_batches(self):
        batches = RandomBatches(10)
        batches.total_steps = 10
        self.assert_refused("set of batches", batches=batches)


@pytest.mark.parametrize(("weights", "forwards"), [({"fd": 0.0, "l2_teacher": 0.5}, 1), ({"fd": 1.0}, STEPS)])
def test_teacher_embeds_only_what_a_term_or_the_log_compares(tmp_path, weights, forwards):
    """With log_every_steps = 10, one step is reported."""
    teacher, calls = Teacher(TinyDualEncoder(seed=2), Static(), Clock(STEPS)), []
    teacher.module.register_forward_hook(lambda *arguments: calls.append(1))
    train(None, weights={"contrastive": 1.0, **weights}, teacher=teacher)
    assert len(calls) == forwards


def test_process_that_outlives_signals_ends_some_time_after_sigterm(monkeypatch):
    monkeypatch.setattr(interruption, "LINGER_SECONDS", 300)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        interruption.leave_to_parent()
        os.write(writing, b".")
        while True:
            time.sleep(0.01)
            os.write(writing, b"e" if signal.getitimer(signal.ITIMER_REAL)[0] else b".")  # whether its end is set
    os.close(writing)
    os.read(reading, 1)
    os.kill(child, signal.SIGINT)
    os.kill(child, signal.SIGTERM)
    while (told := os.read(reading, 1)) != b"e":
        assert told, "it ended at once"
    os.kill(child, signal.SIGALRM)  # as the system does when the time is over
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
