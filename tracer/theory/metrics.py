"""Metrics in which a student is held to its teacher: what "close" means in distillation."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from tracer.errors import UserError
from tracer.number_checks import FINITE, Array, number
from tracer.theory.matrix_checks import positive_semidefinite
from tracer.theory.problem import LearningProblem, Problem

COMMUTING = 1e-12
"""Share of a metric's largest entry up to which it counts as diagonal in the eigenbasis of the second moment."""


class Metric(ABC):
    """A positive semidefinite matrix D: the distance of two maps is tr((W - W') D (W - W')^T)."""

    @abstractmethod
    def matrix(self, problem: LearningProblem) -> Array:
        """D, (d, d)."""

    def spectrum(self, problem: Problem) -> Array | None:
        """D_j in the eigenbasis of the problem's second moment, (d,); None if D is not diagonal there."""
        turned = problem.eigenvectors.T @ self.matrix(problem) @ problem.eigenvectors
        diagonal = np.diag(turned).copy()
        mixed = np.abs(turned - np.diag(diagonal)).max()
        return np.maximum(diagonal, 0.0) if mixed <= COMMUTING * np.abs(turned).max() else None


@dataclass(frozen=True)
class Spectral(Metric):
    """D = Sigma^(1 - alpha), the power taken on the task subspace: 0 is the data's metric, 1 treats all its directions alike.

    Raises:
        UserError: if alpha is not finite.
    """

    alpha: float = 0.0

    def __post_init__(self) -> None:
        number("alpha", self.alpha, FINITE)

    def matrix(self, problem: LearningProblem) -> Array:
        if not isinstance(problem, Problem):
            raise UserError(
                f"{self!r} is made from the second moment of a Problem, which {type(problem).__name__} has not: use Parameter()"
            )
        if self.alpha == 0:
            return problem.second_moment
        return (problem.eigenvectors * self.spectrum(problem)) @ problem.eigenvectors.T

    def spectrum(self, problem: Problem) -> Array:
        if self.alpha == 0:
            return problem.eigenvalues
        powers = np.zeros_like(problem.eigenvalues)
        powers[: problem.rank] = problem.eigenvalues[: problem.rank] ** (1 - self.alpha)
        return powers


@dataclass(frozen=True)
class Parameter(Metric):
    """D = I: distance of the weights themselves, on and off the task subspace."""

    def matrix(self, problem: LearningProblem) -> Array:
        return np.eye(problem.initial_weights.shape[1])

    def spectrum(self, problem: Problem) -> Array:
        return np.ones_like(problem.eigenvalues)


@dataclass(frozen=True, eq=False)
class Inputs(Metric):
    """D = X_R X_R^T / m: distance of the embeddings of other inputs, which may mix the task subspace with its complement.

    Attributes:
        second_moment: D, (d, d).

    Raises:
        UserError: if it is not positive semidefinite.
    """

    second_moment: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "second_moment", positive_semidefinite("the metric's second_moment", self.second_moment))

    def matrix(self, problem: LearningProblem) -> Array:
        expected = (problem.initial_weights.shape[1],) * 2
        if self.second_moment.shape != expected:
            raise UserError(
                f"the metric's second_moment must have shape {expected} like the problem's, not {self.second_moment.shape}"
            )
        return self.second_moment


METRICS: dict[str, Metric] = {"data": Spectral(0.0), "parameter": Parameter()}
