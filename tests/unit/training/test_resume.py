"""Runs that are killed, again and again, and must end as if nothing had happened."""

import json
import os
import select
import signal
import time
import traceback

import numpy as np
import pytest
import torch

from tests.models import CONTEXT, WORDS, TinyDualEncoder, tiny_encoder
from tests.pace import without_pace
from tests.processes import join
from tests.tolerances import FLOAT64
from tracer import schedules
from tracer.averaging import Beta, Clock, Uniform
from tracer.data.datasets import CaptionedImages
from tracer.errors import Stopped
from tracer.tensor_files import load_tensors, save_tensors
from tracer.tracking import JsonLines
from tracer.training import distributed
from tracer.training.batches import Batches
from tracer.training.checkpoints import Checkpoints
from tracer.training.objective import Objective
from tracer.training.optimizer import parameter_groups
from tracer.training.snapshots import Snapshots
from tracer.training.teacher import Teacher
from tracer.training.trainer import Loop, Trainer

STEPS, CHECKPOINT_EVERY = 60, 4
KILLS, KILLS_OF_TWO = 30, 6  # in the usual suite
MANY_KILLS, MANY_KILLS_OF_TWO = 90, 30
SIGNALS = [signal.SIGTERM, signal.SIGINT]
STEP_DONE, WRITING = b".", b"w"
SECONDS_TO_ANSWER = 300  # of a run that takes a few, and hangs if it takes that many


def pairs():
    rng = np.random.default_rng(11)
    captions = [[" ".join(map(str, ids)) for ids in rng.integers(WORDS, size=(2, CONTEXT))] for _ in range(31)]
    return CaptionedImages(rng.integers(256, size=(31, 1, 2, 3), dtype=np.uint8), captions)


def train(folder, workers=0, on_step=lambda step: None, precision="fp32", dropout=0.2):
    """A run with everything that has a state: AdamW, a Beta teacher, followers, dropout, random captions and augmentation."""
    model = TinyDualEncoder(dropout=dropout)
    anchor = TinyDualEncoder().eval().requires_grad_(False)
    torch.manual_seed(3)
    checkpoints = Checkpoints(folder / "checkpoints", {"steps": STEPS})
    trackers = [JsonLines(folder / "metrics.jsonl", checkpoints.step())] if distributed.is_first() else []
    Trainer(
        model,
        Batches(pairs(), tiny_encoder(model), batch_size=6, total_steps=STEPS, seed=5),
        Objective({"contrastive": 1.0, "crd": 1.0, "fd": 5.0}),
        torch.optim.AdamW(parameter_groups(model, 0.1), lr=0.01, fused=True),
        Loop(
            STEPS,
            schedules.cosine(STEPS, 5),
            precision=precision,
            max_gradient_norm=1.0,
            log_every_steps=3,
            checkpoint_every_steps=CHECKPOINT_EVERY,
            workers=workers,
        ),
        teacher=Teacher(model, Beta(0.5, 0.5), Clock(STEPS, 2)),
        followers={
            "average": Teacher(model, Uniform(), Clock(STEPS)),
            "snapshots": Snapshots(model, Clock(STEPS, 3), folder / "averages", 5),
        },
        anchor=anchor,
        checkpoints=checkpoints,
        trackers=trackers,
        on_step=on_step,
    ).fit()


class Child:
    """A run in a process of its own, which tells what it is doing through a pipe; or one of two processes that share a run."""

    def __init__(self, folder, workers=0, dawdles_while_writing=False, rank=None, meeting=None, pause=0.0, **settings):
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.setpgid(0, 0)
            os.close(reading)
            if rank is not None:
                join(meeting, rank, 2)
            self._run(folder, workers, dawdles_while_writing, writing, pause, settings)
        os.setpgid(self.pid, self.pid)  # here and there: whichever comes first
        os.close(writing)
        self.pipe = reading

    @staticmethod
    def _run(folder, workers, dawdles_while_writing, pipe, pause, settings):
        if dawdles_while_writing:
            os.fsync = lambda _: (os.write(pipe, WRITING), time.sleep(SECONDS_TO_ANSWER))
        try:
            train(folder, workers, lambda _: (os.write(pipe, STEP_DONE), time.sleep(pause)), **settings)
        except Stopped as stopped:
            os._exit(stopped.code)
        except KeyboardInterrupt:
            os._exit(128 + signal.SIGINT)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def wait_for(self, signals):
        """Read until all the signals (bytes, in order) have come; False if the run ended before."""
        for expected in signals:
            while True:
                ready, _, _ = select.select([self.pipe], [], [], SECONDS_TO_ANSWER)
                assert ready, "the run hangs"
                heard = os.read(self.pipe, 1)
                if not heard:
                    return False
                if heard == expected:
                    break
        return True

    def kill(self, number=signal.SIGKILL):
        """A signal to the run and its workers; True if it came before the run was over."""
        os.killpg(self.pid, number)
        self.wait_for([b"never"])
        return self.end() in (-number, 128 + number)

    def end(self):
        os.close(self.pipe)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def steps_done(steps):
    return [STEP_DONE] * int(steps)


