"""A step without a line of metrics must not make the host wait for the device."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.models import RandomBatches, TinyDualEncoder
from tracer.averaging import Beta, Clock
from tracer.models import clip
from tracer.toy import small_clip
from tracer.training.batches import Batch
from tracer.training.objective import Objective
from tracer.training.optimizer import parameter_groups
from tracer.training.teacher import Teacher
from tracer.training.trainer import Loop, Trainer

STEPS, LOG_EVERY = 7, 3
WEIGHTS = {"contrastive": 1.0, "crd": 1.0, "fd": 1.0, "icl": 1.0, "cross_kd": 1.0, "l2_sp": 0.1, "cross_projection_norm": 0.1}


class Waits(TorchDispatchMode):
    """Counts, step by step, what would wait for a device: reading values, or operations whose size depends on them."""

    OPERATIONS = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2")

    def __init__(self, monkeypatch):
        super().__init__()
        self.count, self.by_step = 0, {}
        for name in ("tolist", "numpy", "cpu"):  # on the CPU these are no operations
            monkeypatch.setattr(torch.Tensor, name, self._counted(getattr(torch.Tensor, name)))

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.count += operation.overloadpacket.__name__ in self.OPERATIONS
        return operation(*args, **(kwargs or {}))

    def _counted(self, method):
        def call(*args, **kwargs):
            self.count += 1
            return method(*args, **kwargs)

        return call

    def step_done(self, step):
        self.by_step[step], self.count = self.count, 0


class GlyphBatches(RandomBatches):
    def __getitem__(self, step):
        generator = torch.Generator().manual_seed(step)
        return Batch(torch.randn(6, 3, 32, 32, generator=generator), small_clip.TOKENIZER(["the digit one"] * 6))


def train(model, batches, on_step, precision="fp32", size=None):
    anchor = type(model)() if isinstance(model, TinyDualEncoder) else clip.create("glyphs", None).model
    Trainer(
        model,
        batches,
        Objective(WEIGHTS),
        torch.optim.AdamW(parameter_groups(model, 0.1), lr=0.01, fused=True),
        Loop(STEPS, precision=precision, micro_batch_size=size, max_gradient_norm=1.0, log_every_steps=LOG_EVERY),
        teacher=Teacher(model, Beta(0.5, 0.5), Clock(STEPS)),
        anchor=anchor,
        on_step=on_step,
    ).fit()


def quiet_steps(waits):
    """What was counted on steps without a line; the first one starts the loader, which reads a seed on the host."""
    return [count for step, count in waits.by_step.items() if step % LOG_EVERY and step > 1]


MODELS = {
    "two small towers": lambda: (TinyDualEncoder(), RandomBatches(STEPS)),
    "a CLIP": lambda: (clip.create("glyphs", None).model, GlyphBatches(STEPS)),
}


CASES = [("two small towers", "fp32", None), ("two small towers", "bf16", 3), ("a CLIP", "fp32", 3)]


@pytest.mark.parametrize(("name", "precision", "size"), CASES)
def test_only_logged_steps_wait(monkeypatch, name, precision, size):
    model, batches = MODELS[name]()
    with Waits(monkeypatch) as waits:
        train(model, batches, waits.step_done, precision, size)
    assert quiet_steps(waits) == [0, 0, 0, 0]
    assert all(waits.by_step[step] for step in (LOG_EVERY, 2 * LOG_EVERY))


READINGS = {
    "item": lambda tensor: tensor.item(),
    "float": float,
    "bool": bool,
    "tolist": lambda tensor: tensor.tolist(),
    "nonzero": torch.nonzero,
}


@pytest.mark.parametrize("read", READINGS.values(), ids=READINGS)
def test_a_wait_would_be_seen(monkeypatch, read):
    """The null."""
    model = TinyDualEncoder()
    with Waits(monkeypatch) as waits:
        monkeypatch.setattr(model, "clamp_logit_scale", lambda maximum: read(model.log_scale.detach()))
        train(model, RandomBatches(STEPS), waits.step_done)
    assert all(quiet_steps(waits))
