"""The sum of weighted gaps is the teacher's way, on a real loop with a nonlinear network and AdamW."""

import copy

import pytest
import torch

from tests.models import RandomBatches, TinyDualEncoder
from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static
from tracer.errors import UserError
from tracer.evaluation.summed_gaps import budget
from tracer.tensor_files import load_tensors
from tracer.training import distances
from tracer.training.checkpoints import Checkpoints
from tracer.training.objective import Objective
from tracer.training.teacher import Teacher
from tracer.training.trainer import Loop, Trainer

STEPS = 12


def trained(folder, kernel, clock):
    """The anchor and the teacher of a short distilled run in float64 that kept every checkpoint."""
    model = TinyDualEncoder(seed=3).double()
    anchor, teacher = copy.deepcopy(model), Teacher(model, kernel, clock)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    loop = Loop(STEPS, precision="fp64", checkpoint_every_steps=1)
    objective = Objective({"contrastive": 1.0, "crd": 0.5, "fd": 3.0})
    checkpoints = Checkpoints(folder, {}, keep=STEPS)
    Trainer(model, RandomBatches(STEPS), objective, optimizer, loop, teacher=teacher, checkpoints=checkpoints).fit()
    return anchor, teacher.module


@pytest.mark.parametrize("kernel", [Exponential(0.9), Beta(0.5, 0.5), PowerLaw(0.5)])
@pytest.mark.parametrize("period", [1, 3])
def test_weighted_gaps_sum_to_the_teachers_way(tmp_path, kernel, period):
    clock = Clock(STEPS, period)
    anchor, teacher = trained(tmp_path, kernel, clock)
    found = budget(tmp_path, anchor, kernel, clock)
    assert found.travelled == pytest.approx(distances.distance(anchor, teacher).item(), rel=1e-9)
    assert found.mismatch < 1e-12 * found.travelled
    wrong = budget(tmp_path, anchor, PowerLaw(2.0), clock)
    assert wrong.mismatch > 0.1 * wrong.travelled


def test_an_emas_gaps_sum_to_its_momentum_times_its_way(tmp_path):
    anchor, _ = trained(tmp_path, Exponential(0.8), Clock(STEPS))
    found = budget(tmp_path, anchor, Exponential(0.8), Clock(STEPS))
    assert found.summed_gap == pytest.approx(0.8 / 0.2 * found.travelled, rel=1e-9)


def test_a_static_teacher_goes_nowhere(tmp_path):
    anchor, _ = trained(tmp_path, Static(), Clock(STEPS))
    found = budget(tmp_path, anchor, Static(), Clock(STEPS))
    assert found.travelled == found.mismatch == 0
    last = load_tensors(tmp_path / f"step-{STEPS:08d}.safetensors")
    assert found.summed_gap > sum((last[f"student.{n}"] - p).norm() ** 2 for n, p in anchor.named_parameters()) ** 0.5


def test_no_gap_and_no_checkpoint_are_refused(tmp_path):
    anchor = TinyDualEncoder()
    with pytest.raises(UserError, match="no gap to sum"):
        budget(tmp_path, anchor, Exponential(0.0), Clock(3))
    with pytest.raises(UserError, match="step-00000001"):
        budget(tmp_path, anchor, Exponential(0.9), Clock(3))
