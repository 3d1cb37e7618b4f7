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
from tracer import schedules
from tracer.averaging import Beta, Clock
from tracer.data.batches import Batches
from tracer.data.sets import CaptionedImages
from tracer.objective import Objective
from tracer.run import parameter_groups
from tracer.state import Checkpoints
from tracer.storage import load_tensors, save_tensors
from tracer.teacher import Teacher
from tracer.tracking import JsonLines
from tracer.trainer import Loop, Trainer

STEPS, CHECKPOINT_EVERY = 60, 4
KILLS = 50
STEP_DONE, WRITING = b".", b"w"
SECONDS_TO_ANSWER = 60


def pairs():
    rng = np.random.default_rng(11)
    captions = [[" ".join(map(str, ids)) for ids in rng.integers(WORDS, size=(2, CONTEXT))] for _ in range(31)]
    return CaptionedImages(rng.integers(256, size=(31, 1, 2, 3), dtype=np.uint8), captions)


def train(folder, workers=0, on_step=lambda step: None):
    """A run with everything that has a state: AdamW, a Beta teacher, dropout, random captions and augmentation."""
    model = TinyDualEncoder(dropout=0.2)
    anchor = TinyDualEncoder().eval().requires_grad_(False)
    torch.manual_seed(3)
    checkpoints = Checkpoints(folder / "checkpoints", {"steps": STEPS})
    trackers = [JsonLines(folder / "metrics.jsonl", checkpoints.step())]
    Trainer(
        model,
        Batches(pairs(), tiny_encoder(model), batch_size=6, total_steps=STEPS, seed=5),
        Objective({"contrastive": 1.0, "crd": 1.0, "fd": 5.0}),
        torch.optim.AdamW(parameter_groups(model, 0.1), lr=0.01, fused=True),
        Loop(
            STEPS,
            max_gradient_norm=1.0,
            log_every_steps=3,
            checkpoint_every_steps=CHECKPOINT_EVERY,
            workers=workers,
        ),
        teacher=Teacher(model, Beta(0.5, 0.5), Clock(STEPS, 2)),
        anchor=anchor,
        schedule=schedules.cosine(STEPS, 5),
        checkpoints=checkpoints,
        trackers=trackers,
        on_step=on_step,
    ).fit()


class Child:
    """A run in a process of its own, which tells what it is doing through a pipe."""

    def __init__(self, folder, workers=0, dawdles_while_writing=False):
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._run(folder, workers, dawdles_while_writing, writing)
        os.setpgid(self.pid, self.pid)  # here and there: whichever comes first
        os.close(writing)
        self.pipe = reading

    @staticmethod
    def _run(folder, workers, dawdles_while_writing, pipe):
        os.setpgid(0, 0)
        if dawdles_while_writing:
            os.fsync = lambda _: (os.write(pipe, WRITING), time.sleep(SECONDS_TO_ANSWER))
        try:
            train(folder, workers, on_step=lambda _: os.write(pipe, STEP_DONE))
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

    def kill(self):
        """SIGKILL; True if it came before the run was over."""
        os.killpg(self.pid, signal.SIGKILL)
        return self.end() == -signal.SIGKILL

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


def finish(folder, workers=0):
    child = Child(folder, workers)
    assert child.wait_for([b"never"]) is False
    assert child.end() == 0


def outcome(folder):
    """Everything a finished run leaves: student, teacher, optimiser, random state, and metrics but for its pace."""
    last = folder / "checkpoints" / f"step-{STEPS:08d}.safetensors"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return load_tensors(last), [without_pace(line) for line in lines]


def assert_same_outcome(folder, reference):
    tensors, metrics = outcome(folder)
    expected_tensors, expected_metrics = reference
    assert tensors.keys() == expected_tensors.keys()
    for name, value in tensors.items():
        assert torch.equal(value, expected_tensors[name]), name
    assert metrics == expected_metrics


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    finish(folder)
    reference = outcome(folder)
    kinds = {name.split(".")[0] for name in reference[0]}
    assert kinds == {"student", "teacher", "optimizer", "random"}
    assert [line["step"] for line in reference[1]] == list(range(3, STEPS + 1, 3))
    return reference


@pytest.fixture(scope="module")
def runs_killed(tmp_path_factory):
    """Folders of finished runs that were killed time and again, and how often in all each way of killing worked."""
    rng = np.random.default_rng(2026)
    ways = [killed_after_steps, killed_after_a_while, killed_while_writing]
    kills, folders = dict.fromkeys(ways, 0), []
    while sum(kills.values()) < KILLS:
        folder = tmp_path_factory.mktemp("killed")
        for _ in range(7):
            way = ways[rng.integers(len(ways))]
            kills[way] += way(folder, rng)
        finish(folder)
        folders.append(folder)
    return folders, kills


def test_killed_runs_end_as_if_nothing_had_happened(runs_killed, uninterrupted):
    folders, kills = runs_killed
    assert sum(kills.values()) >= KILLS
    assert min(kills.values()) >= 5
    for folder in folders:
        assert_same_outcome(folder, uninterrupted)


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
