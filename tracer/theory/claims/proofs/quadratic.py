"""Formulas and proofs of the claims in `tracer.theory.claims.quadratic`."""

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof, equation

a, gamma = sp.symbols("a gamma", positive=True)
b, start = sp.symbols("b w_0", real=True)
t = sp.Symbol("t", nonnegative=True, integer=True)
share, inverse = sp.symbols("Pi a^+", real=True)
"""Of an eigendirection: 1 in the operator's range and 0 off it, and the pseudo-inverse's eigenvalue."""
LIMIT = (1 - share) * start + inverse * b
"""Where it ends."""


def descent_residues(limit: sp.Expr = LIMIT) -> list[sp.Expr]:
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
        path(t).subs((1 - gamma * a) ** t, power).subs(power, 0) - limit.subs({share: 1, inverse: 1 / a}),
        1 - (1 - gamma * a) ** 2 - gamma * a * (2 - gamma * a),
        (start - gamma * (a * start - b)).subs({a: 0, b: 0}) - limit.subs({share: 0, inverse: 0, b: 0}),
    ]


NULL, INVERSE, LINEAR, FIRST = sp.symbols(r"\Pi_A A^+ B W_0", commutative=False)
PROOFS = {"descent-limit": Proof(equation(r"W_\infty", (1 - NULL) * FIRST + INVERSE * LINEAR), descent_residues)}
