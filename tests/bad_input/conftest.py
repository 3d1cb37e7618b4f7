"""A folder with what a user would have there: a small open_clip model, photos in class folders, and a sound configuration."""

import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.models import TINY_ARCHITECTURES

CLASSES = {"bird": (200, 40, 40), "cat": (40, 200, 40), "dog": (40, 40, 200)}
IMAGES_PER_CLASS = 4
BASE = """\
output: run
model: {architecture: "local-dir:tiny"}
data: {kind: folder, path: photos}
evaluation: null
strategy: {name: tracer}
optimization: {total_steps: 2, batch_size: 4, learning_rate: 1.0e-4}
"""


@pytest.fixture(scope="session")
def belongings(tmp_path_factory):
    """The model and the photos, made once."""
    made = tmp_path_factory.mktemp("belongings")
    configuration = {"model_cfg": TINY_ARCHITECTURES["tiny-vit"], "preprocess_cfg": {}}
    (made / "tiny").mkdir()
    (made / "tiny" / "open_clip_config.json").write_text(json.dumps(configuration))
    model = open_clip.create_model(f"local-dir:{made / 'tiny'}", load_weights=False)
    assert isinstance(model, torch.nn.Module)
    save_file({name: tensor.clone() for name, tensor in model.state_dict().items()}, made / "tiny" / "open_clip_model.safetensors")
    rng = np.random.default_rng(0)
    for name, color in CLASSES.items():
        (made / "photos" / name).mkdir(parents=True)
        for number in range(IMAGES_PER_CLASS):
            pixels = np.clip(color + rng.integers(-20, 20, (40, 48, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(made / "photos" / name / f"{number}.png")
    return made


@pytest.fixture
def folder(belongings, tmp_path, monkeypatch):
    """The working folder of a case: `tiny` and `photos` are links, `base.yaml` trains two steps on them."""
    for name in ("tiny", "photos"):
        (tmp_path / name).symlink_to(belongings / name)
    (tmp_path / "base.yaml").write_text(BASE)
    monkeypatch.chdir(tmp_path)
    return tmp_path
