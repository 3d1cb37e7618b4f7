"""Models of open_clip's: where their weights come from, where they go, and how training treats them."""

import copy
import json
import os
import pickle

import huggingface_hub
import numpy as np
import open_clip
import pytest
import torch
from huggingface_hub.errors import RepositoryNotFoundError
from open_clip import factory
from PIL import Image
from torch import nn

from tests.models import TINY_ARCHITECTURES
from tests.tolerances import BATCHED_LOGITS, FLOAT32
from tracer.averaging import Clock, Uniform
from tracer.config import loading
from tracer.errors import UserError
from tracer.models import clip
from tracer.models.merging import interpolate
from tracer.runs import build, fine_tune
from tracer.tensor_files import load_metadata, save_tensors
from tracer.training import objective, optimizer
from tracer.training.teacher import Teacher

pytestmark = pytest.mark.usefixtures("architectures")
CAPTIONS = ["a photo of a dog", "two cats", "the digit nine"]
MEAN = [0.1, 0.2, 0.3]


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(256, size=(3, 40, 48, 3), dtype=np.uint8)


@pytest.fixture
def model():
    return open_clip.create_model("tiny-vit-quickgelu").eval()


def assert_same_weights(mine, theirs, equal=True):
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs) == equal


def logits(model, preprocess, tokenizer, images):
    pixels = torch.stack([preprocess(Image.fromarray(image)) for image in images])
    with torch.no_grad():
        image, text, scale = model.eval()(pixels, tokenizer(CAPTIONS))
    return scale * image @ text.T


def assert_same(logits, expected):
    """Up to rounding: tracer cuts captions to the longest, after which open_clip computes padding that nothing sees."""
    torch.testing.assert_close(logits, expected, rtol=0, atol=BATCHED_LOGITS)


def own_logits(encoder, images):
    with torch.no_grad():
        image, text, scale, *_ = encoder.model.eval()(encoder.preprocess(images), encoder.tokenize(CAPTIONS))
    return scale * image @ text.T


def openai_archive(model, path):
    """A TorchScript archive with what OpenAI's hold: half-precision weights under these names, and three sizes as buffers."""

    class Archive(nn.Module):
        def __init__(self):
            super().__init__()
            for name, child in model.named_children():
                self.add_module(name, child)
            for name, parameter in model.named_parameters(recurse=False):
                self.register_parameter(name, parameter)
            for name in ("input_resolution", "context_length", "vocab_size"):
                self.register_buffer(name, torch.tensor(32))

        def forward(self, x):
            return x * self.logit_scale

    torch.jit.save(torch.jit.trace(Archive().half(), torch.ones(1).half()), path)
    return str(path)


