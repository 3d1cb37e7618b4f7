"""Formulas and proofs of the claims in `tracer.theory.claims.linearisation`."""

from collections.abc import Callable

import sympy as sp

from tracer.theory.claims.proofs.matrices import (
    C,
    H,
    S,
    W,
    X,
    Z,
    centring,
    clip_loss,
    d,
    entries,
    inner,
    k,
    mu,
    n,
    rho,
    squared,
    tau,
)
from tracer.theory.claims.proofs.proof import Proof, equation

Target = Callable[[sp.Matrix, sp.Matrix], sp.Matrix]


def target_matrix_residues(target: Target = lambda texts, h: texts * h / rho) -> list[sp.Expr]:
    """Least squares against a target made of Z and H, less the linearised loss, for all entries of 2 x 2 weights and 3 pairs.

    Both sides are sums over the rows of W and Z and the columns of X, each term the same polynomial: larger matrices add equals.
    For matrices of any shape the gradients agree too, in products that do not commute; so do the values at W = 0.
    """
    weights, images, texts, h = entries("w", 2, 2), entries("x", 2, 3), entries("z", 2, 3), centring(3)
    squares = rho / 6 * squared(weights * images - target(texts, h)) - squared(texts * h) / (6 * rho)
    linearised = rho / 6 * squared(weights * images) - inner(weights, texts * h * images.T) / 3
    w, x, transposed, z, hh = sp.symbols("W X X^T Z H", commutative=False)
    slope = rho / n * (w * x - target(z, hh)) * transposed - (rho * w * x * transposed / n - z * hh * transposed / n)
    return [squares - linearised, slope]


def linearised_gradient_residues() -> list[sp.Expr]:
    """Derivatives of the loss by all entries, and C Q = 0 where x_1, x_2 span the task subspace and Q projects on x_1 x x_2."""
    weights, images, texts, h = entries("w", 2, 3), entries("x", 3, 2), entries("z", 2, 2), centring(2)
    cross, moment = texts * h * images.T / 2, images * images.T / 2
    loss = rho / 4 * squared(weights * images) + mu / 2 * squared(weights) - inner(weights, cross)
    gradient = weights * (rho * moment + mu * sp.eye(3)) - cross
    return [*(loss.diff(w) - g for w, g in zip(weights, gradient, strict=True)), *(cross * images[:, 0].cross(images[:, 1]))]


def small_logit_quadratic(size: sp.Expr, rows_centred: sp.Expr, columns_centred: sp.Expr) -> sp.Expr:
    """(|S H|^2 + |H S|^2) / (4 n^2), from the two squared norms."""
    return (rows_centred + columns_centred) / (4 * size**2)


def clip_expansion_residues(quadratic: Callable[..., sp.Expr] = small_logit_quadratic) -> list[sp.Expr]:
    """Derivatives of the loss along all of S at 0: value, slope and curvature, for 2 and for 3 pairs with all entries free.

    For any n: the loss is half a sum over rows and columns of log-means of exponentials, whose expansion by power means m_1, m_2
    is m_1 e + (m_2 - m_1^2) e^2 / 2, a variance; and n m_2 - n m_1^2 is the row's share of |S H|^2.
    """
    scale, m1, m2 = sp.symbols("epsilon m_1 m_2", real=True)
    steps = [sp.log(1 + m1 * scale + m2 * scale**2 / 2).diff(scale, 2).subs(scale, 0) - (m2 - m1**2)]
    for size in (2, 3):
        logits, h = entries("s", size, size), centring(size)
        loss = clip_loss(scale * logits)
        value, slope, bend = (loss.diff(scale, order).subs(scale, 0) for order in range(3))
        expected = 2 * quadratic(size, squared(logits * h), squared(h * logits))
        steps += [value - sp.log(size), slope + (h * logits).trace() / size, bend - expected]
    return steps


def clip_gradient_residues() -> list[sp.Expr]:
    """Derivatives of the loss in the weights at W = 0, plus C / tau, for 2 and 3 pairs; and in the logits, plus H / n."""
    steps: list[sp.Expr] = []
    for size in (2, 3):
        weights, images, texts = entries("w", 2, 2), entries("x", 2, size), entries("z", 2, size)
        logits = entries("s", size, size)
        loss, of_weights = clip_loss(logits), images.T * weights.T * texts / tau
        slopes = sp.Matrix(size, size, [loss.diff(s).subs(dict.fromkeys(logits, 0)) for s in logits])
        gradient = sp.Matrix(2, 2, [inner(slopes, of_weights.diff(w)) for w in weights])
        steps += [*(slopes + centring(size) / size), *(gradient + texts * centring(size) * images.T / (size * tau))]
    return steps


def no_orthogonal_gradient_residues() -> list[sp.Expr]:
    """Moving W by any u off the task subspace (along x_1 x x_2, where x_1, x_2 span it) leaves W X, and so any loss, unchanged."""
    weights, images, along = entries("w", 2, 3), entries("x", 3, 2), entries("u", 2, 1)
    return list((weights + along * images[:, 0].cross(images[:, 1]).T) * images - weights * images)


def _target_matrix() -> sp.Rel:
    fitted, centred = W * X - Z * H / rho, Z * H
    decay = mu / 2 * sp.Trace(W * W.T)
    squares = rho / (2 * n) * sp.Trace(fitted * fitted.T) + decay
    linearised = -sp.Trace(W.T * Z * H * X.T) / n + rho / (2 * n) * sp.Trace(W * X * X.T * W.T) + decay
    return equation(squares - sp.Trace(centred * centred.T) / (2 * n * rho), linearised)


def _clip_expansion() -> sp.Rel:
    quadratic = small_logit_quadratic(n, sp.Trace(S * H * S.T), sp.Trace(S.T * H * S)) / tau**2
    rest = sp.Order(sp.Symbol(r"{\|S/\tau\|}") ** 3)
    return equation(sp.Function("ell")(S), sp.log(n) - sp.Trace(H * S) / (n * tau) + quadratic + rest)


SIGMA, Q = sp.MatrixSymbol("Sigma", d, d), sp.MatrixSymbol("Q", d, d)
SLOPE, CLIP_SLOPE = sp.MatrixSymbol(r"\nabla L", k, d), sp.MatrixSymbol(r"\nabla\ell", k, d)
PROOFS = {
    "target-matrix": Proof(_target_matrix(), target_matrix_residues),
    "linearised-gradient": Proof(equation(SLOPE, W * (rho * SIGMA + mu * sp.Identity(d)) - C), linearised_gradient_residues),
    "clip-expansion": Proof(_clip_expansion(), clip_expansion_residues),
    "clip-gradient-at-zero": Proof(equation(r"\nabla\ell|_{S=0}", -sp.Symbol("C") / tau), clip_gradient_residues),
    "no-orthogonal-gradient": Proof(equation(CLIP_SLOPE * Q, sp.ZeroMatrix(k, d)), no_orthogonal_gradient_residues),
}
