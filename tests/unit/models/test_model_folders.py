"""Folders that a model is loaded from, by tracer and by open_clip: which weights, and whose code."""

import json
import os
import shutil
import sys
import types
from pathlib import Path

import huggingface_hub
import open_clip
import pytest
import torch

from tests.models import TINY_ARCHITECTURES
from tracer.config import loading
from tracer.errors import UserError
from tracer.models import clip
from tracer.models.head import Head
from tracer.models.loading import configurations, remote_code
from tracer.models.merging import interpolate
from tracer.runs import build
from tracer.runs import fine_tune as running
from tracer.tensor_files import load_tensors

pytestmark = pytest.mark.usefixtures("architectures")


def model():
    return clip.create("tiny-vit", None).model


@pytest.fixture
def saved(tmp_path):
    """A folder with a student, and the student."""
    torch.manual_seed(1)
    student = model()
    clip.save_folder(student, tmp_path / "run")
    return tmp_path / "run", student


def assert_loads(folder, student):
    name = f"local-dir:{folder}"
    theirs, *_ = open_clip.create_model_and_transforms(name)
    for loaded in (theirs.state_dict(), clip.weights(clip.create(name, name).model)):
        assert loaded.keys() == clip.weights(student).keys()
        assert all(torch.equal(loaded[key], value) for key, value in clip.weights(student).items())


class TestRuns:
    def test_what_lies_beside_the_student_is_not_loaded(self, saved):
        folder, student = saved
        Head(("a", "b"), torch.ones(2, 8)).save(folder / "head.safetensors")
        clip.save(interpolate(model(), student, 0.5), folder / "half.safetensors")
        torch.save(clip.weights(model()), folder / "pytorch_model.bin")
        clip.save(model(), folder / "model.safetensors")
        assert_loads(folder, student)

    def test_a_run_with_a_head(self, tmp_path):
        values = {
            "output": str(tmp_path / "run"),
            "evaluation": None,
            "strategy": {"name": "ft"},
            "optimization": {"total_steps": 1, "batch_size": 4},
        }
        result = running.fine_tune(loading.validate({**values, "model": {"architecture": "tiny-vit", "pretrained": None}}, "here"))
        assert (tmp_path / "run" / "head.safetensors").exists()
        assert_loads(tmp_path / "run", result.student.model)

    def test_saving_again_replaces_both_names(self, saved):
        folder, _ = saved
        other = model()
        clip.save_folder(other, folder)
        assert_loads(folder, other)
        assert (folder / "open_clip_model.safetensors").samefile(folder / "student.safetensors")

    def test_survives_a_move_and_a_copy(self, saved, tmp_path):
        folder, student = saved
        folder.rename(tmp_path / "moved")
        assert_loads(tmp_path / "moved", student)
        shutil.copytree(tmp_path / "moved", tmp_path / "copied")
        assert_loads(tmp_path / "copied", student)

    def test_without_links_there_is_a_copy(self, tmp_path, monkeypatch):
        def refuse(*args, **kwargs):
            raise PermissionError("links need a privilege here")

        monkeypatch.setattr(os, "symlink", refuse)
        for _ in range(2):  # the second replaces the first
            student = model()
            clip.save_folder(student, tmp_path)
            clip.require_room(tmp_path)
            assert not (tmp_path / "open_clip_model.safetensors").is_symlink()
            assert_loads(tmp_path, student)
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "open_clip_config.json",
            "open_clip_model.safetensors",
            "student.safetensors",
        ]

    def test_of_earlier_releases_give_their_student(self, saved):
        """They have no file by the name that open_clip prefers."""
        folder, student = saved
        (folder / "open_clip_model.safetensors").unlink()
        Head(("a", "b"), torch.ones(2, 8)).save(folder / "head.safetensors")
        name = f"local-dir:{folder}"
        loaded = clip.weights(clip.create(name, name).model)
        assert all(torch.equal(loaded[key], value) for key, value in clip.weights(student).items())

    def test_metadata_of_the_student_agree(self, saved):
        folder, student = saved
        assert load_tensors(folder / "open_clip_model.safetensors").keys() == clip.weights(student).keys()
        described = configurations.in_folder(folder)
        assert described.configuration == TINY_ARCHITECTURES["tiny-vit"]
        assert described.preprocessing == clip.preprocessing(student)


def test_open_clips_own_architectures_would_pass():
    """Its configurations are what a folder's are like."""
    for name in set(open_clip.list_models()) - set(TINY_ARCHITECTURES):
        configuration = open_clip.get_model_config(name)
        sizes = configurations._Sizes.model_validate(configuration)
        if not {"timm_model_name", "hf_model_name"} & {*configuration["vision_cfg"], *configuration["text_cfg"]}:
            assert 1e7 < sizes.parameters() < 5e9, name


