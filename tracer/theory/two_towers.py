"""Both towers trained: the linearised loss depends on the product of the two maps only, and its optimum is a truncated SVD."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from scipy import special

from tracer.errors import UserError
from tracer.number_checks import NOT_NEGATIVE, POSITIVE, Array, number, numbers, whole_number
from tracer.theory.closed_forms.ratio import ratio
from tracer.theory.gradient_flow import flow_of
from tracer.theory.limits import end_of
from tracer.theory.matrix_checks import matrix, not_negative, vector
from tracer.theory.metrics import Parameter
from tracer.theory.moments import Moments
from tracer.theory.path import Solution
from tracer.theory.recursion import times_within
from tracer.theory.strategies import Strategy

START_TOLERANCE = 1e-10
"""By how much a start may be unbalanced or off the singular vectors, as a share of its largest singular value."""
SIZE_ROUND_OFF = 1e-28
"""Share of the largest size up to which one is round-off: the square of that of the maps."""
TIE_TOLERANCE = 1e-10
"""Two singular values are tied if they differ by at most this share of the largest."""
LATE = 30.0
"""2ct from which an integral is computed by its logarithm: its exponential, 1e13 by then, would overflow later."""


@dataclass(frozen=True, eq=False)
class TwoTowers:
    """Training of an image map W_I (k, d_I) and a text map W_T (k, d_T), with the contrastive loss linearised:

        L(G) = -<G, C_2> + rho/2 |G|^2,   G = W_I^T W_T,   C_2 = X^T (Z - mean Z) / n.

    Its weights, on paths and in limits, are the product G, (d_I, d_T), and so are those of its teacher: L2-SP, and distillation in
    the metric "parameter", add strength/2 |G - G_0|^2. `limit` and, from a start like that of `balanced`, `gradient_flow` solve it
    for fine-tuning, static distillation and L2-SP.

    Source: Nakada et al., arXiv 2302.06232 (linearised loss).

    Attributes:
        cross_covariance: C_2, (d_I, d_T), of the images and centred texts that enter the towers.
        image_weights: W_I, (k, d_I), where training starts.
        text_weights: W_T, (k, d_T).
        embedding_penalty: rho > 0, weight of half the squared norm of the product G.

    Raises:
        UserError: if an array is no finite matrix, shapes do not fit, or the penalty is not positive and finite.
    """

    cross_covariance: Array
    image_weights: Array
    text_weights: Array
    embedding_penalty: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "cross_covariance", matrix("cross_covariance", self.cross_covariance))
        number("embedding_penalty", self.embedding_penalty, POSITIVE)
        maps = self._maps(self.image_weights, self.text_weights)
        for name, weights in zip(("image_weights", "text_weights"), maps, strict=True):
            object.__setattr__(self, name, weights)

    @classmethod
    def from_pairs(
        cls,
        images: Array,
        texts: Array,
        image_weights: Array,
        text_weights: Array,
        *,
        embedding_penalty: float = 1.0,
    ) -> Self:
        """The problem of the given pairs: images (n, d_I), texts (n, d_T), the inputs of the two maps.

        Raises:
            UserError: if the arrays do not fit each other or hold values that are not finite, and as `TwoTowers` does.
        """
        return cls(Moments.of([(images, texts)]).cross_covariance.T, image_weights, text_weights, embedding_penalty)

    @classmethod
    def balanced(cls, cross_covariance: Array, sizes: Array, embedding_penalty: float = 1.0) -> Self:
        """Started at maps of equal size along the leading singular vectors: W_I = diag(s_0)^(1/2) U^T, W_T = diag(s_0)^(1/2) V^T.

        They have W_I W_I^T = W_T W_T^T = diag(s_0), and a product with singular values s_0.

        Args:
            cross_covariance: C_2, (d_I, d_T).
            sizes: s_0 >= 0, (k,), in the order of the singular values of C_2.
            embedding_penalty: rho > 0.

        Raises:
            UserError: if sizes is no finite vector of at most min(d_I, d_T) values, or one is negative, and as `TwoTowers` does.
        """
        cross_covariance, sizes = matrix("cross_covariance", cross_covariance), vector("sizes", sizes)
        if len(sizes) > min(cross_covariance.shape):
            raise UserError(f"sizes has {len(sizes)} values, and the cross_covariance only {min(cross_covariance.shape)} modes")
        if sizes.min() < 0:
            raise UserError(f"sizes must not be negative, and holds {sizes.min()}: they are singular values")
        left, _, right = _singular_modes(cross_covariance)
        roots = np.sqrt(sizes)[:, None]
        return cls(cross_covariance, roots * left.T[: len(sizes)], roots * right.T[: len(sizes)], embedding_penalty)

    @cached_property
    def initial_weights(self) -> Array:
        """The product G_0 of the maps where training starts, (d_I, d_T)."""
        return self.image_weights.T @ self.text_weights

    @property
    def rank(self) -> int:
        """Dimensions k of the embedding."""
        return len(self.image_weights)

    @property
    def modes(self) -> tuple[Array, Array, Array]:
        """Singular value decomposition of C_2: U (d_I, r), values c (r,) from the largest, V (d_T, r), r = min(d_I, d_T)."""
        return _singular_modes(self.cross_covariance)

    def starting_from(self, image_weights: Array, text_weights: Array) -> Self:
        """The same problem from other maps W_I (k, d_I) and W_T (k, d_T)."""
        return replace(self, image_weights=image_weights, text_weights=text_weights)

    def loss(self, weights: Array) -> float:
        """L(G) of a product G = W_I^T W_T, (d_I, d_T)."""
        weights = matrix("weights", weights, *self.cross_covariance.shape)
        return float(0.5 * self.embedding_penalty * np.sum(weights**2) - np.sum(weights * self.cross_covariance))

    def gradients(self, image_weights: Array, text_weights: Array) -> tuple[Array, Array]:
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
        image_weights, text_weights = self._maps(image_weights, text_weights)
        residual = self.embedding_penalty * image_weights.T @ text_weights - self.cross_covariance
        return text_weights @ residual.T, image_weights @ residual

    def held(self, strength: float) -> Self:
        """The problem with strength/2 |G - G_0|^2 on top, which is one of its kind: C_2 + strength G_0 and rho + strength.

        Raises:
            UserError: if strength is negative.
        """
        not_negative(strength=strength)
        cross_covariance = self.cross_covariance + strength * self.initial_weights
        return replace(self, cross_covariance=cross_covariance, embedding_penalty=self.embedding_penalty + strength)

    def _maps(self, image_weights: Array, text_weights: Array) -> tuple[Array, Array]:
        features = self.cross_covariance.shape
        image_weights = matrix("image_weights", image_weights, columns=features[0])
        return image_weights, matrix("text_weights", text_weights, len(image_weights), features[1])


def _singular_modes(cross_covariance: Array) -> tuple[Array, Array, Array]:
    left, values, right = np.linalg.svd(cross_covariance, full_matrices=False)
    return left, values, right.T


@end_of.register
def _(posed: TwoTowers, strategy: Strategy, learning_rate: float | None, heavy_ball: float) -> Array:
    """By the Eckart-Young theorem, for L(G) is rho/2 |G - C_2 / rho|^2 up to a constant."""
    held = posed.held(_strength(strategy))
    return truncated(held.cross_covariance, posed.rank) / held.embedding_penalty


@flow_of.register
def _(posed: TwoTowers, strategy: Strategy, duration: float) -> Solution:
    return LogisticModes(posed.held(_strength(strategy)), duration)


class LogisticModes:
    """A solution of two towers under gradient flow of both maps from a balanced start: each mode logistic, on its own.

        G(t) = sum_i s_i(t) u_i v_i^T,   s_i(t) = logistic(c_i, s_i(0), rho, t).

    The start may be rotated, to (R W_I, R W_T) with R orthogonal. Gradient descent with learning rate eta follows it at
    t = eta x steps, up to O(eta). The teacher stands still. Source: this project.

    Args:
        towers: the problem, with what a teacher adds to it.
        duration: last time of the run.

    Raises:
        UserError: if the maps are not balanced along the singular vectors of C_2 or, when asked, a time lies outside the run.
    """

    def __init__(self, towers: TwoTowers, duration: float) -> None:
        self._left, self._values, self._right = towers.modes
        self._sizes, self._penalty, self._duration = self._balanced_sizes(towers), towers.embedding_penalty, duration

    def student(self, times: Array) -> Array:
        grown = logistic(self._values, self._sizes, self._penalty, self._within(times))
        return self._product(grown - self._sizes)

    def teacher(self, times: Array) -> Array:
        return np.zeros_like(self.student(times))

    def gap(self, times: Array) -> Array:
        return self.student(times)

    def impulse(self, times: Array) -> Array:
        time = self._within(times)
        return self._product(logistic_integral(self._values, self._sizes, self._penalty, time) - self._sizes * time)

    def _product(self, sizes: Array) -> Array:
        return (self._left * sizes[:, None, :]) @ self._right.T

    def _within(self, times: Array) -> Array:
        return times_within(times, self._duration)[:, None]

    def _balanced_sizes(self, towers: TwoTowers) -> Array:
        """Singular values s_0 of the start's modes, (r,), which each map holds half of; those that are round-off are zero."""
        image, text = towers.image_weights, towers.text_weights
        sizes = np.linalg.norm(image @ self._left, axis=0) * np.linalg.norm(text @ self._right, axis=0)
        largest = sizes.max()
        unaligned = np.abs(towers.initial_weights - (self._left * sizes) @ self._right.T).max()
        unbalanced = np.abs(image @ image.T - text @ text.T).max()
        if max(unaligned, unbalanced) > START_TOLERANCE * largest:
            raise UserError(
                "two towers have a closed form of gradient flow from balanced maps along the singular vectors of cross_covariance "
                "alone: start them with TwoTowers.balanced"
            )
        return np.where(sizes > SIZE_ROUND_OFF * largest, sizes, 0.0)


