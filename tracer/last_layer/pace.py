"""How much faster a whole tower moves its embeddings than its last map does alone, and last maps that keep that pace.

All layers of a tower take steps of one size, but only the last map's are taken where nothing else trains. Adam's first step moves
every weight by the learning rate; what it does to the embeddings, by all trained layers over by the last map, is the *pace*.
Source: this project.
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from tracer.errors import UserError
from tracer.models.clip import Clip
from tracer.models.dual_encoder import Features
from tracer.models.last_maps import TOWERS, LastMaps, Tower, last_map_names
from tracer.models.wrapped import Wrapped
from tracer.training.batches import Batch
from tracer.training.losses import contrastive

STEP = 1e-6  # of every weight: small enough for embeddings to move in proportion


class Paces(NamedTuple):
    """What last maps alone lack of a run that trains whole towers.

    Attributes:
        image, text: paces of both towers; 1 where nothing but the last map trains.
        parameters: how many parameters train for each of the last maps'; a penalty on weights has so many more to hold.
    """

    image: float = 1.0
    text: float = 1.0
    parameters: float = 1.0


def paces(model: Clip, batches: Sequence[Batch]) -> Paces:
    """The paces of a model's towers, in the mean over batches; raises as `pace` does."""
    found = [[pace(model, batch, tower) for batch in batches] for tower in TOWERS]
    trained = {name: parameter.numel() for name, parameter in model.named_parameters() if parameter.requires_grad}
    last = sum(trained.get(name, 0) for tower in TOWERS for name in last_map_names(model, tower))
    image, text = (sum(each) / len(each) for each in found)
    return Paces(image, text, sum(trained.values()) / last)


def pace(model: Clip, batch: Batch, tower: Tower) -> float:
    """The pace of a tower on a batch of pairs: root mean square moves of unit embeddings, of all trained layers over the last map.

    The step is Adam's first, against the sign of the contrastive loss's gradient. 1 for a tower that does not train.

    Args:
        model: it is put in eval mode.
        batch: images and tokens.
        tower: which.

    Raises:
        UserError: if the last map is frozen but other layers of its tower are not.
    """
    features = model.eval()(batch.images, batch.tokens)
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad and _is_of(name, tower)]
    last = last_map_names(model, tower)
    if not names:
        return 1.0
    if not set(last) <= set(names):
        raise UserError(f"model.freeze leaves layers of the {tower} tower to train, but not its last map: freeze both or neither")
    loss = contrastive(features.logit_scale * features.image @ features.text.T)
    gradients = torch.autograd.grad(loss, [model.get_parameter(name) for name in names])
    signs = {name: gradient.sign() for name, gradient in zip(names, gradients, strict=True)}

    @torch.no_grad()
    def moved(chosen: Sequence[str]) -> float:
        stepped = {name: model.get_parameter(name) - STEP * sign for name, sign in signs.items() if name in chosen}
        there: Features = functional_call(model, stepped, (batch.images, batch.tokens))
        change = there.image - features.image if tower == "image" else there.text - features.text
        return float(change.norm())

    return moved([*signs]) / moved(last)


def _is_of(name: str, tower: Tower) -> bool:
    is_scale = name.endswith(("logit_scale", "logit_bias"))
    return not is_scale and (".visual." in name) == (tower == "image")


class Paced(Wrapped):
    """Last maps that move so many times as far as their weights do: embeddings are start + pace (map - start) of the features.

    `projections` are the weights themselves: a penalty on a last map moves that map, and not the layers below, to which the pace is
    due.

    Args:
        maps: the weights that are trained; at the start they are the pretrained ones.
        paces: how many.
    """

    def __init__(self, maps: LastMaps, paces: Paces):
        super().__init__(maps)
        self.paces = paces
        self.start = copy.deepcopy(maps).requires_grad_(False)

    def encode_image(self, images: Tensor) -> Tensor:
        return torch.lerp(self.start.encode_image(images), self.model.encode_image(images), self.paces.image)

    def encode_text(self, tokens: Tensor) -> Tensor:
        return torch.lerp(self.start.encode_text(tokens), self.model.encode_text(tokens), self.paces.text)
