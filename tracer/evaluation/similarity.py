"""How alike two representations of the same inputs are, whatever basis each is written in: linear CKA, and SVCCA."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from tracer.errors import UserError


def cka(one: ArrayLike, other: ArrayLike) -> float:
    """Linear centred kernel alignment, |Y^T X|^2 / (|X^T X| |Y^T Y|) with centred columns and Frobenius norms; in [0, 1].

    Rotations and isotropic scalings of either do not change it; other linear maps do, since directions of more variance weigh more.
    Kornblith et al., arXiv 1905.00414, equation 5.

    Args:
        one: activations X (n, p), a row a sample.
        other: activations Y (n, q) of the same samples.

    Raises:
        UserError: if the numbers of samples differ, an activation is not finite, or one side is constant.
    """
    x, y = _centred(one, other)
    return float(linalg.norm(y.T @ x) ** 2 / (linalg.norm(x.T @ x) * linalg.norm(y.T @ y)))


def svcca(one: ArrayLike, other: ArrayLike, variance: float = 0.99) -> float:
    """Mean canonical correlation of the leading singular directions of both; in [0, 1].

    Each side keeps the fewest directions that hold that share of its variance, the sum of squared singular values, and the mean is
    over the smaller of the two numbers. With `variance=1` it is plain CCA, unchanged by invertible linear maps of either side. Of
    n samples in fewer than n / 10 directions or so: with more of them even independent activations correlate, and with n all do.
    Raghu et al., arXiv 1706.05806.

    Args:
        one: activations (n, p), a row a sample.
        other: activations (n, q) of the same samples.
        variance: in (0, 1].

    Raises:
        UserError: as `cka`, and if the share is out of range.
    """
    if not 0 < variance <= 1:
        raise UserError(f"the share of variance that is kept must lie in (0, 1], and is {variance}")
    bases = [_leading(activations, variance) for activations in _centred(one, other)]
    return float(linalg.svdvals(bases[0].T @ bases[1]).clip(max=1).mean())


def _leading(centred: np.ndarray, variance: float) -> np.ndarray:
    """(n, m): orthonormal columns that span the leading singular directions, those of no variance left out."""
    left, singular, _ = linalg.svd(centred, full_matrices=False)
    rank = int((singular > singular[0] * max(centred.shape) * np.finfo(float).eps).sum())
    shares = np.cumsum(singular[:rank] ** 2) / np.sum(singular[:rank] ** 2)
    kept: np.ndarray = left[:, : min(int(np.searchsorted(shares, variance)) + 1, rank)]
    return kept


def _centred(one: ArrayLike, other: ArrayLike) -> list[np.ndarray]:
    sides = [np.asarray(side, dtype=float) for side in (one, other)]
    if len(sides[0]) != len(sides[1]):
        raise UserError(f"the activations are of {len(sides[0])} and {len(sides[1])} samples: compare them on the same samples")
    if not all(np.isfinite(side).all() for side in sides):
        raise UserError("an activation is not finite: the model has diverged")
    if any((side == side[:1]).all() for side in sides):
        raise UserError("activations that are the same for all samples resemble nothing: take more samples, or another layer")
    return [side - side.mean(axis=0) for side in sides]


MEASURES = {"cka": cka, "svcca": svcca}