class TestFiles:
    @pytest.mark.parametrize(("form", "suffix"), [("plain", "bin"), ("bare checkpoint", "pt"), ("open_clip_train", "pt")])
    def test_state_dicts_and_checkpoints(self, model, tmp_path, form, suffix):
        state = model.state_dict()
        trained = {f"module.{name}": value for name, value in state.items()}
        optimizer = torch.optim.AdamW(model.parameters()).state_dict()
        content = {
            "plain": state,
            "bare checkpoint": {"state_dict": state},
            "open_clip_train": {"epoch": 3, "name": "mine", "state_dict": trained, "optimizer": optimizer},
        }[form]
        torch.save(content, tmp_path / f"w.{suffix}")
        loaded = clip.create("tiny-vit-quickgelu", str(tmp_path / f"w.{suffix}")).model
        assert_same_weights(clip.weights(loaded), state)
        assert_same_weights(clip.weights(clip.create("tiny-vit-quickgelu", None).model), state, equal=False)

    def test_safetensors_in_half_precision(self, model, tmp_path):
        half = {name: value.half() for name, value in model.state_dict().items()}
        save_tensors(tmp_path / "w.safetensors", half, {})
        loaded = clip.weights(clip.create("tiny-vit-quickgelu", str(tmp_path / "w.safetensors")).model)
        assert_same_weights(loaded, {name: value.float() for name, value in half.items()})

    def test_pickles_are_not_opened(self, tmp_path):
        class Code:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "ran"),)

        (tmp_path / "w.pt").write_bytes(pickle.dumps(Code()))
        with pytest.raises(UserError, match=r"w\.pt is damaged, or a pickle .* state_dict"):
            clip.create("tiny-vit", str(tmp_path / "w.pt"))
        torch.save({"state_dict": Code()}, tmp_path / "w.pt")
        with pytest.raises(UserError, match=r"w\.pt is damaged, or a pickle"):
            clip.create("tiny-vit", str(tmp_path / "w.pt"))
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("content", [{}, {"state_dict": {}}, {"state_dict": 3}, [1, 2]])
    def test_files_without_weights_are_told(self, tmp_path, content):
        torch.save(content, tmp_path / "w.pt")
        with pytest.raises(UserError, match=r"w\.pt does not fit the model"):
            clip.create("tiny-vit", str(tmp_path / "w.pt"))

    def test_another_architecture_is_named_where_the_file_knows_it(self, tmp_path):
        clip.save(clip.create("tiny-rn50", None).model, tmp_path / "w.safetensors")
        with pytest.raises(UserError, match=r"w\.safetensors does not fit .*: choose tiny-rn50"):
            clip.create("tiny-vit", str(tmp_path / "w.safetensors"))

    def test_preprocessing_comes_with_a_file(self, images, tmp_path):
        encoder = clip.create("tiny-vit", None)
        plain = encoder.preprocess(images)
        encoder.model.clip.visual.preprocess_cfg |= {"mean": MEAN, "resize_mode": "squash"}
        clip.save(encoder.model, tmp_path / "w.safetensors")
        again = clip.create("tiny-vit", str(tmp_path / "w.safetensors"))
        squashed = torch.stack(
            [torch.from_numpy(np.array(Image.fromarray(i).resize((32, 32), Image.Resampling.BICUBIC))) for i in images]
        )
        deviation = torch.tensor(open_clip.OPENAI_DATASET_STD)
        expected = ((squashed / 255 - torch.tensor(MEAN)) / deviation).permute(0, 3, 1, 2)
        torch.testing.assert_close(again.preprocess(images), expected, atol=10 * FLOAT32, rtol=0)
        assert not torch.allclose(plain, expected, atol=0.1)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
class TestArchives:
    def test_are_refused_until_they_are_trusted(self, model, tmp_path):
        path = openai_archive(copy.deepcopy(model), tmp_path / "RN50.pt")
        with pytest.raises(UserError, match=r"RN50\.pt is a TorchScript archive.*model\.trust_archive"):
            clip.create("tiny-vit-quickgelu", path)

    def test_give_their_weights(self, model, tmp_path):
        path = openai_archive(copy.deepcopy(model), tmp_path / "ViT.pt")
        loaded = clip.weights(clip.create("tiny-vit-quickgelu", path, trust_archive=True).model)
        assert_same_weights(loaded, {name: value.half().float() for name, value in model.state_dict().items()})

    def test_want_their_activation(self, model, tmp_path):
        path = openai_archive(copy.deepcopy(model), tmp_path / "ViT.pt")
        with pytest.raises(UserError, match=r"another activation than tiny-vit has: choose tiny-vit-quickgelu"):
            clip.create("tiny-vit", path, trust_archive=True)


class TestActivation:
    @pytest.mark.parametrize(("made", "asked"), [("tiny-vit-quickgelu", "tiny-vit"), ("tiny-vit", "tiny-vit-quickgelu")])
    def test_of_a_file_is_checked(self, tmp_path, made, asked):
        """The tensors fit both: only the metadata tell."""
        encoder = clip.create(made, None)
        clip.save(encoder.model, tmp_path / "w.safetensors")
        assert load_metadata(tmp_path / "w.safetensors")["quick_gelu"] == ("quickgelu" in made)
        with pytest.raises(UserError, match=rf"another activation than {asked} has: choose {made}$"):
            clip.create(asked, str(tmp_path / "w.safetensors"))
        with pytest.raises(UserError, match=rf"choose {made}$"):
            clip.create(asked, None, weights=tmp_path / "w.safetensors")
        save_tensors(tmp_path / "w.safetensors", clip.weights(encoder.model), {})
        clip.create(asked, str(tmp_path / "w.safetensors"))

    @pytest.mark.parametrize(
        ("asked", "tag", "right"), [("RN50", "openai", "RN50-quickgelu"), ("ViT-B-16-quickgelu", "laion2b_s34b_b88k", "ViT-B-16")]
    )
    def test_of_a_tag_is_checked(self, asked, tag, right):
        with pytest.raises(UserError, match=rf"another activation than {asked} has: choose {right}$"):
            clip.create(asked, tag)


