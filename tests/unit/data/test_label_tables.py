"""The tables of classes, against facts that stand in the data sets' papers and READMEs."""

import json
import pkgutil

import pytest

from tests import replicas
from tracer.data import label_tables
from tracer.errors import UserError

KNOWN = {"n01440764": (0, "tench"), "n01443537": (1, "goldfish"), "n02510455": (388, "giant panda"), "n07753592": (954, "banana")}


def test_imagenet_has_its_classes_in_the_order_of_synsets():
    synsets, names = label_tables.imagenet_synsets(), label_tables.imagenet_class_names()
    assert len(set(synsets)) == len(names) == 1000
    assert list(synsets) == sorted(synsets)
    for synset, (position, name) in KNOWN.items():
        assert (synsets[position], names[position]) == (synset, name)
        assert label_tables.imagenet()[synset] == (position,)


def test_two_names_stand_for_two_classes_each():
    """As published: whoever forbids it cannot evaluate on ImageNet."""
    names = label_tables.imagenet_class_names()
    assert {name for name in names if names.count(name) > 1} == {"missile", "sunglasses"}


def test_templates_have_one_place_for_the_name():
    templates = label_tables.openai_templates()
    assert len(set(templates)) == 80
    assert all(template.count("{}") == 1 and template.format("x").count("x") >= 1 for template in templates)
    assert "a photo of a {}." in templates


@pytest.mark.parametrize("name", ["a", "r"])
def test_subsets_have_the_published_positions(name):
    meanings = label_tables.imagenet_subset(name)
    published = pkgutil.get_data("timm.data", f"_info/imagenet_{name}_indices.txt").decode().split()
    assert len(meanings) == 200
    assert [position for (position,) in meanings.values()] == [int(position) for position in published]


def test_numeric_folders_are_numbers():
    meanings = label_tables.imagenet_v2()
    assert meanings["10"] == (10,)
    assert sorted(meanings)[2] == "10"  # where sorting as text would put it


def test_objects_have_the_classes_of_their_labels(tmp_path):
    replicas.objectnet(tmp_path / "objectnet", {})
    meanings = label_tables.objectnet(tmp_path / "objectnet" / "mappings")
    assert meanings == {"chair": (423, 559, 765), "banana": (954,), "t-shirt": (610,), "squeegee": (), "eyeglasses": ()}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("objectnet_to_imagenet_1k.json", None, r"cannot read .*objectnet_to_imagenet_1k\.json"),
        ("folder_to_objectnet_label.json", None, r"cannot read .*folder_to_objectnet_label\.json"),
        ("folder_to_objectnet_label.json", "{", "is not JSON"),
        ("folder_to_objectnet_label.json", "[1]", "not a table of names"),
        ("objectnet_to_imagenet_1k.json", json.dumps({"Banana": "bananna"}), "does not have, first 'bananna'"),
    ],
)
def test_damaged_mappings_are_told(tmp_path, file, content, message):
    mappings = replicas.objectnet(tmp_path / "objectnet", {}) / "mappings"
    (mappings / file).unlink()
    if content is not None:
        (mappings / file).write_text(content)
    with pytest.raises(UserError, match=message):
        label_tables.objectnet(mappings)
