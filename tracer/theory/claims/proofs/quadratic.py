"""Formulas and proofs of the claims in `tracer.theory.claims.quadratic`."""

from collections.abc import Callable

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof

a, gamma = sp.symbols("a gamma", positive=True)

b, start = sp.symbols("b w_0", real=True)

t = sp.Symbol("t", nonnegative=True, integer=True)


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


def _descent_limit() -> sp.Rel:
    null, inverse, linear = sp.symbols(r"\Pi_A A^+ B", commutative=False)
    first = sp.Symbol("W_0", commutative=False)
    return sp.Eq(sp.Symbol(r"W_\infty"), (1 - null) * first + inverse * linear, evaluate=False)


PROOFS = {
    "descent-limit": Proof(_descent_limit(), lambda: descent_residues(descent_limit)),
}
