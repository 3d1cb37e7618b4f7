"""Formulas and proofs of the claims in `tracer.theory.claims.mixture`."""

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof
from tracer.theory.claims.proofs.wma import KAPPA, beta, by_time, k, p, q, rising, t, x


def moment(a: sp.Expr, b: sp.Expr, power: sp.Expr) -> sp.Expr:
    """E Y^power for Y ~ Beta(a, b), by the Beta function."""
    return (sp.gamma(a + power) * sp.gamma(a + b)) / (sp.gamma(a) * sp.gamma(a + b + power))


def mixture_residues(first: sp.Expr, second: sp.Expr) -> list[sp.Expr]:
    """Binomial expansion of E (1 - x Y)^t, Y ~ Beta(first, second), against the student's coefficients, for all k."""
    binomial = sp.binomial(t, k) * (-1) ** k
    coefficient = rising(-t, k) / sp.factorial(k)
    steps = sp.gammasimp((binomial / binomial.subs(k, k - 1) - coefficient / coefficient.subs(k, k - 1)).rewrite(sp.gamma))
    return [steps, binomial.subs(k, 0) - 1, moment(first, second, k) - sp.gammasimp(rising(KAPPA, k) / rising(beta, k))]


def monotone_residues(slope: sp.Expr) -> list[sp.Expr]:
    """For x <= 1 the student is a mean of (beta p)_K / (beta)_K over K ~ Binomial(t, x), each of whose factors falls in beta.

    The mixture, by its generating function at 1 - Y; the moment of 1 - Y; the i-th factor's slope, less the claimed one; and the
    limits: the static teacher's p for K > 0 as beta goes to 0, and p^K, no teacher, as it grows.
    """
    i, y = sp.symbols("i y", positive=True)
    factor = (beta * p + i) / (beta + i)
    return [
        (1 - x + x * (1 - y)) - (1 - x * y),
        sp.gammasimp(moment(beta * p, beta * q, k + 1) / moment(beta * p, beta * q, k)) - factor.subs(i, k),
        factor.diff(beta) - slope,
        sp.limit(factor.subs(i, 0), beta, 0) - p,
        sp.limit(factor, beta, 0) - 1,
        sp.limit(factor, beta, sp.oo) - p,
    ]


def factor_slope() -> sp.Expr:
    """d/d beta of (beta p + i) / (beta + i): never positive."""
    i = sp.Symbol("i", positive=True)
    return -i * q / (beta + i) ** 2


def budget_residues(total: sp.Expr) -> list[sp.Expr]:
    """Sum of the gaps by the mixture, E 1/(xY) for Beta(kappa, beta p) less that for Beta(kappa, beta p + 1), less the total."""
    student, teacher = (moment(KAPPA, beta * p + shift, -1) / x for shift in (0, 1))
    return [sp.gammasimp(student) - sp.gammasimp(teacher) - total]


def budget() -> sp.Expr:
    """Sum of the gap for kappa > 1."""
    return -1 / (x * (KAPPA - 1))


def stability_residues(bound: sp.Expr) -> list[sp.Expr]:
    """Eigenvalues of a step as the teacher comes to rest: 1, and 1 - x, which is -1 at the bound.

    By the mixture the student is a mean of (1 - x Y)^t with Y in (0, 1): bounded if x is at most 2, and growing like (x - 1)^t
    beyond.
    """
    rate, theta = sp.symbols("r theta", positive=True)
    step = sp.Matrix([[1 - x, p * x], [rate * (1 - x), 1 - rate + rate * p * x]])
    equation = (theta * sp.eye(2) - step).det().subs(rate, 0)
    return [equation - (theta - 1) * (theta - (1 - x)), equation.subs(theta, -1).subs(x, bound)]


def passive_residues(mean: sp.Expr) -> list[sp.Expr]:
    """Without a pull the student is (1 - x)^t; induction for the plain mean of what it was: start and recursion."""
    steps, kept = sp.Symbol("t", positive=True, integer=True), 1 - x
    following = (steps + 2) * mean.subs(t, steps + 1) - (steps + 1) * mean.subs(t, steps) - kept ** (steps + 1)
    return [mean.subs(t, 0) - 1, following]


def passive_mean() -> sp.Expr:
    """The uniform teacher of a student that feels no pull."""
    return (1 - (1 - x) ** (t + 1)) / ((t + 1) * x)


def _mixture() -> sp.Rel:
    y = sp.Symbol("y")
    density = y ** (KAPPA - 1) * (1 - y) ** (beta * p - 1) / sp.Function("B")(KAPPA, beta * p)
    return by_time("u_t", sp.Integral((1 - x * y) ** t * density, (y, 0, 1)))


PROOFS = {
    "wma-mixture": Proof(_mixture(), lambda: mixture_residues(KAPPA, beta * p)),
    "wma-monotone": Proof(
        sp.Le(sp.Derivative(sp.Function("u_t")(beta), beta), 0, evaluate=False), lambda: monotone_residues(factor_slope())
    ),
    "wma-budget": Proof(
        sp.Eq(sp.Sum(sp.Function("g")(t), (t, 0, sp.oo)), budget() * sp.Symbol("u_0"), evaluate=False),
        lambda: budget_residues(budget()),
    ),
    "wma-stability": Proof(sp.Lt(x, 2, evaluate=False), lambda: stability_residues(sp.Integer(2))),
    "passive-teacher": Proof(by_time("ubar_t", passive_mean()), lambda: passive_residues(passive_mean())),
}
