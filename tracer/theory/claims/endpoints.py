"""Where each strategy ends, by eigendirection of the second moment, and the bias of a teacher that stands still."""

from collections.abc import Callable

import numpy as np

from tracer.averaging import Exponential, Static
from tracer.theory.claims.claim import TRACER, Check, compare, theorem
from tracer.theory.claims.instances import Instance, descend, random_instance, stable_learning_rate
from tracer.theory.geometry import describe
from tracer.theory.limits import anchor_bias, limit
from tracer.theory.metrics import Spectral
from tracer.theory.strategies import L2SP, Distillation, FineTuning, Strategy, WeightDecay, WiSEFT

STEPS = 1500
"""Enough for the slowest of an instance's modes to reach round-off."""


def descended(case: Instance, strength: float = 0.0, metric: np.ndarray | None = None, rate: float = 0.0) -> np.ndarray:
    """Where descent ends, with a teacher that stands still (rate 0) or moves."""
    return descend(case, [rate] * STEPS, stable_learning_rate(case, strength, metric), strength, metric)[0]


def _held_check(strategy: Callable[[float], Strategy], exponent: float | None, *nulls: Callable[[float], Strategy]):
    """A check of a static teacher: its strategy by strength, the power of Sigma that it is held by (None: the identity)."""

    def check(rng: np.random.Generator) -> Check:
        case, teacher_curvature = random_instance(rng, rng.uniform(0.1, 0.5)), rng.uniform(0.5, 2.0)
        metric = None if exponent is None else case.power(exponent)
        measured = descended(case, teacher_curvature, metric)
        others = [limit(case.problem, null(teacher_curvature)) for null in nulls]
        return compare(limit(case.problem, strategy(teacher_curvature)), measured, limit(case.problem, FineTuning()), *others)

    return check


def static(strength: float, alpha: float = 0.0) -> Distillation:
    """Distillation from the pretrained model, in the data's metric for alpha = 0."""
    return Distillation(strength, Static(), Spectral(alpha))


def _bias_check(strategy: Callable[[float], Strategy], exponent: float | None):
    """Shares left by descent, by eigendirection of the images; the nulls are no bias and another metric's."""

    def check(rng: np.random.Generator) -> Check:
        case, teacher_curvature = random_instance(rng), rng.uniform(0.5, 2.0)
        metric = None if exponent is None else case.power(exponent)
        problem, kept = case.problem, slice(0, 4)
        optimum, directions = descended(case), problem.eigenvectors[:, kept]
        left, initial = (
            weights @ directions
            for weights in (descended(case, teacher_curvature, metric) - optimum, case.initial_weights - optimum)
        )
        measured = np.sum(left * initial, axis=0) / np.sum(initial**2, axis=0)
        other = static(teacher_curvature) if exponent is None else L2SP(teacher_curvature)
        nulls = np.zeros(4), np.ones(4), anchor_bias(problem, other)[kept]
        return compare(anchor_bias(problem, strategy(teacher_curvature))[kept], measured, *nulls)

    return check


@theorem(TRACER, "Section C.4")
def orthogonal_decomposition(rng: np.random.Generator) -> Check:
    """Squared displacements in the task subspace and in its orthogonal complement add up to that of the weights."""
    case = random_instance(rng)
    weights = rng.standard_normal(case.initial_weights.shape)
    found = describe(case.problem, weights)
    measured = np.sum((weights - case.initial_weights) ** 2)
    plain = (found.task_displacement + found.orthogonal_displacement) ** 2
    return compare(found.task_displacement**2 + found.orthogonal_displacement**2, measured, plain, found.task_displacement**2)


@theorem(TRACER, "Theorem 3.2", "Theorem C.2")
def fine_tuning_limit(rng: np.random.Generator) -> Check:
    """Fine-tuning ends at the least-squares solution in the task subspace and leaves the orthogonal part as it was."""
    case = random_instance(rng)
    shortest = (case.texts - case.texts.mean(axis=0)).T / case.embedding_penalty @ np.linalg.pinv(case.images.T)
    return compare(limit(case.problem, FineTuning()), descended(case), shortest, case.initial_weights)


@theorem(TRACER)
def weight_decay_limit(rng: np.random.Generator) -> Check:
    """Weight decay shrinks the solution in every mode of the task subspace and forgets all that is orthogonal to it."""
    decay = rng.uniform(0.1, 0.5)
    case = random_instance(rng)
    measured = descended(case._replace(weight_decay=decay))
    return compare(limit(case.problem, WeightDecay(decay)), measured, limit(case.problem, FineTuning()))


@theorem("L2-SP, arXiv 1802.01483", "Theorem 3.2", "Theorem C.2")
def l2_sp_limit(rng: np.random.Generator) -> Check:
    """L2-SP ends at the mean of solution and pretrained weights, weighed by curvature and strength."""
    return _held_check(L2SP, None, static)(rng)


@theorem(TRACER, "Theorem 3.2", "Theorem C.2")
def static_distillation_limit(rng: np.random.Generator) -> Check:
    """Distillation from the pretrained model on the data ends where L2-SP would, had it the strength lambda s_j in mode j."""
    return _held_check(static, 1.0, L2SP)(rng)


@theorem(TRACER)
def spectral_limit(rng: np.random.Generator) -> Check:
    """A metric that is the second moment to the power 1 - alpha leads from distillation (alpha = 0) to L2-SP (alpha = 1)."""
    return _held_check(lambda teacher_curvature: static(teacher_curvature, 0.4), 0.6, L2SP, static)(rng)


@theorem("WiSE-FT, arXiv 2109.01903")
def wise_ft_limit(rng: np.random.Generator) -> Check:
    """WiSE-FT goes the same share of the way to the fine-tuned weights in all modes."""
    case, share = random_instance(rng), rng.uniform(0.2, 0.8)
    measured = (1 - share) * case.initial_weights + share * descended(case)
    nulls = (limit(case.problem, WiSEFT(other)) for other in (0.0, 0.9 * share, 1.0))
    return compare(limit(case.problem, WiSEFT(share)), measured, *nulls)


@theorem(TRACER, "Theorem 3.4", "Theorem C.8")
def moving_teacher_limit(rng: np.random.Generator) -> Check:
    """A teacher that keeps moving towards its student leaves no anchor bias: both end at the undistilled optimum."""
    case, teacher_curvature, momentum = random_instance(rng), rng.uniform(0.5, 1.5), rng.uniform(0.2, 0.7)
    measured = descended(case, teacher_curvature, case.second_moment, 1 - momentum)
    predicted = limit(case.problem, Distillation(teacher_curvature, Exponential(momentum)))
    return compare(predicted, measured, limit(case.problem, static(teacher_curvature)), case.initial_weights)


@theorem(TRACER, "Section C.4")
def anchor_bias_l2_sp(rng: np.random.Generator) -> Check:
    """L2-SP leaves the share lambda/(rho s_j + lambda) of the initial error: most where the data say least."""
    return _bias_check(L2SP, None)(rng)


@theorem(TRACER, "Section 3.4")
def anchor_bias_distillation(rng: np.random.Generator) -> Check:
    """Distillation from the pretrained model on the data leaves the same share of the initial error in every mode."""
    return _bias_check(static, 1.0)(rng)


@theorem(TRACER)
def anchor_bias_spectral(rng: np.random.Generator) -> Check:
    """Under a metric that is the second moment to the power 1 - alpha, alpha decides in which modes the initial error stays."""
    return _bias_check(lambda teacher_curvature: static(teacher_curvature, 0.4), 0.6)(rng)