def _strength(strategy: Strategy) -> float:
    """Of static distillation of the product.

    Raises:
        UserError: if the strategy is another.
    """
    distillation = strategy.distillation
    if distillation.is_static and isinstance(distillation.measured_by, Parameter) and strategy.interpolation in (0.0, 1.0):
        return distillation.strength
    raise UserError(
        "two towers have closed forms for FineTuning, L2SP and Distillation(strength, Static(), 'parameter') of their product, "
        f"not for {strategy!r}"
    )


def logistic(singular_value: Array, start: Array, embedding_penalty: float, time: Array) -> Array:
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
    age, pushed = _age_and_push(singular_value, start, embedding_penalty, time)
    return ratio(start, np.exp(-age) + pushed * special.exprel(-age))


def logistic_integral(singular_value: Array, start: Array, embedding_penalty: float, time: Array) -> Array:
    """Integral of `logistic` from 0 to t, log(1 + rho s_0 (e^(2ct) - 1) / c) / (2 rho); arguments and errors as there.

    It keeps its digits however small it is.
    """
    age, pushed = _age_and_push(singular_value, start, embedding_penalty, time)
    early = np.log1p(pushed * special.exprel(np.minimum(age, LATE)))
    with np.errstate(divide="ignore"):  # a mode that is not started has the logarithm of 0, and grows by 0
        late = np.logaddexp(0.0, age + np.log(pushed * special.exprel(-age)))
    grown: Array = np.where(age < LATE, early, late)[()]
    return grown / (2.0 * embedding_penalty)


def _age_and_push(singular_value: Array, start: Array, embedding_penalty: float, time: Array) -> tuple[Array, Array]:
    """2ct, and 2 rho s_0 t."""
    number("embedding_penalty", embedding_penalty, POSITIVE)
    start, time = numbers("start", start, NOT_NEGATIVE), numbers("time", time, NOT_NEGATIVE)
    return 2.0 * numbers("singular_value", singular_value, NOT_NEGATIVE) * time, 2.0 * embedding_penalty * start * time


def truncated(target: Array, rank: int) -> Array:
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
    nearest: Array = (left[:, :rank] * values[:rank]) @ right[:rank]
    return nearest
