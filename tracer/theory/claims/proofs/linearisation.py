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
from tracer.theory.claims.proofs.proof import Proof


def _target_matrix() -> sp.Rel:
    fitted = W * X - Z * H / rho
    squares = rho / (2 * n) * sp.Trace(fitted * fitted.T) + mu / 2 * sp.Trace(W * W.T)
    centred = Z * H
    linearised = -sp.Trace(W.T * Z * H * X.T) / n + rho / (2 * n) * sp.Trace(W * X * X.T * W.T) + mu / 2 * sp.Trace(W * W.T)
    return sp.Eq(squares - sp.Trace(centred * centred.T) / (2 * n * rho), linearised, evaluate=False)


def target_matrix_residues(target: Callable[[sp.Matrix, sp.Matrix], sp.Matrix]) -> list[sp.Expr]:
    """Least squares against a target made of Z and H, less the linearised loss, for all entries of 2 x 2 weights and 3 pairs.

    Both sides are sums over the rows of W and Z and the columns of X, each term the same polynomial: larger matrices add equals.
    For matrices of any shape the gradients agree too, in products that do not commute; so do the values at W = 0.
    """
    weights, images, texts, h = entries("w", 2, 2), entries("x", 2, 3), entries("z", 2, 3), centring(3)
    goal = target(texts, h)
    squares = rho / 6 * squared(weights * images - goal) - squared(texts * h) / (6 * rho)
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
    normal = images[:, 0].cross(images[:, 1])
    return [*(loss.diff(w) - g for w, g in zip(weights, gradient, strict=True)), *(cross * normal)]


def small_logit_quadratic(size, rows_centred, columns_centred) -> sp.Expr:
    """(|S H|^2 + |H S|^2) / (4 n^2), from the two squared norms."""
    return (rows_centred + columns_centred) / (4 * size**2)


def clip_expansion_residues(quadratic: Callable[..., sp.Expr]) -> list[sp.Expr]:
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


def _clip_expansion() -> sp.Rel:
    loss, rest = sp.Function("ell")(S), sp.Order(sp.Symbol(r"{\|S/\tau\|}") ** 3)
    by_rows, by_columns = sp.Trace(S * H * S.T), sp.Trace(S.T * H * S)
    quadratic = small_logit_quadratic(n, by_rows, by_columns) / tau**2
    return sp.Eq(loss, sp.log(n) - sp.Trace(H * S) / (n * tau) + quadratic + rest, evaluate=False)


def clip_gradient_residues() -> list[sp.Expr]:
    """Derivatives of the loss in the weights at W = 0, plus C / tau, for 2 and 3 pairs; and in the logits, plus H / n."""
    steps: list[sp.Expr] = []
    for size in (2, 3):
        weights, images, texts = entries("w", 2, 2), entries("x", 2, size), entries("z", 2, size)
        logits = entries("s", size, size)
        at_zero = dict.fromkeys(logits, 0)
        slopes = logits.applyfunc(lambda s, logits=logits, at_zero=at_zero: clip_loss(logits).diff(s).subs(at_zero))
        of_weights = images.T * weights.T * texts / tau
        gradient = weights.applyfunc(lambda w, slopes=slopes, of_weights=of_weights: inner(slopes, of_weights.diff(w)))
        steps += [*(slopes + centring(size) / size), *(gradient + texts * centring(size) * images.T / (size * tau))]
    return steps


def no_orthogonal_gradient_residues() -> list[sp.Expr]:
    """Moving W by any u off the task subspace (along x_1 x x_2, where x_1, x_2 span it) leaves W X, and so any loss, unchanged."""
    weights, images, along = entries("w", 2, 3), entries("x", 3, 2), entries("u", 2, 1)
    moved = weights + along * images[:, 0].cross(images[:, 1]).T
    return list(moved * images - weights * images)


def _gradient_statement() -> sp.Rel:
    moment = sp.MatrixSymbol("Sigma", d, d)
    return sp.Eq(sp.MatrixSymbol(r"\nabla L", k, d), W * (rho * moment + mu * sp.Identity(d)) - C, evaluate=False)


def _no_orthogonal_gradient() -> sp.Rel:
    return sp.Eq(sp.MatrixSymbol(r"\nabla\ell", k, d) * sp.MatrixSymbol("Q", d, d), sp.ZeroMatrix(k, d), evaluate=False)


PROOFS = {
    "target-matrix": Proof(_target_matrix(), lambda: target_matrix_residues(lambda texts, h: texts * h / rho)),
    "linearised-gradient": Proof(_gradient_statement(), linearised_gradient_residues),
    "clip-expansion": Proof(_clip_expansion(), lambda: clip_expansion_residues(small_logit_quadratic)),
    "clip-gradient-at-zero": Proof(
        sp.Eq(sp.Symbol(r"\nabla\ell|_{S=0}"), -sp.Symbol("C") / tau, evaluate=False), clip_gradient_residues
    ),
    "no-orthogonal-gradient": Proof(_no_orthogonal_gradient(), no_orthogonal_gradient_residues),
}
