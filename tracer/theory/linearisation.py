"""The true contrastive loss near the pretrained model: its gradient and Hessian there, what they predict, and where they end.

The linearised loss of `Problem` is the expansion at small logits. A pretrained model's logits are not small, and its gradient may
point elsewhere; expanding at the pretrained weights costs no closed form per mode, but needs no assumption on the logits.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from scipy import special
from scipy.sparse.linalg import LinearOperator, cg

from tracer.errors import UserError
from tracer.number_checks import POSITIVE, Array, number, whole_number
from tracer.theory.decoupled_modes import DecoupledModes
from tracer.theory.gradient_descent import descent_of
from tracer.theory.gradient_flow import flow_of
from tracer.theory.limits import end_of
from tracer.theory.matrix_checks import matrix, not_negative
from tracer.theory.metrics import Parameter
from tracer.theory.modes import Modes, modes_of
from tracer.theory.path import Solution
from tracer.theory.recursion import Propagators, Stepping
from tracer.theory.strategies import Distillation, Strategy

GRADIENT_TOLERANCE = 1e-10
"""Norm of the gradient at an optimum, relative to its natural size logit_scale rms|z| rms|x|."""
CG_STEPS = 10_000
NEWTON_STEPS = 200
FORCING = 0.01
"""Relative residual to which the equations of a Newton step are solved, unless its result is the end."""
LARGEST_SHARE_OUTSIDE = 1e-3
"""Of the gradient's norm that may lie outside the Lanczos basis."""
BREAKDOWN = 1e-14
"""A Lanczos vector this small, relative to the largest Ritz value's bound, is round-off: the space is complete."""


