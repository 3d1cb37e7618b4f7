"""Which suite is chosen on, and which reported on: they share no image unless that is asked for."""

import numpy as np
import pytest
from PIL import Image

from tests import replicas
from tests.unit.data.test_iwildcam import CATEGORIES, ROWS
from tracer.config import loading
from tracer.errors import UserError
from tracer.runs.validation import suites
from tracer.toy import world


def run_of(**values):
    return loading.validate({"model": {"architecture": "glyphs"}, **values}, "here")


@pytest.fixture
def folders(tmp_path):
    """Two folders of class folders with other images, and a link to the first."""
    rng = np.random.default_rng(0)
    for folder in ("test", "val"):
        for name in ("one", "two"):
            (tmp_path / folder / name).mkdir(parents=True)
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(tmp_path / folder / name / "0.png")
    (tmp_path / "link").symlink_to("test")
    return tmp_path


def section(folder, **others):
    return {"kind": "folder", "id": str(folder), "templates": "the digit {}", **others}


class TestSplits:
    def test_the_embedded_world_has_both(self):
        chosen_on, reported = suites(run_of())
        assert [len(suite.in_distribution) for suite in (chosen_on, reported)] == [
            len(world.suite(split).in_distribution) for split in ("validation", "test")
        ]

    def test_iwildcam_has_both(self, tmp_path):
        rows = [*ROWS, ("id_val", 1, (1, 2)), ("val", 1, (1, 2))]
        replicas.iwildcam(tmp_path / "wilds", rows, CATEGORIES)
        chosen_on, reported = suites(
            run_of(evaluation={"kind": "iwildcam", "path": str(tmp_path / "wilds"), "templates": "the digit {}"}), same_images=True
        )
        counts = {name: len(images) for name, images in chosen_on.sets().items()}
        assert counts == {"id": 2, "ood_val": 2}
        assert {name: len(images) for name, images in reported.sets().items()} == {"id": 5, "ood_test": 2}

    def test_the_validation_split_is_not_reported_on_too(self):
        with pytest.raises(UserError, match="300 of 300 images of the set id of validation are also in id of evaluation"):
            suites(run_of(evaluation={"split": "validation"}))


class TestFolders:
    def test_a_section_names_the_suite(self, folders):
        run = run_of(evaluation=section(folders / "test"), validation=section(folders / "val", ood={"same": str(folders / "val")}))
        chosen_on, reported = suites(run)
        assert [*chosen_on.ood] == ["same"]
        assert chosen_on.in_distribution.images.paths[0].parent.parent == folders / "val"
        assert reported.in_distribution.images.paths[0].parent.parent == folders / "test"

    def test_without_one_there_is_nothing_to_choose_on(self, folders):
        run = run_of(evaluation=section(folders / "test"))
        with pytest.raises(UserError, match=r"validation is null.*: name a suite of others, or give --same-images"):
            suites(run)
        chosen_on, reported = suites(run, same_images=True)
        assert chosen_on is reported

    @pytest.mark.parametrize("folder", ["test", "link"])
    def test_the_same_images_are_refused_under_any_name(self, folders, folder):
        run = run_of(
            evaluation=section(folders / "test"), validation=section(folders / "val", knowledge={"other": str(folders / folder)})
        )
        with pytest.raises(UserError, match="2 of 2 images of the set other of validation are also in id of evaluation"):
            suites(run)
        assert [*suites(run, same_images=True)[0].knowledge] == ["other"]

    def test_words_are_those_of_class_folders_trained_on(self, folders):
        values = {kind: {"kind": "folder", "id": str(folders / kind[:4])} for kind in ("evaluation", "validation")}
        data = {"kind": "folder", "path": str(folders / "val"), "templates": ["the digit {}"]}
        run = run_of(data=data, **values)
        assert run.evaluation.templates == run.validation.templates == ("the digit {}",)

    def test_it_is_not_what_a_run_computes(self, folders):
        effects = {run_of(validation=chosen).effect() for chosen in (None, section(folders / "val"))}
        assert len(effects) == 1
