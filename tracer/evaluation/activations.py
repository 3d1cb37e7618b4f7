"""What layers of an image tower say of images, one row a position: the material that similarities compare."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tracer.data.datasets import LabelledImages
from tracer.errors import UserError, nearest
from tracer.evaluation.zero_shot import image_embeddings
from tracer.models.dual_encoder import Encoder


def activations(encoder: Encoder, images: LabelledImages, layers: Sequence[str], batch_size: int = 256) -> dict[str, np.ndarray]:
    """The outputs of some layers of the image tower, each float64 (samples, channels); the model is put in eval mode.

    Every position is a sample of its own: of a map (n, c, h, w) there are n h w, of n sequences of tokens (n, t, c) there are n t.

    Args:
        encoder: the model.
        images: what it is shown.
        layers: names of modules within its image tower, such as "layer3" or "transformer.resblocks.11".
        batch_size: images at once.

    Raises:
        UserError: if the tower has no such layer, or an image cannot be read.
    """
    tower = encoder.model.image_tower()
    modules = dict(tower.named_modules())
    for name in layers:
        if name not in modules:
            raise UserError(f"the image tower has no layer {name!r}{nearest(name, modules)}")
    seen: dict[str, list[Tensor]] = {name: [] for name in layers}
    with ExitStack() as hooks:
        for name, outputs in seen.items():
            hooks.enter_context(modules[name].register_forward_hook(partial(_record, outputs)))
        for _ in image_embeddings(encoder, images, batch_size):
            pass
    return {name: torch.cat(outputs).numpy() for name, outputs in seen.items()}


def _record(outputs: list[Tensor], layer: nn.Module, inputs: Any, output: Tensor) -> None:
    channels_last = output.movedim(1, -1) if output.ndim == 4 else output
    outputs.append(channels_last.flatten(end_dim=-2).double().cpu())
