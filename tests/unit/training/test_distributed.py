"""Two processes must do what one does on the whole batch."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.models import CONTEXT, WORDS, RandomBatches, TinyDualEncoder, tiny_encoder
from tests.pace import without_pace
from tests.processes import in_processes
from tests.tolerances import FLOAT32_TRAINING, FLOAT64, POWER
from tracer import schedules
from tracer.averaging import Beta, Clock
from tracer.config import loading
from tracer.data.datasets import CaptionedImages
from tracer.models import clip
from tracer.runs import fine_tune as running
from tracer.tensor_files import load_tensors
from tracer.toy.small_clip import checkpoint
from tracer.training import distributed
from tracer.training.batches import Batches, shared
from tracer.training.checkpoints import Checkpoints
from tracer.training.objective import Objective
from tracer.training.optimizer import parameter_groups
from tracer.training.teacher import Teacher
from tracer.training.trainer import Loop, Trainer

FEATURE_TERMS = {"contrastive": 1.0, "crd": 0.5, "fd": 3.0, "icl": 0.7, "cross_kd": 0.3, "replay_fd": 4.0, "replay_text_fd": 2.0}
WEIGHT_TERMS = {"l2_sp": 0.2, "l2_teacher": 0.1, "cross_projection_norm": 0.05, "orthogonality": 0.03}
EVERYTHING = FEATURE_TERMS | WEIGHT_TERMS
STEPS = 20


class Recorder:
    def __init__(self):
        self.lines = []

    def log(self, values, step):
        self.lines.append({"step": step, **without_pace(values)})


def train(precision="fp64", size=None, optimizer="adamw", *, weights=EVERYTHING, steps=STEPS, seed=1, **parts):
    """Student, teacher, last gradients and log of a run with everything; `parts` replace model or batches, or are the trainer's."""
    model = parts.pop("model", None) or TinyDualEncoder(seed=seed)
    anchor = TinyDualEncoder(seed=2)
    model, anchor = (module.double() if precision == "fp64" else module for module in (model, anchor))
    torch.manual_seed(3)
    groups, recorder = parameter_groups(model, 0.1), Recorder()
    teacher = Teacher(model, Beta(0.5, 0.5), Clock(steps, min(2, steps)))
    with torch.no_grad():  # a teacher that is not the student from the first step on
        for p, a in zip(teacher.module.parameters(), anchor.parameters(), strict=True):
            p.lerp_(a, 0.3)
    batches = parts.pop("batches", None) or RandomBatches(steps, 8, 6, 4)
    loop = Loop(
        steps,
        schedules.cosine(steps, min(3, steps - 1)),
        precision=precision,
        micro_batch_size=size,
        max_gradient_norm=1.0,
        log_every_steps=1,
        checkpoint_every_steps=5,
    )
    made = torch.optim.AdamW(groups, lr=0.01, fused=True) if optimizer == "adamw" else torch.optim.SGD(groups, lr=0.1)
    trainer = Trainer(
        model,
        batches,
        Objective(weights),
        made,
        loop,
        teacher=teacher,
        anchor=anchor,
        trackers=[recorder],
        **parts,
    )
    trainer.fit()
    return {
        "student": {name: p.detach() for name, p in model.named_parameters()},
        "teacher": {name: p.detach() for name, p in teacher.module.named_parameters()},
        "gradient": {name: p.grad for name, p in model.named_parameters() if p.grad is not None},
        "log": {
            name: torch.tensor([float(line[name]) for line in recorder.lines], dtype=torch.float64)
            for name in (recorder.lines or [{}])[0]
        },
    }


def difference(mine, theirs, parts=("student", "teacher", "gradient", "log")):
    """The largest relative to each tensor's norm."""
    for part in parts:
        assert mine[part].keys() == theirs[part].keys(), part
    return max(
        ((mine[part][name] - value).norm() / value.norm().clamp(min=1e-3)).item()
        for part in parts
        for name, value in theirs[part].items()
    )


CASES = {"whole": (None, 20), "micro-batches": (3, 20), "one step": (None, 1)}


@pytest.mark.parametrize(("size", "steps"), CASES.values(), ids=CASES)
def test_two_are_one_in_float64(tmp_path, size, steps):
    """Loss and all that is logged, gradients, student and teacher."""
    alone = train(steps=steps)
    first, second = in_processes(tmp_path, lambda index: train(size=size, steps=steps))
    assert difference(first, alone) <= FLOAT64
    assert second["log"] == {}
    for part in ("student", "teacher", "gradient"):
        assert all(torch.equal(first[part][name], value) for name, value in second[part].items())


