"""A CLIP's last linear maps, alone: what each tower hands to its map, and a model of nothing but the maps.

The linear theory trains the image tower's map on the features that the rest of the tower, which stays as it is, makes of images.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from tracer.errors import UserError
from tracer.models.clip import Clip
from tracer.models.dual_encoder import DualEncoder, Features

Tower = Literal["image", "text"]
TOWERS: tuple[Tower, Tower] = ("image", "text")
ROUNDING = 1e-3  # of an embedding that is computed in another order of operations, on any device


@torch.no_grad()
def pooled_features(model: DualEncoder, inputs: Tensor, tower: Tower = "image") -> Tensor:
    """Features (n, width) of which a tower's embeddings are the last linear map's, plus that map's bias if it has one.

    The tower runs with the identity in the map's place, so that this holds wherever the tower applies it. The model is put in eval
    mode.

    Args:
        model: with towers that end in a linear map.
        inputs: images (n, ...) or tokens (n, context), what the tower takes.
        tower: which.
    """
    place = _place(model.eval(), tower)
    weight = model.get_parameter(place.weight)
    width = model.projections()[TOWERS.index(tower)].shape[1]
    replaced = {place.weight: torch.eye(width, dtype=weight.dtype, device=weight.device)}
    if place.bias:
        replaced[place.bias] = weight.new_zeros(width)
    encode = _Call(model, model.encode_image if tower == "image" else model.encode_text)
    pooled: Tensor = functional_call(encode, {f"model.{name}": value for name, value in replaced.items()}, (inputs,))
    return pooled


@torch.no_grad()
def require_last_maps(
    model: Clip,
    images: Tensor,
    tokens: Tensor,
    why: str = "which is all that is solved and predicted: choose a model whose towers do",
) -> None:
    """Refuse a model of which a tower does not end in a linear map: then no map of features makes its embeddings.

    Args:
        model: it is put in eval mode.
        images: (n, ...), a few that the model takes.
        tokens: (n, context).
        why: what the sentence ends with, what needs the maps and what to do.

    Raises:
        UserError: that names the tower.
    """
    for tower, inputs, encode in (("image", images, model.eval().encode_image), ("text", tokens, model.encode_text)):
        whole = encode(inputs)
        try:
            maps, features = LastMaps(model), pooled_features(model, inputs, "image" if tower == "image" else "text")
            mapped = maps.encode_image(features) if tower == "image" else maps.encode_text(features)
        except (RuntimeError, ValueError):  # no parameter of the model's own, or the identity does not fit its place
            mapped = torch.full_like(whole, torch.inf)
        if not torch.allclose(mapped, whole, rtol=ROUNDING, atol=ROUNDING * float(whole.abs().max())):
            raise UserError(f"the {tower} tower of {model.blueprint.architecture} does not end in a linear map, {why}")


def last_map_names(model: DualEncoder, tower: Tower = "image") -> list[str]:
    """The names of the parameters of a tower's last linear map in the model: its weight and, if it has one, its bias."""
    place = _place(model, tower)
    return [name for name in place if name]


class LastMaps(DualEncoder):
    """The last linear maps of a `Clip` and its logit scale: "images" and "tokens" are the features that its towers hand to them.

    A map with its bias is one layer; embeddings are L2-normalised as the model's are. What the model freezes is frozen here.

    Args:
        model: whose maps are copied; it is not changed.
    """

    def __init__(self, model: Clip):
        super().__init__()
        maps = []
        for tower, matrix in zip(TOWERS, model.projections(), strict=True):
            place = _place(model, tower)
            layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=place.bias is not None, dtype=matrix.dtype)
            layer.weight = _copied(matrix, model.get_parameter(place.weight).requires_grad)
            if place.bias:
                bias = model.get_parameter(place.bias)
                layer.bias = _copied(bias, bias.requires_grad)
            maps.append(layer)
        self.image_map, self.text_map = maps
        scale = model.clip.logit_scale
        self.log_scale = _copied(scale, scale.requires_grad)

    @torch.no_grad()
    def write_into(self, model: Clip) -> None:
        """Put the maps and the logit scale in the place of the model's own."""
        for tower, matrix, layer in zip(TOWERS, model.projections(), (self.image_map, self.text_map), strict=True):
            matrix.copy_(layer.weight)
            if bias := _place(model, tower).bias:
                model.get_parameter(bias).copy_(layer.bias)
        model.clip.logit_scale.copy_(self.log_scale)

    @property
    def logit_scale(self) -> Tensor:  # type: ignore[override]
        """The factor 1 / temperature, a scalar."""
        return self.log_scale.exp()

    def forward(self, images: Tensor, tokens: Tensor) -> Features:
        image, text = (F.normalize(each, dim=-1) for each in (self.encode_image(images), self.encode_text(tokens)))
        return Features(image, text, self.logit_scale)

    def encode_image(self, images: Tensor) -> Tensor:
        embedded: Tensor = self.image_map(images.to(self.image_map.weight.dtype))
        return embedded

    def encode_text(self, tokens: Tensor) -> Tensor:
        embedded: Tensor = self.text_map(tokens.to(self.text_map.weight.dtype))
        return embedded

    def image_tower(self) -> nn.Module:
        return self.image_map

    def projections(self) -> tuple[Tensor, Tensor]:
        return self.image_map.weight, self.text_map.weight

    @torch.no_grad()
    def clamp_logit_scale(self, maximum: float) -> None:
        if self.log_scale.requires_grad:
            self.log_scale.clamp_(max=math.log(maximum))


class _Place(NamedTuple):
    """Names of the parameters of a tower's last linear map in the model; that of the bias is None where it has none."""

    weight: str
    bias: str | None


def _place(model: DualEncoder, tower: Tower) -> _Place:
    last, parameters = model.projections()[TOWERS.index(tower)], dict(model.named_parameters())
    (name,) = (name for name, parameter in parameters.items() if parameter.data_ptr() == last.data_ptr())
    bias = f"{name.removesuffix('weight')}bias"
    return _Place(name, bias if name.endswith(".weight") and bias in parameters else None)


def _copied(values: Tensor, trained: bool) -> nn.Parameter:
    return nn.Parameter(values.detach().clone(memory_format=torch.contiguous_format), requires_grad=trained)


class _Call(nn.Module):
    """A method of a model as a module, which is what `functional_call` takes."""

    def __init__(self, model: nn.Module, method: Callable[[Tensor], Tensor]):
        super().__init__()
        self.model, self.method = model, method

    def forward(self, inputs: Tensor) -> Any:
        return self.method(inputs)
