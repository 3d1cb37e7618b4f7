"""What follows from the Beta mixture behind a power-law teacher: order in beta, sums and the largest step size."""

import numpy as np
import sympy as sp
from scipy import special
from scipy.optimize import brentq

from tracer.theory.claims.claim import PROJECT, Check, Claim, compare
from tracer.theory.claims.instances import extrapolated, power_law_rates, random_mode, simulate
from tracer.theory.claims.tolerances import BOUNDARY, EXACT, SUMMED
from tracer.theory.claims.wma import KAPPA, beta, by_time, draw, k, p, q, rising, t, x
from tracer.theory.closed_forms import wma


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


def _mixture_check(rng: np.random.Generator) -> Check:
    """The student against quadrature over the Beta density; the null puts Y at its mean, which is the student without a teacher."""
    mode, exponent = draw(rng)
    first, second, steps = exponent * mode.data_share, exponent * mode.teacher_share, np.arange(0, 41, 5)
    nodes, weights = special.roots_jacobi(64, second - 1, first - 1)
    weights /= weights.sum()
    measured = [weights @ (1 - mode.x * (1 + nodes) / 2) ** step for step in steps]
    alone = (1 - mode.learning_rate * mode.curvature) ** steps
    return compare(wma.student(*mode, exponent, steps), measured, EXACT, alone)


def _monotone_check(rng: np.random.Generator) -> Check:
    """The largest rise from one beta to a greater one, between the simulated extremes; the null is the smallest fall."""
    mode, steps = random_mode(rng, x=(0.2, 1.0)), np.arange(1, 61)
    exponents = np.sort(10 ** rng.uniform(-2, 2, 12))
    paths = [simulate(mode, power_law_rates(exponent, 60))[0][1:] for exponent in exponents]
    static, alone = simulate(mode, [0.0] * 60)[0][1:], simulate(mode, [1.0] * 60)[0][1:]
    changes = np.diff(np.stack([static, *(wma.student(*mode, exponent, steps) for exponent in exponents), alone]), axis=0)
    measured = np.diff(np.stack([static, *paths, alone]), axis=0)
    return Check(max(changes.max(), measured.max(), 0.0), EXACT, float(np.min(np.abs(measured).max(axis=1))))


def _budget_check(rng: np.random.Generator) -> Check:
    mode = random_mode(rng, x=(0.5, 1.5), share=(0.6, 0.9))
    exponent = rng.uniform(4.0, 5.0) / mode.data_share
    gaps = np.subtract(*simulate(mode, power_law_rates(exponent, 20_000)))
    predicted, alone = (
        wma.budget(mode.curvature, teacher_curvature, mode.learning_rate, exponent)
        for teacher_curvature in (mode.teacher_curvature, 0.0)
    )
    return compare(predicted, gaps.sum(), SUMMED, alone, 0.0)


def _stability_check(rng: np.random.Generator) -> Check:
    """Where the student is as large after a run as after half of it, which lies O(1 / steps) above the bound; extrapolated."""
    mode, exponent = draw(rng)
    total = mode.curvature + mode.teacher_curvature

    def growth(learning_rate: float, steps: int) -> float:
        students, _ = simulate(mode._replace(learning_rate=learning_rate), power_law_rates(exponent, steps))
        return float(np.log(np.abs(students[-1] / students[steps // 2])))

    measured = extrapolated(*(brentq(growth, 1.9 / total, 2.1 / total, (steps,), xtol=1e-7) for steps in (2000, 4000)))
    predicted, alone = (
        wma.max_learning_rate(mode.curvature, teacher_curvature) for teacher_curvature in (mode.teacher_curvature, 0.0)
    )
    return compare(predicted, measured, BOUNDARY, alone, predicted / 2)


def _passive_check(rng: np.random.Generator) -> Check:
    mode = random_mode(rng)._replace(teacher_curvature=0.0)
    _, teachers = simulate(mode, power_law_rates(1.0, 100))
    steps = np.arange(101)
    return compare(wma.teacher(*mode, 1.0, steps), teachers, EXACT, wma.teacher(*mode, 1.05, steps), wma.student(*mode, 1.0, steps))


def _mixture() -> sp.Rel:
    y = sp.Symbol("y")
    density = y ** (KAPPA - 1) * (1 - y) ** (beta * p - 1) / sp.Function("B")(KAPPA, beta * p)
    return by_time("u_t", sp.Integral((1 - x * y) ** t * density, (y, 0, 1)))


CLAIMS = (
    Claim(
        "wma-mixture",
        "Under a power-law teacher the student is a mean of (1 - xY)^t over Y ~ Beta(beta q, beta p): of all decay rates at once.",
        PROJECT,
        _mixture,
        _mixture_check,
        lambda: mixture_residues(KAPPA, beta * p),
    ),
    Claim(
        "wma-monotone",
        "With a power-law teacher and x <= 1 the student's error falls in beta, from that with a static teacher to that with none.",
        PROJECT,
        lambda: sp.Le(sp.Derivative(sp.Function("u_t")(beta), beta), 0, evaluate=False),
        _monotone_check,
        lambda: monotone_residues(factor_slope()),
    ),
    Claim(
        "wma-budget",
        "For kappa = beta sigma/(sigma + l) > 1 the gap to a power-law teacher adds up to -1/(x(kappa-1)) times the initial error.",
        PROJECT,
        lambda: sp.Eq(sp.Sum(sp.Function("g")(t), (t, 0, sp.oo)), budget() * sp.Symbol("u_0"), evaluate=False),
        _budget_check,
        lambda: budget_residues(budget()),
    ),
    Claim(
        "wma-stability",
        "Gradient descent with a power-law teacher is stable if and only if eta (sigma + l) < 2.",
        PROJECT,
        lambda: sp.Lt(x, 2, evaluate=False),
        _stability_check,
        lambda: stability_residues(sp.Integer(2)),
    ),
    Claim(
        "passive-teacher",
        "Without a pull the student is (1 - x)^t, and its uniform mean still remembers the start like 1/t.",
        PROJECT,
        lambda: by_time("ubar_t", passive_mean()),
        _passive_check,
        lambda: passive_residues(passive_mean()),
    ),
)
