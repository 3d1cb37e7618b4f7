"""Where in a network fine-tuning changed the weights: the distance from the pretrained ones, block by block."""

import re

import torch
from torch import Tensor, nn

from tracer.errors import UserError

_WRAPPER = "clip."  # what a CLIP's towers are held under
_TRUNK = "visual.trunk."  # timm's towers are held under it
_THROUGH_NUMBER = re.compile(r"\D*\.\d+(?=\.)")


def block(name: str) -> str:
    """The block that a parameter belongs to, by its name.

    A transformer's layer (transformer.resblocks.11), or else a tower's part (visual.layer3, visual.trunk.norm, text_projection).
    """
    name = name.removeprefix(_WRAPPER)
    numbered = _THROUGH_NUMBER.match(name)
    parts = 3 if name.startswith(_TRUNK) else 2
    return numbered[0] if numbered else ".".join(re.sub(r"\.(weight|bias)$", "", name).split(".")[:parts])


@torch.no_grad()
def relative_displacement(model: nn.Module, anchor: nn.Module) -> dict[str, float]:
    """|W - W_0| / |W_0| of each block's weights together, in the order of the network; 0 for a block that starts at 0 and stays.

    Args:
        model: the fine-tuned network.
        anchor: the pretrained one.

    Raises:
        UserError: if the two have different parameters.
    """
    ends, starts = dict(model.named_parameters()), dict(anchor.named_parameters())
    if [(name, tensor.shape) for name, tensor in ends.items()] != [(name, tensor.shape) for name, tensor in starts.items()]:
        raise UserError("the two models have different parameters, so there is no displacement: compare a model with its own start")
    moved: dict[str, list[Tensor]] = {}
    for name, start in starts.items():
        end = ends[name].double()
        squares = torch.stack([(end - start.to(end)).square().sum(), start.to(end).square().sum()])
        moved.setdefault(block(name), []).append(squares)
    sums = {name: torch.stack(parts).sum(0) for name, parts in moved.items()}
    return {name: (change / size).sqrt().item() if change > 0 else 0.0 for name, (change, size) in sums.items()}
