"""What layers of an image tower say of images, one row a position: the material that similarities compare."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tracer.data.datasets import Images
from tracer.errors import UserError, nearest
from tracer.evaluation.zero_shot import image_embeddings
from tracer.models.dual_encoder import Encoder


def activations(
    encoder: Encoder, images: Images, layers: Sequence[str], batch_size: int = 256, positions: int | None = None
) -> dict[str, np.ndarray]:
    """The outputs of some layers of the image tower, each float64 (samples, channels); the model is put in eval mode.

    Every position is a sample of its own: of a map (n, c, h, w) there are n h w, of n sequences of tokens (n, t, c) there are n t.

    Args:
        encoder: the model.
        images: what it is shown.
        layers: names of modules within its image tower, such as "layer3" or "transformer.resblocks.11"; "" is the tower itself.
        batch_size: images at once.
        positions: so many of each image, drawn at random, the same for all models of one architecture; None: all.

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
            record = partial(_record, outputs, positions, torch.Generator().manual_seed(0))
            hooks.enter_context(modules[name].register_forward_hook(record))
        for _ in image_embeddings(encoder, images, batch_size):
            pass
    return {name: torch.cat(outputs).numpy() for name, outputs in seen.items()}


def _record(
    outputs: list[Tensor], positions: int | None, generator: torch.Generator, layer: nn.Module, inputs: Any, output: Any
) -> None:
    output = output[0] if isinstance(output, tuple) else output  # some towers give tokens beside the embedding
    rows = (output.movedim(1, -1) if output.ndim == 4 else output).flatten(1, -2) if output.ndim > 2 else output[:, None]
    count, there = rows.shape[:2]
    if positions is not None and positions < there:
        drawn = torch.rand(count, there, generator=generator).argsort(dim=1)[:, :positions].to(rows.device)
        rows = rows.take_along_dim(drawn[..., None], dim=1)
    outputs.append(rows.flatten(end_dim=1).cpu().double())
