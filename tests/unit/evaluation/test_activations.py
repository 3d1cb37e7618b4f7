import numpy as np
import pytest
import torch

from tests.models import TINY_ARCHITECTURES
from tests.tolerances import BATCHED_LOGITS
from tracer.errors import UserError
from tracer.evaluation.activations import activations
from tracer.models import clip
from tracer.toy import small_clip

LAYERS = ("avgpool", "layer1", "layer3", "attnpool")


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(256, size=(7, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def encoder():
    return clip.create(small_clip.ARCHITECTURE, small_clip.shipped()[0])


def test_positions_of_a_map_are_samples_in_the_order_of_the_images(encoder, images):
    seen = activations(encoder, images, LAYERS)
    assert {name: values.shape for name, values in seen.items()} == {
        "avgpool": (7 * 64, 8),
        "layer1": (7 * 64, 32),
        "layer3": (7 * 4, 128),
        "attnpool": (7, 64),
    }
    tower = encoder.model.image_tower()
    with torch.no_grad():
        stem = tower.stem(encoder.preprocess(list(images)))
        third = tower.layer3(tower.layer2(tower.layer1(stem))).double().numpy()
    assert np.array_equal(seen["layer3"][4 * 2 + 3], third[2, :, 1, 1])  # image 2, its last position
    assert seen["layer3"].dtype == np.float64


def test_the_last_layer_is_the_embedding(encoder, images):
    seen = activations(encoder, images, ["attnpool"])
    with torch.no_grad():
        embeddings = encoder.model.encode_image(encoder.preprocess(list(images))).double().numpy()
    assert np.array_equal(seen["attnpool"], embeddings)


def test_batches_do_not_matter_and_no_hook_is_left(encoder, images):
    whole, parts = activations(encoder, images, LAYERS), activations(encoder, images, LAYERS, batch_size=3)
    for name in LAYERS:
        np.testing.assert_allclose(parts[name], whole[name], atol=BATCHED_LOGITS)
    assert not any(module._forward_hooks for module in encoder.model.modules())


def test_tokens_of_a_transformer_are_samples(images, architectures):
    encoder = clip.create("tiny-vit", None)
    seen = activations(encoder, images, ["transformer.resblocks.1", "ln_post"])
    vision = TINY_ARCHITECTURES["tiny-vit"]["vision_cfg"]
    tokens = (vision["image_size"] // vision["patch_size"]) ** 2 + 1
    assert seen["transformer.resblocks.1"].shape == (7 * tokens, vision["width"])


def test_some_positions_of_each_image_are_the_same_in_every_model(encoder, images):
    """Drawn without repetition, by image: the same ones of layers of one size, and all where there are no more."""
    everything, some = activations(encoder, images, LAYERS), activations(encoder, images, LAYERS, positions=5)
    assert {name: len(values) for name, values in some.items()} == {"avgpool": 35, "layer1": 35, "layer3": 28, "attnpool": 7}
    for name in ("layer3", "attnpool"):
        assert np.array_equal(some[name], everything[name])
    drawn = {}
    for name in ("avgpool", "layer1"):
        by_image = everything[name].reshape(7, 64, -1)
        drawn[name] = [
            [int(np.flatnonzero((by_image[i] == row).all(axis=1))[0]) for row in rows]
            for i, rows in enumerate(some[name].reshape(7, 5, -1))
        ]
    assert drawn["avgpool"] == drawn["layer1"]
    assert all(len(set(positions)) == 5 for positions in drawn["layer1"])
    assert len({tuple(positions) for positions in drawn["layer1"]}) == 7


def test_the_tower_itself_is_a_layer(encoder, images):
    seen = activations(encoder, images, ["", "attnpool"])
    assert np.array_equal(seen[""], seen["attnpool"])


def test_a_layer_that_is_not_there_is_named(encoder, images):
    with pytest.raises(UserError, match=r"no layer 'layer9' \(did you mean 'layer"):
        activations(encoder, images, ["layer1", "layer9"])
