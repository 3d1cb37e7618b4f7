"""What only a GPU can show."""

import copy

import numpy as np
import pytest
import torch

from tests.models import EMBEDDING, PIXELS, RandomBatches, SameBatch, TinyDualEncoder
from tests.tolerances import BFLOAT16, FLOAT32_TRAINING, LINEAR_RECURSION, POWER, THEORY_AGAINST_TRAINER
from tests.unit.training import test_resume as resume
from tests.unit.training.test_synchronisation import LOG_EVERY, MODELS, train
from tracer import theory
from tracer.averaging import Beta, Clock, Exponential, Static
from tracer.crosscheck.agreement import compare
from tracer.crosscheck.history import deviation
from tracer.crosscheck.training import train_proximal
from tracer.models.linear import LinearDualEncoder
from tracer.training import distributed
from tracer.training.batches import Batch
from tracer.training.objective import Objective
from tracer.training.teacher import Teacher
from tracer.training.trainer import Loop, Trainer

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]


@pytest.fixture
def synchronising():
    yield torch.cuda.set_sync_debug_mode
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("size", [None, 2], ids=["whole", "micro-batches"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("made", MODELS.values(), ids=MODELS)
def test_steps_without_a_line_do_not_wait(synchronising, made, precision, size):
    """Torch raises where a step without a line would wait; the first step sets things up."""
    model, batches = made()
    train(model, batches, lambda done: synchronising("default" if (done + 1) % LOG_EVERY == 0 else "error"), precision, size)
    assert next(model.parameters()).is_cuda


def test_a_wait_would_raise(synchronising):
    synchronising("error")
    with pytest.raises(RuntimeError):
        torch.ones(1, device="cuda").item()


def test_bf16_step_is_near_the_float32_one():
    losses = []
    for precision in ("fp32", "bf16"):
        logged = type("Recorder", (), {"log": lambda self, values, step: losses.append(values["loss"])})()
        model = TinyDualEncoder(seed=1)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
        loop = Loop(1, precision=precision, log_every_steps=1)
        Trainer(model, RandomBatches(1), Objective({"contrastive": 1.0}), optimizer, loop, trackers=[logged]).fit()
        assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert losses[1] == pytest.approx(losses[0], rel=BFLOAT16)
    assert losses[1] != losses[0]


def test_linear_run_is_that_of_the_cpu(monkeypatch):
    """Float64, 200 steps: student and teacher."""
    generator = torch.Generator().manual_seed(1)
    images, texts, start = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((12, PIXELS), (12, EMBEDDING), (EMBEDDING, PIXELS))
    )
    ends = []
    for device in (distributed.device(), torch.device("cpu")):
        monkeypatch.setattr(distributed, "device", lambda device=device: device)
        model = LinearDualEncoder(start)
        teacher = Teacher(model, Beta(0.5, 0.5), Clock(200))
        objective = Objective({"linearised_contrastive": 1.0, "embedding_norm": 0.8, "fd": 2.0})
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        loop = Loop(200, precision="fp64")
        Trainer(model, SameBatch(Batch(images, texts), 200), objective, optimizer, loop, teacher=teacher).fit()
        assert model.weight.device.type == device.type
        ends.append(torch.stack([model.weight.detach().cpu(), teacher.module.weight.cpu()]))
    assert (ends[0] - ends[1]).norm() / ends[1].norm() <= LINEAR_RECURSION
    assert (ends[1][0] - start).norm() > 0.1


def test_average_on_the_cpu_follows_a_student_on_the_gpu():
    student = TinyDualEncoder()
    teacher, here = Teacher(student, Beta(), Clock(3)), copy.deepcopy(student)
    student.cuda()
    same = Teacher(here, Beta(), Clock(3))
    for _ in range(3):
        with torch.no_grad():
            for p, q in zip(student.parameters(), here.parameters(), strict=True):
                q += 0.5
                p += 0.5
        teacher.update()
        same.update()
    for mine, theirs in zip(teacher.module.parameters(), same.module.parameters(), strict=True):
        assert mine.device.type == "cpu"
        torch.testing.assert_close(mine, theirs)


def test_metrics_have_the_memory_of_the_gpu():
    model, lines = TinyDualEncoder(), []
    logged = type("Recorder", (), {"log": lambda self, values, step: lines.append(values)})()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
    Trainer(
        model, RandomBatches(1), Objective({"contrastive": 1.0}), optimizer, Loop(1, log_every_steps=1), trackers=[logged]
    ).fit()
    assert lines[0]["peak_memory_bytes"] == torch.cuda.max_memory_allocated() > 0


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(5)
    return theory.Problem.from_pairs(rng.standard_normal((24, 8)), rng.standard_normal((24, 4)), rng.standard_normal((4, 8)))


STRATEGIES = {
    "flyp": theory.FineTuning(),
    "weight decay": theory.WeightDecay(0.2),
    "l2_sp": theory.L2SP(0.6),
    "lp_ft": theory.LPFT(),
    "wise_ft": theory.WiSEFT(0.4),
    **{
        f"{name} teacher, {where}": theory.Distillation(0.9, kernel, metric)
        for name, kernel in (("static", Static()), ("EMA", Exponential(0.9)), ("WMA", Beta(0.5, 0.5)))
        for where, metric in (("data", theory.Spectral(0.0)), ("parameters", theory.Parameter()), ("between", theory.Spectral(0.5)))
    },
}


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_theory_foretells_every_step(problem, strategy):
    found = compare(problem, strategy, learning_rate=0.05, steps=60, update_every=2)
    assert found.error <= THEORY_AGAINST_TRAINER
    assert found.nothing_moves >= POWER * THEORY_AGAINST_TRAINER


def test_theory_foretells_exact_steps(problem):
    strategy = theory.Distillation(0.9, Beta(0.5, 0.5))
    run, path = train_proximal(problem, strategy, steps=40), theory.proximal(problem, strategy, steps=40)
    assert deviation(path.student(np.arange(41)), run.student) <= THEORY_AGAINST_TRAINER
    assert deviation(run.student[:1], run.student[-1:]) >= POWER * THEORY_AGAINST_TRAINER


def twenty_steps(**loop):
    """Weights after 20 steps of two small towers under a Beta teacher, and the loss of every step."""
    losses, model = [], TinyDualEncoder(seed=1)
    logged = type("Recorder", (), {"log": lambda self, values, step: losses.append(values["loss"])})()
    Trainer(
        model,
        RandomBatches(20, size=12),
        Objective({"contrastive": 1.0, "crd": 1.0, "fd": 5.0}),
        torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True),
        Loop(20, log_every_steps=1, **loop),
        teacher=Teacher(model, Beta(0.5, 0.5), Clock(20)),
        trackers=[logged],
    ).fit()
    return torch.cat([p.detach().flatten() for p in model.parameters()]).cpu().double(), torch.tensor(losses)


