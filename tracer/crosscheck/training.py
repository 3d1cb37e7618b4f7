"""The trainer on a problem of the theory.

On a linear dual encoder with the linearised loss, plain SGD, all pairs in every batch and float64, `train` does what
`theory.gradient_descent` computes, to rounding, and `train_proximal` what `theory.proximal` does. The contrastive loss itself and
random batches are where the theory is not exact.
"""

from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from tracer.averaging import Clock
from tracer.crosscheck.history import WeightHistory
from tracer.errors import UserError
from tracer.models.linear import LinearDualEncoder
from tracer.models.merging import interpolate
from tracer.number_checks import Array
from tracer.schedules import Schedule, constant
from tracer.theory import L2SP, LPFT, Distillation, Parameter, Problem, Spectral, Strategy, WiSEFT, ZeroShot
from tracer.theory.optima import task_curvatures
from tracer.theory.problem import RANK_TOLERANCE
from tracer.theory.strategies import probe
from tracer.training.batches import Batch
from tracer.training.objective import Objective
from tracer.training.teacher import Teacher
from tracer.training.trainer import Loop, Trainer


@dataclass(frozen=True)
class Draws:
    """Batches drawn at random from a problem's pairs, independently at every step.

    Attributes:
        size: pairs in a batch, B.
        replacement: whether a pair may occur twice in one batch.
        seed: of the draws.
    """

    size: int
    replacement: bool = False
    seed: int = 0

    def rows(self, step: int, pairs: int) -> NDArray[np.int64]:
        """Rows of the batch of a step, (B,)."""
        return np.random.default_rng([self.seed, step]).choice(pairs, self.size, replace=self.replacement)


class PairBatches(Dataset[Batch]):
    """A problem's pairs as batches: all of them at every step, or draws; replay images are there whole every time."""

    def __init__(self, problem: Problem, steps: int, draws: Draws | None = None, replay: Tensor | None = None) -> None:
        if problem.pairs is None:
            raise UserError("the trainer needs pairs and this problem has only moments: make it with Problem.from_pairs")
        images, texts = problem.pairs
        most = np.inf if draws is None or draws.replacement else len(images)
        if draws and not (isinstance(draws.size, Integral) and 2 <= draws.size <= most):
            raise UserError(f"a batch must have at least 2 and, without replacement, at most {len(images)} pairs, not {draws.size}")
        self.images, self.texts = torch.from_numpy(images.copy()), torch.from_numpy(texts.copy())
        self.steps, self.draws, self.replay = steps, draws, replay

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        if self.draws is None:
            return Batch(self.images, self.texts, self.replay)
        rows = self.draws.rows(step, len(self.images))
        return Batch(self.images[rows], self.texts[rows], self.replay)


def train(
    problem: Problem,
    strategy: Strategy,
    *,
    learning_rate: float,
    steps: int,
    update_every: int = 1,
    schedule: Schedule = constant,
    heavy_ball: float = 0.0,
    logit_scale: float | None = None,
    draws: Draws | None = None,
    preconditioner: Array | None = None,
) -> WeightHistory:
    """Fine-tune a linear dual encoder with plain SGD in float64, as `tracer.theory.gradient_descent` says with the same arguments.

    Args:
        problem: what is learned; made from pairs.
        strategy: how.
        learning_rate: eta, the peak that the schedule multiplies.
        steps: horizon T.
        update_every: steps between two teacher updates.
        schedule: multiplier of the learning rate by step.
        heavy_ball: SGD's momentum.
        logit_scale: train with the contrastive loss at this scale of the logits, over that scale, which the linearised loss
            approximates where the scale is small; None trains with the linearised loss.
        draws: random batches; None takes all pairs in every step.
        preconditioner: (d, d), by which every gradient, that of weight decay with it, is multiplied from the right.

    Raises:
        UserError: if the problem has no pairs, a batch has fewer than 2 pairs or more than there are, a number is out of its
            range, or the loss stops being finite.
    """
    if logit_scale is not None and logit_scale <= 0:
        raise UserError(f"logit_scale must be positive, not {logit_scale:g}")
    distillation, decay = strategy.distillation, strategy.prepare(problem).weight_decay
    batches = PairBatches(problem, steps, draws, _replay(problem, distillation))
    start = problem.initial_weights
    start = _trained_probe(problem, batches) @ start if isinstance(strategy, LPFT) else start.copy()
    model, anchor = (LinearDualEncoder(torch.from_numpy(start), logit_scale or 1.0) for _ in range(2))
    if isinstance(strategy, ZeroShot):
        still = np.repeat(start[None], steps + 1, axis=0)
        return WeightHistory(still, still, start)
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=heavy_ball, weight_decay=decay)
    _precondition(optimizer, preconditioner)
    teacher = Teacher(model, distillation.kernel, Clock(steps, update_every))
    history = [(_weights(model), _weights(teacher.module))]
    Trainer(
        model,
        batches,
        Objective({**_contrast(logit_scale), "embedding_norm": problem.embedding_penalty, **_distilled(problem, strategy)}),
        optimizer,
        Loop(steps, schedule, precision="fp64"),
        teacher=teacher,
        anchor=anchor,
        on_step=lambda step: history.append((_weights(model), _weights(teacher.module))),
    ).fit()
    final = interpolate(anchor, model, strategy.coefficient) if isinstance(strategy, WiSEFT) else model
    students, teachers = map(np.stack, zip(*history, strict=True))
    return WeightHistory(students, teachers, _weights(final))