@dataclass(frozen=True, eq=False)
class Linearisation:
    """The symmetric contrastive loss of an image map beside a frozen text tower, expanded at the pretrained weights:

        L(W) = loss(S) + rho/2 mean |W x|^2 + mu/2 |W|^2,   logits S = logit_scale images W^T texts^T (n, n),
        loss(S) = mean_i [ (logsumexp_j S_ij + logsumexp_j S_ji) / 2 - S_ii ],
        L(W_0 + D) = L(W_0) + <gradient, D> + <D, H[D]> / 2 + O(|D|^3).

    With P and R the softmax of the logits over texts and over images, the gradient of the loss is
    logit_scale texts^T ((P + R)/2 - I)^T images / n, and its Hessian

        H[D] = logit_scale texts^T (P o (S' - rowsum(P o S')) + R o (S' - colsum(R o S')))^T images / (2n),   S' the logits of D,

    which is positive semidefinite (the logits being linear in W, Gauss-Newton is exact). Embeddings are not normalised. A product
    costs O(n^2 k) time and five (n, n) matrices.

    `gradient_descent`, `gradient_flow` and `limit` solve the quadratic model, for every strategy but LP-FT and with distillation in
    the metric "parameter". Descent and flow are followed in the Lanczos basis Q of H started at the gradient g,

        W_t = W_0 - |g| Q y_t(T) e_1,   T = Q^T H Q,

    y_t being the response of one mode (`recursion.propagate`). Descent is exact in the model for up to `vectors` steps. Later, and
    in flow, what the basis cannot hold is known: beta times the last element of y_t(T) e_1, beta being the length of the next
    Lanczos vector before it is scaled, is the share of the gradient's norm that the model's gradient has outside the basis by then.
    The displacement's relative error is mostly below that share, and paths are refused where it is above LARGEST_SHARE_OUTSIDE.

    Of the true gradient the model misses what is second order in the displacement; after a fixed number of steps, smaller and
    smaller, the relative error of the displacement falls with the square of its size. Source: this project.

    Attributes:
        images: (n, d).
        texts: embeddings (n, k) of the same pairs.
        initial_weights: W_0, (k, d).
        logit_scale: 1 / tau.
        embedding_penalty: rho.
        weight_decay: mu.
        vectors: size of the Lanczos basis, that many Hessian products.

    Raises:
        UserError: if shapes do not fit, values are not finite, a penalty is negative, logit_scale is not positive, or vectors
            below 1; and of a path, if the basis does not hold it up to a time that is asked for.
    """

    images: Array
    texts: Array
    initial_weights: Array
    logit_scale: float
    embedding_penalty: float = 0.0
    weight_decay: float = 0.0
    vectors: int = 20

    def __post_init__(self) -> None:
        images = matrix("images", self.images)
        texts = matrix("texts", self.texts, rows=len(images))
        initial_weights = matrix("initial_weights", self.initial_weights, texts.shape[1], images.shape[1])
        number("logit_scale", self.logit_scale, POSITIVE)
        not_negative(embedding_penalty=self.embedding_penalty, weight_decay=self.weight_decay)
        whole_number("vectors", self.vectors)
        for name, array in (("images", images), ("texts", texts), ("initial_weights", initial_weights)):
            object.__setattr__(self, name, array)

    def loss(self, weights: Array) -> float:
        """L(W) of weights (k, d), the true loss and the penalties."""
        weights = self._weights(weights)
        logits = self._logits(weights)
        normalisers = special.logsumexp(logits, axis=1) + special.logsumexp(logits, axis=0)
        penalties = self.embedding_penalty * np.mean(np.sum((self.images @ weights.T) ** 2, axis=1))
        penalties += self.weight_decay * np.sum(weights**2)
        return float(np.mean(normalisers / 2 - np.diag(logits)) + penalties / 2)

    def gradient(self, weights: Array | None = None) -> Array:
        """Gradient of L at weights (k, d), or at the pretrained ones, (k, d)."""
        return self._point(weights).gradient

    def hessian_product(self, direction: Array, weights: Array | None = None) -> Array:
        """The Hessian of L at weights (k, d), or at the pretrained ones, times a direction (k, d), (k, d)."""
        return self._point(weights).product(matrix("direction", direction, *self.initial_weights.shape))

    def logit_change(self, weights: Array) -> float:
        """Root mean square change of the logits from the pretrained ones, the measure of how far the expansion carries.

        Softmaxes change their curvature where logits move by about 1. How fast that tells depends on the data: on random ones
        relative errors of predicted displacements are about 0.01 at a change of 0.5, 0.05 at 1.2 and 0.14 at 2, on a small
        pretrained CLIP 0.01 at 1.6 and 0.08 at 4.
        """
        return float(np.sqrt(np.mean(self._logits(self._weights(weights) - self.initial_weights) ** 2)))

    @property
    def curvatures(self) -> Array:
        """Ritz values of the Hessian at the pretrained weights, from the smallest, (at most `vectors`,).

        The largest ones approximate the largest eigenvalues, which bound the learning rate (see `max_learning_rate`).
        """
        return self._krylov.values

    def with_weight_decay(self, weight_decay: float) -> Self:
        """The same problem with another mu."""
        return replace(self, weight_decay=weight_decay)

    def true_optimum(self, strength: float = 0.0) -> Array:
        """Minimiser of the true L + strength/2 |W - W_0|^2, by Newton's method, (k, d).

        Steps along Newton's direction are halved until the norm of the gradient falls, which for a convex function it does; the
        norm ends below GRADIENT_TOLERANCE. Source: this project; the penalty is L2-SP's, arXiv 1802.01483.

        Raises:
            UserError: if strength is negative, there need be no minimum (strength and both penalties 0), or none was reached.
        """
        not_negative(strength=strength)
        if strength == self.embedding_penalty == self.weight_decay == 0:
            raise UserError(
                "the contrastive loss alone need not have a minimum (pairs that can be told apart push the weights to infinity): "
                "give a strength, embedding_penalty or weight_decay above zero"
            )
        moved: Array = np.zeros_like(self.initial_weights)
        point = self._pretrained
        gradient: Array = point.gradient
        for _ in range(NEWTON_STEPS):
            if np.linalg.norm(gradient) <= GRADIENT_TOLERANCE * self._gradient_size:
                return self.initial_weights + moved
            direction = _newton_direction(point, gradient, strength, FORCING)
            moved, point, gradient = self._line_search(moved, direction, strength, float(np.linalg.norm(gradient)))
        raise UserError(f"no minimum was reached in {NEWTON_STEPS} Newton steps: give a larger strength")

    def _line_search(self, moved: Array, direction: Array, strength: float, norm: float) -> tuple[Array, "_Point", Array]:
        """The displacement after the longest of the steps 1, 1/2, ... that makes the gradient shorter, its point and gradient."""
        for halvings in range(50):
            share = 0.5**halvings
            there = moved + share * direction
            point = self._point(self.initial_weights + there)
            gradient = point.gradient + strength * there
            if np.linalg.norm(gradient) <= (1 - 1e-3 * share) * norm:
                return there, point, gradient
        raise UserError("the gradient cannot be made shorter in double precision: rescale images and texts to norms around 1")

    @cached_property
    def _pretrained(self) -> "_Point":
        return _Point(self, self.initial_weights)

    def _point(self, weights: Array | None) -> "_Point":
        return self._pretrained if weights is None else _Point(self, self._weights(weights))

    def _weights(self, weights: Array) -> Array:
        return matrix("weights", weights, *self.initial_weights.shape)

    def _logits(self, weights: Array) -> Array:
        return self.logit_scale * (self.images @ weights.T) @ self.texts.T

    @cached_property
    def _gradient_size(self) -> float:
        return float(self.logit_scale * np.linalg.norm(self.images) * np.linalg.norm(self.texts) / len(self.images))

    @cached_property
    def _krylov(self) -> "_Krylov":
        return _lanczos(self._pretrained.product, self.gradient(), self.vectors)


