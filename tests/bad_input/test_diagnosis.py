"""Mistakes in what `tracer diagnose` is given."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.bad_input.case import Case, assert_told, each
from tests.bad_input.files import changed, huge, wide
from tracer.cli import main

SUITE = "'evaluation={kind: folder, id: photos, knowledge: {other: photos}}'"
MOVED = {"w.safetensors": changed(visual__proj=lambda tensor: 1.1 * tensor)}
NAN = {"w.safetensors": changed(visual__proj=lambda tensor: tensor / 0)}


def pictures(count, colour=None):
    """Writes that many pictures of noise, or of one colour."""

    def write(path):
        path.mkdir()
        for number in range(count):
            noise = np.random.default_rng(number).integers(256, size=(40, 40, 3), dtype=np.uint8)
            Image.fromarray(noise if colour is None else np.full_like(noise, colour)).save(path / f"{number}.png")

    return write


def case(name, answer, files=MOVED, more="", start=f"diagnose base.yaml {SUITE}"):
    return Case(name, f"{start} --weights w.safetensors {more}", answer, files)


CASES = [
    case("absent weights", "--weights is w.safetensors, which does not exist: check the path", {}),
    case("a folder without a run", "--before is photos/student.safetensors, which does not exist", more="--before photos"),
    case("weights of another size", "w.safetensors does not fit the model", {"w.safetensors": wide}),
    case("weights that are not finite", "w.safetensors .*finite", NAN),
    case(
        "answers that are not finite",
        "answers to [0-9]+ of 12 images of the set id are not finite",
        {"w.safetensors": changed(visual__proj=huge(3e38))},
    ),
    case(
        "the same weights",
        "w.safetensors are those in local-dir:tiny, so there is nothing to diagnose",
        {"w.safetensors": changed()},
    ),
    case("the same weights twice", "w.safetensors are those in w.safetensors, so there is nothing", more="--before w.safetensors"),
    case("no weights to start from", "model.pretrained is null, .* or by --before", more="model.pretrained=null"),
    case("no images", "no suite is named in evaluation, .* name one, or give --images", start="diagnose base.yaml"),
    case("an absent folder of images", "nowhere", more="--images nowhere"),
    case("a folder without images", "empty holds no images", {**MOVED, "empty/notes.txt": "none"}, "--images empty"),
    case("a file for a folder of images", "base.yaml", more="--images base.yaml"),
    case("an empty name of a folder", "--images is ''", more="--images ''"),
    case(
        "too few images", "few holds 9 images, fewer than the 10 that say anything", {**MOVED, "few": pictures(9)}, "--images few"
    ),
    case("images of one colour", "all of one colour", {**MOVED, "grey": pictures(12, 128)}, "--images grey"),
    case(
        "too few images of the task",
        "data holds 4 images",
        more="'data={kind: folder, path: few}'",
        files={**MOVED, "few/bird": pictures(4)},
    ),
    case(
        "a damaged image",
        "cannot read photo/a.png .*: repair it or take it out",
        {**MOVED, "photo": pictures(12), "photo/a.png": b"x"},
        "--images photo",
    ),
    case("into a file", "--output is base.yaml, but it is a file", more="--output base.yaml"),
]


@each(CASES)
def test_is_told(case, folder, capsys):
    assert_told(case, folder, capsys)


@pytest.mark.parametrize("more", [["--images", "photos"], ["evaluation={kind: folder, id: photos}"]], ids=["unlabelled", "a suite"])
def test_what_is_sound_is_diagnosed(folder, more, capsys):
    """Images without classes are answered by those of the data, and a suite needs no shifted sets."""
    MOVED["w.safetensors"](folder / "w.safetensors")
    assert main(["diagnose", "base.yaml", "--weights", "w.safetensors", *more]) == 0
    told = json.loads((folder / "run" / "diagnosis" / "diagnosis.json").read_text())
    assert {name: row["images"] for name, row in told["sets"].items()} == ({"photos": 12} if "--images" in more else {"id": 12})
    assert told["task"] == "data"
    assert [each["name"] for each in told["maps"] if each["size"]] == ["proj"]
    assert told["verdict"].replace(" ", "") in capsys.readouterr().out.replace("\n", "").replace(" ", "")
