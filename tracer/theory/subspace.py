"""A subspace of feature space, and the two parts it splits weights into."""

from dataclasses import dataclass

import numpy as np

from tracer.errors import UserError
from tracer.number_checks import Array, real

ORTHONORMAL = 1e-8
"""By how much the products of a basis' columns may differ from 0 and 1."""


@dataclass(frozen=True, eq=False)
class Subspace:
    """A subspace of feature space by an orthonormal basis (d, r); finite weights (..., d) are split row by row.

    Source: TRACER, arXiv 2605.29380 (task subspace and orthogonal complement).

    Raises:
        UserError: if the basis is no matrix with orthonormal columns.
    """

    basis: Array

    def __post_init__(self) -> None:
        basis = real("basis", self.basis)
        if basis.ndim != 2 or len(basis) == 0 or not np.allclose(basis.T @ basis, np.eye(basis.shape[1]), rtol=0, atol=ORTHONORMAL):
            raise UserError(f"basis must be a matrix (d, r) of orthonormal columns, and has shape {basis.shape}: orthogonalise it")
        object.__setattr__(self, "basis", basis)

    @property
    def rank(self) -> int:
        """Dimension r."""
        return len(self.basis.T)

    @property
    def projector(self) -> Array:
        """P = V_r V_r^T, (d, d)."""
        return self.basis @ self.basis.T

    @property
    def orthogonal_projector(self) -> Array:
        """Q = I - P, (d, d)."""
        return np.eye(len(self.basis)) - self.projector

    def task(self, weights: Array) -> Array:
        """W P, in the shape of the weights (..., k, d).

        Raises:
            UserError: if the weights have other features or are not finite.
        """
        weights = real("weights", weights)
        if weights.shape[-1:] != (len(self.basis),) or not np.isfinite(weights).all():
            raise UserError(f"weights must be finite and have {len(self.basis)} features, and are of shape {weights.shape}")
        return (weights @ self.basis) @ self.basis.T

    def orthogonal(self, weights: Array) -> Array:
        """W Q, in the shape of the weights (..., k, d); raises as `task` does."""
        return weights - self.task(weights)
