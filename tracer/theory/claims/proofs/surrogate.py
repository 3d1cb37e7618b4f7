"""Formulas and proofs of the claims in `tracer.theory.claims.surrogate`."""

from collections.abc import Callable

import sympy as sp

from tracer.theory.claims.proofs.matrices import H, Z, centring, entries, n, rho, squared
from tracer.theory.claims.proofs.proof import Proof, equation

eta, strength = sp.symbols("eta lambda", positive=True)
kappa = sp.Symbol("kappa_i", nonnegative=True)
m = sp.Symbol("m", positive=True, integer=True)
t = sp.Symbol("t", nonnegative=True, integer=True)
RETAINED = (1 - eta * rho * kappa) ** t
"""In an eigendirection of W_T W_T^T with eigenvalue kappa_i."""


def published_target(texts: sp.Matrix) -> sp.Matrix:
    """Y = Z (n I - J), J all ones."""
    return texts * (texts.cols * sp.eye(texts.cols) - sp.ones(texts.cols, texts.cols))


def half_square(embedded: sp.Matrix) -> sp.Expr:
    """|W X|^2 / 2."""
    return squared(embedded) / 2


def surrogate_residues(
    factor: Callable[[int], int] = lambda pairs: pairs * (pairs - 1), added: Callable[[sp.Matrix], sp.Expr] = half_square
) -> list[sp.Expr]:
    """Equation (2) less `factor` times equation (1) without its regulariser, what is added, and |Y|^2 / 2.

    For all entries of 2 x 2 weights with 2 and 3 pairs: a pair, and a combination of two, has terms of the same form in any number.
    """
    steps = []
    for pairs in (2, 3):
        weights, images, texts = entries("w", 2, 2), entries("x", 2, pairs), entries("z", 2, pairs)
        embedded, target = weights * images, published_target(texts)
        similarities = embedded.T * texts
        contrastive = (sum(similarities) - pairs * similarities.trace()) / (pairs * (pairs - 1))
        steps.append(squared(embedded - target) / 2 - factor(pairs) * contrastive - added(embedded) - squared(target) / 2)
    return steps


def scale_residues(distillation: sp.Expr = strength / n, l2_sp: sp.Expr = strength / n**2) -> list[sp.Expr]:
    """Equation (2) and both penalties of strength lambda, less n^2 times those here at rho = 1/n and the given strengths.

    For 3 pairs and all entries of 2 x 2 weights; then in the number of pairs, for the strengths alone.
    """
    weights, initial, images, texts = entries("w", 2, 2), entries("a", 2, 2), entries("x", 2, 3), entries("z", 2, 3)
    moved = weights - initial
    published = squared(weights * images - published_target(texts)) / 2
    ours = (rho / 6 * squared(weights * images - texts * centring(3) / rho)).subs(rho, sp.Rational(1, 3))
    held = strength * squared(moved * images) / 2 - n**2 * distillation * squared(moved * images) / (2 * n)
    return [published - 9 * ours, held, (strength - n**2 * l2_sp) * squared(moved) / 2]


def growth_residues(growth: sp.Expr = m) -> list[sp.Expr]:
    """Two pairs presented two and three times over: their published target, and the normal equations of their optimum, both grown.

    First, that target is Z H / rho at rho = 1/n; last, the target at a fixed rho, which is the same as before.
    """
    images, texts, weights = entries("x", 2, 2), entries("z", 2, 2), entries("w", 2, 2)
    steps = list(published_target(texts) - (texts * centring(2) / rho).subs(rho, sp.Rational(1, 2)))

    def slope(weights: sp.Matrix, images: sp.Matrix, texts: sp.Matrix) -> sp.Matrix:
        return (weights * images - published_target(texts)) * images.T

    for times in (2, 3):
        repeat = sp.Matrix.hstack(*[sp.eye(2)] * times)
        many, grown = (images * repeat, texts * repeat), growth.subs(m, times)
        steps += published_target(many[1]) - grown * published_target(texts) * repeat
        steps += slope(grown * weights, *many) - grown * times * slope(weights, images, texts)
        steps += (many[1] * centring(2 * times) - texts * centring(2) * repeat) / rho
    return steps


def regulariser_residues(retained: sp.Expr = RETAINED) -> list[sp.Expr]:
    """Slopes of R in all entries of 2 x 3 weights; then, off the task subspace, the share retained in a direction of W_T W_T^T.

    There the data exert no force (`no-orthogonal-gradient`), and the slope of R is rho kappa_i times what is there.
    """
    weights, texts = entries("w", 2, 3), entries("v", 2, 2)
    regulariser, slopes = rho / 2 * squared(weights.T * texts), rho * texts * texts.T * weights
    left = [retained.subs(t, 0) - 1, retained.subs(t, t + 1) - (1 - eta * rho * kappa) * retained]
    return [*(regulariser.diff(w) - slope for w, slope in zip(weights, slopes, strict=True)), *left]


def _surrogate() -> sp.Rel:
    loss, regulariser = sp.symbols(r"L_{\mathrm{MMCL}} R")
    distance, goal, square = (sp.Symbol(rf"{{\|{name}\|}}", positive=True) for name in ("WX - Y", "Y", "WX"))
    return equation(distance**2 / 2, n * (n - 1) * (loss - regulariser) + square**2 / 2 + goal**2 / 2)


def _scale() -> sp.Rel:
    published, here = sp.Function(r"W^{\mathrm{(2)}}_\infty"), sp.Function(r"W_\infty")
    return equation(published(strength), here(equation(rho, 1 / n), strength / n))


GROWN = equation(Z * (n * sp.Identity(n) - sp.MatrixSymbol("J", n, n)), n * Z * H)
LEFT = equation(r"{u_i^\top W_t Q}", RETAINED * sp.Symbol(r"{u_i^\top W_0 Q}"))
PROOFS = {
    "surrogate-loss": Proof(_surrogate(), surrogate_residues),
    "published-scale": Proof(_scale(), scale_residues),
    "published-target-growth": Proof(GROWN, growth_residues),
    "cross-regulariser-forgets": Proof(LEFT, regulariser_residues),
}
