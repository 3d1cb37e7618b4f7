"""Formulas and proofs of the claims in `tracer.theory.claims.surrogate`."""

from collections.abc import Callable

import sympy as sp

from tracer.theory.claims.proofs.matrices import H, Z, centring, entries, n, rho, squared
from tracer.theory.claims.proofs.proof import Proof

eta, strength = sp.symbols("eta lambda", positive=True)

kappa = sp.Symbol("kappa_i", nonnegative=True)

m = sp.Symbol("m", positive=True, integer=True)

t = sp.Symbol("t", nonnegative=True, integer=True)


def published_target(texts: sp.Matrix) -> sp.Matrix:
    """Y = Z (n I - J), J all ones."""
    return texts * (texts.cols * sp.eye(texts.cols) - sp.ones(texts.cols, texts.cols))


def pairwise_loss(similarities: sp.Matrix) -> sp.Expr:
    """Equation (1) without its regulariser: similarities of those who are no pair, less n - 1 times those of pairs."""
    pairs = similarities.rows
    return (sum(similarities) - pairs * similarities.trace()) / (pairs * (pairs - 1))


def surrogate_residues(factor: Callable[[int], int], added: Callable[[sp.Matrix], sp.Expr]) -> list[sp.Expr]:
    """Equation (2) less `factor` times equation (1) without its regulariser, what is added, and |Y|^2 / 2.

    For all entries of 2 x 2 weights with 2 and 3 pairs: a pair, and a combination of two, has terms of the same form in any number.
    """
    steps = []
    for pairs in (2, 3):
        weights, images, texts = entries("w", 2, 2), entries("x", 2, pairs), entries("z", 2, pairs)
        embedded, target = weights * images, published_target(texts)
        surrogate = squared(embedded - target) / 2
        linear = factor(pairs) * pairwise_loss(embedded.T * texts)
        steps.append(surrogate - linear - added(embedded) - squared(target) / 2)
    return steps


def half_square(embedded: sp.Matrix) -> sp.Expr:
    """|W X|^2 / 2."""
    return squared(embedded) / 2


def scale_residues(distillation: sp.Expr, l2_sp: sp.Expr) -> list[sp.Expr]:
    """Equation (2) and both penalties of strength lambda, less n^2 times those here at rho = 1/n and the given strengths.

    For 3 pairs and all entries of 2 x 2 weights; then in the number of pairs, for the strengths alone.
    """
    weights, initial, images, texts = entries("w", 2, 2), entries("a", 2, 2), entries("x", 2, 3), entries("z", 2, 3)
    moved, here = weights - initial, {n: 3, rho: sp.Rational(1, 3)}
    published = squared(weights * images - published_target(texts)) / 2
    ours = (rho / (2 * n) * squared(weights * images - texts * centring(3) / rho)).subs(here)
    held = strength * squared(moved * images) / 2 - n**2 * distillation * squared(moved * images) / (2 * n)
    pulled = strength * squared(moved) / 2 - n**2 * l2_sp * squared(moved) / 2
    return [published - 9 * ours, held, pulled]


def growth_residues(growth: sp.Expr) -> list[sp.Expr]:
    """Two pairs presented two and three times over: their published target, and the normal equations of their optimum, both grown.

    First, that target is Z H / rho at rho = 1/n; last, the target at a fixed rho, which is the same as before.
    """
    images, texts, weights = entries("x", 2, 2), entries("z", 2, 2), entries("w", 2, 2)
    steps = list(published_target(texts) - (texts * centring(2) / rho).subs(rho, sp.Rational(1, 2)))

    def slope(weights, images, texts):
        return (weights * images - published_target(texts)) * images.T

    for times in (2, 3):
        repeat = sp.Matrix.hstack(*[sp.eye(2)] * times)
        many, grown = (images * repeat, texts * repeat), growth.subs(m, times)
        steps += published_target(many[1]) - grown * published_target(texts) * repeat
        steps += slope(grown * weights, *many) - grown * times * slope(weights, images, texts)
        steps += (many[1] * centring(2 * times) - texts * centring(2) * repeat) / rho
    return steps


def regulariser_residues(retained: Callable[[sp.Expr], sp.Expr]) -> list[sp.Expr]:
    """Slopes of R in all entries of 2 x 3 weights; then, off the task subspace, the share retained in a direction of W_T W_T^T.

    There the data exert no force (`no-orthogonal-gradient`), and the slope of R is rho kappa_i times what is there.
    """
    weights, texts = entries("w", 2, 3), entries("v", 2, 2)
    regulariser = rho / 2 * squared(weights.T * texts)
    slopes = rho * texts * texts.T * weights
    return [
        *(regulariser.diff(w) - slope for w, slope in zip(weights, slopes, strict=True)),
        retained(sp.Integer(0)) - 1,
        retained(t + 1) - (1 - eta * rho * kappa) * retained(t),
    ]


def retained_share(steps: sp.Expr) -> sp.Expr:
    """In an eigendirection of W_T W_T^T with eigenvalue kappa_i."""
    return (1 - eta * rho * kappa) ** steps


def _surrogate() -> sp.Rel:
    loss, regulariser = sp.symbols(r"L_{\mathrm{MMCL}} R")
    embedded, goal = (sp.Symbol(rf"{{\|{name}\|}}", positive=True) for name in ("WX - Y", "Y"))
    square = sp.Symbol(r"{\|WX\|}", positive=True)
    return sp.Eq(embedded**2 / 2, n * (n - 1) * (loss - regulariser) + square**2 / 2 + goal**2 / 2, evaluate=False)


def _scale() -> sp.Rel:
    published, here = sp.Function(r"W^{\mathrm{(2)}}_\infty"), sp.Function(r"W_\infty")
    return sp.Eq(published(strength), here(sp.Eq(rho, 1 / n, evaluate=False), strength / n), evaluate=False)


def _growth() -> sp.Rel:
    ones = sp.MatrixSymbol("J", n, n)
    return sp.Eq(Z * (n * sp.Identity(n) - ones), n * Z * H, evaluate=False)


def _regulariser() -> sp.Rel:
    after, before = (sp.Symbol(rf"{{u_i^\top W_{step} Q}}") for step in "t0")
    return sp.Eq(after, retained_share(t) * before, evaluate=False)


PROOFS = {
    "surrogate-loss": Proof(_surrogate(), lambda: surrogate_residues(lambda pairs: pairs * (pairs - 1), half_square)),
    "published-scale": Proof(_scale(), lambda: scale_residues(strength / n, strength / n**2)),
    "published-target-growth": Proof(_growth(), lambda: growth_residues(m)),
    "cross-regulariser-forgets": Proof(_regulariser(), lambda: regulariser_residues(retained_share)),
}
