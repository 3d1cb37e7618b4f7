"""The merging experiment: its tables are those of its rows, and its own measures are those of the library."""

import dataclasses
import json
from pathlib import Path

import pytest

from tests.experiments import imported
from tracer.evaluation import choice
from tracer.evaluation.merges import METHODS
from tracer.evaluation.report import evaluate
from tracer.models import clip
from tracer.toy import world

FOLDER = Path(__file__).parents[2] / "experiments" / "merging"


@pytest.fixture(scope="module")
def results():
    return json.loads((FOLDER / "results.json").read_text(encoding="utf-8"))


@pytest.fixture
def run():
    with imported("merging", "run") as modules:
        yield modules["run"]


def test_tables_are_those_of_the_rows(run, results):
    for strategy, table in results["merging"].items():
        assert run.summarise([row for row in results["merged"] if row["strategy"] == strategy]) == table
        assert set(METHODS) <= set(table)
        assert table[run.SINGLE]["ID gained"] == {"mean": 0.0, "half_width": 0.0}
    assert run.differences(results["merged"]) == results["differences"]
    for strategy, table in results["temperature"].items():
        assert run.calibration([row for row in results["calibrated"] if row["strategy"] == strategy]) == table


def test_the_readme_has_the_tables_numbers(results):
    """Each method's means stand in the README as they are in the results."""
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    for strategy, table in results["merging"].items():
        for name, row in table.items():
            cells = " | ".join(
                f"{100 * row[key]['mean']:.1f} ± {100 * row[key]['half_width']:.1f}" for key in ("ID", "OOD", "knowledge")
            )
            assert f"| {cells} |" in page, (strategy, name)
    for strategy, row in results["temperature"].items():
        temperature = row["temperature"]
        assert f"{temperature['mean']:.2f} ± {temperature['half_width']:.2f}" in page, strategy


def test_a_temperature_is_fitted_on_validation_and_told_of_test(run):
    def small(split):
        suite = world.suite(split)
        return dataclasses.replace(suite, ood={"outline": suite.ood["outline"]}, knowledge={"letters": suite.knowledge["letters"]})

    encoder = clip.create("glyphs", "0")
    suites = small("validation"), small("test")
    found = run.calibrate(encoder, suites)
    warmer = dataclasses.replace(encoder, temperature=found["temperature"])
    for moment, one in (("before", encoder), ("after", warmer)):
        report = evaluate(one, suites[1])
        for kind, name in run.KINDS.items():
            assert found[f"{name} ece"][moment] == pytest.approx(report[kind]["ece"], abs=1e-5)
    losses = [evaluate(one, suites[0])["id"]["nll"] for one in (encoder, warmer)]
    assert losses[1] < losses[0]
    assert choice.score(evaluate(warmer, suites[0])) == choice.score(evaluate(encoder, suites[0]))
