"""Files of weights: whatever saved them, the tensors come under the model's own names."""

import argparse
import sys

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel

from tests.models import TINY_ARCHITECTURES
from tracer import storage, tensor_files
from tracer.errors import UserError
from tracer.models import clip
from tracer.models.blueprint import Blueprint
from tracer.models.loading import failures, weights
from tracer.models.loading.preprocessing import Preprocessing

pytestmark = pytest.mark.usefixtures("architectures")
PREPROCESSING = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "interpolation": "bilinear", "resize_mode": "squash"}


@pytest.fixture
def model():
    return open_clip.create_model("tiny-vit")


def prefixed(state, prefix):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def assert_same(mine, theirs):
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


class TestNames:
    @pytest.mark.parametrize(
        "wrap",
        [
            lambda state: state,
            lambda state: prefixed(state, "module."),
            lambda state: prefixed(state, "_orig_mod."),
            lambda state: prefixed(state, "clip."),
            lambda state: prefixed(state, "module._orig_mod.model.clip."),
            lambda state: {"n_averaged": torch.tensor(3), **prefixed(state, "module.")},
            lambda state: {"state_dict": prefixed(state, "model.") | {"loss.weight": torch.ones(2)}, "epoch": 3, "loops": {}},
            lambda state: {"model": state, "epoch": 3, "lr": 0.1},
            lambda state: {"model_state_dict": state, "optimizer_state_dict": {"state": {0: {"exp_avg": torch.ones(2)}}}},
            lambda state: {"ema": {"module": prefixed(state, "_orig_mod.")}, "scaler": None},
            lambda state: {"app": {"model": {"state_dict": state}, "optimizer": {"logit_scale": {"exp_avg": torch.ones(())}}}},
        ],
        ids=["plain", "ddp", "compiled", "attribute", "all", "averaged", "lightning", "wrapped", "long keys", "nested", "by name"],
    )
    def test_wrappers_and_prefixes_come_off(self, model, tmp_path, wrap):
        state = model.state_dict()
        torch.save(wrap(state), tmp_path / "w.pt")
        assert_same(clip.weights(clip.create("tiny-vit", str(tmp_path / "w.pt")).model), state)

    def test_of_torchs_average(self, model, tmp_path):
        torch.save(AveragedModel(model).state_dict(), tmp_path / "w.pt")
        assert_same(clip.weights(clip.create("tiny-vit", str(tmp_path / "w.pt")).model), model.state_dict())

    def test_attention_with_a_scale_of_its_own_is_no_model_of_its_own(self, tmp_path):
        """Its parameter is called as the one that models are found by."""
        configuration = TINY_ARCHITECTURES["tiny-vit"]
        vision = {**configuration["vision_cfg"], "scaled_cosine_attn": True}
        state = open_clip.CLIP(**{**configuration, "vision_cfg": vision}).state_dict()
        assert sum(name.endswith(".logit_scale") for name in state) == 2
        torch.save(prefixed(state, "module."), tmp_path / "w.pt")
        assert_same(weights.read(tmp_path / "w.pt").tensors, state)

    def test_a_suffix_that_is_wrong_does_no_harm(self, model, tmp_path):
        state = model.state_dict()
        save_file(state, tmp_path / "w.pt")
        torch.save(state, tmp_path / "w.safetensors")
        assert_same(weights.read(tmp_path / "w.pt").tensors, state)
        assert_same(weights.read(tmp_path / "w.safetensors").tensors, state)

    @pytest.mark.parametrize("content", ["two keys", "two prefixes", "a checkpoint of a run"])
    def test_several_models_are_told(self, model, tmp_path, content):
        state = model.state_dict()
        whole = {
            "two keys": {"state_dict": state, "ema": prefixed(state, "module.")},
            "two prefixes": prefixed(state, "student.") | prefixed(state, "teacher."),
            "a checkpoint of a run": prefixed(state, "student.clip.") | prefixed(state, "teacher.module.clip."),
        }[content]
        torch.save(whole, tmp_path / "w.pt")
        with pytest.raises(UserError, match=r"w\.pt holds the weights of 2 models \(under \S+ and \S+\): save those of one"):
            weights.read(tmp_path / "w.pt")

    def test_mapping_that_holds_itself(self, model, tmp_path):
        content = {"model": model.state_dict()}
        content["self"] = content
        torch.save(content, tmp_path / "w.pt")
        assert_same(weights.read(tmp_path / "w.pt").tensors, model.state_dict())

    def test_messages_stay_short(self, model, tmp_path):
        """Of hundreds of names the first of a kind is told."""
        torch.save(prefixed(model.state_dict(), "towers/"), tmp_path / "w.pt")
        count = len(model.state_dict())
        with pytest.raises(UserError) as told:
            clip.create("tiny-vit", str(tmp_path / "w.pt"))
        assert f"missing {count}, first positional_embedding; unknown to it {count}, first towers/" in str(told.value)
        assert len(str(told.value)) < 300

    def test_an_object_beside_the_weights_is_not_opened(self, model, tmp_path):
        torch.save({"model": model.state_dict(), "arguments": argparse.Namespace(lr=1)}, tmp_path / "w.pt")
        with pytest.raises(UserError, match="is damaged, or a pickle"):
            weights.read(tmp_path / "w.pt")

    def test_of_another_custom_text_model(self, tmp_path):
        """As open_clip does: the text tower's names get its prefix, and a bias that is absent is 0."""
        state = open_clip.create_model("tiny-vit").state_dict()
        configuration = {**TINY_ARCHITECTURES["tiny-vit"], "init_logit_bias": -10.0}
        custom = clip.Clip(open_clip.CustomTextCLIP(**configuration), Blueprint("custom", configuration))
        torch.save(state, tmp_path / "w.pt")
        clip._fill(custom, weights.read(tmp_path / "w.pt"))
        filled = custom.clip.state_dict()
        assert torch.equal(filled["text.token_embedding.weight"], state["token_embedding.weight"])
        assert torch.equal(filled["visual.proj"], state["visual.proj"])
        assert filled["logit_bias"] == 0

    def test_positions_are_resized_as_open_clip_does(self, tmp_path, monkeypatch):
        """To images of twice the size."""
        configuration = TINY_ARCHITECTURES["tiny-vit"]
        larger = {**configuration, "vision_cfg": {**configuration["vision_cfg"], "image_size": 64}}
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-vit-64", larger)
        path = str(tmp_path / "w.pt")
        torch.save(open_clip.create_model("tiny-vit").state_dict(), path)
        expected = open_clip.create_model("tiny-vit-64", pretrained=path).state_dict()
        assert expected["visual.positional_embedding"].shape == (17, 32)
        assert_same(clip.weights(clip.create("tiny-vit-64", path).model), expected)


