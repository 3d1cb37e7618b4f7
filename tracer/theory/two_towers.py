"""Both towers trained: the linearised loss depends on the product of the two maps only, and its optimum is a truncated SVD."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from tracer.errors import UserError
from tracer.quantities import NOT_NEGATIVE, POSITIVE, number, numbers, whole_number
from tracer.theory.moments import Moments
from tracer.theory.validation import matrix, not_negative, vector

TIE_TOLERANCE = 1e-10
"""Two singular values are tied if they differ by at most this share of the largest."""


@dataclass(frozen=True, eq=False)
class TwoTowers:
    """Training of an image map W_I (k, d_I) and a text map W_T (k, d_T), with the contrastive loss linearised:

        L(G) = -<G, C_2> + rho/2 |G|^2,   G = W_I^T W_T,   C_2 = X^T (Z - mean Z) / n.

    Source: Nakada et al., arXiv 2302.06232 (linearised loss).

    Attributes:
        cross_covariance: C_2, (d_I, d_T), of the images and centred texts that enter the towers.
        embedding_penalty: rho > 0, weight of half the squared norm of the product G.

    Raises:
        UserError: if the cross-covariance is no finite matrix, or the penalty is not positive and finite.
    """

    cross_covariance: np.ndarray
    embedding_penalty: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "cross_covariance", matrix("cross_covariance", self.cross_covariance))
        number("embedding_penalty", self.embedding_penalty, POSITIVE)

    @classmethod
    def from_pairs(cls, images: np.ndarray, texts: np.ndarray, *, embedding_penalty: float = 1.0) -> "TwoTowers":
        """The problem of the given pairs: images (n, d_I), texts (n, d_T), the inputs of the two maps.

        Raises:
            UserError: if the arrays do not fit each other or hold values that are not finite, and as `TwoTowers` does.
        """
        return cls(Moments.of([(images, texts)]).cross_covariance.T, embedding_penalty)

    @cached_property
    def modes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Singular value decomposition of C_2: U (d_I, r), values c (r,) from the largest, V (d_T, r), r = min(d_I, d_T)."""
        left, values, right = np.linalg.svd(self.cross_covariance, full_matrices=False)
        return left, values, right.T

    def loss(self, product: np.ndarray) -> float:
        """L(G) of a product G = W_I^T W_T, (d_I, d_T)."""
        product = matrix("product", product, *self.cross_covariance.shape)
        return float(0.5 * self.embedding_penalty * np.sum(product**2) - np.sum(product * self.cross_covariance))

    def gradients(self, image_weights: np.ndarray, text_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradients of L(W_I^T W_T) in W_I and W_T.

            dL/dW_I = W_T (rho G - C_2)^T,   dL/dW_T = W_I (rho G - C_2).

        Args:
            image_weights: W_I, (k, d_I).
            text_weights: W_T, (k, d_T).

        Returns:
            Arrays of those shapes.

        Raises:
            UserError: if the shapes do not fit.
        """
        image_weights = matrix("image_weights", image_weights, columns=self.cross_covariance.shape[0])
        text_weights = matrix("text_weights", text_weights, len(image_weights), self.cross_covariance.shape[1])
        residual = self.embedding_penalty * image_weights.T @ text_weights - self.cross_covariance
        return text_weights @ residual.T, image_weights @ residual

    def optimum(self, rank: int) -> np.ndarray:
        """The best product of two maps into `rank` dimensions, SVD_rank(C_2) / rho, (d_I, d_T).

        By the Eckart-Young theorem, for L(G) is rho/2 |G - C_2 / rho|^2 up to a constant.
        Source: Nakada et al., arXiv 2302.06232.

        Raises:
            UserError: if rank is below 1, or singular values rank and rank + 1 are tied, so that there are many optima.
        """
        return truncated(self.cross_covariance, rank) / self.embedding_penalty

    def distilled_optimum(self, rank: int, product: np.ndarray, strength: float) -> np.ndarray:
        """The best product under the penalty strength/2 |G - G_0|^2, SVD_rank(C_2 + strength G_0) / (rho + strength), (d_I, d_T).

        Source: this project.

        Args:
            rank: dimensions of the embedding, k.
            product: G_0 = W_I^T W_T of the pretrained maps, (d_I, d_T).
            strength: lambda.

        Raises:
            UserError: as `optimum` does, if the product's shape does not fit, or strength is negative.
        """
        product = matrix("product", product, *self.cross_covariance.shape)
        not_negative(strength=strength)
        return truncated(self.cross_covariance + strength * product, rank) / (self.embedding_penalty + strength)

    def balanced_start(self, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Maps of equal size along the leading singular vectors: W_I = diag(s_0)^(1/2) U^T, W_T = diag(s_0)^(1/2) V^T.

        They have W_I W_I^T = W_T W_T^T = diag(s_0), and a product with singular values s_0.

        Args:
            sizes: s_0 >= 0, (k,), in the order of the singular values of C_2.

        Returns:
            W_I (k, d_I) and W_T (k, d_T).

        Raises:
            UserError: if sizes is no finite vector of at most min(d_I, d_T) values, or one is negative.
        """
        sizes = self._sizes(sizes)
        left, _, right = self.modes
        roots = np.sqrt(sizes)[:, None]
        return roots * left.T[: len(sizes)], roots * right.T[: len(sizes)]

    def products(self, sizes: np.ndarray, times: np.ndarray) -> np.ndarray:
        """W_I^T W_T over time, under gradient flow of both maps from `balanced_start(sizes)`: each mode logistic, on its own.

            G(t) = sum_i s_i(t) u_i v_i^T,   s_i(t) = logistic(c_i, s_i(0), rho, t).

        The start may be rotated, to (R W_I, R W_T) with R orthogonal. Gradient descent with learning rate eta follows it at
        t = eta x steps, up to O(eta). Source: this project.

        Args:
            sizes: s(0), (k,).
            times: (m,), finite and not negative.

        Returns:
            (m, d_I, d_T).

        Raises:
            UserError: as `balanced_start` and `logistic` do.
        """
        sizes = self._sizes(sizes)
        left, values, right = (part[..., : len(sizes)] for part in self.modes)
        grown = logistic(values, sizes, self.embedding_penalty, vector("times", np.atleast_1d(times))[:, None])
        return (left * grown[:, None, :]) @ right.T

    def _sizes(self, sizes: np.ndarray) -> np.ndarray:
        array = vector("sizes", sizes)
        if len(array) > min(self.cross_covariance.shape):
            raise UserError(
                f"sizes has {len(array)} values, and the cross_covariance only {min(self.cross_covariance.shape)} modes"
            )
        if array.min() < 0:
            raise UserError(f"sizes must not be negative, and holds {array.min()}: they are singular values")
        return array


def logistic(singular_value: np.ndarray, start: np.ndarray, embedding_penalty: float, time: np.ndarray) -> np.ndarray:
    """Growth of one mode of the product under gradient flow of both maps from a balanced start.

        s' = 2 s (c - rho s),   s(t) = (c / rho) / (1 + (c / (rho s_0) - 1) exp(-2 c t)).

    Evaluated as s_0 / (e^(-2ct) + 2 rho s_0 t (1 - e^(-2ct)) / (2ct)), which neither overflows at late times nor divides by a
    singular value of 0, whose mode shrinks as s_0 / (1 + 2 rho s_0 t). Source: this project.

    Args:
        singular_value: c >= 0, any shape.
        start: s_0 >= 0.
        embedding_penalty: rho > 0.
        time: t >= 0, learning rate x steps; all broadcast against each other.

    Returns:
        s(t), of the broadcast shape.

    Raises:
        UserError: if the penalty is not positive, or another number is negative or not finite.
    """
    number("embedding_penalty", embedding_penalty, POSITIVE)
    start, time = numbers("start", start, NOT_NEGATIVE), numbers("time", time, NOT_NEGATIVE)
    age = 2.0 * numbers("singular_value", singular_value, NOT_NEGATIVE) * time
    divisor = np.exp(-age) + 2.0 * embedding_penalty * start * time * special.exprel(-age)
    return np.divide(start, divisor, out=np.zeros_like(divisor), where=divisor > 0)


def truncated(target: np.ndarray, rank: int) -> np.ndarray:
    """SVD_rank of a matrix: the nearest one of at most that rank, in the target's shape.

    Raises:
        UserError: if rank is below 1, or there are many nearest ones because singular values rank and rank + 1 are tied.
    """
    whole_number("rank", rank)
    left, values, right = np.linalg.svd(matrix("target", target), full_matrices=False)
    smallest = TIE_TOLERANCE * values[0]
    if rank < len(values) and values[rank] > smallest and values[rank - 1] - values[rank] <= smallest:
        raise UserError(
            f"singular values {rank} and {rank + 1} are tied at {values[rank]:.6g}, so there are many optima of rank {rank}: "
            "choose a rank that keeps both or neither"
        )
    return (left[:, :rank] * values[:rank]) @ right[:rank]
