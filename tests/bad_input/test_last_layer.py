"""Mistakes in what `tracer predict` and `tracer solve` are given."""

import json

import numpy as np
import open_clip
import torch
from PIL import Image

from tests.bad_input.case import Case, assert_told, each
from tracer.cli import main
from tracer.last_layer import grid

SUITE = "'evaluation={kind: folder, id: photos, ood: {same: photos}}' --same-images"


def pictures(*classes, count=4):
    """Class folders of noise."""

    def write(path):
        for name in classes:
            (path / name).mkdir(parents=True)
            for number in range(count):
                noise = np.random.default_rng(number).integers(256, size=(40, 40, 3), dtype=np.uint8)
                Image.fromarray(noise).save(path / name / f"{number}.png")

    return write


def of(path):
    return f"'data={{kind: folder, path: {path}}}'"


CASES = [
    *[
        Case(f"{command} {name}", f"{command} base.yaml {typed}", answer, files)
        for command in ("predict", "solve")
        for name, typed, answer, files in (
            ("on no pairs", "--pairs 0", "--pairs is 0: choose at least 2", {}),
            ("into a file", "--output base.yaml", "--output is base.yaml, but it is a file", {}),
        )
    ],
    Case("predicting without a suite", "predict base.yaml", "evaluation is null, so there is nothing to judge the model on"),
    Case("solving few photos without a suite", "solve base.yaml", "12 images of 3 classes leave none of each class"),
    Case(  # a closed form has no batches
        "solving fewer photos than a batch",
        "solve base.yaml optimization.batch_size=512",
        "12 images of 3 classes leave none of each class",
    ),
    Case(
        "predicting from fewer photos than a batch",
        f"predict base.yaml {SUITE.split(' --')[0]} optimization.batch_size=512",
        "12 pairs, fewer than one batch of 512: lower batch_size",
    ),
    Case(
        "one class",
        f"solve base.yaml {SUITE} {of('one')}",
        "the training data show 1 class, which leaves nothing to tell apart",
        {"one": pictures("bird")},
    ),
    Case(
        "training on one class",
        f"train base.yaml {of('one')}",
        "the training data show 1 class, which leaves nothing to tell apart",
        {"one": pictures("bird")},
    ),
    Case(
        "a suite of other classes",
        f"solve base.yaml {SUITE} {of('other')}",
        "no class in common",
        {"other": pictures("house", "tree")},
    ),
    Case(
        "few photos and no suite to choose on",
        f"solve base.yaml {SUITE.split(' --')[0]}",
        "12 images of 3 classes leave none of each class to choose a strength on, and validation is null",
    ),
    Case(
        "a sweep and a configuration",
        "predict base.yaml --sweep s.yaml",
        "--sweep has a configuration of its own.*leave base.yaml out",
    ),
    Case("a sweep that is absent", "predict --sweep s.yaml", "s.yaml"),
    Case("an unknown metric", "solve base.yaml --metric weights", "there is no metric 'weights'"),
]


@each(CASES)
def test_is_told(case, folder, capsys):
    assert_told(case, folder, capsys)


def test_photos_alone_are_enough_to_solve(folder):
    """Without a suite one in five is held out to choose on; open_clip loads the result."""
    pictures("bird", "cat", "dog", count=6)(folder / "more")
    assert main(["solve", "base.yaml", "data.path=more"]) == 0
    told = json.loads((folder / "run" / "solved" / "solve.json").read_text())
    assert "report" not in told
    assert told["strength"] in [row["strength"] for row in told["candidates"]]
    before, after = (open_clip.create_model(f"local-dir:{folder / place}") for place in ("tiny", "run/solved"))
    assert not torch.equal(before.visual.proj, after.visual.proj)
    assert torch.equal(before.visual.conv1.weight, after.visual.conv1.weight)


def test_what_was_held_out_is_not_what_is_reported(folder):
    """A suite to report on is not chosen on."""
    pictures("bird", "cat", "dog", count=6)(folder / "more")
    assert main(["solve", "base.yaml", "data.path=more", "evaluation={kind: folder, id: photos}"]) == 0
    told = json.loads((folder / "run" / "solved" / "solve.json").read_text())
    assert told["report"]["id"]["accuracy"] == told["report"]["sets"]["id"]["accuracy"]
    assert told["report"]["sets"]["id"]["count"] == 12
    assert {round(3 * row["id"]["accuracy"], 9) % 1 for row in told["candidates"]} == {0.0}  # one of each class is held out


def test_photos_with_a_suite_are_predicted(folder, monkeypatch):
    monkeypatch.setattr(grid, "RATES", (1.0,))
    monkeypatch.setattr(grid, "STRENGTHS", {"flyp": ({},), "tracer": ({"strategy": {"strength": 0.9}},)})
    assert main(["predict", "base.yaml", "evaluation={kind: folder, id: photos}"]) == 0
    told = json.loads((folder / "run" / "prediction" / "prediction.json").read_text())
    assert [row["strategy"] for row in told["rows"]] == ["flyp", "tracer"]
    assert told["pools"] == {}
    assert "moves the embeddings of what is replayed least" in told["reason"]
