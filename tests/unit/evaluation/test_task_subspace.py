import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.models import TINY_ARCHITECTURES
from tests.tolerances import FLOAT64, POWER
from tracer.evaluation.task_subspace import shares, together
from tracer.models import clip
from tracer.models.dual_encoder import Encoder
from tracer.models.last_maps import pooled_features

WIDTH, RANK, SAMPLES = 12, 4, 40
ROUNDED = 1e-5  # float32 inputs and weights, whose squares are compared
GROUPED = {
    "dense": {},
    "strided": {"stride": 2, "padding": 1},
    "dilated": {"dilation": 2, "padding": (2, 0)},
    "grouped": {"groups": 3},
}


class Tower(nn.Module):
    """A model that is its image tower."""

    def __init__(self, tower):
        super().__init__()
        self.tower = tower

    def encode_image(self, images):
        return self.tower(images)

    def image_tower(self):
        return self.tower


def encoder_of(tower):
    """Its images are float tensors, handed over as they are."""
    return Encoder(Tower(tower), torch.stack, torch.stack, lambda texts: texts)


def linear(weights):
    layer = nn.Linear(WIDTH, len(weights), bias=False)
    layer.weight.data = weights
    return layer


@pytest.fixture
def basis():
    """Orthonormal columns (12, 12), of which the first four span the task."""
    return torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(1)))[0]


@pytest.fixture
def images(basis):
    """Inputs with as much energy in each of the four directions, and none in others."""
    coordinates = torch.linalg.qr(torch.randn(SAMPLES, RANK, generator=torch.Generator().manual_seed(2)))[0]
    return list(coordinates @ basis[:, :RANK].T)


@pytest.mark.parametrize(("within", "without"), [(1.0, 0.0), (0.0, 1.0), (3.0, 4.0)])
def test_a_change_is_parted_by_what_the_task_reaches(basis, images, within, without):
    start = torch.randn(3, WIDTH)
    row = within * basis[:, 1] + without * basis[:, RANK]
    (found,) = shares(encoder_of(linear(start)), Tower(linear(start + torch.stack([row, 0 * row, 2 * row]))), images)
    assert (found.width, found.rank, found.inputs) == (WIDTH, RANK, SAMPLES)
    assert found.inside == pytest.approx(within**2 / (within**2 + without**2), abs=ROUNDED)
    assert found.size == pytest.approx(5 * (within**2 + without**2), rel=ROUNDED)
    assert found.effect is None
    assert together([found]) == {"inside": found.inside, "random": pytest.approx(RANK / WIDTH), "effect": None}


def test_a_random_change_has_its_rank_inside(basis, images):
    start = torch.randn(3000, WIDTH)
    (found,) = shares(encoder_of(linear(start)), Tower(linear(torch.randn(3000, WIDTH))), images)
    assert found.inside == pytest.approx(RANK / WIDTH, abs=0.01)


def test_the_rank_is_the_fewest_directions_of_99_percent(basis):
    energies = torch.tensor([100.0, 1.1, 0.5, 0.4])
    images = list((basis[:, :4] * energies.sqrt()).T)
    (found,) = shares(encoder_of(linear(torch.zeros(1, WIDTH))), Tower(linear(torch.ones(1, WIDTH))), images)
    assert found.rank == 2  # 101.1 of 102 is 99.1 percent, 100 is 98.0


def test_the_effect_on_other_images_weighs_what_they_have_of_each_part(basis, images):
    """Other images have squares 9 in a task direction and 1 outside, the change 1 and 4: effects of 9 and 4."""
    start = torch.zeros(1, WIDTH)
    change = (basis[:, 1] + 2 * basis[:, RANK])[None]
    others = [3 * basis[:, 1], basis[:, RANK], basis[:, 2], basis[:, 7]]
    (found,) = shares(encoder_of(linear(start)), Tower(linear(change)), images, others)
    assert found.effect == pytest.approx(9 / 13, abs=ROUNDED)
    assert found.inside == pytest.approx(1 / 5, abs=ROUNDED)


