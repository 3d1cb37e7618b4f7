"""What the classes of a suite of class folders are, and the accuracies that follow, worked out by hand."""

import unicodedata
from typing import ClassVar

import pytest

from tests import replicas
from tracer.config import loading
from tracer.data.folder_suite import suite
from tracer.errors import UserError
from tracer.evaluation.report import evaluate
from tracer.runs import sources

TEMPLATES = ("a photo of a {}.",)
TASK = {"ant": [(0, 5)], "bee": [(1, 5)], "cat": [(2, 5)]}  # ImageNet's numbers stand for the names in order
SHIFTED = {"bee": [(1, 0), (2, 1)], "cat": [(0, 2), (2, 0)]}  # among both: 3 of 4; among all three: 2 of 4
SYNSETS = {"n01440764": [(0, 5)], "n01443537": [(1, 5)], "n07753592": [(954, 5)]}


@pytest.fixture
def folders(tmp_path):
    for name, planted in (("task", TASK), ("shifted", SHIFTED), ("synsets", SYNSETS)):
        replicas.class_folders(tmp_path / name, planted, planted)
    return tmp_path


def judged(found):
    return evaluate(replicas.sighted(found.in_distribution.class_names, TEMPLATES), found)["sets"]


def test_a_set_with_some_classes_is_judged_among_all(folders):
    sets = judged(suite(folders / "task", {"shifted": folders / "shifted"}, {}, TEMPLATES))
    assert (sets["id"]["accuracy"], sets["id"]["classes"], sets["id"]["label_space"]) == (1, 3, 3)
    assert (sets["shifted"]["accuracy"], sets["shifted"]["classes"], sets["shifted"]["label_space"]) == (2 / 4, 2, 3)
    alone = judged(suite(folders / "shifted", {}, {}, TEMPLATES))["id"]
    assert alone["label_space"] == 2


def test_empty_folders_change_nothing(folders, caplog):
    (folders / "shifted" / "ant").mkdir()
    assert judged(suite(folders / "task", {"shifted": folders / "shifted"}, {}, TEMPLATES))["shifted"]["accuracy"] == 2 / 4
    assert caplog.messages == [f"left out of {folders / 'shifted'}: 1 class folders without images"]


def test_labels_go_by_names(folders):
    """Not by positions, and in any spelling of underscores and Unicode."""
    (folders / "task" / "cat").rename(folders / "task" / unicodedata.normalize("NFD", "café_noir"))
    (folders / "shifted" / "cat").rename(folders / "shifted" / unicodedata.normalize("NFC", "café noir"))
    found = suite(folders / "task", {"shifted": folders / "shifted"}, {}, TEMPLATES)
    assert found.in_distribution.class_names == found.ood["shifted"].class_names == ("ant", "bee", "café noir")
    assert found.ood["shifted"].labels.tolist() == [1, 1, 2, 2]


def test_a_class_that_the_task_lacks_is_refused(folders):
    (folders / "shifted" / "cat").rename(folders / "shifted" / "cats")
    with pytest.raises(
        UserError, match=r"the set shifted \(.*\) has 1 classes that the task lacks, first 'cats' .did you mean 'cat'"
    ):
        suite(folders / "task", {"shifted": folders / "shifted"}, {}, TEMPLATES)


def test_other_things_have_classes_of_their_own(folders):
    found = suite(folders / "task", {}, {"pair": folders / "shifted", "imagenet": folders / "synsets"}, TEMPLATES)
    assert found.knowledge["pair"].class_names == ("bee", "cat")
    assert found.knowledge["imagenet"].class_names == ("tench", "goldfish", "banana")


class TestImageNetsNames:
    def test_are_those_of_the_tasks_folders(self, folders):
        replicas.class_folders(folders / "some", ["n07753592"], {"n07753592": [(954, 0), (0, 954)]})
        found = suite(folders / "synsets", {"some": folders / "some"}, {}, TEMPLATES, "imagenet")
        assert found.in_distribution.class_names == found.ood["some"].class_names == ("tench", "goldfish", "banana")
        assert found.ood["some"].labels.tolist() == [2, 2]

    def test_are_refused_for_other_folders(self, folders):
        with pytest.raises(UserError, match="3 of 3 class folders that are none of ImageNet's 1000 synsets, first 'ant'"):
            suite(folders / "task", {}, {}, TEMPLATES, "imagenet")

    def test_are_missing_where_synsets_would_be_captions(self, folders):
        with pytest.raises(UserError, match="WordNet ids, first n01440764: write class_names: imagenet"):
            suite(folders / "synsets", {}, {}, TEMPLATES)


class TestConfiguration:
    GLYPHS: ClassVar = {"architecture": "glyphs"}

    def read(self, folders, data=None, **evaluation):
        data = {"kind": "folder", "path": str(folders / "synsets"), **(data or {})}
        values = {
            "model": self.GLYPHS,
            "data": data,
            "evaluation": {"kind": "folder", "id": str(folders / "synsets"), **evaluation},
        }
        return sources.evaluation_suite(loading.validate(values, "here").evaluation)

    def test_the_suite_is_worded_as_the_training_data(self, folders):
        task = self.read(folders, {"class_names": "imagenet", "templates": "openai"}).in_distribution
        assert task.class_names == ("tench", "goldfish", "banana")
        assert len(task.templates) == 80

    def test_the_suite_may_be_worded_otherwise(self, folders):
        task = self.read(folders, class_names="imagenet", templates=["my {}", "openai"]).in_distribution
        assert (task.class_names[0], task.templates[0], len(task.templates)) == ("tench", "my {}", 81)
        task = self.read(folders, {"templates": "a {}"}, class_names="imagenet").in_distribution
        assert task.templates == ("a {}",)

    def test_other_training_data_leave_the_default(self, folders):
        values = {"model": self.GLYPHS, "evaluation": {"kind": "folder", "id": str(folders / "task")}}
        found = sources.evaluation_suite(loading.validate(values, "here").evaluation)
        assert found.in_distribution.templates == ("a photo of a {}.",)
        assert found.in_distribution.class_names == ("ant", "bee", "cat")

    def test_what_is_printed_is_read_alike(self, folders):
        data = {"kind": "folder", "path": "a", "templates": "a {}"}
        values = {"model": self.GLYPHS, "data": data, "evaluation": {"kind": "folder", "id": "b"}}
        run = loading.validate(values, "here")
        (folders / "run.yaml").write_text(loading.dump(run))
        assert loading.load(folders / "run.yaml") == run
        assert run.evaluation.templates == ("a {}",)
