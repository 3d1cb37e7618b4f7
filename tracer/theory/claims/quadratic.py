"""Where gradient descent on any quadratic ends: the lemma from which the strategies' closed forms follow."""

from collections.abc import Callable

import numpy as np
import sympy as sp

from tracer.theory.claims.claim import TRACER, Check, Claim, compare
from tracer.theory.claims.instances import random_instance
from tracer.theory.claims.tolerances import SOLVED
from tracer.theory.limits import limit
from tracer.theory.linearisation import Linearisation
from tracer.theory.strategies import FineTuning

a, gamma = sp.symbols("a gamma", positive=True)
b, start = sp.symbols("b w_0", real=True)
t = sp.Symbol("t", nonnegative=True, integer=True)
STEPS = 2000
"""Enough for the slowest mode that moves to reach round-off."""


def descent_limit(share: sp.Expr, inverse: sp.Expr, linear: sp.Expr) -> sp.Expr:
    """Where one eigendirection ends: `share` is 1 in the operator's range and 0 off it, `inverse` that of its pseudo-inverse."""
    return (1 - share) * start + inverse * linear


def descent_residues(limit: Callable[[sp.Expr, sp.Expr, sp.Expr], sp.Expr]) -> list[sp.Expr]:
    """The path in one eigendirection of the operator: its start, its recursion, and where it tends; then off the operator's range.

    The operator is symmetric, so that such directions (matrices, if it acts on matrices) form an orthonormal basis. In its range
    the power of 1 - gamma a vanishes if and only if 1 - (1 - gamma a)^2 = gamma a (2 - gamma a) is positive. Off it the linear part
    has none either, and the path stands still.
    """
    power = sp.Symbol("p", real=True)

    def path(curvature, linear, steps):
        """Of curvature > 0."""
        return linear / curvature + (1 - gamma * curvature) ** steps * (start - linear / curvature)

    stepped = path(a, b, t) - gamma * (a * path(a, b, t) - b)
    tends = path(a, b, t).subs((1 - gamma * a) ** t, power).subs(power, 0)
    off_range = (start - gamma * (a * start - b)).subs({a: 0, b: 0})
    return [
        path(a, b, 0) - start,
        path(a, b, t + 1) - stepped,
        tends - limit(sp.Integer(1), 1 / a, b),
        1 - (1 - gamma * a) ** 2 - gamma * a * (2 - gamma * a),
        off_range - limit(sp.Integer(0), sp.Integer(0), sp.Integer(0)),
    ]


def _descended(product: Callable[[np.ndarray], np.ndarray], linear: np.ndarray, weights: np.ndarray, step: float) -> np.ndarray:
    for _ in range(STEPS):
        weights = weights - step * (product(weights) - linear)
    return weights


def _descent_check(rng: np.random.Generator) -> Check:
    """An operator of half rank on matrices, and the contrastive loss's Hessian, which the library inverts by conjugate gradients.

    Neither is a multiplication from the right. The nulls forget what is off the range, or nothing at all, or take a step size
    just above the bound.
    """
    case = random_instance(rng)
    shape, size = case.initial_weights.shape, case.initial_weights.size
    axes = np.linalg.qr(rng.standard_normal((size, size // 2)))[0]
    operator = (axes * rng.uniform(0.5, 2.0, size // 2)) @ axes.T
    linear, initial = operator @ rng.standard_normal(size), case.initial_weights.ravel()
    step, largest = rng.uniform(0.5, 0.95), float(2 / np.linalg.norm(operator, 2))
    solved = np.linalg.pinv(operator, hermitian=True) @ linear
    predicted = initial - axes @ (axes.T @ initial) + solved
    measured = _descended(lambda weights: operator @ weights, linear, initial, step * largest)
    beyond = _descended(lambda weights: operator @ weights, linear, initial, 1.01 * largest)

    loss = Linearisation(case.images, case.texts, case.initial_weights, 0.3, case.embedding_penalty, vectors=size)
    bound, optimum = 2 / loss.curvatures[-1], limit(loss, FineTuning())
    curved = loss.hessian_product(case.initial_weights) - loss.gradient()
    quadratic = _descended(loss.hessian_product, curved, case.initial_weights, step * bound)

    found = compare(
        np.stack([predicted.reshape(shape), optimum]),
        np.stack([measured.reshape(shape), quadratic]),
        SOLVED,
        np.stack([solved.reshape(shape), case.on_task(optimum)]),
        case.initial_weights,
    )
    return found._replace(null_error=min(found.null_error, float(np.abs(beyond - predicted).max())))


def _descent_limit() -> sp.Rel:
    null, inverse, linear = sp.symbols(r"\Pi_A A^+ B", commutative=False)
    first = sp.Symbol("W_0", commutative=False)
    return sp.Eq(sp.Symbol(r"W_\infty"), (1 - null) * first + inverse * linear, evaluate=False)


CLAIMS = (
    Claim(
        "descent-limit",
        "Gradient descent on <W, A W>/2 - <B, W>, A positive semidefinite on matrices and B in its range, ends at "
        "(I - Pi_A) W_0 + A^+ B for step sizes below 2/|A|, and for none above if a mode at |A| starts off its minimum.",
        TRACER,
        _descent_limit,
        _descent_check,
        lambda: descent_residues(descent_limit),
        paper=("Lemma C.1",),
    ),
)
