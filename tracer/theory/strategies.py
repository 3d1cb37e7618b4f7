"""Fine-tuning strategies as the theory knows them, under the names that the trainer gives them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, Self, TypeVar, runtime_checkable
from weakref import WeakKeyDictionary

import numpy as np

from tracer.averaging import Beta, Exponential, Kernel, Static
from tracer.errors import UserError, nearest
from tracer.number_checks import SHARE, Array, number
from tracer.theory.matrix_checks import not_negative
from tracer.theory.metrics import METRICS, Metric
from tracer.theory.optima import optimum
from tracer.theory.problem import LearningProblem, Problem

Posed = TypeVar("Posed", bound=LearningProblem)


@runtime_checkable
class Decaying(Protocol):
    """A problem that may have weight decay."""

    @property
    def weight_decay(self) -> float:
        """mu, weight of half the squared norm of the weights."""

    def with_weight_decay(self, weight_decay: float) -> Self:
        """The same problem with another mu."""


@dataclass(frozen=True)
class Strategy:
    """A way to fine-tune: what it starts from, which teacher holds it, and how far towards its result one goes."""

    def prepare(self, problem: Posed) -> Posed:
        """The problem as the strategy poses it.

        Raises:
            UserError: if it has no solution for problems of that kind.
        """
        return problem

    @property
    def distillation(self) -> "Distillation":
        """What holds the student to a teacher; of strength 0 where there is none."""
        return Distillation(0.0, Static(), "parameter")

    @property
    def interpolation(self) -> float:
        """Share of the way from the start to the trained weights at which the strategy's weights stand."""
        return 1.0


@dataclass(frozen=True)
class ZeroShot(Strategy):
    """The pretrained weights as they are (CLIP, arXiv 2103.00020)."""

    @property
    def interpolation(self) -> float:
        return 0.0


@dataclass(frozen=True)
class FineTuning(Strategy):
    """Contrastive fine-tuning alone (FLYP, arXiv 2212.00638)."""


@dataclass(frozen=True)
class WeightDecay(Strategy):
    """Contrastive fine-tuning with the penalty (decay / 2) |W|^2 on top of the problem's own.

    Raises:
        UserError: if decay is negative.
    """

    decay: float

    def __post_init__(self) -> None:
        not_negative(decay=self.decay)

    def prepare(self, problem: Posed) -> Posed:
        if not isinstance(problem, Decaying):
            raise UserError(f"{type(problem).__name__} has no closed form with weight decay: take another strategy")
        return problem.with_weight_decay(problem.weight_decay + self.decay)


@dataclass(frozen=True)
class Distillation(Strategy):
    """Contrastive fine-tuning held to a teacher by (strength / 2) tr((W - Wbar) D (W - Wbar)^T).

    Source: TRACER, arXiv 2605.29380 (static, EMA and WMA teachers in the data's metric); other metrics: this project.

    Attributes:
        strength: lambda.
        kernel: the teacher's averaging kernel; Static() is self-distillation from the pretrained model.
        metric: D, a `Metric`, or "data" (the second moment) or "parameter" (the identity).

    Raises:
        UserError: if strength is negative, the kernel no kernel or the metric unknown.
    """

    strength: float
    kernel: Kernel = Beta(0.5, 0.5)
    metric: Metric | str = "data"

    def __post_init__(self) -> None:
        not_negative(strength=self.strength)
        if not isinstance(self.kernel, Kernel):
            raise UserError(f"kernel must be an averaging kernel such as Beta(0.5, 0.5), not {self.kernel!r}")
        if isinstance(self.metric, str) and self.metric not in METRICS:
            raise UserError(f"unknown metric {self.metric!r}{nearest(self.metric, METRICS)}")
        if not isinstance(self.metric, str | Metric):
            raise UserError(f"metric must be a name or a Metric, not {type(self.metric).__name__}: wrap a second moment in Inputs")

    @property
    def distillation(self) -> "Distillation":
        return self

    @property
    def is_static(self) -> bool:
        """Whether what holds the student never moves, or is not there."""
        return self.strength == 0 or self.kernel.summed_rates == 0

    @property
    def measured_by(self) -> Metric:
        """The metric as an object."""
        return self.metric if isinstance(self.metric, Metric) else METRICS[self.metric]


@dataclass(frozen=True)
class L2SP(Strategy):
    """Weights pulled towards the pretrained ones by (strength / 2) |W - W_0|^2 (L2-SP, arXiv 1802.01483).

    Raises:
        UserError: if strength is negative.
    """

    strength: float

    def __post_init__(self) -> None:
        not_negative(strength=self.strength)

    @property
    def distillation(self) -> Distillation:
        return Distillation(self.strength, Static(), "parameter")


@dataclass(frozen=True)
class WiSEFT(Strategy):
    """Fine-tuning, then the weights (1 - coefficient) W_0 + coefficient W (WiSE-FT, arXiv 2109.01903).

    Raises:
        UserError: if the coefficient lies outside [0, 1].
    """

    coefficient: float

    def __post_init__(self) -> None:
        number("coefficient", self.coefficient, SHARE)

    @property
    def interpolation(self) -> float:
        return self.coefficient


@dataclass(frozen=True)
class LPFT(Strategy):
    """Linear probing, then fine-tuning from there (LP-FT, arXiv 2202.10054).

    The probe trains a linear map A (k, k), from the identity, on the frozen embeddings W_0 x; fine-tuning starts from A W_0. Both
    stages have the contrastive loss, where the trainer's lp_ft learns a head of class labels by cross-entropy.
    """

    def prepare(self, problem: Posed) -> Posed:
        if not isinstance(problem, Problem):
            raise UserError(f"a linear probe has a closed form for a Problem alone, not for {type(problem).__name__}")
        if problem not in _PROBED:
            _PROBED[problem] = optimum(probe(problem)) @ problem.initial_weights
        return problem.starting_from(_PROBED[problem])


_PROBED: "WeakKeyDictionary[Problem, Array]" = WeakKeyDictionary()
"""Probed weights A W_0 of the problems that are held somewhere: a path and its learning rate both ask for them."""


def probe(problem: Problem) -> Problem:
    """The problem of a linear probe on the pretrained embeddings: weights A (k, k), features W_0 x, started at the identity.

    It is made from the problem's moments, without its pairs.
    """
    start = problem.initial_weights
    return Problem(
        start @ problem.second_moment @ start.T,
        problem.cross_covariance @ start.T,
        np.eye(len(start)),
        problem.embedding_penalty,
        problem.weight_decay,
        problem.samples,
    )


STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "zero_shot": ZeroShot,
    "flyp": FineTuning,
    "weight_decay": WeightDecay,
    "l2_sp": L2SP,
    "static_distillation": partial(Distillation, kernel=Static()),
    "ema_distillation": partial(Distillation, kernel=Exponential(0.9)),
    "tracer": partial(Distillation, kernel=Beta(0.5, 0.5)),
    "wise_ft": WiSEFT,
    "lp_ft": LPFT,
}
"""Constructors by the name that strategies have everywhere: tracer.strategies lists the same ones for real models."""