@pytest.mark.parametrize("name", ["ViT-B-32", "RN50"])
def test_parameters_are_estimated(name):
    configuration = open_clip.get_model_config(name)
    with torch.device("meta"):
        counted = sum(parameter.numel() for parameter in open_clip.CLIP(**configuration).parameters())
    estimated = configurations._Sizes.model_validate(configuration).parameters()
    assert estimated == pytest.approx(counted, rel=0.1)


class Tokenizer:
    """Stands for transformers' AutoTokenizer, which runs a folder's own code if it is told to."""

    asked: list

    @classmethod
    def from_pretrained(cls, source, cache_dir=None, **options):
        cls.asked.append((str(source), options))
        return cls()

    def save_pretrained(self, folder):
        (Path(folder) / "tokenizer.json").write_text("{}")

    def __call__(self, texts, **options):
        return types.SimpleNamespace(input_ids=torch.ones(len(texts), 77, dtype=torch.long))


@pytest.fixture
def transformers(monkeypatch):
    Tokenizer.asked = []
    monkeypatch.setitem(sys.modules, "transformers", types.SimpleNamespace(AutoTokenizer=Tokenizer))
    return Tokenizer.asked


@pytest.fixture
def tokenized(saved):
    """Writes a configuration whose tokenizer is the folder's own."""

    def write(**text):
        folder, _ = saved
        size = TINY_ARCHITECTURES["tiny-vit"]
        configuration = {**size, "text_cfg": {**size["text_cfg"], "hf_tokenizer_name": "mine", **text}}
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": configuration}))
        return f"local-dir:{folder}"

    return write


def test_a_tokenizer_of_transformers_is_saved_with_its_model(tokenized, transformers, tmp_path):
    """open_clip looks for its files in the folder, wherever the configuration says that they came from."""
    name = tokenized()
    clip.save_folder(interpolate(*(clip.create(name, name).model for _ in range(2)), 0.5), tmp_path / "mine")
    assert (tmp_path / "mine" / "tokenizer.json").exists()
    again = f"local-dir:{tmp_path / 'mine'}"
    clip.create(again, again)
    assert transformers[-1][0] == str(tmp_path / "mine")


class TestCode:
    def test_of_a_tokenizer_is_never_asked_for(self, tokenized, transformers):
        """transformers would ask at the terminal if it were not told."""
        name = tokenized()
        clip.create(name, name)
        assert transformers == [(name.removeprefix("local-dir:"), {"trust_remote_code": False})]

    @pytest.mark.parametrize("asking", ["arguments", "tokenizer_config.json", "config.json"])
    def test_is_refused_until_it_is_trusted(self, tokenized, transformers, asking):
        name = tokenized(**({"tokenizer_kwargs": {"trust_remote_code": True, "clean": "lower"}} if asking == "arguments" else {}))
        if asking != "arguments":
            with open(os.path.join(name.removeprefix("local-dir:"), asking), "w", encoding="utf-8") as file:
                json.dump({"auto_map": {"AutoTokenizer": "mine.Tokenizer"}}, file)
        with pytest.raises(UserError, match=rf"^{name} would run code of its own: .*set model\.trust_remote_code to true$"):
            clip.create(name, name)
        assert transformers == []
        run = loading.validate({"model": {"architecture": name, "trust_remote_code": True}}, "here")
        build.load_encoder(run)
        assert transformers == [(name.removeprefix("local-dir:"), {"trust_remote_code": True})]

    def test_of_a_text_tower_on_the_hub(self, tokenized, transformers, monkeypatch, tmp_path):
        """open_clip gives transformers no word on code there, so that the files are looked into before."""
        (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "theirs.Model"}}')

        def download(repository, name):
            assert repository == "them/tower"
            if name != "config.json":
                raise FileNotFoundError(name)
            return str(tmp_path / name)

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
        name = tokenized(hf_model_name="them/tower")
        with pytest.raises(UserError, match=r"config\.json names classes of its own in auto_map"):
            clip.create(name, name)
        assert transformers == []

    def test_no_code_is_none(self, tmp_path):
        (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
        text = {"hf_tokenizer_name": "mine", "tokenizer_kwargs": {"trust_remote_code": False}}
        assert remote_code.refuse("local-dir:x", {"text_cfg": text}, tmp_path) is None
        (tmp_path / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "mine.T"}}')
        remote_code.refuse("local-dir:x", {"text_cfg": {}}, tmp_path)  # whose tokenizer is open_clip's own
