"""Minimisers in closed form, and the modes that data and teacher share: the one place where the theory divides by an eigenvalue.

Every minimiser is W_0 minus the initial gradient over a curvature. Where the curvature is zero the gradient is zero too, and the
weights stay where they started; which eigenvalues count as zero is `RANK_TOLERANCE`'s rule.
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from tracer.number_checks import Array
from tracer.theory.closed_forms.ratio import ratio
from tracer.theory.closed_forms.stiffness import stiffness
from tracer.theory.metrics import Metric
from tracer.theory.problem import RANK_TOLERANCE, Problem


def optimum(problem: Problem) -> Array:
    """W*, the minimiser of the undistilled loss nearest to the pretrained weights, (k, d).

        W* v_j = C v_j / (rho s_j + mu);  W_0 v_j where the divisor is zero.

    Source: TRACER, arXiv 2605.29380.
    """
    return _from_modes(problem, task_curvatures(problem))


def held_optimum(problem: Problem, strength: float, metric: Metric) -> Array:
    """Minimiser of L(W) + strength / 2 tr((W - W_0) D (W - W_0)^T), the one nearest to the pretrained weights, (k, d).

        W v_j = (C v_j + l_j W_0 v_j) / (rho s_j + mu + l_j), l_j = strength D_j;  where D does not commute with
        Sigma, (C + strength W_0 D)(rho Sigma + mu I + strength D)^+, and W_0 on the common null space.

    Source: TRACER, arXiv 2605.29380 (data metric); L2-SP, arXiv 1802.01483 (D = I); other metrics: this project.
    """
    spectrum = metric.spectrum(problem)
    if spectrum is not None:
        return _from_modes(problem, task_curvatures(problem) + strength * metric_without_round_off(problem, spectrum))
    return problem.initial_weights + shared_modes(problem, strength, metric).displacement(0.0)


class SharedModes(NamedTuple):
    """Directions in which the curvature K = rho Sigma + mu I and the teacher's L = strength D are both diagonal, whatever D is.

    Attributes:
        gradient: of the undistilled loss at W_0 in these directions, (k, modes).
        data_shares: q, (modes,).
        teacher_shares: p = 1 - q, (modes,).
        basis: B, (d, modes), with B^T (K + L) B = I and B^T K B = diag(q); zero in directions that neither K nor L sees.
    """

    gradient: Array
    data_shares: Array
    teacher_shares: Array
    basis: Array

    def displacement(self, summed_rates: float) -> Array:
        """Where a student solved against its teacher has gone once rates that add up to R, all of them small, have moved that.

            -gradient (1 - p e^(-q R)) / q = -gradient (e^(-q R) + (1 - e^(-q R)) / q) in each mode, (k, d) in all

        Args:
            summed_rates: R >= 0; at infinity it is -gradient / q, and 0 where q is, for no gradient is there.
        """
        if np.isinf(summed_rates):
            reached = ratio(1.0, self.data_shares)
        else:
            passed = self.data_shares * summed_rates
            reached = np.exp(-passed) + summed_rates * special.exprel(-passed)
        return -(self.gradient * reached) @ self.basis.T


def shared_modes(problem: Problem, strength: float, metric: Metric) -> SharedModes:
    """The modes of the pencil (K, L), in each of which data and teacher share the student as q and p. Source: this project.

    Where D commutes with Sigma they are Sigma's eigenvectors, with q = sigma / (sigma + l). Elsewhere what counts as zero is judged
    of K and of D, each beside its own size, so that no strength, however great, hides what D does not see.
    """
    spectrum = metric.spectrum(problem)
    if spectrum is not None:
        teacher_curvatures = strength * metric_without_round_off(problem, spectrum)
        total, data_shares, teacher_shares = stiffness(task_curvatures(problem), teacher_curvatures)
        scale = ratio(np.ones_like(total), np.sqrt(total))
        return SharedModes(problem.initial_modes * scale, data_shares, teacher_shares, problem.eigenvectors * scale)
    curvature, pull = problem.curvature_matrix, strength * metric.matrix(problem)
    stiffest, strongest = np.diag(curvature).max(), np.diag(pull).max()
    curvature, pull = ratio(curvature, stiffest), ratio(pull, strongest)
    values, vectors = np.linalg.eigh(curvature + pull)
    white = vectors * ratio(1.0, np.sqrt(without_round_off(values)))
    seen, turned = np.linalg.eigh(white.T @ curvature @ white)
    basis = white @ turned
    total, data_shares, teacher_shares = stiffness(
        stiffest * without_round_off(seen), strongest * without_round_off(np.einsum("ij,ij->j", basis, pull @ basis))
    )
    basis = basis * ratio(1.0, np.sqrt(total))
    gradient = problem.initial_modes @ (problem.eigenvectors.T @ basis)
    return SharedModes(np.where(data_shares > 0, gradient, 0.0), data_shares, teacher_shares, basis)


def task_curvatures(problem: Problem) -> Array:
    """Curvatures sigma_j, (d,), with eigenvalues beyond the rank taken as the zeros that they are."""
    return problem.embedding_penalty * without_round_off(problem.eigenvalues) + problem.weight_decay


def metric_without_round_off(problem: Problem, spectrum: Array) -> Array:
    """A metric's spectrum (d,) with what counts as zero set to zero, except where curvature makes any value safe to divide by."""
    return np.where(task_curvatures(problem) > 0, spectrum, without_round_off(spectrum))


def without_round_off(spectrum: Array) -> Array:
    """A spectrum (d,) with what counts as zero set to zero."""
    return np.where(spectrum > RANK_TOLERANCE * spectrum.max(initial=0.0), spectrum, 0.0)


def _from_modes(problem: Problem, curvatures: Array) -> Array:
    return problem.initial_weights - ratio(problem.initial_modes, curvatures) @ problem.eigenvectors.T
