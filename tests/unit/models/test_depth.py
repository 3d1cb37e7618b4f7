"""The depth of every weight, on open_clip's own architectures with random weights."""

import open_clip
import pytest
import torch
from open_clip.model import CustomTextCLIP
from torch import nn

from tests.models import _TEXT, TINY_ARCHITECTURES
from tracer.errors import UserError
from tracer.models import clip
from tracer.models.depth import depths
from tracer.toy import small_clip

EARLY, LATE = 0.0, 1.0
CONVNEXT = {"timm_model_name": "convnext_atto", "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "linear"}
VIT = {"timm_model_name": "vit_tiny_patch16_224", "timm_model_pretrained": False, "timm_pool": "token", "timm_proj": "linear"}


def built(name):
    """open_clip's model of a tiny architecture."""
    configuration = {key: value for key, value in TINY_ARCHITECTURES[name].items() if key != "quick_gelu"}
    return open_clip.CLIP(**configuration)


def assert_depths(model, expected):
    """Every saved tensor has a depth, and those under each prefix the expected one, whatever else there is."""
    found = depths(model)
    assert found.keys() == model.state_dict().keys()
    assert all(EARLY <= value <= LATE for value in found.values())
    for prefix, depth in expected.items():
        under = {name: value for name, value in found.items() if name.startswith(prefix)}
        assert under, prefix
        assert set(under.values()) == {depth}, prefix


TEXT = {
    "token_embedding": EARLY,
    "positional_embedding": EARLY,
    "transformer.resblocks.0.": EARLY,
    "transformer.resblocks.1.": LATE,
    "ln_final": LATE,
    "text_projection": LATE,
    "logit_scale": LATE,
}


class TestTowers:
    def test_vision_transformer(self):
        torch.manual_seed(0)
        configuration = TINY_ARCHITECTURES["tiny-vit"]
        deeper = {**configuration, "vision_cfg": {**configuration["vision_cfg"], "layers": 5}}
        assert_depths(
            open_clip.CLIP(**deeper),
            {
                **TEXT,
                **{f"visual.{name}": EARLY for name in ("class_embedding", "positional_embedding", "conv1", "ln_pre")},
                **{f"visual.transformer.resblocks.{number}.": number / 4 for number in range(5)},
                **{f"visual.{name}": LATE for name in ("ln_post", "proj")},
            },
        )

    def test_resnet(self):
        """RN50's 3 + 4 + 6 + 3 bottlenecks, their running statistics too; what pools them is as deep as the last."""
        blocks = [(stage, block) for stage, count in enumerate((3, 4, 6, 3), 1) for block in range(count)]
        expected = {f"visual.layer{stage}.{block}.": place / 15 for place, (stage, block) in enumerate(blocks)}
        model = built("tiny-rn50")
        assert_depths(model, {**TEXT, **expected, "visual.conv": EARLY, "visual.bn": EARLY, "visual.attnpool.": LATE})
        assert depths(model)["visual.layer4.2.bn3.running_var"] == LATE
        assert depths(model)["visual.bn3.running_mean"] == EARLY

    def test_the_embedded_model(self):
        """Its text tower has one block, and what follows is deeper than that."""
        expected = {f"visual.layer{number}.": (number - 1) / 3 for number in range(1, 5)}
        model = open_clip.CLIP(**small_clip.configuration(small_clip.ARCHITECTURE))
        assert_depths(model, {**expected, "visual.attnpool.": LATE, "transformer.resblocks.0.": EARLY, "ln_final": LATE})

    def test_convnext_of_timm(self):
        stages = [(stage, block) for stage, count in enumerate((2, 2, 6, 2)) for block in range(count)]
        expected = {f"visual.trunk.stages.{stage}.blocks.{block}.": place / 11 for place, (stage, block) in enumerate(stages)}
        downsampled = {f"visual.trunk.stages.{stage}.downsample": stages.index((stage, 0)) / 11 for stage in range(1, 4)}
        model = open_clip.CLIP(8, {**CONVNEXT, "image_size": 32}, _TEXT)
        assert_depths(model, {**TEXT, **expected, **downsampled, "visual.trunk.stem": EARLY, "visual.head": LATE})

    def test_transformer_of_timm_beside_a_text_tower_of_its_own(self):
        model = CustomTextCLIP(8, {**VIT, "image_size": 224}, _TEXT)
        expected = {f"visual.trunk.blocks.{number}.": number / 11 for number in range(12)}
        assert_depths(
            model,
            {
                **{f"text.{name}": depth for name, depth in TEXT.items() if name != "logit_scale"},
                **expected,
                "visual.trunk.patch_embed": EARLY,
                "visual.trunk.pos_embed": EARLY,
                "visual.trunk.norm.": LATE,
                "visual.head": LATE,
                "logit_scale": LATE,
            },
        )

    @pytest.mark.parametrize("tower", ["image", "text"])
    def test_a_tower_of_unknown_blocks_is_told(self, tower):
        model = built("tiny-vit")
        if tower == "image":
            model.visual = nn.Sequential(nn.Linear(3, 3))
        else:
            model.transformer = nn.Linear(3, 3)
        with pytest.raises(UserError, match=f"the blocks of the {tower} tower are not known"):
            depths(model)


def test_names_are_those_of_the_wrapped_model():
    model = clip.create("glyphs", None).model
    assert clip.depths(model).keys() == model.state_dict().keys()
