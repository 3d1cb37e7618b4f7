"""iWildCam in WILDS' format, with accuracies and macro F1 worked out by hand."""

from pathlib import Path

import pytest

from tests import replicas
from tracer.data import iwildcam
from tracer.errors import UserError
from tracer.evaluation.report import evaluate

CATEGORIES = [(0, "empty"), (1, "ocelot"), (2, "tayra"), (3, "ocelot"), (99999, "opossum")]  # one name is published twice
TEMPLATES = ("a photo of {}.", "{} in the wild.")
ROWS = [
    ("train", 3, (3, 0)),
    ("id_test", 0, (0, 1)),
    ("id_test", 0, (0, 1)),
    ("id_test", 0, (2, 1)),
    ("id_test", 1, (1, 2)),
    ("id_test", 1, (0, 2)),
    ("test", 0, (0, 1)),
    ("test", 2, (0, 2)),
    ("id_val", 2, (1, 2)),
    ("val", 2, (1, 2)),
]
# ID: class 0 has TP 2, FN 1, FP 1; class 1 has TP 1, FN 1, FP 0; class 2, answered once, does not occur and is not averaged over
ID = {"count": 5, "accuracy": 3 / 5, "macro_f1": (4 / 6 + 2 / 3) / 2}
# OOD: class 0 has TP 1, FP 1; class 2 has FN 1
OOD = {"count": 2, "accuracy": 1 / 2, "macro_f1": (2 / 3 + 0) / 2}


def read(path, name_column="name", categories="categories.csv", templates=TEMPLATES):
    return iwildcam.suite(path, Path(categories), name_column, templates)


@pytest.fixture
def root(tmp_path):
    return replicas.iwildcam(tmp_path / "iwildcam_v2.0", ROWS, CATEGORIES)


def test_splits_and_scores(root):
    suite = read(root)
    assert suite.in_distribution.class_names == ("empty", "ocelot", "tayra", "ocelot")
    report = evaluate(replicas.sighted(suite.in_distribution.class_names, TEMPLATES), suite)
    for name, expected in (("id", ID), ("ood_test", OOD)):
        assert {key: report["sets"][name][key] for key in expected} == pytest.approx(expected)
    assert report["ood"]["macro_f1"] == pytest.approx(OOD["macro_f1"])
    assert ID["macro_f1"] != pytest.approx((4 / 6 + 2 / 3 + 0) / 3)  # with the class that does not occur


def test_validation_has_its_own_images(root):
    suite = iwildcam.suite(root, Path("categories.csv"), "name", TEMPLATES, "validation")
    counts = {name: len(images) for name, images in suite.sets().items()}
    assert counts == {"id": 1, "ood_val": 1}
    assert [path.name for images in suite.sets().values() for path in images.images.paths] == ["image8.jpg", "image9.jpg"]


def test_names_may_come_from_another_table(root):
    (root / "labels.csv").write_text("y,english\n0,nothing\n1,cat\n2,weasel\n3,big cat\n")
    assert read(root, "english", "labels.csv").in_distribution.class_names == ("nothing", "cat", "weasel", "big cat")


def test_empty_split_is_told(tmp_path):
    rows = [(split.replace("id_test", "test_id"), *rest) for split, *rest in ROWS]
    with pytest.raises(UserError, match=r"no images of the split 'id_test' \(did you mean"):
        read(replicas.iwildcam(tmp_path / "wilds", rows, CATEGORIES))


def test_absent_images_are_told(root):
    (root / "train" / "image2.jpg").unlink()
    with pytest.raises(UserError, match=r"names 1 images that are not there, first .*image2\.jpg"):
        read(root)


def test_classes_without_a_name_are_told(tmp_path):
    with pytest.raises(UserError, match="names no class 2"):
        read(replicas.iwildcam(tmp_path / "wilds", ROWS, [row for row in CATEGORIES if row[0] != 2]))


def test_classes_with_two_names_are_told(tmp_path):
    with pytest.raises(UserError, match="calls class 1 both 'ocelot' and 'margay'"):
        read(replicas.iwildcam(tmp_path / "wilds", ROWS, [*CATEGORIES, (1, "margay")]))


def test_labels_that_are_no_numbers_are_told(tmp_path):
    with pytest.raises(UserError, match=r"metadata\.csv line 3 has 'cat' in column 'y'"):
        read(replicas.iwildcam(tmp_path / "wilds", [ROWS[0], ("id_test", "cat", (0, 0)), *ROWS], CATEGORIES))


@pytest.mark.parametrize("file", ["metadata.csv", "categories.csv"])
def test_missing_tables_are_told(root, file):
    (root / file).unlink()
    with pytest.raises(UserError, match=file):
        read(root)


def test_templates_need_a_place_for_the_name(root):
    with pytest.raises(UserError, match="a wild animal"):
        read(root, templates=("a wild animal",))
