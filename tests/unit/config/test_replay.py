from pathlib import Path

import pytest

from tracer.config import data, loading, replay
from tracer.config.replay import ReplaySection
from tracer.errors import UserError

DATA_KINDS = {
    "embedded": {},
    "csv": {"path": "x"},
    "parquet": {"path": "x"},
    "captioned_folder": {"path": "x"},
    "folder": {"path": "x"},
    "webdataset": {"path": "x"},
    "iwildcam": {"path": "x"},
}


def section(**values):
    return loading.parse(ReplaySection, values, "here")


def test_alone_it_replays_crops_of_photographs_and_random_words():
    found = section()
    assert (found.images, found.texts) == (replay.PhotographPool(), replay.WordBank())
    assert (found.teacher, found.images_per_step, found.texts_per_step) == ("pretrained", None, None)
    assert found.weights() == {"replay_fd": 2000.0, "replay_text_fd": 2000.0, "replay_crd": 0.0}


def test_strength_scales_all_terms():
    assert section(strength=0.5, terms={"crd": 3}).weights() == {"replay_fd": 1000.0, "replay_text_fd": 1000.0, "replay_crd": 1.5}


def test_terms_without_images_or_texts_stay_out():
    assert section(images=None).weights() == {"replay_text_fd": 2000.0}
    assert section(texts=None, strength=2).weights() == {"replay_fd": 4000.0}


@pytest.mark.parametrize(("kind", "keys"), DATA_KINDS.items())
def test_all_kinds_of_data_are_pools_too(kind, keys):
    pool = section(images={"kind": kind, **keys}).images
    assert pool == loading.validate({"data": {"kind": kind, **keys}}, "here").data


def test_images_and_texts_from_files():
    found = section(images={"kind": "images", "path": "~/photos"}, texts={"kind": "file", "path": "bank.txt"})
    assert found.images.path == Path.home() / "photos"
    assert isinstance(found.images, data.ReadData)
    assert found.texts.path == Path("bank.txt")


def test_captions_of_the_run_and_words_between_them():
    assert section(texts={"kind": "captions"}).texts == replay.CaptionBank(kind="captions", words=0.5, longest=6)
    with pytest.raises(UserError, match=r"texts\.captions\.words|texts.words"):
        section(texts={"kind": "captions", "words": 1.5})


def test_templates_may_be_one_text():
    assert section(texts={"kind": "names", "templates": "openai"}).texts.templates == ("openai",)
    assert section(texts={"kind": "names"}).texts.templates == ("a photo of a {}.",)


@pytest.mark.parametrize(
    "values",
    [
        {"images": None},
        {"texts": None, "images_per_step": 3},
        {"images": {"kind": "noise"}, "texts": {"kind": "words", "longest": 3}, "terms": {"crd": 2}},
        {"images": None, "terms": {"fd": 0, "crd": 0}},
    ],
)
def test_what_is_written_down_is_read_again(values):
    """A run's own copy of its settings has the defaults too, of terms that stay out as well."""
    found = section(**values)
    assert section(**found.model_dump(mode="json")) == found


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"images": None, "texts": None}, "replay.images and replay.texts are both null: give one"),
        ({"images": None, "terms": {"fd": 5}}, "replay.terms.fd is 5.0, but replay.images is null: give images, or remove"),
        ({"texts": None, "terms": {"text_fd": 5}}, "replay.terms.text_fd is 5.0, but replay.texts is null: give texts"),
        ({"texts": None, "terms": {"crd": 1}}, "replay.terms.crd is 1.0, but replay.texts is null"),
        ({"images": None, "terms": {"crd": 1}}, "replay.terms.crd is 1.0, but replay.images is null"),
        ({"images": None, "images_per_step": 4}, "replay.images_per_step is 4, but replay.images is null"),
        ({"texts": None, "texts_per_step": 4}, "replay.texts_per_step is 4, but replay.texts is null"),
        ({"images_per_step": 0}, "images_per_step is 0: it must be at least 1"),
        ({"texts_per_step": 0}, "texts_per_step is 0: it must be at least 1"),
        ({"strength": -1}, "strength is -1: it must be at least 0"),
        ({"terms": {"icl": 1}}, "there is no key 'terms.icl'"),
        ({"teacher": "ema"}, "teacher cannot be 'ema': choose one of pretrained, strategy"),
        ({"images": {"kind": "photos"}}, r"images.kind cannot be 'photos' \(did you mean 'photographs'\?\)"),
        ({"images": {"kind": "noise", "seed": 3}}, "there is no key 'images.seed'"),
        ({"images": {"path": "x"}}, "images needs a key 'kind'"),
        ({"images": {"kind": "images"}}, "images.path is missing"),
        ({"texts": {"kind": "word"}}, r"texts.kind cannot be 'word' \(did you mean 'words'\?\)"),
        ({"texts": {"kind": "words", "longest": 0}}, "texts.longest is 0: it must be at least 1"),
        ({"texts": {"kind": "words", "longest": 10**9}}, "texts.longest is 1000000000: it must be at most 1000"),
        ({"texts": {"kind": "names", "templates": []}}, "texts.templates is .*: it must hold at least 1"),
        ({"texts": {"kind": "file"}}, "texts.path is missing"),
    ],
)
def test_faults_are_told(values, told):
    with pytest.raises(UserError, match=told) as refused:
        section(**values)
    assert "\n" not in str(refused.value)
