import copy

import numpy as np
import open_clip
import pytest
import torch
from torch import nn

from tests.tolerances import FLOAT32, FLOAT64, POWER
from tracer.errors import UserError
from tracer.models import clip
from tracer.models.blueprint import Blueprint
from tracer.models.dual_encoder import DualEncoder
from tracer.models.tokenizers import OpenClipTokenizer
from tracer.tensor_files import load_tensors, save_tensors
from tracer.toy import small_clip

CAPTIONS = ("the digit one", "a red letter", "a photo of the digit nine", "k")


@pytest.fixture
def batch():
    images = np.random.default_rng(0).integers(256, size=(4, 32, 32, 3), dtype=np.uint8)
    return small_clip.preprocess(images), small_clip.TOKENIZER(CAPTIONS)


@pytest.fixture(params=small_clip.IMAGE_TOWERS)
def model(request):
    return clip.create(request.param, None).model.eval()


def statistics(model):
    return {name: value.clone() for name, value in model.named_buffers() if "running" in name}


class TestEmbedded:
    def test_is_a_dual_encoder(self, model):
        assert isinstance(model, DualEncoder)

    def test_features_are_unit_vectors_and_scaled_as_open_clip_does(self, model, batch):
        features = model(*batch)
        for part in (features.image, features.text):
            torch.testing.assert_close(part.norm(dim=-1), torch.ones(4))
        assert features.logit_scale.item() == pytest.approx(model.clip.logit_scale.exp().item())
        image = nn.functional.normalize(model.encode_image(batch[0]), dim=-1)
        torch.testing.assert_close(features.image, image, atol=FLOAT32, rtol=0)

    def test_export_gives_open_clip_the_same_logits(self, model, batch, tmp_path):
        clip.save(model, tmp_path / "student.safetensors")
        theirs = open_clip.CLIP(**small_clip.configuration(model.blueprint.architecture))
        theirs.load_state_dict(load_tensors(tmp_path / "student.safetensors"))
        with torch.no_grad():
            image, text, scale = theirs.eval()(*batch)
            features = model(*batch)
        assert torch.equal(features.logit_scale * features.image @ features.text.T, scale * image @ text.T)

    def test_saved_weights_load_again(self, model, batch, tmp_path):
        clip.save(model, tmp_path / "student.safetensors")
        again = clip.create(model.blueprint.architecture, str(tmp_path / "student.safetensors")).model.eval()
        assert torch.equal(again(*batch).image, model(*batch).image)

    def test_weights_load_from_pt(self, model, batch, tmp_path):
        torch.save(model.clip.state_dict(), tmp_path / "student.pt")
        again = clip.create(model.blueprint.architecture, str(tmp_path / "student.pt")).model.eval()
        assert torch.equal(again(*batch).image, model(*batch).image)

    @pytest.mark.parametrize("seed", small_clip.shipped())
    def test_shipped_checkpoints_load(self, seed, batch):
        shipped, blank = (clip.create(small_clip.ARCHITECTURE, s).model.eval() for s in (seed, None))
        assert {p.dtype for p in shipped.parameters()} == {torch.float32}
        assert not torch.allclose(shipped(*batch).image, blank(*batch).image)

    def test_new_weights_come_from_torchs_generator(self):
        torch.manual_seed(3)
        one = clip.create(small_clip.ARCHITECTURE, None).model
        torch.manual_seed(3)
        other = clip.create(small_clip.ARCHITECTURE, None).model
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))

    def test_logit_scale_is_clamped_from_above(self, model):
        model.clamp_logit_scale(1e6)
        unclamped = model.logit_scale.item()
        model.clamp_logit_scale(5.0)
        assert model.logit_scale.item() == pytest.approx(5)
        assert unclamped > 5


class TestBatchNorm:
    def test_frozen_statistics_survive_training(self, batch):
        model = clip.create(small_clip.ARCHITECTURE, None, batch_norm="frozen").model
        before, evaluated = statistics(model), model.eval()(*batch).image
        assert before
        assert torch.equal(model.train()(*batch).image, evaluated)
        assert all(torch.equal(value, before[name]) for name, value in statistics(model).items())
        assert model.training

    def test_tracked_statistics_move(self, batch):
        model = clip.create(small_clip.ARCHITECTURE, None, batch_norm="tracked").model
        before = statistics(model)
        model.train()(*batch)
        assert not any(torch.equal(value, before[name]) for name, value in statistics(model).items())

    def test_copies_stay_frozen(self, batch):
        model = copy.deepcopy(clip.create(small_clip.ARCHITECTURE, None).model)
        before = statistics(model)
        model.train()(*batch)
        assert all(torch.equal(value, before[name]) for name, value in statistics(model).items())


