"""The ablations' own arithmetic: effects of terms by planted ones, and README's tables are those that the scripts wrote."""

from pathlib import Path

import numpy as np
import pytest

from tests.experiments import imported

FOLDER = Path(__file__).parents[2] / "experiments" / "ablations"
LETTERS = ["".join(letter for letter, on in zip("FKIC", f"{n:04b}", strict=True) if on == "1") or "-" for n in range(16)]
PLANTED = {"F": 2.0, "K": -1.0, "I": 0.25, "C": 0.0}


@pytest.fixture
def factorial():
    with imported("ablations", "factorial") as modules:
        yield modules["factorial"]


def planted(model):
    """A measure of all combinations: the planted effects, one pair of terms that do more together, and a level of the model's."""
    own = [sum(PLANTED[letter] for letter in combination if letter in PLANTED) for combination in LETTERS]
    together = [3.0 * ("F" in combination and "C" in combination) for combination in LETTERS]
    return np.add(own, together) + 10 * model


def test_effects_are_means_over_the_other_terms(factorial):
    here = dict.fromkeys((*factorial.PUBLISHED_MEASURES, "knowledge"), np.array([planted(model) for model in range(3)]).T)
    published = dict.fromkeys(factorial.PUBLISHED_MEASURES, planted(0))
    lines = factorial.effects(LETTERS, published, here)[2:]
    expected = {"FD": "+3.5", "CrossKD": "-1.0", "ICL": "+0.2", "CRD": "+1.5"}  # half of what a pair adds falls to each of the two
    assert [(line.split(" | ")[0].strip("| "), line.split(" | ")[2]) for line in lines] == [
        (name, f"{effect} ± 0.0") for name, effect in expected.items()
    ]


def test_the_same_order_correlates_fully_and_a_reversed_one_not(factorial):
    published = dict.fromkeys(factorial.PUBLISHED_MEASURES, planted(0))
    for sign, told in ((1, "+1.00"), (-1, "-1.00")):
        here = dict.fromkeys(factorial.PUBLISHED_MEASURES, sign * np.array([planted(model) for model in range(3)]).T)
        assert f"| OOD | {told} ± 0.00 | {told} | {told} |" in factorial.correlations(published, here)


def test_readme_has_the_tables_of_the_scripts():
    written = {line for name in ("orderings", "factorial") for line in (FOLDER / f"{name}.md").read_text().splitlines()}
    rows = [line for line in (FOLDER / "README.md").read_text().splitlines() if line.startswith("|") and "![" not in line]
    assert len(rows) > 30
    assert [line for line in rows if line not in written] == []
