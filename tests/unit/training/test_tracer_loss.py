"""TRACER's loss in a loop of one's own: the trainer's to the last bit, whatever form a model's outputs have."""

import subprocess
import sys

import pytest
import torch
import torch.distributed as dist

from tests.models import RandomBatches, TinyDualEncoder
from tests.processes import in_processes
from tests.tolerances import FLOAT32_TRAINING, FLOAT64, POWER
from tracer import Teacher, Trainer, tracer_loss
from tracer.averaging import Beta, Clock
from tracer.config.strategy import StrategySection
from tracer.errors import UserError
from tracer.models.dual_encoder import Features
from tracer.training.objective import Objective
from tracer.training.trainer import Loop

STEPS = 8
GIVEN = {"strength": 0.7, "terms": {"crd": 0.5, "fd": 30.0, "cross_kd": 0.3}}


def started(dtype=torch.float32):
    model = TinyDualEncoder(seed=1).to(dtype)
    return model, torch.optim.AdamW(model.parameters(), lr=0.01), Teacher(model, Beta(0.5, 0.5), Clock(STEPS))


def by_trainer(precision="fp32", **section):
    model, optimizer, teacher = started()
    objective = Objective(StrategySection(name="tracer", **section).objective_weights())
    Trainer(model, RandomBatches(STEPS), objective, optimizer, Loop(STEPS, precision=precision), teacher=teacher).fit()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def by_own_loop(autocast=False, projected=False, **settings):
    model, optimizer, teacher = started()
    for step in range(STEPS):
        images, tokens = RandomBatches(STEPS)[step][:2]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            loss, _ = tracer_loss(
                model(images, tokens),
                teacher(images, tokens),
                projections=model.projections() if projected else None,
                **settings,
            )
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        teacher.update()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize(
    ("mine", "trainers", "nulls"),
    [
        ({}, {}, [{"strength": 0.0}, {"strength": 0.45}]),
        ({"projected": True}, {"cross_projection_norm": 0.05}, [{}]),
        ({"autocast": True}, {"precision": "bf16"}, [{}]),
        (
            GIVEN,
            {"strength": 0.7, "terms": {**GIVEN["terms"], "icl": 0.0}},
            [{}, {**GIVEN, "terms": {**GIVEN["terms"], "icl": 0.1}}],
        ),
    ],
    ids=["published", "projections", "bf16", "given"],
)
def test_it_is_the_trainers_to_the_last_bit(mine, trainers, nulls):
    weights = by_own_loop(**mine)
    assert torch.equal(weights, by_trainer(**trainers))
    for null in nulls:
        assert (by_own_loop(**null) - weights).abs().max() >= POWER * FLOAT32_TRAINING


def outputs(seed=0, n=6, dtype=torch.float32):
    images, tokens = RandomBatches(1, n)[0][:2]
    return TinyDualEncoder(seed=seed).to(dtype)(images.to(dtype), tokens)


@pytest.mark.parametrize(
    "form",
    [
        lambda image, text, scale: (image, text, scale),
        lambda image, text, scale: [image, text, scale, torch.tensor(-10.0)],
        lambda image, text, scale: {"logit_scale": scale, "image_features": image, "text_features": text, "logit_bias": None},
        lambda image, text, scale: (image, text, scale[None]),
        lambda image, text, scale: (image, text, scale.item()),
    ],
    ids=["tuple", "with a bias", "dictionary", "scale of one element", "scale as a float"],
)
def test_it_takes_what_models_give(form):
    plain, report = tracer_loss(outputs(0), outputs(1))
    other, same = tracer_loss(form(*outputs(0)[:3]), form(*outputs(1)[:3]))
    assert torch.equal(plain, other)
    assert report == same
    assert plain.ndim == 0


def test_the_report_is_the_terms_without_gradient():
    loss, report = tracer_loss(outputs(0), outputs(1), strength=2.0, terms={"fd": 3.0, "icl": 5.0})
    assert [*report] == ["contrastive", "fd", "icl"]
    assert loss.item() == pytest.approx((report["contrastive"] + 6.0 * report["fd"] + 10.0 * report["icl"]).item())
    assert loss.requires_grad
    assert not any(value.requires_grad for value in report.values())