class TestUnseenSettings:
    """What no tensor shows, and changes what a model answers."""

    @pytest.mark.parametrize(
        ("section", "key", "value", "told"),
        [
            ("vision_cfg", "head_width", 8, "vision_cfg.head_width 8 and 16"),
            ("text_cfg", "heads", 4, "text_cfg.heads 4 and 2"),
            ("vision_cfg", "pool_type", "avg", "vision_cfg.pool_type avg and tok"),
            ("text_cfg", "no_causal_mask", True, "text_cfg.no_causal_mask True and False"),
        ],
    )
    def test_are_checked_where_the_file_tells_them(self, tmp_path, monkeypatch, section, key, value, told):
        configuration = TINY_ARCHITECTURES["tiny-vit"]
        changed = {**configuration, section: {**configuration[section], key: value}}
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-other", changed)
        other = clip.create("tiny-other", None).model
        clip.save(other, tmp_path / "w.safetensors")
        with pytest.raises(UserError, match=rf"its tensors do, .* another setting: {told}\): choose tiny-other$"):
            clip.create("tiny-vit", str(tmp_path / "w.safetensors"))
        clip.create("tiny-other", str(tmp_path / "w.safetensors"))

    def test_defaults_are_what_open_clip_has(self, tmp_path, monkeypatch):
        """Written out or not, 64 is the width of a head."""
        configuration = TINY_ARCHITECTURES["tiny-vit"]
        vision = {"image_size": 32, "patch_size": 16, "layers": 1, "width": 64}
        for name, more in (("tiny-short", {}), ("tiny-long", {"head_width": 64, "pool_type": "tok"})):
            monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, {**configuration, "vision_cfg": vision | more})
        saved = clip.create("tiny-short", None).model
        clip.save(saved, tmp_path / "w.safetensors")
        loaded = clip.create("tiny-long", str(tmp_path / "w.safetensors")).model
        assert torch.equal(loaded.logit_scale, saved.logit_scale)


class TestFinite:
    def test_the_first_tensor_is_named(self):
        tensors = {"a": torch.ones(2), "b": torch.tensor([1, torch.inf]), "c": torch.tensor(torch.nan), "d": torch.tensor(1)}
        with pytest.raises(UserError, match=r"^the weights in x hold infinite values in b and 1 other tensors: "):
            weights.require_finite(tensors, "the weights in x")
        with pytest.raises(UserError, match=r"^these hold NaN in c: "):
            weights.require_finite({"c": tensors["c"]}, "these")
        weights.require_finite({"a": tensors["a"], "d": tensors["d"]}, "these")

    @pytest.mark.parametrize("given", ["pretrained", "weights"])
    def test_models_of_them_are_refused(self, model, tmp_path, given):
        state = model.state_dict()
        state["visual.proj"][3, 2] = torch.nan
        torch.save(state, tmp_path / "w.pt")
        path = tmp_path / "w.pt"
        with pytest.raises(UserError, match=r"the weights in \S+w\.pt hold NaN in visual\.proj: "):
            clip.create("tiny-vit", str(path)) if given == "pretrained" else clip.create("tiny-vit", None, weights=path)

    def test_json_has_null_for_what_it_lacks(self):
        text = storage.json_text({"a": float("nan"), "b": [1.5, -float("inf"), {"c": (float("inf"), "NaN")}], "d": True})
        assert text == storage.json_text({"a": None, "b": [1.5, None, {"c": [None, "NaN"]}], "d": True})
        assert '"a": null' in text