class TestHub:
    @pytest.fixture
    def hub(self, monkeypatch, model, tmp_path):
        """A hub with one model; the weights are absent until they are written."""
        files = {"open_clip_config.json": tmp_path / "open_clip_config.json", None: tmp_path / "weights.safetensors"}
        described = {"model_cfg": TINY_ARCHITECTURES["tiny-vit-quickgelu"], "preprocess_cfg": {"mean": MEAN}}
        files["open_clip_config.json"].write_text(json.dumps(described))

        def download(model_id, filename=None, **options):
            if not files[filename].exists():
                raise FileNotFoundError(filename)
            return str(files[filename])

        monkeypatch.setattr(factory, "download_pretrained_from_hf", download)
        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *args, **options: None)
        return files[None]

    def test_gives_architecture_weights_and_preprocessing(self, hub, model, images):
        save_tensors(hub, model.state_dict(), {})
        run = loading.validate({"model": {"architecture": "hf-hub:us/model"}}, "here")
        encoder = build.load_encoder(run)
        assert_same_weights(clip.weights(encoder.model), model.state_dict())
        theirs, _, preprocess = open_clip.create_model_and_transforms("hf-hub:us/model")
        expected = logits(theirs, preprocess, open_clip.get_tokenizer("hf-hub:us/model"), images)
        assert_same(own_logits(encoder, images), expected)
        assert theirs.visual.image_mean == MEAN
        assert loading.validate(json.loads(run.model_dump_json()), "dump") == run

    def test_without_weights_is_told(self, hub):
        """open_clip alone would go on with random ones."""
        with pytest.raises(UserError, match="hf-hub:us/model"):
            clip.create("hf-hub:us/model", "hf-hub:us/model")

    @pytest.mark.parametrize(("architecture", "pretrained"), [("hf-hub:us/model", None), ("tiny-vit", "hf-hub:us/model")])
    def test_does_not_answer(self, monkeypatch, architecture, pretrained):
        """A sentence after one question, and not after open_clip's minutes of them."""

        def wait(*args, **options):
            raise AssertionError("open_clip was asked to download")

        monkeypatch.setattr(open_clip, "create_model_and_transforms", wait)
        with pytest.raises(
            UserError, match=r"hf-hub:us/model brings its own architecture|cannot get us/model from the hub \(.*\):"
        ):
            clip.create(architecture, pretrained or architecture)

    def test_tags_whose_hub_does_not_answer(self, monkeypatch):
        monkeypatch.setattr(open_clip, "create_model_and_transforms", None)
        with pytest.raises(UserError, match=r"cannot get \S+ from the hub \(.*offline.*\): check the network, or give a file"):
            clip.create("ViT-B-16", "laion2b_s34b_b88k")

    def test_unknown_model(self, monkeypatch):
        def absent(*args, **options):
            raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)

        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", absent)
        with pytest.raises(UserError, match="the hub shows no model 'us/model': check the name"):
            clip.create("hf-hub:us/model", "hf-hub:us/model")

    def test_tag_beside_a_hub_is_told(self):
        with pytest.raises(UserError, match=r"leave out model\.pretrained"):
            clip.create("hf-hub:us/model", "openai")


@pytest.fixture
def configured(tmp_path):
    """A run of a tiny architecture on the digits."""

    def make(architecture="tiny-vit", strategy="tracer", optimization=(), **model):
        return loading.validate(
            {
                "output": str(tmp_path / f"run-{len(list(tmp_path.iterdir()))}"),
                "model": {"architecture": architecture, "pretrained": None, **model},
                "evaluation": None,
                "strategy": {"name": strategy},
                "optimization": {"total_steps": 3, "batch_size": 6, "learning_rate": 0.01, **dict(optimization)},
                "log_every_steps": 1,
            },
            "here",
        )

    return make