def train_proximal(problem: Problem, strategy: Strategy, *, steps: int, update_every: int = 1) -> WeightHistory:
    """Fine-tune with the student solved exactly at every step, as `tracer.theory.proximal` says with the same arguments.

    It is `train` with steps of size 1 preconditioned by (rho Sigma + mu I + strength D)^+, a Newton step on the distilled loss.

    Raises:
        UserError: as `train` does.
    """
    posed, distillation = strategy.prepare(problem), strategy.distillation
    curvature = posed.curvature_matrix + distillation.strength * distillation.measured_by.matrix(posed)
    inverse: Array = np.linalg.pinv(curvature, rcond=RANK_TOLERANCE, hermitian=True)
    return train(problem, strategy, learning_rate=1.0, steps=steps, update_every=update_every, preconditioner=inverse)


def _precondition(optimizer: torch.optim.SGD, matrix: Array | None) -> None:
    """Multiply gradients by a matrix before each step; weight decay, which would be added after that, becomes a part of them."""
    if matrix is None:
        return
    (group,), factor = optimizer.param_groups, torch.from_numpy(matrix)
    decay, group["weight_decay"] = group["weight_decay"], 0.0

    def multiply(*_: object) -> None:
        for weight in group["params"]:
            weight.grad = (weight.grad + decay * weight.detach()) @ factor.to(weight.device)

    optimizer.register_step_pre_hook(multiply)


def _weights(model: nn.Module) -> Array:
    (weight,) = model.parameters()
    return weight.detach().cpu().numpy().copy()


def _contrast(logit_scale: float | None) -> dict[str, float]:
    """The contrastive term; the linearised loss models it over the logit scale."""
    return {"linearised_contrastive": 1.0} if logit_scale is None else {"contrastive": 1 / logit_scale}


def _distilled(problem: Problem, strategy: Strategy) -> dict[str, float]:
    """The trainer's terms for a strategy's distillation. FD is a mean over n k elements: strength lambda is weight lambda k / 2."""
    distillation = strategy.distillation
    if distillation.strength == 0:
        return {}
    if isinstance(strategy, L2SP):
        return {"l2_sp": distillation.strength}
    if isinstance(distillation.measured_by, Parameter):
        return {"l2_teacher": distillation.strength}
    on_data = distillation.measured_by == Spectral(0.0)
    return {"fd" if on_data else "replay_fd": distillation.strength * len(problem.initial_weights) / 2}


def _replay(problem: Problem, distillation: Distillation) -> Tensor | None:
    """Images (d, d) whose second moment is the metric, where that is neither the data's nor the parameters'."""
    if distillation.measured_by == Spectral(0.0) or isinstance(distillation.measured_by, Parameter):
        return None
    values, vectors = np.linalg.eigh(distillation.measured_by.matrix(problem))
    return torch.from_numpy((vectors * np.sqrt(np.maximum(values, 0) * len(values))).T)


def _trained_probe(problem: Problem, batches: PairBatches) -> Array:
    """The linear probe (k, k), trained to convergence by gradient descent: the same trainer, on the pretrained embeddings."""
    embedded = batches.images.numpy() @ problem.initial_weights.T
    posed = replace(probe(problem), pairs=(embedded, batches.texts.numpy()))
    curvatures = task_curvatures(posed)
    single = 1 / curvatures[curvatures > 0]  # a step of this size takes off one mode's error, and blows up that of stiffer ones
    rates = np.concatenate([single[:last] for last in range(len(single), 0, -1)])
    model = LinearDualEncoder(torch.eye(len(posed.initial_weights), dtype=torch.float64))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, weight_decay=posed.weight_decay)
    Trainer(
        model,
        PairBatches(posed, len(rates)),
        Objective({"linearised_contrastive": 1.0, "embedding_norm": posed.embedding_penalty}),
        optimizer,
        Loop(len(rates), lambda step: float(rates[step]), precision="fp64"),
    ).fit()
    return _weights(model)
