"""The page "The paper, claim by claim" has all numbered results, each with the claims that answer it, and leaves nothing out."""

import re
from pathlib import Path

from tests.test_readme import README
from tracer.theory.claims import CLAIMS, NUMBERED, by_number

PAGE = (Path(__file__).parents[1] / "docs" / "paper.md").read_text(encoding="utf-8")
ABSTRACT, NUMBERS, PASSAGES = re.split(r"^## (?:The numbered results|Passages without a number)$", PAGE, flags=re.MULTILINE)
IN_CODE = re.compile(r"`([a-z0-9-]+)`")


def answered():
    """For each heading of a numbered result its labels, and the claims that are listed under it."""
    for section in re.split(r"^### ", NUMBERS, flags=re.MULTILINE)[1:]:
        heading, body = section.split("\n", 1)
        yield heading.split(", "), IN_CODE.findall(body.split("\nClaims: ")[1])


def test_every_numbered_result_has_its_claims():
    found = by_number()
    for labels, claims in answered():
        assert set(claims) == {claim.id for label in labels for claim in found[label]}, labels
        assert len(claims) == len(set(claims))
    assert sorted(label for labels, _ in answered() for label in labels) == sorted(NUMBERED)


def test_every_passage_has_its_claims():
    for place, claims in by_number().items():
        if place.startswith("Section") and place != "Section C.4":  # whose claims are those of Theorem C.2
            (row,) = [line for line in PASSAGES.splitlines() if line.startswith(f"| {place}")]
            assert set(IN_CODE.findall(row)) == {claim.id for claim in claims}, place


def test_the_abstract_is_answered_in_ten_rows_by_claims_that_exist():
    rows = [line for line in ABSTRACT.splitlines() if line.startswith("| ") and line.count("|") == 6][1:]
    assert len(rows) == 10
    named = {name for row in rows for name in IN_CODE.findall(row)}
    assert len(named) > 10
    assert named <= CLAIMS.keys()


def test_the_readme_links_it_first():
    assert re.findall(r"\]\((?!https?:)([^)#]+)", README)[0] == "docs/paper.md"
