"""Where each strategy ends when it runs for ever, and how much of the initial error it leaves."""

from functools import singledispatch

import numpy as np

from tracer.errors import UserError
from tracer.number_checks import BELOW_ONE, POSITIVE, Array, number
from tracer.theory.closed_forms.ratio import ratio
from tracer.theory.metrics import COMMUTING, Metric
from tracer.theory.modes import teacher_spectrum
from tracer.theory.optima import held_optimum, metric_without_round_off, optimum, shared_modes, task_curvatures
from tracer.theory.problem import LearningProblem, Problem
from tracer.theory.strategies import Distillation, Strategy


def limit(problem: LearningProblem, strategy: Strategy, learning_rate: float | None = None, heavy_ball: float = 0.0) -> Array:
    """The strategy's weights as the number of steps grows without bound, (k, d).

    Static teachers leave the anchor bias, those whose rates add up without bound none in the task subspace. An EMA whose time
    constant is a share tau of the run is between: the longer the run, the slower its teacher, and a share e^(-q / tau) of the bias
    stays. Where the metric mixes the subspaces and weight_decay is 0, an EMA of fixed momentum also moves the orthogonal part, by
    an amount that depends on the learning rate.

        Problem         in closed form, in every metric
        Linearisation   W_0 - (H + strength)^+ gradient with a static teacher, by conjugate gradients; strength 0 with one whose
                        rates add up without bound
        TwoTowers       SVD_k(C_2 + strength G_0) / (rho + strength) with a static teacher, or strength 0, from almost every start

    Source: TRACER, arXiv 2605.29380; Nakada et al., arXiv 2302.06232 (two towers); L2-SP, arXiv 1802.01483; metrics that do not
    commute with the second moment, and distilled towers: this project.

    Args:
        problem: what is learned.
        strategy: how.
        learning_rate, heavy_ball: of gradient descent, constant, with an update of the teacher at every step; used only for an EMA
            teacher of fixed momentum in a metric that mixes the subspaces.

    Raises:
        UserError: if there is no closed limit (a WMA teacher, a warmed-up momentum, or no learning_rate, in such a metric; a
            strategy that has none for a problem of this kind), or a number is out of its range.
    """
    if learning_rate is not None:
        number("learning_rate", learning_rate, POSITIVE)
    number("heavy_ball", heavy_ball, BELOW_ONE)
    posed = strategy.prepare(problem)
    end = end_of(posed, strategy, learning_rate, heavy_ball)
    return posed.initial_weights + strategy.interpolation * (end - posed.initial_weights)


@singledispatch
def end_of(posed: LearningProblem, strategy: Strategy, learning_rate: float | None, heavy_ball: float) -> Array:
    """Where training ends, before any interpolation, (k, d), of a problem as the strategy poses it; one function for each kind.

    Raises:
        UserError: if there is no closed limit.
    """
    raise UserError(f"{type(posed).__name__} has no closed limit: run gradient_descent for as long as you need")


@end_of.register
def _(posed: Problem, strategy: Strategy, learning_rate: float | None, heavy_ball: float) -> Array:
    distillation = strategy.distillation
    strength, metric = distillation.strength, distillation.measured_by
    if distillation.is_static:
        return held_optimum(posed, strength, metric)
    summed_rates = distillation.kernel.summed_rates
    if np.isfinite(summed_rates):
        return posed.initial_weights + shared_modes(posed, strength, metric).displacement(summed_rates)
    end = optimum(posed)
    if posed.weight_decay == 0 and _mixes(posed, metric):
        return end + _orthogonal_shift(posed, distillation, end, learning_rate, heavy_ball)
    return end


def anchor_bias(problem: Problem, strategy: Strategy) -> Array:
    """Share of the initial error (W_0 - W*) v_j that is left at the end, by eigendirection, (d,).

        p_j e^(-q_j R),   p_j = l_j / (sigma_j + l_j),   q_j = 1 - p_j

    R is what the kernel's rates add up to: p_j is left by a teacher that stands still (R = 0), p_j e^(-q_j / tau) by an EMA whose
    time constant is a share tau of the run, and nothing by other teachers that move, nor without a teacher (p_j = 0). For mu = 0
    p_j is strength / (rho s_j + strength) under L2-SP, strength / (rho + strength) in every mode in the data's metric.
    Source: TRACER, arXiv 2605.29380.

    Raises:
        UserError: if the metric does not commute with the second moment.
    """
    posed, distillation = strategy.prepare(problem), strategy.distillation
    teacher_curvatures = metric_without_round_off(posed, teacher_spectrum(posed, distillation))
    held = ratio(teacher_curvatures, task_curvatures(posed) + teacher_curvatures)
    summed_rates = distillation.kernel.summed_rates
    left = held * np.exp(-(1.0 - held) * summed_rates) if np.isfinite(summed_rates) else np.zeros_like(held)
    return 1.0 - strategy.interpolation * (1.0 - left)


def _mixes(problem: Problem, metric: Metric) -> bool:
    """Whether a metric couples the task subspace with its orthogonal complement: D_PQ is not zero."""
    space, weight = problem.task_subspace, metric.matrix(problem)
    return bool(np.abs(space.orthogonal(space.task(weight).T)).max() > COMMUTING * np.abs(weight).max())


def _orthogonal_shift(
    problem: Problem, distillation: Distillation, end: Array, learning_rate: float | None, heavy_ball: float
) -> Array:
    """-kappa' (W* - W_0) P D_PQ (I + kappa' D_QQ)^-1 with kappa' = eta strength m / ((1 - m)(1 - h)), by the EMA's budget."""
    kernel, momentum = distillation.kernel, distillation.kernel.constant_momentum
    if momentum is None:
        raise UserError(
            f"{kernel!r} has no closed limit where the metric mixes the subspaces: run gradient_descent for as long as you need"
        )
    if learning_rate is None:
        raise UserError(
            "where the metric mixes the subspaces, an EMA's limit depends on the step size: give limit a learning_rate, "
            "or run gradient_descent for as long as you need"
        )
    force = learning_rate * distillation.strength * momentum / ((1 - momentum) * (1 - heavy_ball))
    outside = problem.task_subspace.orthogonal_projector
    metric = distillation.measured_by.matrix(problem)
    moved = problem.task_subspace.task(end - problem.initial_weights)
    system = np.eye(len(metric)) + force * outside @ metric @ outside
    return -force * np.linalg.solve(system.T, (moved @ metric @ outside).T).T
