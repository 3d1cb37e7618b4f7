"""The experiments on prediction and solving: their tables are what was measured, and their READMEs show those."""

import copy
import json
from pathlib import Path

import pytest
import torch

from tests.experiments import imported
from tracer.models import clip
from tracer.toy import small_clip

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def shown_lines(name):
    """The lines of all tables in a README, without those of headings and rules."""
    readme = (EXPERIMENTS / name / "README.md").read_text(encoding="utf-8")
    return [line for line in readme.splitlines() if line.startswith("| ")]


@pytest.mark.parametrize("name", ["prediction", "solve"])
def test_what_the_readme_shows_is_in_the_tables(name):
    tables = (EXPERIMENTS / name / "tables.md").read_text(encoding="utf-8").splitlines()
    assert shown_lines(name)
    assert [line for line in shown_lines(name) if line not in tables] == []


def test_the_tables_of_solving_are_what_was_measured():
    rows = json.loads((EXPERIMENTS / "solve" / "results.json").read_text(encoding="utf-8"))
    with imported("solve", "tables") as modules:
        assert (EXPERIMENTS / "solve" / "tables.md").read_text(encoding="utf-8").splitlines() == modules["tables"].table(rows)
    assert len({row["model"] for row in rows}) >= 5


def test_the_tables_of_predictions_are_what_was_measured():
    with imported("prediction", "tables") as modules:
        tables = modules["tables"]
        found = "\n".join(tables.text(tables.joined())) + "\n"
    assert (EXPERIMENTS / "prediction" / "tables.md").read_text(encoding="utf-8") == found


def test_every_setting_that_was_predicted_was_trained():
    predicted = json.loads((EXPERIMENTS / "prediction" / "predictions.json").read_text(encoding="utf-8"))
    with imported("prediction", "tables") as modules:
        assert len(modules["tables"].joined()) == len(predicted) >= 5 * 11


def test_the_expanded_model_errs_by_a_share_that_vanishes_with_the_displacement():
    torch.manual_seed(0)
    model = clip.create("glyphs", None).model.double().eval()
    images, tokens = torch.randn(4, 3, 32, 32, dtype=torch.float64), small_clip.TOKENIZER(["the digit two", "a red letter"])
    away = {name: torch.randn_like(parameter) * parameter.abs().mean() for name, parameter in model.named_parameters()}
    with imported("prediction", "tangent") as modules, torch.no_grad():
        errors = {}
        for size in (1e-3, 1e-4):
            moved, expanded = copy.deepcopy(model), modules["tangent"].Tangent(copy.deepcopy(model))
            for name, direction in away.items():
                moved.get_parameter(name).add_(size * direction)
                expanded.model.get_parameter(name).add_(size * direction)
            for tower, inputs in (("encode_image", images), ("encode_text", tokens)):
                here, there = getattr(model, tower)(inputs), getattr(moved, tower)(inputs)
                errors[tower, size] = float((getattr(expanded, tower)(inputs) - there).norm() / (there - here).norm())
    for tower in ("encode_image", "encode_text"):  # where ReLU has its kinks an error falls a little more slowly
        assert errors[tower, 1e-3] < 0.01
        assert errors[tower, 1e-4] < 0.4 * errors[tower, 1e-3]
