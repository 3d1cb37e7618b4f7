"""Geometry, forgetting and risk at many times, by the definitions of `geometry` but mode by mode, without making any weights."""

from typing import NamedTuple

import numpy as np

from tracer.number_checks import Array
from tracer.theory.geometry import Geometry, Risk, error_share, share_beyond_round_off
from tracer.theory.optima import optimum
from tracer.theory.problem import Problem
from tracer.theory.subspace import Subspace

ALIGNED = 1e-12
"""How much of an eigenvector a subspace of other eigenvectors may hold."""


class ModalErrors(NamedTuple):
    """Differences E(t) of weights at m times from a fixed matrix, in the eigenbasis: E(t) v_j = c_j(t) u_j + e_j.

    Attributes:
        along: c, (m, d).
        directions: u, (k, d), columns of length 1, or 0.
        rest: e, (k, d), orthogonal to the directions column by column, so that squares add and nothing cancels as E vanishes.
    """

    along: Array
    directions: Array
    rest: Array

    def squares(self) -> Array:
        """|E(t) v_j|^2, (m, d)."""
        return np.asarray(self.along**2 + np.sum(self.rest**2, axis=0))

    def product(self, fixed: Array) -> Array:
        """tr(E(t) V F^T) with F (k, d) in the eigenbasis, (m,)."""
        return np.asarray(self.along @ np.sum(self.directions * fixed, axis=0) + np.sum(self.rest * fixed))

    def quadratic(self, moment: Array) -> Array:
        """tr(E(t) V D V^T E(t)^T), (m,), with a symmetric D (d, d) in the eigenbasis, which it need not commute with."""
        weighted = self.rest @ moment
        gram = (self.directions.T @ self.directions) * moment
        crossed = 2 * self.along @ np.sum(self.directions * weighted, axis=0)
        return np.asarray(np.sum((self.along @ gram) * self.along, axis=1) + crossed + np.sum(self.rest * weighted))


class ModalWeights(NamedTuple):
    """Weights W(t) at m times, each column of which moves along a line in the eigenbasis: W(t) v_j = W(0) v_j - s_j(t) u_j.

    Attributes:
        start: W(0), (k, d).
        moved: s, (m, d).
        directions: u, (k, d), columns of length 1, or 0.
        basis: v, (d, d), the eigenvectors of the problem's second moment, one a column.
    """

    start: Array
    moved: Array
    directions: Array
    basis: Array

    def minus(self, fixed: Array) -> ModalErrors:
        """W(t) - fixed (k, d)."""
        columns = (self.start - fixed) @ self.basis
        offset = np.sum(self.directions * columns, axis=0)
        return ModalErrors(offset - self.moved, self.directions, columns - self.directions * offset)

    def inside(self, subspace: Subspace) -> Array | None:
        """1 for the eigenvectors that span a subspace and 0 for the others, (d,); None if no eigenvectors span it."""
        held = np.linalg.norm(self.basis.T @ subspace.basis, axis=1)
        inside = np.where(held > 0.5, 1.0, 0.0)
        return inside if inside.sum() == subspace.rank and np.max(held * (1 - inside)) <= ALIGNED else None


def describe(problem: Problem, weights: ModalWeights, inside: Array) -> Geometry[Array]:
    """`geometry.describe` at all times, (m,) each, for the task subspace of the eigenvectors that have a 1 in `inside` (d,)."""
    target, start = optimum(problem), problem.initial_weights
    moved, missed = weights.minus(start).squares(), weights.minus(target).squares()
    seen = inside * problem.eigenvalues
    modes, ideal = start @ weights.basis, target @ weights.basis
    before, scale = (modes - ideal) ** 2, modes**2 + ideal**2
    kept = modes * (1 - inside)
    retained = weights.minus(np.zeros_like(start)).product(kept)
    return Geometry(
        task_displacement=np.sqrt(moved @ inside),
        orthogonal_displacement=np.sqrt(moved @ (1 - inside)),
        bias=np.sqrt(missed @ inside),
        adaptation=1.0 - error_share(missed @ seen, float(np.sum(before @ seen)), float(np.sum(scale @ problem.eigenvalues))),
        retention=share_beyond_round_off(retained, float(np.sum(kept**2)), float(np.sum(start**2)), empty=1.0),
        forgetting=0.5 * moved @ problem.eigenvalues,
    )


def forgetting(weights: ModalWeights, initial_weights: Array, second_moment: Array) -> Array:
    """`geometry.forgetting` at all times, (m,)."""
    return 0.5 * weights.minus(initial_weights).quadratic(weights.basis.T @ second_moment @ weights.basis)


def ood_risk(weights: ModalWeights, ideal: Array, second_moment: Array, subspace: Subspace) -> Risk[Array]:
    """`geometry.ood_risk` at all times, (m,) each."""
    errors, spanning = weights.minus(ideal), weights.basis.T @ subspace.basis
    moment = weights.basis.T @ second_moment @ weights.basis
    half = spanning @ (spanning.T @ moment)
    task = (half @ spanning) @ spanning.T
    crossing = half - task + (half - task).T
    inside, outside, cross = (0.5 * errors.quadratic(part) for part in (task, moment - task - crossing, crossing))
    return Risk(inside + outside + cross, inside, outside, cross)
