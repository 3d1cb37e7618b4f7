"""What a pool of replayed inputs can hold: how far keeping a map on the pool keeps it on other inputs, told from features alone.

Replay holds the student to a teacher on a pool of inputs, of second moment D (see `metrics.Inputs`). What is to be kept are other
inputs, of second moment Sigma_o. On either, the change from W_0 to W is measured by `geometry.forgetting`:

    F_D(W) = 1/2 tr((W - W_0) D (W - W_0)^T),   F_o(W) = 1/2 tr((W - W_0) Sigma_o (W - W_0)^T).

`kappa` is the worst case: how many times larger F_o can be than F_D. `coverage` is the typical one: the share of the inputs to keep
that the pool holds. Features are what enters the trained map, such as pooled features before the last projection; labels are not
needed, and `moments.second_moment` gathers them in batches. Source: this project.

    pool, keep = theory.second_moment(pool_features), theory.second_moment(features_to_keep)  # (m, d) and (n, d), or batches
    theory.coverage(pool, keep), theory.kappa(pool, keep)
"""

import numpy as np
from numpy.typing import ArrayLike

from tracer.errors import UserError
from tracer.number_checks import NOT_NEGATIVE, Array, numbers
from tracer.theory.closed_forms.ratio import ratio
from tracer.theory.matrix_checks import positive_semidefinite
from tracer.theory.problem import RANK_TOLERANCE


def coverage(pool: Array, keep: Array, delta: ArrayLike = 0.01) -> Array:
    """Share of the inputs to keep that a pool holds: 0 is none of them, 1 all.

        coverage(delta) = tr(Sigma_o D (D + delta s I)^-1) / tr(Sigma_o),   s = tr(D) / d, the mean eigenvalue of D.

    A direction counts in full if the pool is much stronger there than delta times its mean, and by half where it is as strong. So
    delta is the strength from which on a direction counts as seen: where the task pulls in all directions alike with curvature
    delta s lambda, distillation of strength lambda on the pool takes this share off the change of embeddings of the inputs to keep.
    It falls as delta grows; at 0 it is the share that lies in the span of the pool, 1 if all of it does. It bounds nothing: what a
    pool leaves unseen may be forgotten more than without the pool, which only `kappa` tells.

        >>> pool, keep = np.diag([1.5, 0.5, 0.0]), np.diag([1.0, 1.0, 2.0])
        >>> coverage(pool, keep, [0.0, 0.01]).round(3)  # half of what is to be kept lies where the pool has nothing
        array([0.5  , 0.496])

    Args:
        pool: D, second moment of the pool, (d, d).
        keep: Sigma_o, second moment of the inputs to keep, (d, d), in the same features.
        delta: not negative, of any shape, in units of the pool's mean eigenvalue.

    Returns:
        Shares in [0, 1], of delta's shape.

    Raises:
        UserError: if the matrices are no second moments of the same width, delta is negative, or the inputs to keep are all zero.
    """
    delta = numbers("delta", delta, NOT_NEGATIVE)
    strengths, directions, keep = _compared(pool, keep)
    kept = np.einsum("ij,ij->j", directions, keep @ directions)
    if kept.sum() <= 0:
        raise UserError("the features to keep are all zero, so that there is no share of them: give others")
    held = ratio(strengths, strengths + delta[..., None] * strengths.mean())
    shares: Array = np.clip(held @ kept / kept.sum(), 0.0, 1.0)
    return shares


def kappa(pool: Array, keep: Array) -> float:
    """The smallest number with F_o(W) <= kappa F_D(W) for all weights W; infinite if the inputs to keep leave the span of the pool.

        kappa = lambda_max(D^(+1/2) Sigma_o D^(+1/2)),   D^+ the pseudo-inverse.

    Where static distillation of strength lambda on the pool ends, F_o is at most kappa (L(W_0) - min L) / (4 lambda), L being the
    linearised loss, and at most kappa (L(W_0) - L(W)) / (2 lambda) for any convex loss of the weights. What of the pool's spectrum
    counts as zero, and of the inputs to keep as outside its span, is decided by `problem.RANK_TOLERANCE`.

        >>> kappa(np.diag([4.0, 0.25]), np.eye(2)), kappa(np.diag([4.0, 0.0]), np.eye(2))
        (4.0, inf)

    Args:
        pool: D, second moment of the pool, (d, d).
        keep: Sigma_o, second moment of the inputs to keep, (d, d), in the same features.

    Raises:
        UserError: if the matrices are no second moments of the same width.
    """
    strengths, directions, keep = _compared(pool, keep)
    seen = strengths > 0
    unseen = np.sum((keep @ directions[:, ~seen]) * directions[:, ~seen])
    if unseen > RANK_TOLERANCE * np.trace(keep):
        return np.inf
    white = directions[:, seen] / np.sqrt(strengths[seen])
    return float(np.linalg.eigvalsh(white.T @ keep @ white).max(initial=0.0))


def _compared(pool: Array, keep: Array) -> tuple[Array, Array, Array]:
    """The pool's eigenvalues (d,), those that are round-off set to 0, its eigenvectors (d, d), and the moment to keep, checked."""
    pool = positive_semidefinite("pool's second moment", pool)
    keep = positive_semidefinite("keep's second moment", keep, len(pool))
    values, vectors = np.linalg.eigh(pool)
    return np.where(values > RANK_TOLERANCE * values[-1], values, 0.0), vectors, keep