def test_three_are_one(tmp_path):
    alone = train(batches=RandomBatches(STEPS, 9, 6, 3))
    together = in_processes(tmp_path, lambda index: train(batches=RandomBatches(STEPS, 9, 6, 3)), count=3)
    assert difference(together[0], alone) <= FLOAT64


@pytest.mark.parametrize("size", [None, 3])
def test_two_are_one_in_float32(tmp_path, size):
    alone = train("fp32", optimizer="sgd")
    together = in_processes(tmp_path, lambda index: train("fp32", size, "sgd"))
    assert 0 < difference(together[0], alone) <= FLOAT32_TRAINING


def local_negatives(monkeypatch):
    monkeypatch.setattr(distributed, "gathered", lambda features: features)


def rows_not_scaled(monkeypatch):
    monkeypatch.setattr(distributed._Rows, "backward", staticmethod(lambda ctx, *gradients: gradients[0][ctx.own]))


def gradients_not_averaged(monkeypatch):
    monkeypatch.setattr(distributed, "average_gradients", lambda parameters: None)


def the_same_rows(monkeypatch):
    monkeypatch.setattr(distributed, "equal_share", lambda total, what: slice(0, total // 2))


@pytest.mark.parametrize("wrong", [local_negatives, rows_not_scaled, gradients_not_averaged, the_same_rows])
def test_wrong_ways_are_told_apart(tmp_path, monkeypatch, wrong):
    """The nulls, each of which a naive trainer does."""
    weights = {"contrastive": 1.0, "crd": 0.5}
    alone = train(steps=1, weights=weights)
    wrong(monkeypatch)
    together = in_processes(tmp_path, lambda index: train(steps=1, weights=weights))
    assert difference(together[0], alone, ["gradient"]) >= POWER * FLOAT64


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (2, 2)])
def test_resumes_on_another_number_of_processes(tmp_path, before, after):
    def half(index, stop):
        return train(checkpoints=Checkpoints(tmp_path / "run", {}), on_step=stop)

    def stop(step):
        if step == 12:
            raise KeyboardInterrupt

    def interrupted(index=0):
        with pytest.raises(KeyboardInterrupt):
            half(index, stop)

    def resumed(index=0):
        return half(index, lambda step: None)

    interrupted() if before == 1 else in_processes(tmp_path / "before", interrupted)
    assert Checkpoints(tmp_path / "run", {}).step() == 10
    ended = resumed() if after == 1 else in_processes(tmp_path / "after", resumed)[0]
    assert len(ended["log"]["step"]) == STEPS - 10
    assert difference(ended, train(), ["student", "teacher", "gradient"]) <= FLOAT64


class TestCheckpoint:
    @pytest.fixture
    def saved(self, tmp_path):
        train(steps=5, checkpoints=Checkpoints(tmp_path / "run", {}))
        return tmp_path / "run"

    def test_is_read_to_its_end_by_the_first_alone(self, tmp_path, saved, monkeypatch):
        read = []
        monkeypatch.setattr("tracer.training.checkpoints.require_sound", read.append)

        def go_on(index):
            checkpoints = Checkpoints(saved, {})
            train(steps=5, checkpoints=checkpoints)
            return checkpoints.step(), len(read)

        assert in_processes(tmp_path, go_on) == [(5, 1), (5, 0)]

    def test_that_is_damaged_is_refused_by_all(self, tmp_path, saved):
        (path,) = saved.glob("*.safetensors")
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        answers = in_processes(tmp_path, lambda index: train(steps=5, checkpoints=Checkpoints(saved, {})))
        assert answers[0] == answers[1]
        assert answers[0].endswith("its checksum does not match): replace it, or delete it to begin again")

    @pytest.mark.parametrize("without", [0, 1])
    def test_that_one_process_does_not_see_is_told(self, tmp_path, saved, without):
        folders = [tmp_path / "none", saved] if without == 0 else [saved, tmp_path / "none"]
        answers = in_processes(tmp_path, lambda index: train(steps=5, checkpoints=Checkpoints(folders[index], {})))
        assert answers[0] == answers[1]
        assert "give them one seed and one output folder" in answers[0]


