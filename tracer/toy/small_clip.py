"""The embedded model: a tiny CLIP with a ResNet of open_clip's own kind, and its shipped checkpoints."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tracer.errors import UserError, nearest
from tracer.toy.renderer import SIZE
from tracer.toy.tokenizer import WordTokenizer
from tracer.toy.world import CONTEXT_LENGTH, WORDS

ARCHITECTURE = "glyphs"
TOKENIZER = WordTokenizer(WORDS, CONTEXT_LENGTH)
MEAN, DEVIATION = 0.5, 0.25  # of what pixels in [0, 1] are brought to mean 0 and deviation 1 with
IMAGE_TOWERS: dict[str, dict[str, Any]] = {
    ARCHITECTURE: {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
    f"{ARCHITECTURE}-vit": {"image_size": 32, "layers": 4, "width": 96, "head_width": 32, "patch_size": 8},
    f"{ARCHITECTURE}-convnext": {"image_size": 32, "timm_model_name": "test_convnext2", "timm_pool": "avg", "timm_proj": "linear"},
}
"""open_clip's vision_cfg of each architecture: a ModifiedResNet, a ViT, a ConvNeXt of timm's."""
CHECKPOINTS = files("tracer.toy") / "checkpoints"


def configuration(architecture: str) -> dict[str, Any]:
    """What open_clip calls model_cfg, of one of `IMAGE_TOWERS`."""
    text = {"context_length": CONTEXT_LENGTH, "vocab_size": TOKENIZER.vocab_size, "width": 64, "heads": 2, "layers": 1}
    return {"embed_dim": 64, "vision_cfg": IMAGE_TOWERS[architecture], "text_cfg": text}


def shipped() -> list[str]:
    """Seeds of the shipped checkpoints."""
    return sorted(
        Path(str(file)).stem.removeprefix("glyphs-") for file in CHECKPOINTS.iterdir() if file.name.endswith(".safetensors")
    )


def checkpoint(seed: str) -> Path:
    """The shipped checkpoint of a pretraining seed.

    Raises:
        UserError: if none of that seed is shipped.
    """
    if seed not in shipped():
        raise UserError(f"no checkpoint of the pretraining seed {seed!r} is shipped{nearest(seed, shipped())}")
    return Path(str(CHECKPOINTS / f"glyphs-{seed}.safetensors"))


def preprocess(images: Sequence[np.ndarray]) -> Tensor:
    """n uint8 images (32, 32, 3) to float32 (n, 3, 32, 32), from [0, 255] to [-2, 2].

    Raises:
        UserError: for images of another size.
    """
    for image in images:
        if image.shape != (SIZE, SIZE, 3):
            raise UserError(f"the embedded model takes {SIZE} x {SIZE} RGB images, not {image.shape}: resize them")
    stacked = torch.from_numpy(np.stack(list(images)))
    return (stacked.permute(0, 3, 1, 2).float() / 255 - MEAN) / DEVIATION
