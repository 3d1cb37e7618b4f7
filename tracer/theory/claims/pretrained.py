"""The true contrastive loss at the pretrained model: its gradient, its Hessian, and where that decouples."""

from collections.abc import Callable

import numpy as np
import sympy as sp

from tracer.theory.claims.claim import PROJECT, Check, Claim, compare
from tracer.theory.claims.instances import random_instance
from tracer.theory.claims.matrices import W, X, Z, clip_loss, entries, inner, mu, n, rho, tau
from tracer.theory.claims.tolerances import EXACT, FINITE_DIFFERENCES
from tracer.theory.linearisation import Linearisation


class Softmaxes:
    """Logits of some pairs as symbols, in terms of their exponentials, in which all is rational."""

    def __init__(self, pairs: int):
        self.pairs = pairs
        self.exponentials = sp.Matrix(pairs, pairs, lambda i, j: sp.Symbol(f"e_{i + 1}{j + 1}", positive=True))
        sums = self.exponentials * sp.ones(pairs, 1), sp.ones(1, pairs) * self.exponentials
        self.over_texts = sp.Matrix(pairs, pairs, lambda i, j: self.exponentials[i, j] / sums[0][i])
        self.over_images = sp.Matrix(pairs, pairs, lambda i, j: self.exponentials[i, j] / sums[1][j])

    def loss(self) -> sp.Expr:
        """The contrastive loss."""
        return clip_loss(self.exponentials.applyfunc(sp.log))

    def derivative(self, expression: sp.Expr, direction: sp.Matrix) -> sp.Expr:
        """As the logits move in a direction."""
        return sum(d * e * expression.diff(e) for d, e in zip(direction, self.exponentials, strict=True))


def gradient_in_logits(softmaxes: Softmaxes) -> sp.Matrix:
    """((P + R)/2 - I) / n."""
    pairs = softmaxes.pairs
    return ((softmaxes.over_texts + softmaxes.over_images) / 2 - sp.eye(pairs)) / pairs


def gradient_residues(gradient: Callable[[Softmaxes], sp.Matrix]) -> list[sp.Expr]:
    """Slopes of the loss in all logits, for 2 and 3 pairs; then the chain rule for logits X^T W^T Z / tau: -Z Lambda X^T / (n tau).

    A pair's slopes involve its own row and column alone, with terms of the same form whatever their number.
    """
    steps: list[sp.Expr] = []
    for softmaxes in (Softmaxes(2), Softmaxes(3)):
        slopes = [e * softmaxes.loss().diff(e) for e in softmaxes.exponentials]
        steps += [slope - claimed for slope, claimed in zip(slopes, gradient(softmaxes), strict=True)]
    weights, images, texts, p, r = (entries(name, 2, 2) for name in "wxzpr")
    logits = images.T * weights.T * texts / tau
    chained = weights.applyfunc(lambda w: inner(((p + r) / 2 - sp.eye(2)) / 2, logits.diff(w)))
    return [*steps, *(chained + texts * (sp.eye(2) - (p + r).T / 2) * images.T / (2 * tau))]


def softmax_changes(softmaxes: Softmaxes, direction: sp.Matrix) -> tuple[sp.Matrix, sp.Matrix]:
    """dP and dR as the logits move in a direction."""
    pairs = softmaxes.pairs
    p, r = softmaxes.over_texts, softmaxes.over_images
    rows, columns = p.multiply_elementwise(direction), r.multiply_elementwise(direction)
    row_means, column_means = rows * sp.ones(pairs, pairs), sp.ones(pairs, pairs) * columns
    return rows - p.multiply_elementwise(row_means), columns - r.multiply_elementwise(column_means)


def hessian_residues(changes: Callable[[Softmaxes, sp.Matrix], tuple[sp.Matrix, sp.Matrix]]) -> list[sp.Expr]:
    """Derivatives of both softmaxes of 3 pairs along any direction; S being linear in W, the Hessian is no more than that.

    A row of n logits has n terms of the same form as these three.
    """
    softmaxes, direction = Softmaxes(3), entries("d", 3, 3)
    steps = []
    for softmax, change in zip((softmaxes.over_texts, softmaxes.over_images), changes(softmaxes, direction), strict=True):
        steps += [softmaxes.derivative(entry, direction) - claimed for entry, claimed in zip(softmax, change, strict=True)]
    return steps


def decoupled_curvature(omega: sp.Expr, s: sp.Expr) -> sp.Expr:
    """sigma_ij of tau times the loss, and the penalties, at zero logits."""
    return (rho + omega / tau) * s + mu


def decoupled_residues(curvature: Callable[[sp.Expr, sp.Expr], sp.Expr]) -> list[sp.Expr]:
    """At equal logits dP + dR = 2 delta / n if delta has no row and column means, as it has none with centred X and Z: for 3 pairs.

    Then the Hessian of Delta is Omega Delta Sigma / tau^2, Omega = Z Z^T / n, for matrices of any shape as products that do not
    commute; so that in their eigenvectors tau times it, with the penalties, is the curvature claimed.
    """
    uniform, centred = Softmaxes(3), sp.eye(3) - sp.ones(3, 3) / 3
    change = centred * entries("d", 3, 3) * centred
    p, r = softmax_changes(uniform, change)
    doubled = (p + r).subs(dict.fromkeys(uniform.exponentials, 1)) - 2 * change / 3
    texts, back_texts, moved, images, back_images = sp.symbols("Z Z^T Delta X X^T", commutative=False)
    hessian = texts * (2 * back_texts * moved * images / n) * back_images / (2 * n * tau**2)
    omega, s = sp.symbols("omega_i s_j", nonnegative=True)
    return [
        *doubled,
        hessian - (texts * back_texts / n) * moved * (images * back_images / n) / tau**2,
        tau * omega * s / tau**2 + rho * s + mu - curvature(omega, s),
    ]