class TestDropout:
    def test_differs_between_processes_and_steps(self, tmp_path):
        def draw(index):
            numbers = []
            for step in range(2):
                with distributed.own_randomness(step):
                    numbers.append(torch.rand(3))
            return torch.stack(numbers), torch.rand(3)

        (mine, shared_one), (theirs, shared_other) = in_processes(tmp_path, draw)
        assert torch.equal(shared_one, shared_other)
        assert len({tuple(row.tolist()) for row in (*mine, *theirs, shared_one)}) == 5

    def test_run_goes_on_to_the_last_bit(self, tmp_path):
        def fit(index, folder, stop=0):
            def interrupt(step):
                if step == stop:
                    raise KeyboardInterrupt

            model = TinyDualEncoder(seed=1, dropout=0.5)
            try:
                train("fp32", 3, model=model, checkpoints=Checkpoints(tmp_path / folder, {}), on_step=interrupt)
            except KeyboardInterrupt:
                assert stop
            return [p.detach() for p in model.parameters()]

        whole = in_processes(tmp_path / "a", lambda index: fit(index, "whole"))
        in_processes(tmp_path / "b", lambda index: fit(index, "parts", stop=13))
        again = in_processes(tmp_path / "c", lambda index: fit(index, "parts"))
        assert all(torch.equal(a, b) for a, b in zip(whole[0], again[1], strict=True))
        saved = [load_tensors(Checkpoints(tmp_path / folder, {}).paths()[-1]) for folder in ("whole", "parts")]
        assert all(torch.equal(value, saved[1][name]) for name, value in saved[0].items())


class TestShares:
    def pairs(self):
        rng = np.random.default_rng(11)
        captions = [[" ".join(map(str, ids)) for ids in rng.integers(WORDS, size=(2, CONTEXT))] for _ in range(31)]
        return CaptionedImages(rng.integers(256, size=(31, 1, 2, 3), dtype=np.uint8), captions)

    def test_are_the_batch_in_order_with_its_captions_and_augmentation(self, tmp_path):
        batches = Batches(self.pairs(), tiny_encoder(), 6, STEPS, seed=5)
        parts = in_processes(tmp_path, lambda index: [tuple(shared(batches)[step][:2]) for step in range(STEPS)])
        for step in range(STEPS):
            whole = batches[step]
            assert torch.equal(torch.cat([part[step][0] for part in parts]), whole.images)
            assert torch.equal(torch.cat([part[step][1] for part in parts]), whole.tokens)

    def test_other_images_are_not_read(self, tmp_path):
        class Counted(list):
            read = 0

            def __getitem__(self, i):
                Counted.read += 1
                return super().__getitem__(i)

        pairs = self.pairs()
        batches = Batches(CaptionedImages(Counted(pairs.images), pairs.captions), tiny_encoder(), 6, STEPS, seed=5)

        def read(index):
            shared(batches)[0]
            return Counted.read

        assert in_processes(tmp_path, read) == [3, 3]

    def test_one_process_keeps_the_dataset(self):
        batches = RandomBatches(1)
        assert shared(batches) is batches


class TestRefusals:
    def refused(self, tmp_path, **changes):
        return in_processes(tmp_path, lambda index: train(**{name: made(index) for name, made in changes.items()}))

    @pytest.mark.parametrize(
        ("sizes", "what"), [((7, 6), "pairs is 7"), ((8, 5), "replay images is 5"), ((8, 6, 3), "replay texts is 3")]
    )
    def test_unequal_shares(self, tmp_path, sizes, what):
        answers = self.refused(tmp_path, batches=lambda index: RandomBatches(1, *sizes))
        expected = f"the batch's number of {what}, which 2 processes cannot share equally: make it a multiple of 2"
        assert answers == [f"UserError: {expected}"] * 2

    def test_different_starts(self, tmp_path):
        answers = self.refused(tmp_path, seed=lambda index: index)
        assert (
            answers
            == ["UserError: the processes start from different weights or steps: give them one seed and one output folder"] * 2
        )

    def test_batch_statistics_of_shares(self, tmp_path):
        for answer in self.refused(tmp_path, model=lambda index: TinyDualEncoder(batch_norm=True)):
            assert answer.startswith("UserError: each process would see the batch-norm statistics of its own share")

    def test_weights_that_drift_apart(self, tmp_path):
        def drift(index):
            model = TinyDualEncoder(seed=1)

            def nudge(step):
                if step == 7 and index == 1:
                    with torch.no_grad():
                        model.log_scale.add_(1e-6)

            train("fp32", model=model, checkpoints=Checkpoints(tmp_path / "run", {}), on_step=nudge)

        for answer in in_processes(tmp_path, drift):
            assert answer == "UserError: the processes no longer have the same weights at step 10: use devices of one kind"
        assert Checkpoints(tmp_path / "run", {}).step() == 5


