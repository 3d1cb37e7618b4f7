"""What the weights of a run say of the gap between teacher and student, mode by mode."""

import numpy as np

from tracer.averaging import Clock, Kernel, PowerLaw
from tracer.crosscheck.history import WeightHistory
from tracer.errors import UserError
from tracer.number_checks import Array
from tracer.theory import Distillation, Problem
from tracer.theory.closed_forms import ema, wma
from tracer.theory.modes import teacher_spectrum
from tracer.theory.optima import optimum

ROUND_OFF = 1e-9
"""Share of the initial error at which a measured gap still has some six digits."""


def share_travelled(moved: Array, predicted: Array) -> Array:
    """How far displacements (..., k, d) went along the predicted one (k, d): 1 is as far as predicted; (...)."""
    along: Array = np.sum(moved * predicted, axis=(-2, -1))
    return along / np.sum(predicted**2)


def summed_gaps(run: WeightHistory, kernel: Kernel, update_every: int = 1) -> Array:
    """Sum of a run's gaps after every update of the teacher, by `Kernel.gap_weights`, (k, d): the teacher's displacement.

    Args:
        run: of the trainer.
        kernel: the teacher's.
        update_every: steps between two updates.

    Raises:
        UserError: if a rate is 1, which puts the teacher on its student and leaves no gap to sum.
    """
    clock = Clock(len(run.student) - 1, update_every)
    return np.tensordot(kernel.gap_weights(clock), run.gaps[update_every::update_every], 1)


def modal_shares(problem: Problem, differences: Array) -> Array:
    """Size of weight differences (m, k, d) in each eigendirection over that of the initial error W_0 - W*, (m, d).

    It is 0 off the task subspace.
    """
    initial = np.linalg.norm((problem.initial_weights - optimum(problem)) @ problem.eigenvectors, axis=0)
    sizes: Array = np.linalg.norm(differences @ problem.eigenvectors, axis=1)
    learned = np.arange(len(initial)) < problem.rank
    shares: Array = np.divide(sizes, initial, out=np.zeros_like(sizes), where=learned & (initial > 0))
    return shares


def rates(problem: Problem, distillation: Distillation, run: WeightHistory, learning_rate: float) -> tuple[Array, Array]:
    """Predicted and measured rates of decay of the gap to an EMA, by mode of the task, (r,) each, in 1 / steps.

    Measured over the second half of the steps before the gap is lost in round-off.
    """
    curvatures, spectrum = problem.curvatures[: problem.rank], teacher_spectrum(problem, distillation)[: problem.rank]
    predicted = -np.log(ema.eigenvalues(curvatures, spectrum, learning_rate, momentum_of(distillation))[0])
    shares = modal_shares(problem, run.gaps)[:, : problem.rank]
    last = len(shares) - 1 - np.argmax(shares[::-1] > ROUND_OFF, axis=0)
    modes = np.arange(problem.rank)
    return predicted, np.log(shares[last // 2, modes] / shares[last, modes]) / (last - last // 2)


def exponents(problem: Problem, distillation: Distillation, run: WeightHistory) -> tuple[Array, Array]:
    """Predicted and measured exponents of the gap to a power-law teacher, by mode of the task, (r,) each.

    Measured between the middle and the end of the run.
    """
    curvatures, spectrum = problem.curvatures[: problem.rank], teacher_spectrum(problem, distillation)[: problem.rank]
    predicted = wma.persistence_exponent(curvatures, spectrum, exponent_of(distillation))
    shares = modal_shares(problem, run.gaps)[:, : problem.rank]
    end = len(shares) - 1
    return predicted, np.log(shares[end // 2] / shares[end]) / np.log(end / (end // 2))


def momentum_of(distillation: Distillation) -> float:
    """Momentum of its EMA.

    Raises:
        UserError: if the kernel is no exponential one with a constant momentum.
    """
    momentum = distillation.kernel.constant_momentum
    if momentum is None:
        raise UserError(f"the closed forms of an EMA need an Exponential kernel of constant momentum, not {distillation.kernel!r}")
    return momentum


def exponent_of(distillation: Distillation) -> float:
    """Exponent beta of its power-law teacher.

    Raises:
        UserError: if the kernel is no power law.
    """
    if isinstance(distillation.kernel, PowerLaw):
        return distillation.kernel.beta
    raise UserError(f"the closed forms of a WMA need a PowerLaw kernel, not {distillation.kernel!r}")