class _Pairs:
    """A random model with logits of about two, and its loss's first derivative written out."""

    def __init__(self, rng: np.random.Generator):
        case = random_instance(rng)
        self.images, self.texts, self.weights = case.images, case.texts, case.initial_weights
        self.scale = 2 / np.std(self.images @ self.weights.T @ self.texts.T)

    @property
    def library(self) -> Linearisation:
        """The library's view."""
        return Linearisation(self.images, self.texts, self.weights, self.scale)

    def softmaxes(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """P and R."""
        raised = np.exp(self.scale * self.images @ weights.T @ self.texts.T)
        return raised / raised.sum(axis=1, keepdims=True), raised / raised.sum(axis=0)

    def loss(self, weights: np.ndarray) -> float:
        """Mean of minus the logarithms of both probabilities of the pairs."""
        return -float(np.mean([np.log(np.diag(softmax)) for softmax in self.softmaxes(weights)]))

    def gradient(self, weights: np.ndarray) -> np.ndarray:
        """-Z Lambda X^T / (n tau)."""
        p, r = self.softmaxes(weights)
        return -self.scale * self.texts.T @ (np.eye(len(p)) - (p + r).T / 2) @ self.images / len(p)


def _gradient_check(rng: np.random.Generator) -> Check:
    """Central differences of the loss; the nulls are the gradient at zero logits and none."""
    pairs, step = _Pairs(rng), 1e-4
    measured = np.zeros_like(pairs.weights)
    for index in np.ndindex(measured.shape):
        nudge = np.zeros_like(measured)
        nudge[index] = step / pairs.scale
        measured[index] = (pairs.loss(pairs.weights + nudge) - pairs.loss(pairs.weights - nudge)) / (2 * nudge[index])
    predicted = np.stack([pairs.library.gradient(), pairs.gradient(pairs.weights)])
    return compare(predicted, np.stack([measured] * 2), FINITE_DIFFERENCES, pairs.gradient(0 * pairs.weights), 0.0)


def _hessian_check(rng: np.random.Generator) -> Check:
    """Central differences of the gradient; the null is the Hessian at zero logits."""
    pairs, direction = _Pairs(rng), rng.standard_normal((3, 7))
    nudge = 2e-5 / pairs.scale * direction
    ends = (pairs.gradient(pairs.weights + sign * nudge) for sign in (1, -1))
    measured = np.subtract(*ends) / (4e-5 / pairs.scale)
    at_zero = pairs.library.hessian_product(direction, 0 * pairs.weights)
    return compare(pairs.library.hessian_product(direction), measured, FINITE_DIFFERENCES, at_zero, 0 * measured)


def _decoupled_check(rng: np.random.Generator) -> Check:
    """All eigenvalues of the library's Hessian; the null leaves out the contrastive loss's own curvature."""
    case, temperature, decay = random_instance(rng), rng.uniform(0.1, 1.0), rng.uniform(0.1, 0.5)
    images, texts = (part - part.mean(axis=0) for part in (case.images, case.texts))
    zero, penalty = np.zeros_like(case.initial_weights), case.embedding_penalty
    loss = Linearisation(images, texts, zero, 1 / temperature, penalty / temperature, decay / temperature)
    basis = np.eye(zero.size).reshape(-1, *zero.shape)
    hessian = temperature * np.stack([loss.hessian_product(direction).ravel() for direction in basis])
    moments = (np.linalg.eigvalsh(part.T @ part / len(part)) for part in (texts, images))
    omega, s = np.meshgrid(*moments, indexing="ij")
    curvatures = np.sort(((penalty + omega / temperature) * s + decay).ravel())
    null = np.sort((penalty * s + decay).ravel())
    return compare(np.linalg.eigvalsh(hessian), curvatures, EXACT, null)


def _gradient() -> sp.Rel:
    p, r = (sp.MatrixSymbol(name, n, n) for name in "PR")
    weighed = Z * (sp.Identity(n) - (p + r).T / 2) * X.T
    return sp.Eq(sp.MatrixSymbol(r"\nabla\ell", *W.shape), -weighed / (n * tau), evaluate=False)


def _hessian() -> sp.Rel:
    changes = sp.MatrixSymbol("{dP}", n, n) + sp.MatrixSymbol("{dR}", n, n)
    return sp.Eq(sp.MatrixSymbol(r"\mathcal{H}[\Delta]", *W.shape), Z * changes.T * X.T / (2 * n * tau**2), evaluate=False)


CLAIMS = (
    Claim(
        "pretrained-gradient",
        "At the pretrained model the gradient is -Z Lambda X^T/(n tau) with Lambda = I - (P + R)^T/2, P and R being the softmaxes "
        "of its logits.",
        PROJECT,
        _gradient,
        _gradient_check,
        lambda: gradient_residues(gradient_in_logits),
    ),
    Claim(
        "pretrained-hessian",
        "The Hessian at the pretrained model is Z(dP + dR)^T X^T/(2n tau^2), with the derivatives of both softmaxes in the "
        "direction it is applied to: weighted least squares.",
        PROJECT,
        _hessian,
        _hessian_check,
        lambda: hessian_residues(softmax_changes),
    ),
    Claim(
        "pretrained-decoupling",
        "At zero logits, with centred features and texts, the Hessian decouples into the curvatures (rho + omega_i/tau) s_j + mu.",
        PROJECT,
        lambda: sp.Eq(sp.Symbol("sigma_ij"), decoupled_curvature(*sp.symbols("omega_i s_j")), evaluate=False),
        _decoupled_check,
        lambda: decoupled_residues(decoupled_curvature),
    ),
)
