"""What the README shows works: its loop runs, its configuration is valid, what it names exists, its table is what was measured."""

import json
import pkgutil
import re
from pathlib import Path

import torch
import yaml

import tracer
from tests.models import RandomBatches, TinyDualEncoder
from tracer.config import loading
from tracer.demo import report
from tracer.demo import run as demo
from tracer.evaluation import across_runs

ROOT = Path(__file__).parents[1]
TERMS = ("CLIP", "ID", "OOD", "Knowledge", "ECE", "FLYP", "WiSE-FT", "EMA", "WMA", "Beta kernel", "impulse")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_loop_runs():
    (loop,) = [block for block in blocks("python") if "teacher.update()" in block]
    model = TinyDualEncoder()
    before = model.image_projection.weight.detach().clone()
    names = {
        "model": model,
        "loader": [RandomBatches(3)[step][:2] for step in range(3)],
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
    }
    exec(loop, names)
    assert names["teacher"].steps == 3
    assert not torch.equal(model.image_projection.weight, before)
    assert not torch.equal(names["teacher"].module.image_projection.weight, before)


def test_the_theory_runs(capsys):
    (block,) = [block for block in blocks("python") if "theory" in block]
    exec(block, {})
    assert capsys.readouterr().out.count("retention=") == 3


def test_every_block_of_code_is_run_or_checked():
    languages = re.findall(r"^```(\w+)$", README, flags=re.MULTILINE)
    assert sorted(languages) == ["python", "python", "yaml"]


def test_the_configuration_is_valid():
    (block,) = blocks("yaml")
    assert loading.validate(yaml.safe_load(block), "README").strategy.name == "tracer"


def test_its_table_is_the_demos():
    rows = json.loads((ROOT / "experiments" / "demo" / "results.json").read_text(encoding="utf-8"))["rows"]
    heading, *lines = report.cells(across_runs.summary(demo._at_chosen(rows)))
    expected = [[cell.replace("±", " ± ") for cell in line] for line in lines]
    shown = [[cell.strip() for cell in line.strip("|").split("|")] for line in README.splitlines() if line.startswith("| ")]
    start = shown.index(["strategy", "ID", "mean OOD", "knowledge", "ID ECE", "OOD ECE", "kept"])
    assert len(heading) == len(shown[start])
    assert shown[start + 1 : start + 1 + len(expected)] == expected


def test_it_is_short_and_shows_one_picture():
    assert len(README.splitlines()) <= 150
    assert len(re.findall(r"!\[", README)) == 1


def test_its_terms_are_in_the_glossary():
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    explained = {
        name.lower()
        for entry in re.findall(r"^\*\*(.+?)\*\*", glossary, flags=re.MULTILINE)
        for name in entry.rstrip(".").split(", ")
    }
    missing = [term for term in TERMS if term.lower() not in explained]
    assert missing == []
    assert [term for term in TERMS if term not in README] == []


def test_what_it_links_to_exists():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert len(links) >= 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_layout_has_every_package():
    (layout,) = re.findall(r"## Layout\n\n(.*?)\n\n", README, flags=re.DOTALL)
    listed = set(re.findall(r"`([\w/.]+)`", layout))
    assert [path for path in listed if not (ROOT / path).exists()] == []
    packages = {f"tracer/{module.name}/" for module in pkgutil.iter_modules(tracer.__path__) if module.ispkg}
    assert packages - listed == set()