class TestPreprocessing:
    @pytest.fixture
    def saved(self, tmp_path):
        encoder = clip.create("tiny-vit", None)
        encoder.model.clip.visual.preprocess_cfg |= PREPROCESSING
        clip.save(encoder.model, tmp_path / "w.safetensors")
        return tmp_path / "w.safetensors"

    def test_of_fine_tuned_weights_is_that_of_the_same_file_as_a_start(self, saved):
        images = [torch.randint(256, (40, 48, 3), dtype=torch.uint8).numpy()]
        start, on_top, plain = (
            clip.create("tiny-vit", pretrained, weights=path)
            for pretrained, path in ((str(saved), None), (None, saved), (None, None))
        )
        expected = start.preprocess(images)
        assert torch.equal(on_top.preprocess(images), expected)
        assert not torch.allclose(plain.preprocess(images), expected, atol=0.1)
        assert clip.preprocessing(on_top.model) == Preprocessing(size=(32, 32), **PREPROCESSING)

    def test_what_the_fine_tuned_weights_leave_open_is_the_pretrained_ones(self, saved, tmp_path):
        half = {"preprocess": {"mean": [0.9, 0.9, 0.9]}}
        tensor_files.save_tensors(tmp_path / "half.safetensors", tensor_files.load_tensors(saved), half)
        encoder = clip.create("tiny-vit", str(saved), weights=tmp_path / "half.safetensors")
        expected = Preprocessing(size=(32, 32), **(PREPROCESSING | {"mean": (0.9, 0.9, 0.9)}))
        assert clip.preprocessing(encoder.model) == expected

    def test_that_the_embedded_model_cannot_make_is_refused(self, tmp_path):
        model = clip.create("glyphs", None).model
        path = tmp_path / "w.safetensors"
        tensor_files.save_tensors(path, clip.weights(model), {"preprocess": {"std": 0.5}})
        for arguments in (
            {"pretrained": str(tmp_path / "w.safetensors")},
            {"pretrained": None, "weights": tmp_path / "w.safetensors"},
        ):
            with pytest.raises(
                UserError, match=r"want images otherwise than glyphs makes them \(std \(0\.5, 0\.5, 0\.5\) and \(0\.25,"
            ):
                clip.create("glyphs", **arguments)

    def test_of_mixed_weights_has_to_be_one(self, saved):
        plain, other = clip.create("tiny-vit", None).model, clip.create("tiny-vit", str(saved)).model
        clip.require_same_preprocessing(plain, plain)
        with pytest.raises(UserError, match=r"want images otherwise \(mean .* and \(0\.1, 0\.2, 0\.3\)\)"):
            clip.require_same_preprocessing(plain, other)


class TestFailures:
    @pytest.mark.parametrize(
        ("error", "advice"),
        [
            (ModuleNotFoundError("No module named 'x.y'", name="x.y"), "^M needs the package x: pip install x$"),
            (
                RuntimeError("Please `pip install transformers` to use"),
                "^M needs the package transformers: pip install transformers$",
            ),
            (ImportError("T5 requires the SentencePiece library but"), "^M needs the package sentencepiece: "),
            (MemoryError(), "^cannot build M: there is not enough memory; "),
            (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "not enough memory"),
            (torch.OutOfMemoryError("CUDA out of memory."), "not enough memory"),
            (OSError(28, "No space left on device"), "^cannot build M: the disk is full; free some space$"),
            (OSError("the hub is silent\nand more"), r"^cannot build M \(the hub is silent\): do this$"),
            (KeyError(), r"^cannot build M \(KeyError\): do this$"),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
    )
    def test_advice_fits_the_cause(self, error, advice):
        with pytest.raises(UserError, match=advice):
            raise failures.told(error, "cannot build M", "M", "do this")

    @pytest.mark.parametrize("architecture", ["ViT-B-16-SigLIP", "roberta-ViT-B-32"])
    def test_a_missing_package_is_named_before_anything_is_built(self, monkeypatch, architecture):
        monkeypatch.setitem(sys.modules, "transformers", None)
        monkeypatch.setattr(open_clip, "create_model_and_transforms", None)
        with pytest.raises(UserError, match=f"^{architecture} needs the package transformers: pip install transformers$"):
            clip.create(architecture, None)

    def test_tied_weights_are_saved(self, tmp_path):
        """As separate tensors, which any reader takes."""
        tensor = torch.arange(6.0).view(2, 3)
        tensor_files.save_tensors(tmp_path / "w.safetensors", {"a": tensor, "b": tensor, "c": tensor[1]}, {})
        loaded = tensor_files.load_tensors(tmp_path / "w.safetensors")
        assert torch.equal(loaded["a"], tensor)
        assert torch.equal(loaded["b"], tensor)
        assert torch.equal(loaded["c"], tensor[1])