class _Point:
    """First and second derivatives of the loss at one place, whose softmaxes are computed once."""

    def __init__(self, loss: Linearisation, weights: Array) -> None:
        self._loss = loss
        logits = loss._logits(weights)
        self._over_texts, self._over_images = special.softmax(logits, axis=1), special.softmax(logits, axis=0)
        residual = self._over_texts + self._over_images
        np.einsum("ii->i", residual)[:] -= 2.0
        self.gradient = self._through_logits(residual) + self._penalised(weights)

    def product(self, direction: Array) -> Array:
        """The Hessian times a direction, (k, d)."""
        change = self._loss._logits(direction)
        over_texts = np.einsum("ij,ij->i", self._over_texts, change)
        over_images = np.einsum("ij,ij->j", self._over_images, change)
        curved = self._over_texts * (change - over_texts[:, None])
        curved += self._over_images * (change - over_images)
        return self._through_logits(curved) + self._penalised(direction)

    def _through_logits(self, residual: Array) -> Array:
        """From twice n times the derivative in the logits (n, n) to the one in the weights, (k, d)."""
        loss = self._loss
        return loss.logit_scale / (2 * len(residual)) * (residual @ loss.texts).T @ loss.images

    def _penalised(self, weights: Array) -> Array:
        loss = self._loss
        embedded = weights @ loss.images.T @ loss.images / len(loss.images)
        return loss.embedding_penalty * embedded + loss.weight_decay * weights


class _Krylov(NamedTuple):
    """Of a Krylov space of m Lanczos vectors.

    Attributes:
        values, vectors: Ritz values (m,) and vectors (m, k d).
        start: component of what the space was started at along each, (m,).
        leaks: what the operator makes of each Ritz vector outside the space, relative to the start's norm, (m,).
    """

    values: Array
    vectors: Array
    start: Array
    leaks: Array

    def watched(self, solution: Solution) -> DecoupledModes:
        """A solution in the Ritz vectors that refuses times up to which the space does not hold it."""
        assert isinstance(solution, DecoupledModes), "the parameter metric couples no modes"

        def propagate(times: Array) -> Propagators:
            found = solution.response(times)
            outside = np.abs(found.student_response @ (self.start * self.leaks))
            if (share := outside.max(initial=0.0)) > LARGEST_SHARE_OUTSIDE:
                raise UserError(
                    f"{len(self.values)} Lanczos vectors do not hold the path up to {times[outside.argmax()]:g}, where a share "
                    f"{share:.2g} of the gradient is outside them: give the Linearisation more vectors, or ask for earlier times"
                )
            return found

        return DecoupledModes(self.start[None], self.vectors.T, propagate)