class TestProjections:
    def test_of_the_embedded_model_act_on_pooled_features(self, model, batch):
        """The text projection is the matrix that makes embeddings of pooled features."""
        image, text = model.projections()
        assert image.shape[0] == text.shape[0] == 64
        pooled = []
        model.clip.ln_final.register_forward_hook(lambda module, inputs, output: pooled.append(output))
        embedded = model.encode_text(batch[1])
        last = pooled[0][torch.arange(4), batch[1].argmax(dim=-1)]
        torch.testing.assert_close(last @ text.T, embedded, atol=10 * FLOAT32, rtol=0)

    @pytest.mark.parametrize("towers", ["transformer", "custom text"])
    def test_of_other_towers(self, towers):
        """A vision transformer, whose matrix is (width, k), and a CLIP that keeps its text tower apart."""
        size = {
            "embed_dim": 6,
            "vision_cfg": {"image_size": 8, "patch_size": 4, "layers": 1, "width": 16, "head_width": 8},
            "text_cfg": {"context_length": 5, "vocab_size": 9, "width": 12, "heads": 2, "layers": 1},
        }
        kind = open_clip.CLIP if towers == "transformer" else open_clip.CustomTextCLIP
        image, text = clip.Clip(kind(**size), Blueprint(towers, size)).projections()
        assert image.shape == (6, 16)
        assert text.shape == (6, 12)
        assert image.requires_grad
        assert text.requires_grad


class TestShortCaptions:
    """open_clip's captions are padded to 77 tokens; a causal tower that is read at the end of the text need not see the padding."""

    LENGTH, SHORT = 16, 7

    @pytest.fixture
    def text(self):
        return {"context_length": self.LENGTH, "vocab_size": 19, "width": 12, "heads": 2, "layers": 2}

    def tiny(self, text, kind=open_clip.CLIP):
        torch.manual_seed(0)
        vision = {"image_size": 8, "patch_size": 4, "layers": 1, "width": 16, "head_width": 8}
        size = {"embed_dim": 6, "vision_cfg": vision, "text_cfg": text}
        return clip.Clip(kind(**size), Blueprint("tiny", size)).double()

    def captions(self):
        tokens = torch.randint(1, 18, (5, self.LENGTH))
        for row, end in enumerate((3, 6, 2, 6, 5)):
            tokens[row, end], tokens[row, end + 1 :] = 18, 0
        return tokens

    def tokenizer(self, model):
        return OpenClipTokenizer(lambda _: self.captions(), clip._reads_to_the_end_alone(model.clip))

    def outcome(self, model, tokens):
        """Features and gradients, to rounding: shorter rows of attention are summed in another order."""
        model.zero_grad()
        features = model(torch.ones(5, 3, 8, 8, dtype=torch.float64), tokens)
        (features.text * torch.linspace(-1, 1, 6)).sum().backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        return [features.text.detach(), model.encode_text(tokens).detach(), *gradients]

    def test_give_the_same_embeddings_and_gradients(self, text):
        model, whole = self.tiny(text), self.captions()
        cut = whole[:, : self.SHORT]
        expected = self.outcome(model, whole)
        assert len(expected) > 20
        for mine, theirs in zip(self.outcome(model, cut), expected, strict=True):
            torch.testing.assert_close(mine, theirs, atol=FLOAT64, rtol=0)
        too_short = self.outcome(model, cut[:, :-1])
        assert (too_short[0] - expected[0]).abs().max() >= POWER * FLOAT64

    def test_whole_captions_are_left_to_open_clip(self, text):
        model, tokens = self.tiny(text), self.captions()
        assert torch.equal(model.encode_text(tokens), model.clip.encode_text(tokens))

    def test_are_cut_after_the_last_end(self, text):
        torch.manual_seed(1)
        assert self.tokenizer(self.tiny(text))(["five"]).shape == (5, self.SHORT)

    @pytest.mark.parametrize(
        ("kind", "changes"),
        [(open_clip.CLIP, {"no_causal_mask": True}), (open_clip.CLIP, {"pool_type": "last"}), (open_clip.CustomTextCLIP, {})],
        ids=["sees ahead", "read at the last position", "of another kind"],
    )
    def test_other_towers_get_all_of_them(self, text, kind, changes):
        assert self.tokenizer(self.tiny(text | changes, kind))(["five"]).shape == (5, self.LENGTH)

    def test_of_open_clips_own_tokenizer(self):
        """Its padding is 0 and its end the highest id."""
        tokenizer = open_clip.get_tokenizer("ViT-B-32")
        texts = ["a photo of a dog.", "a bad photo of a hairy dog", ""]
        tokens, whole = OpenClipTokenizer(tokenizer, True)(texts), tokenizer(texts)
        assert tokens.shape == (3, 9)
        assert torch.equal(tokens, whole[:, :9])
        assert not whole[:, 9:].any()


class TestNames:
    @pytest.mark.parametrize(
        ("architecture", "pretrained", "suggestion"),
        [("glyph", None, "glyphs"), ("ViT-B16", None, "ViT-B-16"), ("ViT-B-16", "openia", "openai")],
    )
    def test_nearest_is_suggested(self, architecture, pretrained, suggestion):
        with pytest.raises(UserError, match=f"did you mean '{suggestion}'"):
            clip.create(architecture, pretrained)

    def test_seeds_that_are_not_shipped_are_told(self):
        with pytest.raises(UserError, match="77"):
            clip.create(small_clip.ARCHITECTURE, "77")

    def test_weights_of_another_model_are_told(self, tmp_path):
        save_tensors(tmp_path / "w.safetensors", {"x": torch.zeros(1)}, {})
        with pytest.raises(UserError, match=r"w\.safetensors does not fit"):
            clip.create(small_clip.ARCHITECTURE, str(tmp_path / "w.safetensors"))
