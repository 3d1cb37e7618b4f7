"""A run on features is the run of the whole model whose last maps alone are trained."""

import pytest
import torch

from tests.tolerances import FLOAT32_TRAINING, POWER
from tests.unit.last_layer.conftest import run_of
from tracer.errors import UserError
from tracer.evaluation.report import evaluate
from tracer.last_layer.simulation import simulate
from tracer.runs.fine_tune import fine_tune

STRATEGIES = ("flyp", "wise_ft", "averaged", "l2_sp", "ema_distillation", "tracer")


def maps_of(model):
    return [model.projections()[0], model.projections()[1], model.logit_scale]


@pytest.mark.parametrize("name", STRATEGIES)
def test_it_is_the_whole_models(name, frozen, tmp_path):
    run = run_of(tmp_path, name)
    whole = fine_tune(run)
    result = simulate(run, frozen)
    start = maps_of(frozen.maps)
    for mine, theirs in zip(maps_of(result.model), maps_of(whole.student.model), strict=True):
        assert (mine - theirs).abs().max() <= FLOAT32_TRAINING
    assert max((mine - before).abs().max() for mine, before in zip(maps_of(result.model), start, strict=True)) >= (
        POWER * FLOAT32_TRAINING
    )
    judged = evaluate(result, frozen.suites["validation"])
    assert abs(judged["id"]["nll"] - whole.report["id"]["nll"]) <= POWER * FLOAT32_TRAINING


def test_what_is_replayed_holds_the_maps(frozen, tmp_path):
    free = simulate(run_of(tmp_path), frozen)
    held = simulate(frozen.run.model_copy(update={"output": tmp_path}), frozen)

    def moved(encoder):
        pool = torch.from_numpy(frozen.data.pool)
        with torch.no_grad():
            return (encoder.model.encode_image(pool) - frozen.maps.encode_image(pool)).square().mean().item()

    assert moved(held) < moved(free) / 2


@pytest.mark.parametrize("name", ["lp_ft", "linear_probe", "model_stock"])
def test_strategies_of_more_than_the_last_maps_are_refused(name, frozen, tmp_path):
    with pytest.raises(UserError, match=f"{name} trains more than the last maps"):
        simulate(run_of(tmp_path, name), frozen)
