"""The experiments on prediction and solving: their tables are what was measured, and their READMEs show those."""

import json
from pathlib import Path

import pytest

from tests.experiments import imported

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