class TestExport:
    @pytest.mark.parametrize("architecture", ["tiny-vit-quickgelu", "tiny-rn50"])
    def test_open_clip_gives_the_same_logits(self, configured, images, architecture):
        """By name and file the student, the teacher and an interpolation; the folder as a whole gives the student."""
        run = configured(architecture, batch_norm="tracked")
        result = fine_tune.fine_tune(run)
        mixed = interpolate(result.anchor, result.student.model, 0.3)
        clip.save(mixed, run.output / "wise" / "0.3.safetensors")
        seen = []
        for model, file in ((result.student.model, "student"), (result.others["teacher"].model, "teacher"), (mixed, "wise/0.3")):
            path = run.output / f"{file}.safetensors"
            theirs, _, preprocess = open_clip.create_model_and_transforms(architecture, pretrained=str(path))
            seen.append(logits(theirs, preprocess, open_clip.get_tokenizer(architecture), images))
            ours = clip.create(architecture, str(path))
            assert_same(own_logits(ours, images), seen[-1])
            assert_same_weights(clip.weights(model), theirs.state_dict())
        assert not torch.allclose(seen[0], seen[1], atol=1e-3)
        assert not torch.allclose(seen[0], seen[2], atol=1e-3)
        folder, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{run.output}")
        tokenizer = open_clip.get_tokenizer(f"local-dir:{run.output}")
        assert torch.equal(logits(folder, preprocess, tokenizer, images), seen[0])

    def test_folders_keep_their_preprocessing_on_both_sides(self, images, tmp_path):
        encoder = clip.create("tiny-vit", None)
        encoder.model.clip.visual.preprocess_cfg |= {"mean": MEAN}
        clip.save_folder(encoder.model, tmp_path)
        name = f"local-dir:{tmp_path}"
        theirs, _, preprocess = open_clip.create_model_and_transforms(name)
        expected = logits(theirs, preprocess, open_clip.get_tokenizer(name), images)
        assert_same(own_logits(clip.create(name, name), images), expected)
        assert not torch.allclose(own_logits(encoder, images), expected, atol=1e-3)


class TestBatchNorm:
    """Of a ModifiedResNet as deep as RN50."""

    @pytest.mark.parametrize(("policy", "buffers"), [("frozen", "average"), ("tracked", "average"), ("tracked", "copy")])
    def test_holds_in_student_and_teacher(self, configured, policy, buffers):
        run = configured("tiny-rn50", batch_norm=policy)
        run = run.model_copy(update={"strategy": run.strategy.model_copy(update={"buffers": buffers})})
        result = fine_tune.fine_tune(run)
        start, student, teacher = (
            {name: value for name, value in model.named_buffers() if name.endswith(("running_mean", "running_var"))}
            for model in (result.anchor, result.student.model, result.others["teacher"].model)
        )
        assert len(start) == 2 * (3 + sum(blocks * 3 + 1 for blocks in (3, 4, 6, 3)))
        for name in start:
            moved = not torch.equal(student[name], start[name])
            assert moved == (policy == "tracked")
            assert torch.equal(teacher[name], student[name]) == (policy == "frozen" or buffers == "copy")
            assert torch.equal(teacher[name], start[name]) == (policy == "frozen")
        start, end = (dict(model.named_parameters()) for model in (result.anchor, result.student.model))
        assert not torch.equal(start["clip.visual.bn1.weight"], end["clip.visual.bn1.weight"])


class TestLogitScale:
    @pytest.mark.parametrize(
        ("optimization", "bound"), [({}, 117.4), ({"max_logit_scale": 100.0}, 100.0), ({"max_logit_scale": 50.0}, 50.0)]
    )
    def test_a_pretrained_one_above_the_default_bound_is_kept(self, configured, tmp_path, optimization, bound):
        pretrained = clip.create("tiny-vit", None).model
        with torch.no_grad():
            pretrained.clip.logit_scale.fill_(float(np.log(117.4)))
        clip.save(pretrained, tmp_path / "start.safetensors")
        optimization = {"learning_rate": 1e-9, **optimization}
        run = configured(strategy="flyp", pretrained=str(tmp_path / "start.safetensors"), optimization=optimization)
        assert fine_tune.fine_tune(run).student.model.logit_scale.item() == pytest.approx(bound, rel=1e-5)


