"""The forgetting experiment: interventions train what they say, measures add up, and the tables are those of the results."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.experiments import imported
from tests.tolerances import CANCELLATION, POWER
from tracer.evaluation.report import evaluate
from tracer.models import clip
from tracer.toy import world

FOLDER = Path(__file__).parents[2] / "experiments" / "forgetting"


@pytest.fixture
def code():
    """The experiment's modules."""
    with imported("forgetting", "interventions", "linear", "parts", "run", "tables") as modules:
        yield modules


@pytest.fixture(scope="module")
def suite():
    return world.suite("validation")


@pytest.fixture
def pretrained():
    return clip.create("glyphs", "0")


@pytest.fixture
def tuned(pretrained):
    """The same model with noise in all of its weights."""
    other, generator = clip.create("glyphs", "0"), torch.Generator().manual_seed(1)
    for parameter in other.model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data += 0.1 * parameter.detach().abs().mean() * noise
    return other


def test_interventions_train_what_they_say(code, tmp_path):
    module = code["interventions"]
    last = {"visual.attnpool.c_proj.weight", "visual.attnpool.c_proj.bias"}
    trained = {}
    for name in module.INTERVENTIONS:
        run = module.configuration(name, 1e-3, "0", 0, tmp_path)
        model = clip.create("glyphs", None).model
        clip.freeze(model, run.model.freeze)
        trained[name] = {n.removeprefix("clip.") for n, p in model.named_parameters() if p.requires_grad}
    everything = trained[module.FLYP]
    image = {name for name in everything if name.startswith("visual.")}
    text = everything - image - {"logit_scale"}
    assert trained[module.PROJECTION] == trained["+ weight decay"] == trained[module.TEN_TIMES] == last
    assert trained["+ logit scale"] == last | {"logit_scale"}
    assert trained["+ attention pool"] == {n for n in image if "attnpool" in n} | {"logit_scale"}
    assert trained["+ last stage"] == {n for n in image if "attnpool" in n or "layer4" in n} | {"logit_scale"}
    assert trained[module.TEXT_FROZEN] == image | {"logit_scale"}
    assert trained[module.IMAGE_FROZEN] == text | {"logit_scale"}
    assert trained["image tower frozen below its projection"] == text | last | {"logit_scale"}
    assert trained["logit scale frozen"] == image | text
    assert trained["no weight decay"] == trained["cross-projection norm 0.05"] == everything


def test_gradient_descent_moves_the_last_map_alone(code, pretrained, tmp_path):
    module = code["interventions"]
    run = module.configuration(module.PROJECTION, 1e-3, "0", 0, tmp_path)
    run = run.model_copy(update={"optimization": run.optimization.model_copy(update={"total_steps": 2})})
    after = module.gradient_descent(run, 0.6).model.state_dict()
    moved = {name for name, value in pretrained.model.state_dict().items() if not torch.equal(value, after[name])}
    assert moved == {"clip.visual.attnpool.c_proj.weight", "clip.visual.attnpool.c_proj.bias"}


def test_parts_together_are_the_model(code, pretrained, tuned, suite):
    module = code["parts"]
    start, end = module.take_apart(pretrained, suite), module.take_apart(tuned, suite)
    mixed = module.mixtures(start, end, suite)
    assert len(mixed) == 2 ** len(module.PARTS)
    for encoder, key in ((pretrained, ""), (tuned, "trunk + projection + texts")):
        report = evaluate(encoder, suite)
        judged = {"ID": report["id"], "OOD": report["ood"], "knowledge": report["knowledge"]}
        assert mixed[key] == pytest.approx({kind: judged[kind]["accuracy"] for kind in judged}, abs=CANCELLATION)
    lost = mixed[""]["OOD"] - mixed["trunk + projection + texts"]["OOD"]
    assert abs(lost) >= POWER * CANCELLATION
    assert sum(module.shapley(mixed, "OOD").values()) == pytest.approx(lost, abs=CANCELLATION)
    still = module.moved(start, start, suite)
    assert all(abs(value) <= CANCELLATION for kinds in still.values() for value in kinds.values())
    assert all(value >= POWER * CANCELLATION for kinds in module.moved(start, end, suite).values() for value in kinds.values())
    assert module.read_by_class_means(start, suite)["ID"] > 0.8


def test_the_account_knows_inside_from_outside(code, pretrained, suite):
    parts, linear = code["parts"], code["linear"]
    space = linear.World.of(pretrained, parts.take_apart(pretrained, suite), world.task("train"), suite)
    start, task = space.problem.initial_weights, space.subspaces()["0.99"]
    change = 0.1 * np.random.default_rng(0).standard_normal(start.shape)
    inside, outside = (space.account(start + part(change))["0.99"] for part in (task.task, task.orthogonal))
    assert inside["retention"] == pytest.approx(1, abs=CANCELLATION)
    assert abs(outside["retention"] - 1) >= POWER * CANCELLATION
    assert (inside["displaced_outside"], outside["displaced_outside"]) == pytest.approx((0, 1), abs=CANCELLATION)
    assert inside["inside_alone"] == space.judged(start + task.task(change))
    assert inside["outside_alone"] == space.judged(start)
    assert space.coverage()["0.99"]["inside"]["OOD"] < space.coverage()["0.999"]["inside"]["OOD"] < 1
    assert space.coverage()["0.99"]["inside"]["OOD"] == pytest.approx(space.profile()["OOD"][task.rank - 1], abs=1e-6)


def test_the_tables_are_those_of_the_results(code):
    results = json.loads((FOLDER / "results.json").read_text(encoding="utf-8"))
    _close(code["run"].summarise(results["records"]), results["summary"])
    readme = (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    measured = code["tables"].tables(results["summary"]).splitlines()
    shown = [line for line in readme if line.startswith("|") and "±" in line]
    assert shown
    assert set(shown) <= set(measured)


def _close(found, stored):
    if isinstance(stored, dict):
        assert found.keys() == stored.keys()
        for key, value in stored.items():
            _close(found[key], value)
    else:
        assert math.isclose(found, stored, rel_tol=1e-9, abs_tol=1e-12)
