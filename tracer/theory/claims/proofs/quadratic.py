"""Formulas and proofs of the claims in `tracer.theory.claims.quadratic`."""

from collections.abc import Callable

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof, equation

a, gamma = sp.symbols("a gamma", positive=True)
b, start = sp.symbols("b w_0", real=True)
t = sp.Symbol("t", nonnegative=True, integer=True)


def descent_limit(share: sp.Expr, inverse: sp.Expr, linear: sp.Expr) -> sp.Expr:
    """Where one eigendirection ends: `share` is 1 in the operator's range and 0 off it, `inverse` that of its pseudo-inverse."""
    return (1 - share) * start + inverse * linear


def descent_residues(limit: Callable[[sp.Expr, sp.Expr, sp.Expr], sp.Expr] = descent_limit) -> list[sp.Expr]:
    """The path in one eigendirection of the operator: its start, its recursion, and where it tends; then off the operator's range.

    The operator is symmetric, so that such directions (matrices, if it acts on matrices) form an orthonormal basis. In its range
    the power of 1 - gamma a vanishes if and only if 1 - (1 - gamma a)^2 = gamma a (2 - gamma a) is positive. Off it the linear part
    has none either, and the path stands still.
    """
    power = sp.Symbol("p", real=True)

    def path(steps: sp.Expr) -> sp.Expr:
        return b / a + (1 - gamma * a) ** steps * (start - b / a)

    return [
        path(sp.Integer(0)) - start,
        path(t + 1) - (path(t) - gamma * (a * path(t) - b)),
        path(t).subs((1 - gamma * a) ** t, power).subs(power, 0) - limit(sp.Integer(1), 1 / a, b),
        1 - (1 - gamma * a) ** 2 - gamma * a * (2 - gamma * a),
        (start - gamma * (a * start - b)).subs({a: 0, b: 0}) - limit(sp.Integer(0), sp.Integer(0), sp.Integer(0)),
    ]


NULL, INVERSE, LINEAR, FIRST = sp.symbols(r"\Pi_A A^+ B W_0", commutative=False)
PROOFS = {"descent-limit": Proof(equation(r"W_\infty", (1 - NULL) * FIRST + INVERSE * LINEAR), descent_residues)}