def _lanczos(product: Callable[[Array], Array], start: Array, vectors: int) -> _Krylov:
    """Ritz pairs of a positive semidefinite operator in the Krylov space of a start (k, d), with full reorthogonalisation."""
    norm = np.linalg.norm(start)
    size = min(vectors, start.size) if norm > 0 else 0
    basis, products = np.zeros((2, size, start.size))
    following, found, left = start.ravel() / (norm or 1.0), 0, 0.0
    for found in range(1, size + 1):
        basis[found - 1] = following
        products[found - 1] = product(following.reshape(start.shape)).ravel()
        rest = products[found - 1]
        for _ in range(2):
            rest = rest - basis[:found].T @ (basis[:found] @ rest)
        left = float(np.linalg.norm(rest))
        if left <= BREAKDOWN * np.linalg.norm(products[:found]):
            left = 0.0
            break
        following = rest / left
    projected = basis[:found] @ products[:found].T
    values, rotation = np.linalg.eigh((projected + projected.T) / 2)
    first, last = (norm * rotation[0], left / norm * rotation[-1]) if found else np.zeros((2, 0))
    return _Krylov(np.maximum(values, 0.0), rotation.T @ basis[:found], first, last)


@modes_of.register
def _(posed: Linearisation, distillation: Distillation) -> Modes:
    """Modes of whole weight matrices, each a row: weights that the Krylov space does not hold stay where they are."""
    strength, krylov = _strength(distillation), posed._krylov
    return Modes(krylov.start[None], krylov.values, np.full_like(krylov.values, strength), krylov.vectors.T)


@descent_of.register
def _(posed: Linearisation, distillation: Distillation, stepping: Stepping, allow_unstable: bool) -> Solution:
    return posed._krylov.watched(descent_of.dispatch(object)(posed, distillation, stepping, allow_unstable))


@flow_of.register
def _(posed: Linearisation, strategy: Strategy, duration: float) -> Solution:
    return posed._krylov.watched(flow_of.dispatch(object)(posed, strategy, duration))


@end_of.register
def _(posed: Linearisation, strategy: Strategy, learning_rate: float | None, heavy_ball: float) -> Array:
    distillation = strategy.distillation
    strength = _strength(distillation)
    if not distillation.is_static and np.isfinite(distillation.kernel.summed_rates):
        raise UserError(
            f"Linearisation has no closed limit with {distillation.kernel!r}, which stops short of the optimum: "
            "run gradient_descent for as long as you need"
        )
    held = strength if distillation.is_static else 0.0
    return posed.initial_weights + _newton_direction(posed._pretrained, posed.gradient(), held, GRADIENT_TOLERANCE)


def _strength(distillation: Distillation) -> float:
    """The strength of distillation in the parameter metric, in which the Krylov space of the loss is that of both."""
    if not isinstance(distillation.measured_by, Parameter):
        raise UserError(
            f"Linearisation has closed forms in the metric 'parameter' alone, not in {distillation.metric!r}: "
            "give the distillation that metric"
        )
    return distillation.strength


def _newton_direction(point: _Point, gradient: Array, strength: float, tolerance: float) -> Array:
    """-(H + strength)^+ gradient, to a relative residual, by conjugate gradients."""

    def product(flat: Array) -> Array:
        return point.product(flat.reshape(gradient.shape)).ravel() + strength * flat

    operator = LinearOperator((gradient.size, gradient.size), matvec=product, dtype=float)
    direction, unsolved = cg(operator, -gradient.ravel(), rtol=tolerance, maxiter=CG_STEPS)
    if unsolved:
        raise UserError(f"the curvature is too uneven to be inverted in {CG_STEPS} products: give a larger strength")
    found: Array = direction.reshape(gradient.shape)
    return found
