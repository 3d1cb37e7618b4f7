"""The trainer on the projection of a whole CLIP: a real network on which the linear theory is exact."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tracer.averaging import Clock
from tracer.crosscheck.history import WeightHistory
from tracer.crosscheck.towers import SameBatch
from tracer.models.clip import Clip
from tracer.models.dual_encoder import Features
from tracer.models.last_maps import LastMaps, last_map_names, pooled_features
from tracer.models.wrapped import Wrapped
from tracer.number_checks import Array
from tracer.theory import Distillation, Problem
from tracer.training.batches import Batch
from tracer.training.objective import Objective
from tracer.training.teacher import Teacher
from tracer.training.trainer import Loop, Trainer


class PlainEmbeddings(Wrapped):
    """A model whose embeddings are not normalised, as the linearised loss has them."""

    def forward(self, images: Tensor, tokens: Tensor) -> Features:
        return Features(self.encode_image(images), self.encode_text(tokens), self.logit_scale)


class Projected(NamedTuple):
    """A model's projection as a problem of the theory, on given pairs.

    Attributes:
        problem: in which an image is its features below the projection, with a one for the projection's bias if it has one, and
            W_0 the pretrained projection, with that bias as last column.
        images: (n, ...) float64, what the model takes.
        tokens: (n, context).
    """

    problem: Problem
    images: Tensor
    tokens: Tensor


def projected(model: Clip, images: Tensor, tokens: Tensor, embedding_penalty: float = 1.0) -> Projected:
    """The projection of a float64 model as a problem of the theory; the model is put in eval mode."""
    features, biased = pooled_features(model, images), LastMaps(model).image_map.bias is not None
    inputs = torch.cat([features, torch.ones(len(features), 1)], dim=1) if biased else features
    with torch.no_grad():
        texts = model.encode_text(tokens)
    problem = Problem.from_pairs(inputs.numpy(), texts.numpy(), _weights(model), embedding_penalty=embedding_penalty)
    return Projected(problem, images, tokens)


def train_projection(model: Clip, posed: Projected, strategy: Distillation, *, learning_rate: float, steps: int) -> WeightHistory:
    """Train the image tower's last map alone with plain SGD, as `tracer.theory.gradient_descent` says of the problem.

    The whole model runs at every step, with the linearised loss and, in the data's metric, the strategy's teacher. The model is
    trained in place.

    Returns:
        Weights (k, d), or (k, d + 1) with the bias as last column.
    """
    _train_image_map_alone(model)
    student = PlainEmbeddings(model)
    teacher = Teacher(student, strategy.kernel, Clock(steps))
    history = [(_weights(model), _weights(teacher.module.model))]
    weights = {"linearised_contrastive": 1.0, "embedding_norm": posed.problem.embedding_penalty}
    # FD is a mean over n k elements of each tower, and the text tower stands still
    weights |= {"fd": strategy.strength * len(posed.problem.initial_weights) / 2} if strategy.strength else {}
    Trainer(
        student,
        SameBatch(Batch(posed.images, posed.tokens), steps),
        Objective(weights),
        torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=learning_rate),
        Loop(steps, precision="fp64"),
        teacher=teacher,
        on_step=lambda step: history.append((_weights(model), _weights(teacher.module.model))),
    ).fit()
    students, teachers = map(np.stack, zip(*history, strict=True))
    return WeightHistory(students, teachers, students[-1])


def _train_image_map_alone(model: Clip) -> None:
    trained = last_map_names(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)


def _weights(model: Clip) -> Array:
    layer = LastMaps(model).image_map
    parts = [layer.weight, *([] if layer.bias is None else [layer.bias[:, None]])]
    whole: Array = torch.cat(parts, dim=1).detach().cpu().numpy().copy()
    return whole