def killed_after_steps(folder, rng):
    child = Child(folder)
    child.wait_for(steps_done(rng.integers(1, 12)))
    return child.kill()


def killed_after_a_while(folder, rng):
    """Anywhere: between two steps, in a step, or before the first."""
    child = Child(folder)
    time.sleep(rng.uniform(0, 0.15))
    return child.kill()


def killed_while_writing(folder, rng):
    """Between writing a checkpoint under its temporary name and renaming it."""
    child = Child(folder, dawdles_while_writing=True)
    child.wait_for([WRITING])
    return child.kill()


def asked_after_steps(folder, rng):
    child = Child(folder)
    child.wait_for(steps_done(rng.integers(1, 12)))
    return child.kill(SIGNALS[rng.integers(2)])


def asked_twice_while_writing(folder, rng):
    """The second time it ends at once, in the middle of a checkpoint."""
    child = Child(folder, dawdles_while_writing=True)
    if child.wait_for([WRITING]):
        os.kill(child.pid, signal.SIGINT)
        time.sleep(0.05)
    return child.kill(signal.SIGINT)


def killed_with_workers(folder, rng):
    child = Child(folder, workers=2)
    child.wait_for(steps_done(rng.integers(1, 12)))
    return child.kill()


def asked_with_workers(folder, rng):
    """As a terminal or a scheduler does: all processes get the signal."""
    child = Child(folder, workers=2)
    child.wait_for(steps_done(rng.integers(1, 12)))
    return child.kill(SIGNALS[rng.integers(2)])


WAYS = [
    killed_after_steps,
    killed_after_a_while,
    killed_while_writing,
    asked_after_steps,
    asked_twice_while_writing,
    killed_with_workers,
    asked_with_workers,
]


def two(folder, **settings):
    """The two processes of a run."""
    meeting = folder / f"meeting-{time.monotonic_ns()}"
    meeting.mkdir(parents=True)
    return [Child(folder, rank=rank, meeting=meeting, **settings) for rank in range(2)]


def one_of_two(number, **settings):
    """A signal to one of two processes; where it was killed, the other is too, as a launcher does, unless it has noticed."""

    def way(folder, rng):
        children, victim = two(folder, **settings), rng.integers(2)
        children[victim].wait_for(steps_done(rng.integers(1, 12)))
        worked = children[victim].kill(number)
        other = children[1 - victim]
        if number == signal.SIGKILL:
            time.sleep(0.05)
            other.kill()
        else:
            other.wait_for([b"never"])
            assert not worked or other.end() in (128 + signal.SIGTERM, 0)
        return worked

    way.__name__ = f"one_of_two_by_{number.name}"
    return way


WAYS_OF_TWO = [one_of_two(signal.SIGKILL), one_of_two(signal.SIGTERM), one_of_two(signal.SIGINT)]


def finish(folder, workers=0, **settings):
    child = Child(folder, workers, **settings)
    assert child.wait_for([b"never"]) is False
    assert child.end() == 0


def finish_two(folder):
    for child in two(folder):
        assert child.wait_for([b"never"]) is False
        assert child.end() == 0


def outcome(folder):
    """Everything a finished run leaves: the last checkpoint, with all its state, snapshots, and metrics but for its pace."""
    last = folder / "checkpoints" / f"step-{STEPS:08d}.safetensors"
    kept = {f"kept.{path.name}.{n}": t for path in (folder / "averages").iterdir() for n, t in load_tensors(path).items()}
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return load_tensors(last) | kept, [without_pace(line) for line in lines]


def assert_same_outcome(folder, reference):
    tensors, metrics = outcome(folder)
    expected_tensors, expected_metrics = reference
    assert tensors.keys() == expected_tensors.keys()
    for name, value in tensors.items():
        assert torch.equal(value, expected_tensors[name]), name
    assert metrics == expected_metrics


def reference(folder, finished):
    """What a run leaves that nobody killed."""
    finished(folder)
    found = outcome(folder)
    parts = {"student", "teacher", "average", "snapshots", "optimizer", "random", "kept"}
    assert {name.split(".")[0] for name in found[0]} == parts
    assert len({name.split(".")[1] for name in found[0] if name.startswith("kept.")}) == 2 * 5 + 3
    assert [line["step"] for line in found[1]] == list(range(3, STEPS + 1, 3))
    return found


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return reference(tmp_path_factory.mktemp("uninterrupted"), finish)


