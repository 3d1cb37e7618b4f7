"""The solved map: what it minimises, what it is held by, how it is chosen, and that open_clip loads it."""

import json

import numpy as np
import open_clip
import pytest

from tests.tolerances import POWER
from tests.unit.last_layer.conftest import run_of
from tracer.cli import main
from tracer.config import loading
from tracer.errors import UserError
from tracer.evaluation.report import evaluate
from tracer.last_layer.regression import Regression, text_directions
from tracer.last_layer.solve import STRENGTHS, _best, plan, solve
from tracer.runs import judging
from tracer.runs.sources import evaluation_suite

SOLVED = 1e-7  # of the largest entry of the gradient at the start: eigenvalues below 1e-12 of the largest count as zero


def weights_of(encoder):
    layer = encoder.model.image_map
    return np.hstack([layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()[:, None]])


@pytest.fixture(scope="module")
def regression(frozen):
    return Regression(frozen)


class TestRegression:
    @pytest.mark.parametrize("metric", ["replay", "parameter", "data"])
    def test_it_minimises_what_it_says(self, metric, regression, frozen):
        inputs = regression.inputs(frozen.data.pairs.images)
        size = np.linalg.norm(inputs @ regression.problem.initial_weights.T, axis=1).mean()
        targets = size * text_directions(frozen)
        held = {
            "replay": regression.inputs(frozen.data.pool).T @ regression.inputs(frozen.data.pool) / len(frozen.data.pool),
            "parameter": np.eye(inputs.shape[1]),
            "data": inputs.T @ inputs / len(inputs),
        }[metric]

        def gradient(at):
            start = regression.problem.initial_weights
            return (inputs @ at.T - targets).T @ inputs / len(inputs) + 0.3 * (at - start) @ held

        solution = regression.solved_weights(metric, 0.3)
        least, most = (np.abs(gradient(at)).max() for at in (solution, regression.problem.initial_weights))
        assert least <= SOLVED * most
        assert np.abs(gradient(regression.solved_weights(metric, 0.6))).max() >= POWER * SOLVED * most

    def test_replay_keeps_what_the_tasks_own_images_do_not(self, regression, frozen):
        suite = frozen.suites["validation"]
        replay, data = (evaluate(regression.solved(metric, 3.0), suite) for metric in ("replay", "data"))
        before = evaluate(frozen.encoder, suite)
        assert replay["id"]["accuracy"] > before["id"]["accuracy"] + 0.05
        assert replay["ood"]["accuracy"] > before["ood"]["accuracy"] - 0.05
        assert data["ood"]["accuracy"] < before["ood"]["accuracy"] - 0.3


def report(accuracy, **others):
    return {"id": {"accuracy": accuracy}, "ood": {}, "knowledge": {}, **others}


def test_the_task_alone_takes_the_firmest_hold_that_costs_a_point():
    assert _best([report(0.95), report(0.955), report(0.95), report(0.9449), report(0.9)]) == 2


def test_with_shifted_sets_it_is_the_best_mean():
    reports = [report(0.99, ood={"accuracy": ood}) for ood in (0.5, 0.8, 0.7)]
    assert _best(reports) == 1


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    assert main(["solve", f"output={folder}", "model.architecture=glyphs", "model.pretrained=0", "--pairs", "400"]) == 0
    return folder


class TestCommand:
    def test_what_is_told_is_true_of_the_saved_model(self, solved):
        told = json.loads((solved / "solved" / "solve.json").read_text())
        assert told["strength"] in STRENGTHS
        run = run_of(solved)
        suite = evaluation_suite(loading.validate({}, "here").evaluation)
        judged = judging.judge_saved(run, suite, solved / "solved" / "student.safetensors", None)
        for kind in ("id", "ood", "knowledge"):
            assert judged[kind]["accuracy"] == pytest.approx(told["report"][kind]["accuracy"], abs=1e-3)
            assert told["report"]["pretrained"][kind]["accuracy"] == pytest.approx(judged["pretrained"][kind]["accuracy"], abs=1e-3)
        assert told["report"]["change"]["id"]["accuracy"] > 0.05

    def test_open_clip_loads_it(self, solved):
        model = open_clip.create_model(f"local-dir:{solved / 'solved'}")
        assert model.visual.attnpool.c_proj.weight.shape == (64, 256)

    def test_a_folder_of_another_model_is_left_alone(self, tmp_path):
        (tmp_path / "solved").mkdir()
        (tmp_path / "solved" / "open_clip_model.safetensors").write_bytes(b"mine")
        run = run_of(tmp_path)
        with pytest.raises(UserError, match="holds the weights open_clip_model"):
            solve(plan(run, "parameter", 50, same_images=True), tmp_path / "solved")
        assert (tmp_path / "solved" / "open_clip_model.safetensors").read_bytes() == b"mine"
