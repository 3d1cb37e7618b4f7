import copy

import numpy as np
import pytest
import torch

from tests.models import TINY_ARCHITECTURES
from tests.tolerances import SIMILARITY
from tracer.evaluation import diagnosis
from tracer.evaluation.displacement import relative_displacement
from tracer.evaluation.similarity import MEASURES
from tracer.evaluation.task_subspace import Share
from tracer.models import clip

VIT = ["conv1", "ln_pre", "transformer.resblocks.0", "transformer.resblocks.1", "ln_post", "proj"]
RESNET = ["conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "layer1", "layer2", "layer3", "layer4", "attnpool"]
TEXT = ["transformer.resblocks.0", "ln_final", "text_projection"]


@pytest.fixture
def trunk(monkeypatch):
    vision = {"timm_model_name": "vit_tiny_patch16_224", "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "linear"}
    configuration = TINY_ARCHITECTURES["tiny-vit"] | {"vision_cfg": {**vision, "image_size": 224}}
    monkeypatch.setitem(clip.open_clip.factory._MODEL_CONFIGS, "tiny-trunk", configuration)
    return clip.create("tiny-trunk", None)


def names(model, tower):
    rows = diagnosis.blocks(model, model)
    assert [row["tower"] for row in rows] == sorted(row["tower"] for row in rows)
    return [row["name"].removeprefix("visual.") for row in rows if row["tower"] == tower]


@pytest.mark.parametrize(("architecture", "expected"), [("tiny-vit", VIT), ("glyphs", RESNET)])
def test_blocks_are_in_the_order_of_the_towers(architectures, architecture, expected):
    """Embeddings come first and projections last, which as parameters of a tower torch lists first."""
    model = clip.create(architecture, None).model
    assert [name for name in names(model, "image") if not name.endswith("_embedding")] == expected
    text = names(model, "text")
    assert {*text[:2]} == {"token_embedding", "positional_embedding"}
    assert [name for name in text[2:] if name != "transformer.resblocks.1"] == TEXT


def test_displacements_are_those_of_the_weights():
    start, end = (clip.create("glyphs", seed).model for seed in ("0", "1"))
    rows = diagnosis.blocks(start, end)
    moved = relative_displacement(end, start)
    assert {row["name"]: row["displacement"] for row in rows} == {name: moved[name] for name in moved if name != "logit_scale"}


def test_each_block_is_seen_by_what_it_puts_out(architectures, trunk):
    assert diagnosis.layers(clip.create("glyphs", None).model, ["visual.layer1", "ln_final"]) == {"visual.layer1": "layer1"}
    seen = diagnosis.layers(clip.create("tiny-vit", None).model, [f"visual.{name}" for name in (*VIT, "class_embedding")] + TEXT)
    assert seen == {f"visual.{name}": name for name in VIT[:-1]} | {"visual.proj": ""}
    parts = [f"visual.{name}" for name in names(trunk.model, "image")]
    assert parts[-2:] == ["visual.trunk.norm", "visual.head"]
    assert [*diagnosis.layers(trunk.model, parts)] == [name for name in parts if not name.endswith(("cls_token", "pos_embed"))]


def test_only_blocks_after_a_change_are_less_alike():
    start = clip.create("glyphs", "0")
    model = copy.deepcopy(start.model)
    with torch.no_grad():
        for parameter in model.image_tower().layer3.parameters():
            parameter += 0.5 * parameter.std() * torch.randn(parameter.shape)
    end = copy.copy(start)
    object.__setattr__(end, "model", model)
    images = np.random.default_rng(0).integers(256, size=(30, 32, 32, 3), dtype=np.uint8)
    layers = {f"visual.{name}": name for name in RESNET}
    found = diagnosis.similarity([start, end], images, layers)
    for measure in MEASURES:
        alike = [found[name][measure] for name in layers]
        assert alike[: RESNET.index("layer3")] == pytest.approx([1] * RESNET.index("layer3"), abs=SIMILARITY)
        assert max(alike[RESNET.index("layer3") :]) < 1 - 100 * SIMILARITY


def test_shares_are_put_together_by_block():
    parts = {"layer1.0.conv1.weight": (1.0, 1.0), "layer1.0.conv2.weight": (3.0, 0.0), "attnpool.c_proj.weight": (1.0, 0.5)}
    found = [Share(name, 8, 2, 9, size, inside, 0.25) for name, (size, inside) in parts.items()]
    assert diagnosis.shares_by_block(found) == {
        "visual.layer1": {"inside": 0.25, "random": 0.25, "effect": 0.25},
        "visual.attnpool": {"inside": 0.5, "random": 0.25, "effect": 0.25},
    }


def row(name, moved, others=None, task=0.99):
    similarity = {"task": {"cka": task}, "others": None if others is None else {"cka": others}}
    return {"name": name, "displacement": moved, "similarity": similarity}


LABELLED = {"images": 10, "agreement": 0.9, "right_before": 8, "learnt": 1, "accuracy_before": 0.8}
KEPT = {**LABELLED, "forgotten": 0, "accuracy_after": 0.9}
LOST = {**LABELLED, "forgotten": 4, "accuracy_after": 0.5}
TOLD = {
    "sets": {"id": KEPT, "drawings": LOST},
    "blocks": [row("a", 0.01, 0.99), row("b", 0.1, 0.94), row("c", 0.02, 0.6)],
    "change": {"inside": 0.75, "random": 0.25, "effect": 0.9},
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "forgotten on drawings: of 8 images that were answered right 4 (50.0 %) are wrong now, and of the others 1 are right"),
        ({}, "from 80.0 % to 50.0 %"),
        ({}, "moved most in b, by 10.0 % of their norm"),
        ({}, "On other images CKA falls below 0.95 first in b and is lowest in c (0.60)"),
        ({}, "75.0 % lies in the task subspace, where a random one would have 25.0 %: it follows the task's images"),
        ({}, "90.0 % comes through the task subspace: mostly in directions that the task uses too"),
        ({"sets": {"id": KEPT}}, "Nothing was forgotten"),
        ({"sets": {"x": {"agreement": 0.9}, "y": {"agreement": 0.4}}}, "most on y: 60.0 % of the images have another top answer"),
        ({"sets": {"x": {"agreement": 1.0}}}, "Every image has the top answer that it had"),
        ({"blocks": [row("a", 0.01, 0.99)]}, "On other images every block stays close to the pretrained one (CKA at least 0.99"),
        ({"blocks": [row("a", 0.01, None, 0.5)]}, "On the task's images CKA falls below 0.95 first in a"),
        ({"change": {"inside": 0.26, "random": 0.25, "effect": 0.2}}, "the task's images alone do not explain it"),
        ({"change": {"inside": 0.96, "random": 0.9, "effect": None}}, "it follows the task's images."),
        ({"change": {"inside": 0.2, "random": 0.25, "effect": 0.2}}, "directions that the task hardly uses"),
        ({"change": {"inside": None, "random": None, "effect": None}}, "was not measured"),
    ],
)
def test_the_verdict_says_what_the_numbers_do(changes, words):
    assert words in diagnosis.verdict(TOLD | changes)
