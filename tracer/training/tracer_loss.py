"""TRACER's loss for a training loop of one's own: one call on what student and teacher make of a batch."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tracer.errors import UserError, nearest
from tracer.models.dual_encoder import Features
from tracer.number_checks import NOT_NEGATIVE, number
from tracer.strategies import PUBLISHED_DISTILLATION
from tracer.training import losses
from tracer.training.distributed import gathered
from tracer.training.objective import Objective, Pairing

Outputs = Sequence[Tensor] | Mapping[str, Tensor]
NAMES = ("image_features", "text_features", "logit_scale")
"""What a model gives for a batch, by the names in open_clip's output dictionaries and in the order of its output tuples."""


def tracer_loss(
    student: Outputs,
    teacher: Outputs,
    *,
    strength: float = 0.9,
    terms: Mapping[str, float] = PUBLISHED_DISTILLATION,
    projections: tuple[Tensor, Tensor] | None = None,
    cross_projection_norm: float = 0.05,
    gather: bool = True,
) -> tuple[Tensor, dict[str, Tensor]]:
    """TRACER's loss of a batch, as `Trainer` minimises it: contrastive + strength x (CRD + 2000 FD + ICL + CrossKD).

        loss, report = tracer_loss(model(images, tokens), teacher(images, tokens))

    It is computed in float32 or wider, also within `torch.autocast`. No gradient reaches the teacher.

        >>> image, text = torch.eye(4)[:3], torch.eye(4)[1:]
        >>> loss, report = tracer_loss((image, text, 10.0), (text, text, 10.0), strength=2.0, terms={"fd": 3.0})
        >>> torch.isclose(loss, report["contrastive"] + 2.0 * 3.0 * report["fd"]).item()
        True

    Source: TRACER, arXiv 2605.29380; the terms are CLIP-KD's, arXiv 2307.12732.

    Args:
        student: the trained model's image embeddings (n, k), text embeddings (n, k) and logit scale (the factor 1 / temperature,
            not its logarithm), as open_clip's models give them: a tuple in this order, whose further parts are not used, or a
            dictionary with `NAMES`. Embeddings of a CLIP are L2-normalised.
        teacher: the same of its teacher, for the same n pairs.
        strength: lambda, scales all distillation terms.
        terms: weights of the distillation terms before that, by name; terms that are not named stay out. FD is a mean over
            embedding dimensions: the published 2000 belongs to k = 512.
        projections: W_I and W_T, the last linear maps of image and text tower, (k, width) each; they add |W_I^T W_T| to the loss.
        cross_projection_norm: the weight of that norm.
        gather: in several processes of torch.distributed, compare the pairs of all of them, as many in each. Every process then has
            the loss of the whole batch, and the mean of their gradients, which DistributedDataParallel takes, is its gradient.

    Returns:
        The loss, a scalar, and what it sums up: each term before it is weighted, a scalar without gradient, by name.

    Raises:
        UserError: if an output lacks a part, shapes do not fit, a term is unknown, or a weight is negative or not finite.
    """
    objective = Objective(_weights(strength, terms, 0.0 if projections is None else cross_projection_norm))
    features = [_features("student", student), _features("teacher", teacher)]
    _require_same_shape(*features)
    with torch.autocast(features[0].image.device.type, enabled=False):
        values = objective.of_features(Pairing(*(gathered(each) if gather else each for each in features)))
        if projections is not None:
            values["cross_projection_norm"] = losses.cross_projection_norm(*projections)
        return objective.total(values), {name: value.detach() for name, value in values.items()}


def _weights(strength: float, terms: Mapping[str, float], cross_projection_norm: float) -> dict[str, float]:
    strength = number("strength", strength, NOT_NEGATIVE)
    for name in terms:
        if name not in PUBLISHED_DISTILLATION:
            raise UserError(f"terms: there is no distillation term {name!r}{nearest(name, PUBLISHED_DISTILLATION)}")
    weights = {name: strength * number(f"the weight of {name}", weight, NOT_NEGATIVE) for name, weight in terms.items()}
    norm = number("cross_projection_norm", cross_projection_norm, NOT_NEGATIVE)
    return {"contrastive": 1.0, **weights, "cross_projection_norm": norm}


def _features(owner: str, outputs: Outputs) -> Features:
    """A model's outputs in float32 or wider."""
    image, text, scale = _parts(owner, outputs)
    if image.ndim != 2 or image.shape != text.shape or scale.numel() != 1:
        shapes = f"{tuple(image.shape)}, {tuple(text.shape)} and {tuple(scale.shape)}"
        raise UserError(
            f"the {owner}'s image and text embeddings must be (n, k) alike and its logit scale one number, not {shapes}"
        )
    return Features(*(part.to(torch.promote_types(part.dtype, torch.float32)) for part in (image, text, scale)))


def _parts(owner: str, outputs: Outputs) -> list[Tensor]:
    if isinstance(outputs, Mapping):
        parts, found = [outputs[name] for name in NAMES if name in outputs], f"a dictionary of {', '.join(outputs)}"
    elif isinstance(outputs, Sequence):
        parts, found = [*outputs[: len(NAMES)]], f"{len(outputs)} parts"
    else:
        parts, found = [], type(outputs).__name__
    if len(parts) < len(NAMES):
        wanted = f"a tuple of image embeddings, text embeddings and logit scale, or a dictionary of {', '.join(NAMES)}"
        raise UserError(f"the {owner}'s output must be {wanted}, not {found}")
    return [torch.as_tensor(part) for part in parts]


def _require_same_shape(student: Features, teacher: Features) -> None:
    mine, theirs = (tuple(features.image.shape) for features in (student, teacher))
    if mine != theirs:
        raise UserError(
            f"the student's embeddings are {mine} and the teacher's {theirs}: show both the same pairs, in the same width"
        )
