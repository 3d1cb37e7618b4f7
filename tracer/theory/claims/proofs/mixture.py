"""Formulas and proofs of the claims in `tracer.theory.claims.mixture`."""

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof, bound, equation
from tracer.theory.claims.proofs.wma import FIRST, KAPPA, beta, k, p, q, rising, t, x

i, y = sp.symbols("i y", positive=True)
FACTOR_SLOPE = -i * q / (beta + i) ** 2
"""d/d beta of (beta p + i) / (beta + i): never positive."""
BUDGET = -1 / (x * (KAPPA - 1))
"""Sum of the gap for kappa > 1."""
PASSIVE_MEAN = (1 - (1 - x) ** (t + 1)) / ((t + 1) * x)
"""The uniform teacher of a student that feels no pull."""


def moment(a: sp.Expr, b: sp.Expr, power: sp.Expr) -> sp.Expr:
    """E Y^power for Y ~ Beta(a, b), by the Beta function."""
    return (sp.gamma(a + power) * sp.gamma(a + b)) / (sp.gamma(a) * sp.gamma(a + b + power))


def mixture_residues(first: sp.Expr = KAPPA, second: sp.Expr = beta * p) -> list[sp.Expr]:
    """Binomial expansion of E (1 - x Y)^t, Y ~ Beta(first, second), against the student's coefficients, for all k."""
    binomial, coefficient = sp.binomial(t, k) * (-1) ** k, rising(-t, k) / sp.factorial(k)
    ratios = binomial / binomial.subs(k, k - 1) - coefficient / coefficient.subs(k, k - 1)
    moments = moment(first, second, k) - sp.gammasimp(rising(KAPPA, k) / rising(beta, k))
    return [sp.gammasimp(ratios.rewrite(sp.gamma)), binomial.subs(k, 0) - 1, moments]


def monotone_residues(slope: sp.Expr = FACTOR_SLOPE) -> list[sp.Expr]:
    """For x <= 1 the student is a mean of (beta p)_K / (beta)_K over K ~ Binomial(t, x), each of whose factors falls in beta.

    The mixture, by its generating function at 1 - Y; the moment of 1 - Y; the i-th factor's slope, less the claimed one; and the
    limits: the static teacher's p for K > 0 as beta goes to 0, and p^K, no teacher, as it grows.
    """
    factor = (beta * p + i) / (beta + i)
    moments = sp.gammasimp(moment(beta * p, beta * q, k + 1) / moment(beta * p, beta * q, k)) - factor.subs(i, k)
    limits = [sp.limit(factor.subs(i, 0), beta, 0) - p, sp.limit(factor, beta, 0) - 1, sp.limit(factor, beta, sp.oo) - p]
    return [(1 - x + x * (1 - y)) - (1 - x * y), moments, factor.diff(beta) - slope, *limits]


def budget_residues(total: sp.Expr = BUDGET) -> list[sp.Expr]:
    """Sum of the gaps by the mixture, E 1/(xY) for Beta(kappa, beta p) less that for Beta(kappa, beta p + 1), less the total."""
    student, teacher = (sp.gammasimp(moment(KAPPA, beta * p + shift, sp.Integer(-1)) / x) for shift in (0, 1))
    return [student - teacher - total]


def stability_residues(largest: sp.Expr = 2) -> list[sp.Expr]:
    """Eigenvalues of a step as the teacher comes to rest: 1, and 1 - x, which is -1 at the bound.

    By the mixture the student is a mean of (1 - x Y)^t with Y in (0, 1): bounded if x is at most 2, and growing like (x - 1)^t
    beyond.
    """
    rate, theta = sp.symbols("r theta", positive=True)
    step = sp.Matrix([[1 - x, p * x], [rate * (1 - x), 1 - rate + rate * p * x]])
    polynomial = (theta * sp.eye(2) - step).det().subs(rate, 0)
    return [polynomial - (theta - 1) * (theta - (1 - x)), polynomial.subs(theta, -1).subs(x, largest)]


def passive_residues(mean: sp.Expr = PASSIVE_MEAN) -> list[sp.Expr]:
    """Without a pull the student is (1 - x)^t; induction for the plain mean of what it was: start and recursion."""
    steps, kept = sp.Symbol("t", positive=True, integer=True), 1 - x
    following = (steps + 2) * mean.subs(t, steps + 1) - (steps + 1) * mean.subs(t, steps) - kept ** (steps + 1)
    return [mean.subs(t, 0) - 1, following]


def _mixture() -> sp.Rel:
    at = sp.Symbol("y")
    density = at ** (KAPPA - 1) * (1 - at) ** (beta * p - 1) / sp.Function("B")(KAPPA, beta * p)
    return equation("u_t", sp.Integral((1 - x * at) ** t * density, (at, 0, 1)) * FIRST)


SUM = sp.Sum(sp.Function("g")(t), (t, 0, sp.oo))
PROOFS = {
    "wma-mixture": Proof(_mixture(), mixture_residues),
    "wma-monotone": Proof(bound(sp.Derivative(sp.Function("u_t")(beta), beta), sp.Integer(0)), monotone_residues),
    "wma-budget": Proof(equation(SUM, BUDGET * FIRST), budget_residues),
    "wma-stability": Proof(sp.Lt(x, 2, evaluate=False), stability_residues),
    "passive-teacher": Proof(equation("ubar_t", PASSIVE_MEAN * FIRST), passive_residues),
}
