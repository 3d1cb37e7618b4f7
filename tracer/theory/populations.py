"""Named populations: problems with a known spectrum, exactly, and samples drawn from them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tracer.errors import UserError, nearest
from tracer.number_checks import Array, whole_number
from tracer.theory.matrix_checks import matrix, not_negative, vector
from tracer.theory.problem import Problem
from tracer.theory.subspace import Subspace

SPECTRA: dict[str, Callable[[int], Array]] = {
    "isotropic": lambda d: np.ones(d),
    "power_law": lambda d: 1.0 / np.arange(1, d + 1),
    "decades": lambda d: np.logspace(0, -4, d),
    "spiked": lambda d: np.where(np.arange(d) < max(1, d // 10), 1.0, 0.01),
    "low_rank": lambda d: np.where(np.arange(d) < max(1, d // 2), 1.0, 0.0),
}
"""Eigenvalues of the second moment by name: all alike; 1 / j; four decades, evenly in the logarithm; a tenth of the directions a
hundred times stronger; half of them empty."""


@dataclass(frozen=True, eq=False)
class Population:
    """Gaussian pairs: x = V sqrt(s) a and z = R a + noise e, with independent standard normal a (d,) and e (k,).

    Then Sigma = V diag(s) V^T and C = R diag(sqrt(s)) V^T.

    Attributes:
        eigenvalues: s, (d,).
        eigenvectors: V, (d, d), orthogonal.
        loadings: R, (k, d), how texts depend on the factors of the images.
        noise: standard deviation of what texts do not share with images.

    Raises:
        UserError: if shapes do not fit, an eigenvalue or the noise is negative, or the eigenvectors are not orthogonal.
    """

    eigenvalues: Array
    eigenvectors: Array
    loadings: Array
    noise: float = 0.5

    def __post_init__(self) -> None:
        eigenvalues = vector("eigenvalues", self.eigenvalues)
        d = len(eigenvalues)
        if np.min(eigenvalues) < 0:
            raise UserError(f"eigenvalues must not be negative, and the smallest is {np.min(eigenvalues):g}")
        eigenvectors = Subspace(matrix("eigenvectors", self.eigenvectors, d, d)).basis
        loadings = matrix("loadings", self.loadings, columns=d)
        not_negative(noise=self.noise)
        for name, array in (("eigenvalues", eigenvalues), ("eigenvectors", eigenvectors), ("loadings", loadings)):
            object.__setattr__(self, name, array)

    @classmethod
    def named(cls, spectrum: str, features: int, embedding: int, seed: int = 0, noise: float = 0.5) -> "Population":
        """A population with one of the spectra of `SPECTRA`, in random directions.

        Args:
            spectrum: its name.
            features: d.
            embedding: k.
            seed: of directions and loadings.
            noise: of the texts.

        Raises:
            UserError: if the name is unknown, a size is below 1, or the seed or the noise negative.
        """
        if spectrum not in SPECTRA:
            raise UserError(f"unknown population {spectrum!r}{nearest(spectrum, SPECTRA)}")
        whole_number("features", features)
        whole_number("embedding", embedding)
        whole_number("seed", seed, least=0)
        rng = np.random.default_rng([seed, features, embedding])
        directions = np.linalg.qr(rng.standard_normal((features, features)))[0]
        loadings = rng.standard_normal((embedding, features)) / np.sqrt(features)
        return cls(SPECTRA[spectrum](features), directions, loadings, noise)

    def problem(self, initial_weights: Array, *, embedding_penalty: float = 1.0, weight_decay: float = 0.0) -> Problem:
        """The problem of infinitely many pairs, from initial weights (k, d).

        Raises:
            UserError: as `Problem` does.
        """
        second_moment = (self.eigenvectors * self.eigenvalues) @ self.eigenvectors.T
        cross_covariance = (self.loadings * np.sqrt(self.eigenvalues)) @ self.eigenvectors.T
        return Problem(second_moment, cross_covariance, initial_weights, embedding_penalty, weight_decay)

    def sample(self, pairs: int, seed: int = 0) -> tuple[Array, Array]:
        """Images (n, d) and texts (n, k) of n pairs.

        Raises:
            UserError: if there is not at least one pair, or the seed is negative.
        """
        whole_number("pairs", pairs)
        whole_number("seed", seed, least=0)
        rng = np.random.default_rng([seed, pairs])
        factors = rng.standard_normal((pairs, len(self.eigenvalues)))
        images = (factors * np.sqrt(self.eigenvalues)) @ self.eigenvectors.T
        return images, factors @ self.loadings.T + self.noise * rng.standard_normal((pairs, len(self.loadings)))
