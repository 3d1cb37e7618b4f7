"""Where each strategy ends, by eigendirection of the second moment, and the bias of a teacher that stands still."""

from collections.abc import Callable

import numpy as np

from tracer import theory
from tracer.averaging import Exponential, Static
from tracer.theory.claims.claim import TRACER, Check, compare, theorem
from tracer.theory.claims.instances import Instance, descend, random_instance

Family = Callable[[float], theory.Strategy]
"""A strategy by its strength."""
STEPS = 1500
"""Enough for the slowest of an instance's modes to reach round-off."""


def static(strength: float) -> theory.Distillation:
    """Distillation from the pretrained model in the data's metric."""
    return theory.Distillation(strength, Static())


def spectral(strength: float) -> theory.Distillation:
    """The same in a metric between the data's and that of the weights."""
    return theory.Distillation(strength, Static(), theory.Spectral(0.4))


def descended(case: Instance, strength: float = 0.0, metric: np.ndarray | None = None, rate: float = 0.0) -> np.ndarray:
    """Where descent ends, with a teacher that stands still (rate 0) or moves."""
    return descend(case, [rate] * STEPS, strength, metric)


@theorem(TRACER, "Section C.4")
def orthogonal_decomposition(rng: np.random.Generator) -> Check:
    """Squared displacements in the task subspace and in its orthogonal complement add up to that of the weights."""
    case = random_instance(rng)
    weights = rng.standard_normal(case.initial_weights.shape)
    found = theory.describe(case.problem, weights)
    task, orthogonal = found.task_displacement, found.orthogonal_displacement
    return compare(task**2 + orthogonal**2, np.sum((weights - case.initial_weights) ** 2), (task + orthogonal) ** 2, task**2)


@theorem(TRACER, "Theorem 3.2", "Theorem C.2")
def fine_tuning_limit(rng: np.random.Generator) -> Check:
    """Fine-tuning ends at the least-squares solution in the task subspace and leaves the orthogonal part as it was."""
    case = random_instance(rng)
    return compare(theory.limit(case.problem, theory.FineTuning()), descended(case), case.optimum, case.initial_weights)


@theorem(TRACER)
def weight_decay_limit(rng: np.random.Generator) -> Check:
    """Weight decay shrinks the solution in every mode of the task subspace and forgets all that is orthogonal to it."""
    case, decay = random_instance(rng), rng.uniform(0.1, 0.5)
    predicted, without = (theory.limit(case.problem, strategy) for strategy in (theory.WeightDecay(decay), theory.FineTuning()))
    return compare(predicted, descended(case._replace(weight_decay=decay)), without)


def _held(rng: np.random.Generator, own: Family, exponent: float, other: Family) -> Check:
    """A static teacher that holds by a power of Sigma, under weight decay; the nulls are no teacher and another family."""
    case, strength = random_instance(rng, rng.uniform(0.1, 0.5)), rng.uniform(0.5, 2.0)
    measured = descended(case, strength, case.power(exponent) if exponent else None)
    ends = (theory.limit(case.problem, each) for each in (own(strength), theory.FineTuning(), other(strength)))
    predicted, *nulls = ends
    return compare(predicted, measured, *nulls)


@theorem("L2-SP, arXiv 1802.01483", "Theorem 3.2", "Theorem C.2")
def l2_sp_limit(rng: np.random.Generator) -> Check:
    """L2-SP ends at the mean of solution and pretrained weights, weighed by curvature and strength."""
    return _held(rng, theory.L2SP, 0, static)


@theorem(TRACER, "Theorem 3.2", "Theorem C.2")
def static_distillation_limit(rng: np.random.Generator) -> Check:
    """Distillation from the pretrained model on the data ends where L2-SP would, had it the strength lambda s_j in mode j."""
    return _held(rng, static, 1, theory.L2SP)


@theorem(TRACER)
def spectral_limit(rng: np.random.Generator) -> Check:
    """A metric that is the second moment to the power 1 - alpha leads from distillation (alpha = 0) to L2-SP (alpha = 1)."""
    return _held(rng, spectral, 0.6, static)


@theorem("WiSE-FT, arXiv 2109.01903")
def wise_ft_limit(rng: np.random.Generator) -> Check:
    """WiSE-FT goes the same share of the way to the fine-tuned weights in all modes."""
    case, share = random_instance(rng), rng.uniform(0.2, 0.8)
    measured = (1 - share) * case.initial_weights + share * descended(case)
    predicted, null = (theory.limit(case.problem, theory.WiSEFT(each)) for each in (share, 0.9 * share))
    return compare(predicted, measured, null)


@theorem(TRACER, "Theorem 3.4", "Theorem C.8")
def moving_teacher_limit(rng: np.random.Generator) -> Check:
    """A teacher that moves at each step by a fixed share of its gap leaves no anchor bias: both end at the undistilled optimum."""
    case, strength, momentum = random_instance(rng), rng.uniform(0.5, 1.5), rng.uniform(0.2, 0.7)
    measured = descended(case, strength, case.second_moment, 1 - momentum)
    predicted = theory.limit(case.problem, theory.Distillation(strength, Exponential(momentum)))
    return compare(predicted, measured, theory.limit(case.problem, static(strength)), case.initial_weights)


def _bias(rng: np.random.Generator, own: Family, exponent: float, other: Family) -> Check:
    """Shares of the initial error that descent leaves, by eigendirection; the nulls are no bias and another family's."""
    case, strength = random_instance(rng), rng.uniform(0.5, 2.0)
    problem, optimum, kept = case.problem, descended(case), slice(0, 4)
    ends = descended(case, strength, case.power(exponent) if exponent else None), case.initial_weights
    left, initial = ((weights - optimum) @ problem.eigenvectors[:, kept] for weights in ends)
    measured = np.sum(left * initial, axis=0) / np.sum(initial**2, axis=0)
    predicted, null = (theory.anchor_bias(problem, each(strength))[kept] for each in (own, other))
    return compare(predicted, measured, 0.0, null)


@theorem(TRACER, "Section C.4")
def anchor_bias_l2_sp(rng: np.random.Generator) -> Check:
    """L2-SP leaves the share lambda/(rho s_j + lambda) of the initial error: most where the data say least."""
    return _bias(rng, theory.L2SP, 0, static)


@theorem(TRACER, "Section 3.4")
def anchor_bias_distillation(rng: np.random.Generator) -> Check:
    """Distillation from the pretrained model on the data leaves the same share of the initial error in every mode."""
    return _bias(rng, static, 1, theory.L2SP)


@theorem(TRACER)
def anchor_bias_spectral(rng: np.random.Generator) -> Check:
    """Under a metric that is the second moment to the power 1 - alpha, alpha decides in which modes the initial error stays."""
    return _bias(rng, spectral, 0.6, theory.L2SP)