def test_twenty_steps_in_micro_batches_are_those_of_the_whole_batch():
    (weights, losses), (whole, expected) = twenty_steps(micro_batch_size=4), twenty_steps()
    start = torch.cat([p.detach().flatten() for p in TinyDualEncoder(seed=1).parameters()]).double()
    assert (weights - whole).norm() <= FLOAT32_TRAINING * whole.norm()
    torch.testing.assert_close(losses, expected, rtol=FLOAT32_TRAINING, atol=0)
    assert (start - whole).norm() >= POWER * FLOAT32_TRAINING * whole.norm()


def test_twenty_steps_in_bf16_stay_near_those_in_float32():
    losses, expected = twenty_steps(precision="bf16")[1], twenty_steps()[1]
    assert ((losses / expected - 1).abs() <= BFLOAT16).all()
    assert (losses != expected).any()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_that_goes_on_ends_with_the_same_bits(tmp_path, precision):
    def broken_off(step):
        if step == 30:
            raise KeyboardInterrupt

    resume.train(tmp_path / "whole", precision=precision)
    with pytest.raises(KeyboardInterrupt):
        resume.train(tmp_path / "broken", on_step=broken_off, precision=precision)
    resume.train(tmp_path / "broken", precision=precision)
    resume.assert_same_outcome(tmp_path / "broken", resume.outcome(tmp_path / "whole"))