def test_no_gradient_reaches_the_teacher():
    student, teacher = outputs(0), outputs(1)
    for part in (*student[:3], *teacher[:3]):
        part.retain_grad()
    tracer_loss(student, teacher)[0].backward()
    assert all(part.grad is not None for part in student[:3])
    assert all(part.grad is None for part in teacher[:3])


def of_rows(rows, gather=True):
    """Gradients of the loss of some rows of a batch of 6, in float64."""
    student, teacher = TinyDualEncoder(seed=0).double(), TinyDualEncoder(seed=1).double()
    images, tokens = RandomBatches(1, 6)[0][:2]
    images, tokens = images[rows].double(), tokens[rows]
    loss, _ = tracer_loss(student(images, tokens), teacher(images, tokens), gather=gather)
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in student.parameters()])


@pytest.mark.parametrize("gather", [True, False])
def test_two_processes_have_the_loss_of_the_whole_batch(gather, tmp_path):
    def work(index):
        loss, gradient = of_rows(slice(3 * index, 3 * index + 3), gather)
        dist.all_reduce(gradient)
        return loss, gradient / 2

    whole = of_rows(slice(6))
    for found in in_processes(tmp_path, work):
        for value, expected in zip(found, whole, strict=True):
            error = (value - expected).abs().max().item()
            assert error <= FLOAT64 * expected.abs().max() if gather else error >= POWER * FLOAT64


def three(n=6, k=4, scale=1):
    return torch.ones(n, k), torch.ones(n, k), torch.ones(scale)


@pytest.mark.parametrize(
    ("student", "teacher", "settings", "told"),
    [
        (three(), three(n=5), {}, "the student's embeddings are (6, 4) and the teacher's (5, 4): show both the same pairs"),
        (three(), three(k=3), {}, "the student's embeddings are (6, 4) and the teacher's (6, 3)"),
        (
            three(),
            (torch.ones(6, 4), torch.ones(5, 4), torch.ones(1)),
            {},
            "the teacher's image and text embeddings must be (n, k)",
        ),
        ((torch.ones(6), torch.ones(6), torch.ones(1)), three(), {}, "the student's image and text embeddings must be (n, k)"),
        (three(scale=6), three(), {}, "its logit scale one number, not (6, 4), (6, 4) and (6,)"),
        (three()[:2], three(), {}, "or a dictionary of image_features, text_features, logit_scale, not 2 parts"),
        (three(), {"image_embeds": 0, "text_embeds": 0}, {}, "the teacher's output must be a tuple of image embeddings"),
        (three(), {"image_embeds": 0, "text_embeds": 0}, {}, "not a dictionary of image_embeds, text_embeds"),
        (torch.ones(6, 4), three(), {}, "not Tensor"),
        (three(), three(), {"strength": -1.0}, "strength must be finite and not negative, not -1.0"),
        (three(), three(), {"terms": {"fdd": 1.0}}, "there is no distillation term 'fdd' (did you mean 'fd'?)"),
        (three(), three(), {"terms": {"fd": float("nan")}}, "the weight of fd must be finite and not negative, not nan"),
        (three(), three(), {"projections": three()[:2], "cross_projection_norm": -1}, "cross_projection_norm must be finite"),
    ],
)
def test_what_does_not_fit_is_told(student, teacher, settings, told):
    with pytest.raises(UserError) as error:
        tracer_loss(student, teacher, **settings)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_the_package_is_imported_without_torch():
    code = "import sys, tracer; assert 'torch' not in sys.modules; from tracer import tracer_loss; assert callable(tracer_loss)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_features_with_replay_images_lose_them():
    student, teacher = outputs(0), outputs(1)
    replayed = Features(*student[:3], replay=torch.ones(2, 4))
    assert torch.equal(tracer_loss(replayed, teacher)[0], tracer_loss(student, teacher)[0])
