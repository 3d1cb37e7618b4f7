"""What only a GPU can show."""

import copy

import pytest
import torch

from tests.models import EMBEDDING, PIXELS, RandomBatches, SameBatch, TinyDualEncoder
from tests.tolerances import BFLOAT16, LINEAR_RECURSION
from tests.unit.training.test_synchronisation import LOG_EVERY, MODELS, train
from tracer.averaging import Beta, Clock
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
