"""The student solved at every step: the dynamics of TRACER's theorems, a proximal point method centred on the moving teacher."""

from dataclasses import dataclass
from functools import partial

from tracer.averaging import Clock
from tracer.errors import UserError
from tracer.number_checks import Array
from tracer.theory.decoupled_modes import DecoupledModes
from tracer.theory.optima import shared_modes
from tracer.theory.path import WeightPath
from tracer.theory.problem import Problem
from tracer.theory.recursion import Stepping, propagate
from tracer.theory.strategies import Strategy


@dataclass(frozen=True, eq=False)
class ProximalPath(WeightPath[Problem]):
    """The path that `proximal` makes; its forces and impulses are those of steps of size 1 in the shared modes."""

    def limit(self) -> Array:
        """The weights as time grows without bound, (k, d), in every metric and for every kernel.

        Where the teacher's rates add up without bound, what the data see goes to the optimum. In a metric that mixes the task
        subspace with its complement the orthogonal part moves too, by the same for all such teachers. Rates that add up to R (0 of
        the static teacher, 1 / tau of an EMA whose time constant is a share tau of the run) leave p e^(-q R) of the error in each
        mode shared by data and teacher. Source: this project.
        """
        posed, distillation = self.posed, self.strategy.distillation
        modes = shared_modes(posed, distillation.strength, distillation.measured_by)
        moved = modes.displacement(distillation.kernel.summed_rates)
        return posed.initial_weights + self.strategy.interpolation * moved


def proximal(problem: Problem, strategy: Strategy, *, steps: int, update_every: int = 1) -> ProximalPath:
    """The path on which the student minimises its distilled loss exactly at every step; times are whole numbers of steps.

        W_t = argmin_W L(W) + strength / 2 tr((W - Wbar_{t-1}) D (W - Wbar_{t-1})^T), the one nearest to W_{t-1},
        and then the teacher's update.

    In the data's metric, with rho = 1 and mu = 0, it is W_t = W_{t-1} Q + p Wbar_{t-1} P + q W* P, p = strength / (1 + strength)
    and q = 1 - p, P and Q being the projectors on the task subspace and its complement. In general it is gradient descent
    preconditioned by (rho Sigma + mu I + strength D)^+, a recursion of scalars in the modes that data and teacher share; exact for
    every kernel and update period and, unlike `gradient_descent`, of no other form where the metric does not commute with the
    second moment.

        >>> import numpy as np
        >>> from tracer import theory
        >>> from tracer.averaging import Exponential
        >>> problem = theory.Problem.from_pairs(np.eye(3), np.eye(3)[:, :2], np.ones((2, 3)))
        >>> path = theory.proximal(problem, theory.Distillation(1.0, Exponential(0.5)), steps=50)
        >>> initial = path.teacher(0) - path.limit()
        >>> [round(float((path.teacher(t) - path.limit())[0, 0] / initial[0, 0]), 4) for t in (1, 2, 3)]  # 1 - q / 2 each
        [0.75, 0.5625, 0.4219]

    Source: TRACER, arXiv 2605.29380 (definition C.3, proposition C.7, theorem C.8); other metrics, curvatures and weight decay:
    this project.

    Args:
        problem, strategy: what is learned and how.
        steps: horizon T, which kernels refer to.
        update_every: steps between two teacher updates.

    Raises:
        UserError: if a number is out of its range, or the problem of another kind.
    """
    posed, distillation = strategy.prepare(problem), strategy.distillation
    if not isinstance(posed, Problem):
        raise UserError(
            f"a student can be solved at every step of a Problem alone, not of {type(posed).__name__}: use another path"
        )
    stepping = Stepping(1.0, Clock(steps, update_every), distillation.kernel)
    modes = shared_modes(posed, distillation.strength, distillation.measured_by)
    propagators = partial(propagate, modes.data_shares, modes.teacher_shares, stepping)
    solution = DecoupledModes(modes.gradient, modes.basis, propagators)
    return ProximalPath(problem, posed, strategy, steps, solution)
