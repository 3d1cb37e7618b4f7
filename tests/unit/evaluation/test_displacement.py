import copy

import pytest
import torch
from torch import nn

from tests.models import TinyDualEncoder
from tracer.errors import UserError
from tracer.evaluation.displacement import block, relative_displacement


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("clip.visual.transformer.resblocks.11.attn.in_proj_weight", "visual.transformer.resblocks.11"),
        ("clip.transformer.resblocks.0.mlp.c_fc.bias", "transformer.resblocks.0"),
        ("clip.visual.layer3.5.conv1.weight", "visual.layer3"),
        ("clip.visual.attnpool.q_proj.weight", "visual.attnpool"),
        ("clip.visual.conv1.weight", "visual.conv1"),
        ("clip.visual.proj", "visual.proj"),
        ("clip.visual.trunk.pos_embed", "visual.trunk.pos_embed"),
        ("clip.visual.trunk.stages.3.blocks.0.norm.weight", "visual.trunk.stages.3"),
        ("clip.visual.trunk.norm.weight", "visual.trunk.norm"),
        ("clip.visual.head.proj.weight", "visual.head"),
        ("clip.token_embedding.weight", "token_embedding"),
        ("clip.text_projection", "text_projection"),
        ("image_projection.weight", "image_projection"),
    ],
)
def test_blocks_by_name(name, expected):
    assert block(name) == expected


def test_each_block_is_measured_against_its_own_norm():
    anchor = TinyDualEncoder(seed=1)
    model = copy.deepcopy(anchor)
    with torch.no_grad():
        model.text_projection.weight *= 1.5
        model.image[0].bias += 3.0
    moved = relative_displacement(model, anchor)
    weight, bias = anchor.image[0].weight, anchor.image[0].bias
    norm = torch.cat([weight.flatten(), bias]).norm().item()
    assert moved["text_projection"] == pytest.approx(0.5, rel=1e-6)
    assert moved["image.0"] == pytest.approx(3 * len(bias) ** 0.5 / norm, rel=1e-6)
    assert moved["words"] == 0
    assert moved["image_projection"] == 0
    assert list(moved) == list(dict.fromkeys(block(name) for name, _ in anchor.named_parameters()))


def test_a_block_that_starts_at_zero():
    anchor = nn.Linear(2, 2)
    nn.init.zeros_(anchor.bias)
    model = copy.deepcopy(anchor)
    assert relative_displacement(model, anchor)["bias"] == 0
    nn.init.ones_(model.bias)
    assert relative_displacement(model, anchor)["bias"] == float("inf")


def test_another_architecture_is_refused():
    with pytest.raises(UserError, match="different parameters"):
        relative_displacement(nn.Linear(2, 3), nn.Linear(2, 4))
