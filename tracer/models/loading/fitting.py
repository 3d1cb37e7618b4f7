"""Putting a file's tensors into one of open_clip's models, or saying how the two differ."""

from typing import Any

import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed
from torch import Tensor

from tracer.models.loading import failures
from tracer.models.loading.weights import Weights, require_finite


def fill(model: Any, weights: Weights) -> None:
    """Give one of open_clip's models the tensors of a file.

    Raises:
        UserError: if tensors are missing, unknown, of another shape or of another kind, or are not finite.
    """
    own, tensors, failure = model.state_dict(), weights.tensors, ""
    try:
        tensors = _converted(model, dict(weights.tensors))
    except Exception as error:  # tensors of another model make open_clip fail in any way
        failure = failures.reason(error)
    missing = [name for name in own if name not in tensors and not name.endswith("num_batches_tracked")]
    unknown = [name for name in tensors if name not in own]
    reshaped = [
        f"{name}: {_form(tensor)} instead of {_form(own[name])}"
        for name, tensor in tensors.items()
        if name in own and not _goes_into(tensor, own[name])
    ]
    if missing or unknown or reshaped:
        raise weights.misfit(missing, unknown, reshaped)
    if failure:
        raise weights.unfit(failure)
    model.load_state_dict(tensors)
    require_finite(model.state_dict(), f"the weights in {weights.path}")


def _converted(model: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names and in the shapes of a model, as open_clip's own `load_checkpoint` makes them."""
    tensors = convert_state_dict(model, tensors)
    if "positional_embedding" in tensors and not hasattr(model, "positional_embedding"):
        tensors = convert_to_custom_text_state_dict(tensors)
    if getattr(model, "logit_bias", None) is not None:
        tensors.setdefault("logit_bias", torch.zeros_like(model.logit_bias))
    for name in ("logit_scale", "logit_bias"):  # a number in some files, a vector of one in others
        if name in tensors and getattr(model, name, None) is not None:
            tensors[name] = tensors[name].reshape(getattr(model, name).shape)
    tensors.pop("text.transformer.embeddings.position_ids", None)  # of transformers before 4.31
    resize_pos_embed(tensors, model)
    resize_text_pos_embed(tensors, model)
    return tensors


def _form(tensor: Tensor) -> str:
    kind = "" if tensor.layout == torch.strided else f"{tensor.layout} "
    return f"{kind}{tensor.dtype} {tuple(tensor.shape)}".replace("torch.", "")


def _goes_into(tensor: Tensor, own: Tensor) -> bool:
    """Whether a tensor has the other's shape, and is dense numbers of its kind: quantised weights are not what they look like."""
    plain = tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_meta or tensor.is_complex())
    return plain and tensor.shape == own.shape and (tensor.is_floating_point() or not own.is_floating_point())
