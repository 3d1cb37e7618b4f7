"""The true contrastive loss near the pretrained model: its gradient and Hessian there, what they predict, and where they end.

The linearised loss of `Problem` is the expansion at small logits. A pretrained model's logits are not small, and its gradient may
point elsewhere; expanding at the pretrained weights costs no closed form per mode, but needs no assumption on the logits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from scipy import special
from scipy.sparse.linalg import LinearOperator, cg

from tracer.errors import UserError
from tracer.quantities import POSITIVE, number, whole_number
from tracer.theory.recursion import Stepping, propagate
from tracer.theory.validation import matrix, not_negative

GRADIENT_TOLERANCE = 1e-10
"""Norm of the gradient at an optimum, relative to its natural size logit_scale rms|z| rms|x|."""
CG_STEPS = 10_000
NEWTON_STEPS = 200
FORCING = 0.01
"""Relative residual to which the equations of a Newton step are solved, unless its result is the end."""
BREAKDOWN = 1e-14
"""A Lanczos vector this small, relative to the largest Ritz value's bound, is round-off: the space is complete."""


class Prediction(NamedTuple):
    """Weights after m numbers of steps, each (m, k, d).

    Attributes:
        student, teacher: their weights.
        gap: student minus teacher, accurate relative to itself however small it has become.
    """

    student: np.ndarray
    teacher: np.ndarray
    gap: np.ndarray


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
    costs O(n^2 k) time and five (n, n) matrices. Source: this project.

    Attributes:
        images: (n, d).
        texts: embeddings (n, k) of the same pairs.
        initial_weights: W_0, (k, d).
        logit_scale: 1 / tau.
        embedding_penalty: rho.
        weight_decay: mu.

    Raises:
        UserError: if shapes do not fit, values are not finite, a penalty is negative, or logit_scale is not positive.
    """

    images: np.ndarray
    texts: np.ndarray
    initial_weights: np.ndarray
    logit_scale: float
    embedding_penalty: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self):
        images = matrix("images", self.images)
        texts = matrix("texts", self.texts, rows=len(images))
        initial_weights = matrix("initial_weights", self.initial_weights, texts.shape[1], images.shape[1])
        number("logit_scale", self.logit_scale, POSITIVE)
        not_negative(embedding_penalty=self.embedding_penalty, weight_decay=self.weight_decay)
        for name, array in (("images", images), ("texts", texts), ("initial_weights", initial_weights)):
            object.__setattr__(self, name, array)

    def loss(self, weights: np.ndarray) -> float:
        """L(W) of weights (k, d), the true loss and the penalties."""
        weights = self._weights(weights)
        logits = self._logits(weights)
        normalisers = special.logsumexp(logits, axis=1) + special.logsumexp(logits, axis=0)
        penalties = self.embedding_penalty * np.mean(np.sum((self.images @ weights.T) ** 2, axis=1))
        penalties += self.weight_decay * np.sum(weights**2)
        return float(np.mean(normalisers / 2 - np.diag(logits)) + penalties / 2)

    def gradient(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Gradient of L at weights (k, d), or at the pretrained ones, (k, d)."""
        return self._point(weights).gradient

    def hessian_product(self, direction: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """The Hessian of L at weights (k, d), or at the pretrained ones, times a direction (k, d), (k, d)."""
        return self._point(weights).product(matrix("direction", direction, *self.initial_weights.shape))

    def logit_change(self, weights: np.ndarray) -> float:
        """Root mean square change of the logits from the pretrained ones, the measure of how far the expansion carries.

        Softmaxes change their curvature where logits move by about 1: relative errors of predicted displacements are about
        0.01 at a change of 0.5, 0.1 at 1.2, and several tenths at 2.
        """
        return float(np.sqrt(np.mean(self._logits(self._weights(weights) - self.initial_weights) ** 2)))

    def curvatures(self, vectors: int = 20) -> np.ndarray:
        """Ritz values of the Hessian at the pretrained weights, from the smallest, (at most `vectors`,).

        The largest ones approximate the largest eigenvalues, which bound the learning rate (see `max_learning_rate`).
        """
        return self._krylov(whole_number("vectors", vectors)).values

    def predict(self, stepping: Stepping, steps: np.ndarray, *, strength: float = 0.0, vectors: int = 20) -> Prediction:
        """What gradient descent on L + strength/2 |W - Wbar|^2, with a moving teacher Wbar, does in the quadratic model.

            W_t = W_0 - |g| Q y_t(T) e_1,   T = Q^T H Q,

        y_t being the response of one mode (`recursion.propagate`) and Q the Lanczos basis of H started at the gradient g. Exact in
        the model for up to `vectors` steps, and in practice far beyond. Of the true gradient it misses what is second order in
        the displacement; after a fixed number of steps, smaller and smaller, the relative error of the displacement falls with
        the square of its size. A learning rate that is too large diverges, here as there. Source: this project.

        Args:
            stepping: learning rates and teacher; every kernel, schedule and momentum.
            steps: whole numbers of steps, (m,).
            strength: lambda of the distillation, in parameter space.
            vectors: size of the Lanczos basis, that many Hessian products.

        Returns:
            Student and teacher weights and their gap, (m, k, d) each.

        Raises:
            UserError: if a number is out of its range, or a step lies outside the run.
        """
        not_negative(strength=strength)
        krylov = self._krylov(whole_number("vectors", vectors))
        response = propagate(krylov.values, np.full_like(krylov.values, strength), stepping, steps)

        def displacement(responses: np.ndarray) -> np.ndarray:
            moved = -(responses * krylov.start) @ krylov.vectors
            return moved.reshape(-1, *self.initial_weights.shape)

        student, teacher = displacement(response.student_response), displacement(response.teacher_response)
        gap = displacement(response.gap_response(krylov.values))
        return Prediction(self.initial_weights + student, self.initial_weights + teacher, gap)

    def optimum(self, strength: float = 0.0) -> np.ndarray:
        """Minimiser of the quadratic model of L + strength/2 |W - W_0|^2, the one nearest to the pretrained weights, (k, d).

            W_0 - (H + strength)^+ g,   by conjugate gradients: where `predict` ends with a static teacher.

        Source: this project; the penalty is L2-SP's, arXiv 1802.01483.

        Raises:
            UserError: if strength is negative, or the equations are too ill-conditioned without a larger one.
        """
        not_negative(strength=strength)
        return self.initial_weights + _newton_direction(self._pretrained, self.gradient(), strength, GRADIENT_TOLERANCE)

    def true_optimum(self, strength: float = 0.0) -> np.ndarray:
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
        moved, point = np.zeros_like(self.initial_weights), self._pretrained
        gradient = point.gradient
        for _ in range(NEWTON_STEPS):
            if np.linalg.norm(gradient) <= GRADIENT_TOLERANCE * self._gradient_size:
                return self.initial_weights + moved
            direction = _newton_direction(point, gradient, strength, FORCING)
            moved, point, gradient = self._line_search(moved, direction, strength, float(np.linalg.norm(gradient)))
        raise UserError(f"no minimum was reached in {NEWTON_STEPS} Newton steps: give a larger strength")

    def _line_search(self, moved: np.ndarray, direction: np.ndarray, strength: float, norm: float):
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

    def _point(self, weights: np.ndarray | None) -> "_Point":
        return self._pretrained if weights is None else _Point(self, self._weights(weights))

    def _weights(self, weights: np.ndarray) -> np.ndarray:
        return matrix("weights", weights, *self.initial_weights.shape)

    def _logits(self, weights: np.ndarray) -> np.ndarray:
        return self.logit_scale * (self.images @ weights.T) @ self.texts.T

    @cached_property
    def _gradient_size(self) -> float:
        return float(self.logit_scale * np.linalg.norm(self.images) * np.linalg.norm(self.texts) / len(self.images))

    @cached_property
    def _krylov(self) -> Callable[[int], "_Krylov"]:
        return lru_cache(maxsize=2)(self._expand)

    def _expand(self, vectors: int) -> "_Krylov":
        return _lanczos(self._pretrained.product, self.gradient(), vectors)


class _Point:
    """First and second derivatives of the loss at one place, whose softmaxes are computed once."""

    def __init__(self, loss: Linearisation, weights: np.ndarray):
        self._loss = loss
        logits = loss._logits(weights)
        self._over_texts, self._over_images = special.softmax(logits, axis=1), special.softmax(logits, axis=0)
        residual = self._over_texts + self._over_images
        np.einsum("ii->i", residual)[:] -= 2.0
        self.gradient = self._through_logits(residual) + self._penalised(weights)

    def product(self, direction: np.ndarray) -> np.ndarray:
        """The Hessian times a direction, (k, d)."""
        change = self._loss._logits(direction)
        over_texts = np.einsum("ij,ij->i", self._over_texts, change)
        over_images = np.einsum("ij,ij->j", self._over_images, change)
        curved = self._over_texts * (change - over_texts[:, None])
        curved += self._over_images * (change - over_images)
        return self._through_logits(curved) + self._penalised(direction)

    def _through_logits(self, residual: np.ndarray) -> np.ndarray:
        """From twice n times the derivative in the logits (n, n) to the one in the weights, (k, d)."""
        loss = self._loss
        return loss.logit_scale / (2 * len(residual)) * (residual @ loss.texts).T @ loss.images

    def _penalised(self, weights: np.ndarray) -> np.ndarray:
        loss = self._loss
        embedded = weights @ loss.images.T @ loss.images / len(loss.images)
        return loss.embedding_penalty * embedded + loss.weight_decay * weights


class _Krylov(NamedTuple):
    """Ritz values (m,) and vectors (m, k d), and the start's component along each, (m,)."""

    values: np.ndarray
    vectors: np.ndarray
    start: np.ndarray


def _lanczos(product: Callable[[np.ndarray], np.ndarray], start: np.ndarray, vectors: int) -> _Krylov:
    """Ritz pairs of a symmetric operator in the Krylov space of a start (k, d), with full reorthogonalisation."""
    norm = np.linalg.norm(start)
    size = min(vectors, start.size) if norm > 0 else 0
    basis, products = np.zeros((2, size, start.size))
    following, found = start.ravel() / (norm or 1.0), 0
    for found in range(1, size + 1):
        basis[found - 1] = following
        products[found - 1] = product(following.reshape(start.shape)).ravel()
        rest = products[found - 1]
        for _ in range(2):
            rest = rest - basis[:found].T @ (basis[:found] @ rest)
        left = np.linalg.norm(rest)
        if left <= BREAKDOWN * np.linalg.norm(products[:found]):
            break
        following = rest / left
    projected = basis[:found] @ products[:found].T
    values, rotation = np.linalg.eigh((projected + projected.T) / 2)
    return _Krylov(values, rotation.T @ basis[:found], norm * rotation[0] if found else np.zeros(0))


def _newton_direction(point: _Point, gradient: np.ndarray, strength: float, tolerance: float) -> np.ndarray:
    """-(H + strength)^+ gradient, to a relative residual, by conjugate gradients."""

    def product(flat: np.ndarray) -> np.ndarray:
        return point.product(flat.reshape(gradient.shape)).ravel() + strength * flat

    operator = LinearOperator((gradient.size, gradient.size), matvec=product, dtype=float)
    direction, unsolved = cg(operator, -gradient.ravel(), rtol=tolerance, maxiter=CG_STEPS)
    if unsolved:
        raise UserError(f"the curvature is too uneven to be inverted in {CG_STEPS} products: give a larger strength")
    return direction.reshape(gradient.shape)