class TestPenalties:
    @pytest.fixture
    def pooling(self, monkeypatch):
        """A tower that ends in a residual layer, as SigLIP's do; its last weight is within."""
        vision = {
            "timm_model_name": "test_vit",
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": "none",
            "image_size": 32,
        }
        known = open_clip.factory._MODEL_CONFIGS
        monkeypatch.setitem(known, "tiny-pooling", known["tiny-vit"] | {"vision_cfg": vision, "embed_dim": 64})

    @pytest.mark.parametrize(
        ("strategy", "told"),
        [
            ("carot", "strategy.cross_projection_norm and strategy.orthogonality would penalise: set both to 0"),
            ({"name": "flyp", "cross_projection_norm": 0.05}, "strategy.cross_projection_norm would penalise: set it to 0"),
        ],
        ids=["both", "one"],
    )
    def test_on_a_layer_within_a_tower_are_refused(self, configured, pooling, strategy, told):
        section = strategy if isinstance(strategy, dict) else {"name": strategy}
        run = configured("tiny-pooling")
        run = loading.validate(run.model_dump(mode="json", exclude_unset=True) | {"strategy": section}, "here")
        with pytest.raises(UserError, match=rf"image tower of tiny-pooling does not end in a linear map, which {told}"):
            fine_tune.fine_tune(run)
        assert not list(run.output.glob("*.safetensors"))

    def test_of_weight_0_ask_for_nothing(self, configured, pooling):
        run = configured("tiny-pooling", strategy="flyp")
        fine_tune.fine_tune(run)
        assert (run.output / "student.safetensors").exists()


class TestFreezing:
    FROZEN = ("visual.conv1*", "transformer.*", "logit_scale")

    def is_frozen(self, name):
        return name.startswith(("visual.conv1", "transformer.")) or name == "logit_scale"

    @pytest.mark.parametrize("strategy", ["tracer", "l2_sp", "wise_ft"])
    def test_keeps_what_matches_to_the_last_bit(self, configured, strategy):
        """The logit scale too, which lies above its maximum here."""
        run = configured(strategy=strategy, freeze=self.FROZEN, optimization={"max_logit_scale": 5.0})
        result = fine_tune.fine_tune(run)
        start = clip.weights(result.anchor)
        for model in (result.student.model, *([result.others["teacher"].model] if "teacher" in result.others else [])):
            moved = {name for name, value in clip.weights(model).items() if not torch.equal(value, start[name])}
            assert moved
            assert not any(self.is_frozen(name) for name in moved)
            if model is result.student.model:
                # the key bias is the one parameter that no loss depends on
                assert {n for n in start if not self.is_frozen(n)} - moved <= {n for n in start if n.endswith("in_proj_bias")}

    def test_leaves_no_entry_in_optimizer_and_penalty(self):
        encoder = clip.create("tiny-vit", None)
        anchor = copy.deepcopy(encoder.model)
        clip.freeze(encoder.model, self.FROZEN)
        parameters = dict(encoder.model.clip.named_parameters())
        trained = [parameter for name, parameter in parameters.items() if not self.is_frozen(name)]
        entries = [p for group in optimizer.parameter_groups(encoder.model, 0.1) for p in group["params"]]
        assert {id(p) for p in entries} == {id(p) for p in trained}
        assert len(trained) < len(parameters)
        penalty = objective.Objective({"l2_sp": 1.0})
        with torch.no_grad():
            anchor.clip.visual.conv1.weight.add_(1)
            assert penalty.of_weights(encoder.model, anchor, None)["l2_sp"] == 0
            anchor.clip.visual.proj.add_(1)
            assert penalty.of_weights(encoder.model, anchor, None)["l2_sp"] > 0

    def test_resumes_to_the_last_bit(self, configured):
        def stop(step):
            if step == 2:
                raise KeyboardInterrupt

        run = configured(freeze=self.FROZEN)
        whole = fine_tune.fine_tune(run).student.model
        part = configured(freeze=self.FROZEN).model_copy(update={"checkpoint_every_steps": 2})
        with pytest.raises(KeyboardInterrupt):
            fine_tune.fine_tune(part, stop)
        seen = []
        assert_same_weights(clip.weights(fine_tune.fine_tune(part, seen.append).student.model), clip.weights(whole))
        assert seen == [3]

    @pytest.mark.parametrize(("pattern", "suggestion"), [("visul.*", "visual.*"), ("visual.conv2.*", "visual.conv1.*")])
    def test_pattern_without_a_match_is_told(self, pattern, suggestion):
        model = clip.create("tiny-vit", None).model
        with pytest.raises(UserError, match=rf"model\.freeze: no parameter is called '{pattern}' \(did you mean '{suggestion}'"):
            clip.freeze(model, ["logit_scale", pattern])

    def test_freezing_everything_is_told(self, configured):
        run = configured(freeze=["visual.*", "*"])
        with pytest.raises(UserError, match="leaves no parameter to train"):
            fine_tune.fine_tune(run)
        assert not run.output.exists()


