import numpy as np
import pytest
import torch

from tests.tolerances import FLOAT32, POWER
from tracer.models import clip
from tracer.models.last_maps import pooled_features

BIAS = {"glyphs": "attnpool.c_proj.bias", "tiny-rn50": "attnpool.c_proj.bias"}


@pytest.mark.parametrize("architecture", ["glyphs", "tiny-vit", "tiny-rn50"])
def test_the_last_map_of_them_is_the_embedding(architectures, architecture):
    encoder = clip.create(architecture, None)
    model = encoder.model.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = encoder.preprocess(np.random.default_rng(0).integers(256, size=(4, 32, 32, 3), dtype=np.uint8))
    features = pooled_features(model, images)
    projection = model.projections()[0]
    assert features.shape == (4, projection.shape[1])
    bias = model.image_tower().get_parameter(BIAS[architecture]) if architecture in BIAS else 0.0
    embedded = model.encode_image(images).detach()
    mapped = (features @ projection.T + bias).detach()
    torch.testing.assert_close(mapped, embedded, atol=10 * FLOAT32, rtol=0)
    assert (features[:, : embedded.shape[1]] - embedded).abs().max() >= POWER * 10 * FLOAT32
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
