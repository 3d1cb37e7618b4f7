"""How deep in its tower each weight of a CLIP lies, and LiNeS, which scales what fine-tuning moved by that."""

import re
from collections.abc import Mapping
from typing import Any

from timm.models import group_parameters
from torch import nn

from tracer.errors import UserError

Matcher = Mapping[str, Any]
"""Which names belong to what comes before a tower's blocks, and which to each block, as timm writes it for its models."""
_IMAGE: Matcher = {
    "stem": r"^(?:class_embedding|positional_embedding|conv\d|bn\d|ln_pre)",
    "blocks": [(r"^transformer\.resblocks\.(\d+)", None), (r"^layer(\d+)\.(\d+)", None)],
}
_TEXT: Matcher = {
    "stem": r"^(?:text\.)?(?:token_embedding|positional_embedding|cls_emb|transformer\.embeddings)",
    "blocks": [(r"^(?:text\.)?transformer\.(?:resblocks|encoder\.layer|encoder\.block)\.(\d+)", None)],
}


def depths(clip: nn.Module) -> dict[str, float]:
    """For every saved tensor of one of open_clip's models its depth in its own tower, from 0 at the first block to 1 at the last.

    Of L blocks, block l = 1 ... L is (l - 1) / (L - 1) deep. What comes before them, embeddings and stem, is as deep as the first;
    what follows, a pooling, the last norm and projection, and the logit scale, as deep as the last. Blocks are those of a
    transformer, the bottlenecks of a ResNet, and of timm's models what timm says.

    Args:
        clip: the model, with an image tower `visual`.

    Raises:
        UserError: if a tower's blocks are not known.
    """
    module: Any = clip
    trunk = getattr(module.visual, "trunk", None)
    image, matcher, prefix = (trunk, _of_timm(trunk), "visual.trunk.") if trunk else (module.visual, _IMAGE, "visual.")
    found = {
        **_in_tower(clip, _TEXT, "text"),
        **{name: 1.0 for name, _ in module.visual.named_parameters(prefix="visual")},
        **{f"{prefix}{name}": depth for name, depth in _in_tower(image, matcher, "image").items()},
    }
    of_modules = {name.rpartition(".")[0]: depth for name, depth in found.items()}
    return {name: found[name] if name in found else of_modules.get(name.rpartition(".")[0], 1.0) for name in clip.state_dict()}


def scales(depths: Mapping[str, float], alpha: float, beta: float) -> dict[str, float]:
    """LiNeS (arXiv 2410.17146): how much of its move each tensor keeps, alpha + beta times its depth.

    The paper's layers are the blocks, and so they are here. Its authors' code gives all that lies outside them alpha; here what
    follows the last block counts with it, since both towers may have been trained, projections included.
    """
    return {name: alpha + beta * depth for name, depth in depths.items()}


def _of_timm(trunk: Any) -> Matcher:
    matcher = trunk.group_matcher(coarse=False) if hasattr(trunk, "group_matcher") else {}
    return matcher if isinstance(matcher, Mapping) and "blocks" in matcher else {"blocks": []}


def _in_tower(tower: nn.Module, matcher: Matcher, name: str) -> dict[str, float]:
    """Depths of a tower's parameters; what belongs to none of its layers counts as what follows them."""
    layers = group_parameters(tower, matcher, reverse=True)
    blocks = matcher["blocks"]
    patterns = [blocks] if isinstance(blocks, str) else [pattern for pattern, _ in blocks]
    of_blocks = [layer for parameter, layer in layers.items() if any(re.match(pattern, parameter) for pattern in patterns)]
    if not of_blocks:
        raise UserError(f"the blocks of the {name} tower are not known, by whose depth lines scales: leave lines out of --methods")
    first, span = min(of_blocks), max(max(of_blocks) - min(of_blocks), 1)
    return {parameter: min(max((layer - first) / span, 0.0), 1.0) for parameter, layer in layers.items()}