@pytest.fixture(scope="module")
def uninterrupted_two(tmp_path_factory):
    return reference(tmp_path_factory.mktemp("uninterrupted_two"), finish_two)


def killed(tmp_path_factory, ways, least, finished):
    """Folders of finished runs that were killed time and again, and how often in all each way of killing worked."""
    rng = np.random.default_rng(2026)
    kills, folders = dict.fromkeys(ways, 0), []
    while sum(kills.values()) < least or min(kills.values()) < least // (2 * len(ways)):
        folder = tmp_path_factory.mktemp("killed")
        for _ in range(7):
            way = ways[rng.integers(len(ways))]
            kills[way] += way(folder, rng)
        finished(folder)
        folders.append(folder)
    return folders, kills


@pytest.fixture(scope="module")
def runs_killed(tmp_path_factory):
    return killed(tmp_path_factory, WAYS, KILLS, finish)


def test_killed_runs_end_as_if_nothing_had_happened(runs_killed, uninterrupted):
    for folder in runs_killed[0]:
        assert_same_outcome(folder, uninterrupted)


def test_two_processes_of_which_one_is_killed_end_as_if_nothing_had_happened(tmp_path_factory, uninterrupted_two):
    folders, _ = killed(tmp_path_factory, WAYS_OF_TWO, KILLS_OF_TWO, finish_two)
    for folder in folders:
        assert_same_outcome(folder, uninterrupted_two)


@pytest.mark.parametrize("number", [signal.SIGKILL, *SIGNALS], ids=lambda number: number.name)
def test_one_process_goes_on_from_two(tmp_path, number):
    """In float64 and without dropout, whose numbers each of two processes draws for itself, but for rounding."""
    alike, rng = {"precision": "fp64", "dropout": 0.0}, np.random.default_rng(7)
    for _ in range(2):  # with a pause after each step, so that no run is over before the signal comes
        assert one_of_two(number, pause=0.05, **alike)(tmp_path / "two", rng)
    assert 0 < Checkpoints(tmp_path / "two" / "checkpoints", {"steps": STEPS}).step() < STEPS
    for folder in ("one", "two"):
        finish(tmp_path / folder, **alike)
    (mine, lines), (theirs, expected) = (outcome(tmp_path / folder) for folder in ("two", "one"))
    assert [line["step"] for line in lines] == [line["step"] for line in expected]
    assert mine.keys() == theirs.keys()
    for name, value in theirs.items():
        if value.is_floating_point():
            assert (mine[name] - value).norm() <= FLOAT64 * value.norm().clamp(min=1e-3), name


@pytest.mark.slow
def test_many_kills(tmp_path_factory, uninterrupted, uninterrupted_two):
    diverged = 0
    total = 0
    for ways, least, finished, expected in (
        (WAYS, MANY_KILLS, finish, uninterrupted),
        (WAYS_OF_TWO, MANY_KILLS_OF_TWO, finish_two, uninterrupted_two),
    ):
        folders, kills = killed(tmp_path_factory, ways, least, finished)
        total += sum(kills.values())
        for folder in folders:
            try:
                assert_same_outcome(folder, expected)
            except AssertionError:
                diverged += 1
        print({way.__name__: count for way, count in kills.items()}, len(folders), "runs")
    print(f"{total} kills, {diverged} divergences")
    assert total >= MANY_KILLS + MANY_KILLS_OF_TWO
    assert diverged == 0


def test_killed_runs_leave_no_temporary_files(runs_killed):
    folders, _ = runs_killed
    assert [path for folder in folders for path in folder.rglob(".*")] == []


def test_killed_runs_resume_with_background_workers(tmp_path, uninterrupted):
    child = Child(tmp_path, workers=2)
    assert child.wait_for(steps_done(STEPS // 2))
    assert child.kill()
    finish(tmp_path, workers=2)
    assert_same_outcome(tmp_path, uninterrupted)


def test_dropped_random_state_would_be_seen(tmp_path, uninterrupted):
    """The null: a run that resumes with another random state ends elsewhere."""
    child = Child(tmp_path)
    assert child.wait_for(steps_done(STEPS // 2))
    assert child.kill()
    checkpoints = Checkpoints(tmp_path / "checkpoints", {"steps": STEPS})
    path, step = checkpoints.paths()[-1], checkpoints.step()
    tensors = load_tensors(path)
    tensors["random.cpu"] = torch.manual_seed(1234).get_state()
    save_tensors(path, tensors, {"step": step, "identity": {"steps": STEPS}})
    finish(tmp_path)
    with pytest.raises(AssertionError):
        assert_same_outcome(tmp_path, uninterrupted)


def test_finished_run_stays_as_it_is(tmp_path, uninterrupted):
    finish(tmp_path)
    finish(tmp_path)
    assert_same_outcome(tmp_path, uninterrupted)