class TestGradientCheckpointing:
    def gradients(self, model, images, tokens):
        """Gradients of a loss, and how often a block of each tower was passed."""
        passes = []
        for tower in (model.clip.visual.transformer, model.clip.transformer):
            tower.resblocks[0].ln_1.register_forward_hook(lambda *_: passes.append(1))
        features = model.train()(images, tokens)
        objective.FEATURE_TERMS["contrastive"](objective.Pairing(features)).backward()
        return {name: parameter.grad for name, parameter in model.named_parameters()}, len(passes)

    def test_gives_the_same_gradients(self, images):
        encoder = clip.create("tiny-vit", None)
        plain, checkpointed = encoder.model, copy.deepcopy(encoder.model)
        clip.checkpoint_gradients(checkpointed)
        batch = encoder.preprocess(images), encoder.tokenize(CAPTIONS)
        (expected, once), (mine, twice) = self.gradients(plain, *batch), self.gradients(checkpointed, *batch)
        assert (once, twice) == (2, 4)
        for name, gradient in expected.items():
            torch.testing.assert_close(mine[name], gradient, atol=10 * FLOAT32, rtol=1e-4)

    def test_goes_with_micro_batches(self, configured):
        norms = []
        for checkpointing, size in ((False, None), (True, None), (True, 4)):
            run = configured(gradient_checkpointing=checkpointing, optimization={"micro_batch_size": size})
            fine_tune.fine_tune(run)
            norms.append(json.loads((run.output / "metrics.jsonl").read_text().splitlines()[0])["gradient_norm"])
        assert norms[1:] == pytest.approx(norms[:1] * 2, rel=1e-5)

    @pytest.mark.parametrize("architecture", ["tiny-rn50", "glyphs"])
    def test_of_a_resnet_is_refused(self, configured, architecture):
        run = configured(architecture, gradient_checkpointing=True)
        with pytest.raises(UserError, match=rf"tower of {architecture} cannot .* model\.gradient_checkpointing to false"):
            fine_tune.fine_tune(run)
        assert not run.output.exists()


class TestCompilation:
    def test_reaches_student_and_teacher(self, configured, monkeypatch):
        compiled = []
        monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(module))
        result = fine_tune.fine_tune(configured(compile=True))
        assert compiled == [result.student.model, result.others["teacher"].model]
        compiled.clear()
        fine_tune.fine_tune(configured())
        assert compiled == []

    def test_keeps_names_and_is_not_copied(self, monkeypatch):
        """A copy that went on calling the compiled original would be a teacher that is its student."""
        monkeypatch.setattr(torch, "compile", lambda call, **options: call)  # the real one takes minutes
        model = clip.create("tiny-vit", None).model
        names = list(model.state_dict())
        model.compile()
        teacher = Teacher(model, Uniform(), Clock(total_steps=3))
        assert list(model.state_dict()) == names
        assert model._compiled_call_impl is not None
        assert teacher.module._compiled_call_impl is None

    @pytest.mark.slow
    def test_trains_as_without(self, configured):
        plain, compiled = (fine_tune.fine_tune(configured(compile=on)) for on in (False, True))
        assert clip.weights(compiled.student.model).keys() == clip.weights(plain.student.model).keys()
        for mine, theirs in (
            (compiled.student.model, plain.student.model),
            (compiled.others["teacher"].model, plain.others["teacher"].model),
        ):
            distance = sum((a - b).abs().sum() for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))
            assert distance < 1e-3 * sum(
                (a - b).abs().sum() for a, b in zip(mine.parameters(), plain.anchor.parameters(), strict=True)
            )
