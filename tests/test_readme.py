"""What the README shows works: its loop runs, its configuration is valid, the files it names exist."""

import re
from pathlib import Path

import torch
import yaml

from tests.models import RandomBatches, TinyDualEncoder
from tracer.config import loading
from tracer.runs import sweep

ROOT = Path(__file__).parents[1]
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
    for block in blocks("python"):
        if "theory" in block:
            exec(block, {})
    printed = capsys.readouterr().out
    assert printed.count("retention=") == 3
    assert "ema" in printed


def test_the_configuration_is_valid():
    assert loading.validate(yaml.safe_load(blocks("yaml")[0]), "README").strategy.name == "tracer"


def test_the_sweep_is_valid(tmp_path):
    (tmp_path / "grid.yaml").write_text(blocks("yaml")[1])
    plan, points = sweep.load(tmp_path / "grid.yaml")
    assert [len(point.runs) for point in points] == [3, 3, 3, 3]
    assert plan.published[0].at == points[1].setting


def test_what_it_links_and_lists_exists():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    (layout,) = re.findall(r"## Layout\n\n```\n(.*?)```", README, flags=re.DOTALL)
    listed = [
        part.strip(",") for line in layout.splitlines() for part in line.split() if "/" in part or part.strip(",").endswith(".py")
    ]
    missing = [p for p in (*links, *listed) if not ((ROOT / p).exists() or (ROOT / "tracer" / p).exists())]
    assert len(links) >= 3
    assert len(listed) >= 10
    assert missing == []
