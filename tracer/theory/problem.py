"""The linearised contrastive problem: matrix least squares against the contrastive target matrix."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Any, Protocol, Self

import numpy as np

from tracer.errors import UserError
from tracer.number_checks import LEADING_SHARE, Array, number, whole_number
from tracer.theory.matrix_checks import matrix, not_negative, positive_semidefinite
from tracer.theory.moments import Moments
from tracer.theory.subspace import Subspace

RANK_TOLERANCE = 1e-12
"""The one rank rule: an eigenvalue of the second moment counts as zero if it is at most this share of the largest."""
ROUND_OFF = 1e-13
"""Share of a gradient up to which its part in a direction that the data do not reach is taken for round-off."""


class LearningProblem(Protocol):
    """What is learned: a `Problem`, a `Linearisation`, or `TwoTowers`."""

    @property
    def initial_weights(self) -> Array:
        """W_0, (k, d), where training starts."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Fine-tuning of an image map W (k, d) beside a frozen text tower, with the contrastive loss linearised:

        L(W) = -<W, C> + rho/2 tr(W Sigma W^T) + mu/2 |W|^2 = rho/(2n) |W X - M|^2 + mu/2 |W|^2 + const.

    Source: Nakada et al., arXiv 2302.06232 (linearised loss); TRACER, arXiv 2605.29380 (contrastive target matrix M).

    Attributes:
        second_moment: Sigma, (d, d), of the image features, not centred.
        cross_covariance: C, (k, d), of centred text embeddings and image features.
        initial_weights: W_0, (k, d), the pretrained image map.
        embedding_penalty: rho, weight of half the mean squared norm of the image embeddings.
        weight_decay: mu, weight of half the squared norm of W.
        samples: number of pairs n; None for a population.
        pairs: images (n, d) and texts (n, k), where the problem was made from them.

    Raises:
        UserError: if shapes do not fit, values are not finite, a penalty is negative, the second moment is not positive
            semidefinite, or the loss has no minimum.
    """

    second_moment: Array
    cross_covariance: Array
    initial_weights: Array
    embedding_penalty: float = 1.0
    weight_decay: float = 0.0
    samples: int | None = None
    pairs: tuple[Array, Array] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "second_moment", positive_semidefinite("second_moment", self.second_moment))
        self._check()
        if self.samples is not None:
            whole_number("samples", self.samples)
        if self.pairs is not None:
            (k, d), (images, texts) = self.initial_weights.shape, self.pairs
            images = matrix("the pairs' images", images, columns=d)
            object.__setattr__(self, "pairs", (images, matrix("the pairs' texts", texts, len(images), k)))

    def _check(self) -> None:
        """Check everything but the second moment itself."""
        initial_weights = matrix("initial_weights", self.initial_weights, columns=len(self.second_moment))
        cross = matrix("cross_covariance", self.cross_covariance, *initial_weights.shape)
        not_negative(embedding_penalty=self.embedding_penalty, weight_decay=self.weight_decay)
        object.__setattr__(self, "initial_weights", initial_weights)
        object.__setattr__(self, "cross_covariance", cross)
        self._require_a_minimum()

    def _changed(self, **fields: Any) -> Self:
        """The problem with other fields and the same second moment, whose eigen-decomposition it takes over."""
        other = copy.copy(self)
        for name, value in fields.items():
            object.__setattr__(other, name, value)
        other.__dict__.pop("initial_modes", None)
        other._check()
        return other

    @classmethod
    def from_pairs(
        cls,
        images: Array,
        texts: Array,
        initial_weights: Array,
        *,
        embedding_penalty: float = 1.0,
        weight_decay: float = 0.0,
    ) -> Self:
        """The problem of the given pairs: images (n, d), texts (n, k), initial_weights (k, d).

            >>> images, texts = np.eye(3), np.array([[1.0], [2.0], [6.0]])
            >>> problem = Problem.from_pairs(images, texts, initial_weights=np.zeros((1, 3)))
            >>> problem.target_matrix.ravel()  # the centred texts
            array([-2., -1.,  3.])
            >>> problem.rank, problem.curvatures.round(3)
            (3, array([0.333, 0.333, 0.333]))

        Raises:
            UserError: as `Problem` does.
        """
        moments = Moments.of([(images, texts)])
        return cls._of(moments, initial_weights, embedding_penalty, weight_decay, (images, texts))

    @classmethod
    def from_chunks(
        cls,
        chunks: Iterable[tuple[Array, Array]],
        initial_weights: Array,
        *,
        embedding_penalty: float = 1.0,
        weight_decay: float = 0.0,
    ) -> Self:
        """The problem of all pairs that arrive in chunks of (images (m, d), texts (m, k)); only their moments are kept.

        Raises:
            UserError: as `Problem` and `Moments` do.
        """
        return cls._of(Moments.of(chunks), initial_weights, embedding_penalty, weight_decay, None)

    @classmethod
    def _of(
        cls,
        moments: Moments,
        initial_weights: Array,
        embedding_penalty: float,
        weight_decay: float,
        pairs: tuple[Array, Array] | None,
    ) -> Self:
        return cls(
            moments.second_moment,
            moments.cross_covariance,
            matrix("initial_weights", initial_weights, *moments.cross_covariance.shape),
            embedding_penalty,
            weight_decay,
            moments.samples,
            pairs,
        )

    def _require_a_minimum(self) -> None:
        if self.weight_decay > 0:
            return
        if self.embedding_penalty == 0:
            raise UserError(
                "the loss has no minimum with embedding_penalty and weight_decay both 0: give one of them a value above zero"
            )
        outside = np.linalg.norm(self.task_subspace.orthogonal(self.cross_covariance))
        # round-off is a share of the texts' size, which moments do not tell: it is taken for 1
        bound = np.sqrt(RANK_TOLERANCE) * max(np.linalg.norm(self.cross_covariance), np.sqrt(self.eigenvalues[0]))
        if outside > 10 * bound:
            raise UserError(
                f"cross_covariance has a part of norm {outside:.3g} outside the range of second_moment, so the loss has no "
                "minimum: take both from the same pairs, or give a weight_decay above zero"
            )

    @cached_property
    def _spectrum(self) -> tuple[Array, Array]:
        values, vectors = np.linalg.eigh(self.second_moment)
        return np.maximum(values[::-1], 0.0), np.ascontiguousarray(vectors[:, ::-1])

    @property
    def eigenvalues(self) -> Array:
        """s, (d,), of the second moment, largest first; round-off below zero is cut off."""
        return self._spectrum[0]

    @property
    def eigenvectors(self) -> Array:
        """V, (d, d), one eigenvector v_j a column, in the order of `eigenvalues`."""
        return self._spectrum[1]

    @property
    def rank(self) -> int:
        """Number of eigenvalues above RANK_TOLERANCE times the largest."""
        return int(np.sum(self.eigenvalues > RANK_TOLERANCE * self.eigenvalues[0]))

    def effective_rank(self, energy: float) -> int:
        """Fewest leading eigenvalues that hold the share `energy` (0 to 1) of their sum, at most `rank`.

        Raises:
            UserError: if energy lies outside (0, 1].
        """
        number("energy", energy, LEADING_SHARE)
        held = np.cumsum(self.eigenvalues[: self.rank])
        return int(np.searchsorted(held, energy * held[-1] * (1 - 1e-15)) + 1) if len(held) else 0

    @cached_property
    def task_subspace(self) -> Subspace:
        """Range of the image features, spanned by the first `rank` eigenvectors."""
        return Subspace(self.eigenvectors[:, : self.rank])

    def effective_task_subspace(self, energy: float) -> Subspace:
        """Span of the leading eigenvectors that hold the share `energy` of the second moment's trace."""
        return Subspace(self.eigenvectors[:, : self.effective_rank(energy)])

    @property
    def curvatures(self) -> Array:
        """sigma_j = rho s_j + mu, (d,), in the order of `eigenvalues`."""
        return self.embedding_penalty * self.eigenvalues + self.weight_decay

    @property
    def curvature_matrix(self) -> Array:
        """rho Sigma + mu I, (d, d)."""
        return self.embedding_penalty * self.second_moment + self.weight_decay * np.eye(len(self.second_moment))

    @property
    def target_matrix(self) -> Array:
        """The contrastive target matrix M = (Z - mean Z) / rho, one row a pair, (n, k) (M transposed, in the paper's layout).

        Source: TRACER, arXiv 2605.29380.

        Raises:
            UserError: if the problem was made from moments, or embedding_penalty is 0.
        """
        if self.pairs is None:
            raise UserError("a target matrix has one row a pair and this problem has only moments: make it with Problem.from_pairs")
        if self.embedding_penalty == 0:
            raise UserError("the target matrix is the centred texts over embedding_penalty, which is 0 here: give it a value above")
        texts: Array = self.pairs[1] - self.pairs[1][0]  # first, so that a large common offset costs the mean no digits
        centred: Array = texts - texts.mean(axis=0)
        return centred / self.embedding_penalty

    def loss(self, weights: Array) -> float:
        """L(W) of weights (k, d)."""
        weights = matrix("weights", weights, *self.initial_weights.shape)
        embedded = self.embedding_penalty * np.sum((weights @ self.second_moment) * weights)
        return float(0.5 * embedded + 0.5 * self.weight_decay * np.sum(weights**2) - np.sum(weights * self.cross_covariance))

    def gradient(self, weights: Array) -> Array:
        """Gradient W (rho Sigma + mu I) - C of L at weights (k, d), (k, d)."""
        weights = matrix("weights", weights, *self.initial_weights.shape)
        return self.embedding_penalty * weights @ self.second_moment + self.weight_decay * weights - self.cross_covariance

    @cached_property
    def initial_modes(self) -> Array:
        """Gradient of L at the pretrained weights in the eigenbasis of the second moment, (k, d).

        Where the data do not reach, what is only the round-off of a zero is set to zero, so that nothing moves there for ever.
        """
        modes = self.gradient(self.initial_weights) @ self.eigenvectors
        if self.weight_decay == 0:
            pushed = self.embedding_penalty * self.eigenvalues[0] * np.linalg.norm(self.initial_weights)
            round_off = ROUND_OFF * (np.linalg.norm(self.cross_covariance) + pushed)
            unseen = self.eigenvalues <= RANK_TOLERANCE * self.eigenvalues[0]
            modes[:, unseen & (np.linalg.norm(modes, axis=0) <= round_off)] = 0.0
        return modes

    def starting_from(self, weights: Array) -> Self:
        """The same problem from other initial weights (k, d)."""
        return self._changed(initial_weights=weights)

    def with_weight_decay(self, weight_decay: float) -> Self:
        """The same problem with another mu."""
        return self._changed(weight_decay=weight_decay)

    def in_batches(self, batch_size: int, *, replacement: bool = False) -> Self:
        """The problem whose full-batch trajectory is the expected one of random batches, centred within the batch.

            E[C_B] = C (B - 1) n / (B (n - 1)) without replacement,   C (B - 1) / B with it or from a population.

        Exact for independent batches; passing through the data in shuffled epochs deviates by O(learning rate).
        Source: this project.

        Raises:
            UserError: if a batch has fewer than 2 pairs, or more than there are to draw without replacement.
        """
        most = np.inf if self.samples is None or replacement else self.samples
        if not (isinstance(batch_size, Integral) and 2 <= batch_size <= most):
            bound = "at least 2" if most == np.inf else f"between 2 and the number of pairs, {most}"
            raise UserError(f"batch_size must be a whole number, {bound}, and is {batch_size}")
        factor = (batch_size - 1) / batch_size
        if self.samples is not None and not replacement:
            factor *= self.samples / (self.samples - 1)
        return self._changed(cross_covariance=factor * self.cross_covariance, pairs=None)