def test_a_crash_ends_the_others(tmp_path):
    """Who waits for a process that is gone is told, instead of waiting on."""

    def crash(index):
        def fail(step):
            if step == 4 and index == 1:
                raise RuntimeError("out of memory")

        train(on_step=fail)

    answers = in_processes(tmp_path, crash)
    assert answers[1] == "RuntimeError: out of memory"
    assert isinstance(answers[0], str)


class TestRun:
    @pytest.fixture
    def configured(self, tmp_path):
        torch.manual_seed(0)
        clip.save(clip.create("glyphs", None).model, tmp_path / "pretrained.safetensors")

        def make(name, strategy="tracer", **optimization):
            return loading.validate(
                {
                    "output": str(tmp_path / name),
                    "model": {"architecture": "glyphs", "pretrained": str(tmp_path / "pretrained.safetensors")},
                    "evaluation": None,
                    "strategy": {"name": strategy},
                    "optimization": {"total_steps": 3, "batch_size": 8, **optimization},
                    "log_every_steps": 1,
                },
                "here",
            )

        return make

    @pytest.mark.parametrize("strategy", ["tracer", "lp_ft", "replay_distillation"])
    def test_first_process_writes_what_one_alone_does(self, tmp_path, configured, strategy):
        running.fine_tune(configured("alone", strategy))
        in_processes(tmp_path, lambda index: running.fine_tune(configured("together", strategy)).report)
        files = [sorted(p.relative_to(tmp_path / name) for p in (tmp_path / name).rglob("*")) for name in ("alone", "together")]
        assert files[0] == files[1]
        lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("alone", "together")]
        assert len(lines[1]) == 3
        ours, theirs = (without_pace(json.loads(text[0])) for text in lines)
        assert theirs == pytest.approx(ours, rel=1e-4, abs=1e-6)

    def test_unequal_batches_are_refused_before_anything_is_written(self, tmp_path, configured):
        answers = in_processes(tmp_path, lambda index: running.fine_tune(configured("uneven", batch_size=9)).report)
        assert answers[0].startswith("UserError: optimization.batch_size is 9, which 2 processes cannot share equally")
        assert not (tmp_path / "uneven").exists()


LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--nproc-per-node", "2", "-m"],
    # its own way to several processes on CPUs is MPI; the one to several GPUs starts them here too
    "accelerate": ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--mixed_precision", "no", "--module"],
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_launchers_start_processes_that_share_the_batch(tmp_path, launcher):
    configuration = {
        "evaluation": None,
        "optimization": {"total_steps": 3, "batch_size": 8},
        "checkpoint_every_steps": 2,
        "log_every_steps": 1,
    }
    (tmp_path / "run.yaml").write_text(json.dumps(configuration))
    environment = os.environ | {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}

    def launch(*overrides):
        command = [sys.executable, "-m", *LAUNCHERS[launcher], "tracer", "train", str(tmp_path / "run.yaml"), *overrides]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    assert launch(f"output={tmp_path}/together").returncode == 0
    running.fine_tune(loading.load(tmp_path / "run.yaml", [f"output={tmp_path}/alone"]))
    for name in ("student", "teacher"):
        alone, together = (load_tensors(tmp_path / folder / f"{name}.safetensors") for folder in ("alone", "together"))
        assert all(torch.allclose(together[key], value, rtol=0, atol=1e-5) for key, value in alone.items())
        start = load_tensors(checkpoint("0"))
        assert max((value - start[key].float()).abs().max() for key, value in alone.items()) > 100 * 1e-5  # they moved
    assert "2 processes cannot share equally" in launch("optimization.batch_size=7", f"output={tmp_path}/uneven").stderr


def test_alone_nothing_changes_hands():
    assert (distributed.count(), distributed.index(), distributed.is_first()) == (1, 0, True)
    features = TinyDualEncoder()(*RandomBatches(1)[0][:2])
    assert distributed.gathered(features) is features
    assert distributed.equal_share(7, "seven") == slice(0, 7)
    state = torch.get_rng_state()
    with distributed.own_randomness(3):
        torch.rand(1)
    assert not torch.equal(torch.get_rng_state(), state)
