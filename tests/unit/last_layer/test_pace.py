"""Paces: how much faster whole towers move than their last maps, and maps that keep them."""

import copy

import pytest
import torch

from tests.tolerances import FLOAT32, POWER
from tracer.errors import UserError
from tracer.last_layer.pace import Paced, Paces, pace, paces
from tracer.models import clip
from tracer.models.last_maps import LastMaps, last_map_names
from tracer.toy import world
from tracer.training.batches import Batches

MEASURED = 0.02  # relative: a step of float32 weights is 1e-6 of them, so that a move is known to about a percent


@pytest.fixture
def encoder():
    return clip.create("glyphs", "0")


@pytest.fixture
def batch(encoder):
    return Batches(world.task("train").captioned(), encoder, 16, 1, 0)[0]


def moved(encoder, batch, names):
    """By one step of SGD on signs, as an optimiser takes it: the root sum of squared moves of the image embeddings."""
    model = copy.deepcopy(encoder.model).double().eval()
    images = batch.images.double()
    features = model(images, batch.tokens)
    logits = features.logit_scale * features.image @ features.text.T
    targets = torch.arange(len(logits))
    (torch.nn.functional.cross_entropy(logits, targets) + torch.nn.functional.cross_entropy(logits.T, targets)).backward()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in names:
                parameter -= 1e-7 * parameter.grad.sign()
        return (model(images, batch.tokens).image - features.image).norm().item()


def test_it_is_what_one_step_of_all_layers_does_over_that_of_the_last(encoder, batch):
    last = last_map_names(encoder.model)
    whole = [name for name, _ in encoder.model.named_parameters() if ".visual." in name]
    expected = moved(encoder, batch, whole) / moved(encoder, batch, last)
    assert pace(encoder.model, batch, "image") == pytest.approx(expected, rel=MEASURED)
    assert expected > 1 + POWER * MEASURED


def test_a_tower_whose_last_map_alone_trains_has_pace_one(encoder, batch):
    last = last_map_names(encoder.model, "text")
    for name, parameter in encoder.model.named_parameters():
        parameter.requires_grad_(name in last)
    assert paces(encoder.model, [batch]) == Paces(1.0, 1.0, 1.0)


def test_parameters_are_counted_over_those_of_the_last_maps(encoder, batch):
    last = sum(
        encoder.model.get_parameter(name).numel() for tower in ("image", "text") for name in last_map_names(encoder.model, tower)
    )
    everything = sum(parameter.numel() for parameter in encoder.model.parameters())
    assert paces(encoder.model, [batch, batch]).parameters == everything / last


def test_a_tower_that_trains_below_a_frozen_map_is_refused(encoder, batch):
    clip.freeze(encoder.model, ["visual.attnpool.c_proj.*"])
    with pytest.raises(UserError, match="layers of the image tower to train, but not its last map"):
        pace(encoder.model, batch, "image")


def test_paced_maps_move_so_many_times_as_far(frozen):
    maps = LastMaps(frozen.model.model)
    paced = Paced(maps, Paces(3.0, 0.5))
    features, tokens = torch.from_numpy(frozen.data.pairs.images[:5]), frozen.encoder.tokenize(["a photo of the digit one"])
    before = [paced.encode_image(features), paced.encode_text(tokens)]
    plain = [frozen.maps.encode_image(features), frozen.maps.encode_text(tokens)]
    with torch.no_grad():
        for layer in (maps.image_map, maps.text_map):
            layer.weight += 0.1
    for at, start, now, factor in zip(
        before,
        plain,
        [(paced.encode_image(features), maps.encode_image(features)), (paced.encode_text(tokens), maps.encode_text(tokens))],
        (3.0, 0.5),
        strict=True,
    ):
        assert (at - start).abs().max() <= 10 * FLOAT32
        assert ((now[0] - start) - factor * (now[1] - start)).abs().max() <= 100 * FLOAT32
        assert ((now[0] - start) - (now[1] - start)).abs().max() >= POWER * 100 * FLOAT32