@pytest.mark.parametrize("options", GROUPED.values(), ids=GROUPED)
def test_a_convolution_is_the_map_of_its_patches(options):
    """Against all patches by torch's own `unfold`, each group of channels by itself."""
    groups = options.get("groups", 1)
    start, end = (nn.Conv2d(6, 9, (3, 2), bias=False, **options) for _ in range(2))
    images = [torch.randn(6, 5, 5) for _ in range(2)]
    (found,) = shares(encoder_of(start), Tower(end), images)
    unfolding = {name: value for name, value in options.items() if name != "groups"}
    patches = functional.unfold(torch.stack(images), (3, 2), **unfolding).transpose(1, 2).flatten(end_dim=1).double().numpy()
    change = (end.weight - start.weight).detach().double().numpy().reshape(groups, 9 // groups, -1)
    inside, ranks = 0.0, []
    for group, rows in zip(change, np.split(patches, groups, axis=1), strict=True):
        _, singular, directions = np.linalg.svd(rows, full_matrices=False)
        ranks.append(1 + int(np.searchsorted(np.cumsum(singular**2) / np.sum(singular**2), 0.99)))
        inside += np.sum((group @ directions[: ranks[-1]].T) ** 2)
    assert found.inputs == len(patches)
    assert found.rank == np.mean(ranks)
    assert found.inside == pytest.approx(inside / np.sum(change**2), abs=ROUNDED)
    assert min(found.inside, 1 - found.inside) >= POWER * ROUNDED or found.rank == found.width


UNMULTIPLIED = {"class_embedding", "positional_embedding", "attnpool.positional_embedding"}


@pytest.mark.parametrize("architecture", ["glyphs", "tiny-vit", "tiny-rn50"])
def test_every_linear_map_is_seen(architectures, architecture):
    """Those inside attention too, for which torch has one fast operation, and matrices that are no module."""
    start, end = clip.create(architecture, None), clip.create(architecture, None)
    pixels = np.random.default_rng(0).integers(256, size=(20, 32, 32, 3), dtype=np.uint8)
    found = {each.name: each for each in shares(start, end.model, pixels)}
    parameters = dict(start.model.image_tower().named_parameters())
    assert {*found} == {name for name, parameter in parameters.items() if parameter.ndim > 1} - UNMULTIPLIED
    assert all(0 < each.inside < 1 + FLOAT64 for each in found.values())
    assert torch.backends.mha.get_fastpath_enabled()


def test_the_inputs_of_the_projection_are_the_pooled_features(architectures):
    start, end = clip.create("tiny-vit", None), clip.create("tiny-vit", None)
    pixels = np.random.default_rng(0).integers(256, size=(20, 32, 32, 3), dtype=np.uint8)
    (found,) = (each for each in shares(start, end.model, pixels) if each.name == "proj")
    features = pooled_features(start.model, start.preprocess(list(pixels))).double().numpy()
    _, singular, directions = np.linalg.svd(features, full_matrices=False)
    rank = 1 + int(np.searchsorted(np.cumsum(singular**2) / np.sum(singular**2), 0.99))
    change = (end.model.projections()[0] - start.model.projections()[0]).detach().double().numpy()
    assert (found.inputs, found.rank, found.width) == (20, rank, 32)
    assert found.inside == pytest.approx(np.sum((change @ directions[:rank].T) ** 2) / np.sum(change**2), abs=ROUNDED)


def test_the_maps_of_a_trunk_of_timms(tmp_path, monkeypatch):
    """ConvNeXt has a convolution a channel, whose inputs are the patches of that channel alone."""
    vision = {"timm_model_name": "test_convnext", "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "linear"}
    configuration = TINY_ARCHITECTURES["tiny-vit"] | {"vision_cfg": {**vision, "image_size": 32}}
    monkeypatch.setitem(clip.open_clip.factory._MODEL_CONFIGS, "tiny-convnext", configuration)
    start, end = clip.create("tiny-convnext", None), clip.create("tiny-convnext", None)
    found = {each.name: each for each in shares(start, end.model, np.zeros((10, 32, 32, 3), np.uint8))}
    parameters = dict(start.model.image_tower().named_parameters())
    assert {*found} == {name for name, parameter in parameters.items() if parameter.ndim > 1}
    assert found["trunk.stages.0.blocks.0.conv_dw.weight"].width == 49
    assert found["head.proj.weight"].width == parameters["head.proj.weight"].shape[1]


def test_what_stayed_has_no_share(images):
    start = torch.randn(3, WIDTH)
    (found,) = shares(encoder_of(linear(start)), Tower(linear(start.clone())), images, images)
    assert (found.size, found.inside, found.effect) == (0, None, None)
    assert together([found]) == {"inside": None, "random": None, "effect": None}


def test_several_maps_weigh_by_how_far_they_moved(basis, images):
    start = torch.zeros(1, WIDTH)
    near, far = (
        shares(encoder_of(linear(start)), Tower(linear(scale * direction[None])), images, images)[0]
        for scale, direction in ((1.0, basis[:, 0]), (3.0, basis[:, 5]))
    )
    assert together([near, far])["inside"] == pytest.approx(0.1, abs=ROUNDED)
    assert together([near, far])["random"] == pytest.approx(RANK / WIDTH)
