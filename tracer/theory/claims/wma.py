"""The power-law teacher, exactly: hypergeometric functions and their limit of small steps."""

from collections.abc import Callable

import numpy as np
import sympy as sp
from scipy import integrate

from tracer.theory.claims.claim import PROJECT, Check, Claim, compare
from tracer.theory.claims.instances import Mode, power_law_rates, random_mode, simulate
from tracer.theory.claims.tolerances import EXACT, INTEGRATED
from tracer.theory.closed_forms import wma

beta, c, x, q, time = sp.symbols("beta c x q s", positive=True)
t, k = sp.symbols("t k")
p = 1 - q
KAPPA = beta * q
Coefficient = Callable[[sp.Expr, sp.Expr], sp.Expr]


def rising(base: sp.Expr, power: sp.Expr) -> sp.Expr:
    """(base)_power by Gamma functions, without cases for a generic base; polynomials that agree there agree at whole numbers."""
    return sp.gamma(base + power) / sp.gamma(base)


def student_coefficient(steps: sp.Expr, power: sp.Expr) -> sp.Expr:
    """Of x^power in u_t = 2F1(-t, beta q; beta; x)."""
    return rising(-steps, power) * rising(KAPPA, power) / (rising(beta, power) * sp.factorial(power))


def teacher_coefficient(steps: sp.Expr, power: sp.Expr) -> sp.Expr:
    """Of x^power in ubar_t = 2F1(-t, beta q; beta + 1; x)."""
    return rising(-steps, power) * rising(KAPPA, power) / (rising(beta + 1, power) * sp.factorial(power))


def gap_coefficient(steps: sp.Expr, power: sp.Expr) -> sp.Expr:
    """Of x^power in g_t = -(q x t / (beta + 1)) 2F1(1 - t, beta q + 1; beta + 2; x)."""
    before = power - 1
    series = rising(1 - steps, before) * rising(KAPPA + 1, before) / (rising(beta + 2, before) * sp.factorial(before))
    return -q * steps / (beta + 1) * series


def recursion_residues(student: Coefficient, teacher: Coefficient) -> list[sp.Expr]:
    """Coefficients of x^k on both sides of both recursions, for all k and t; u_0 = ubar_0 = 1, and those of x^0 stay 1.

        u_{t+1} = (1 - x) u_t + p x ubar_t,    (beta + t + 1) ubar_{t+1} = (t + 1) ubar_t + beta u_{t+1}

    Both are polynomials in t. The first rests on (-t-1)_k - (-t)_k = -k (-t)_{k-1}.
    """
    common = student(t, k - 1)
    first = student(t + 1, k) - student(t, k) + student(t, k - 1) - p * teacher(t, k - 1)
    second = (beta + t + 1) * teacher(t + 1, k) - (t + 1) * teacher(t, k) - beta * student(t + 1, k)
    starts = [part(step, 0) - 1 for part in (student, teacher) for step in (t, t + 1)]
    return [sp.gammasimp(step / common) for step in (first, second)] + starts


def gap_residues(gap: Coefficient) -> list[sp.Expr]:
    """Coefficients of student minus teacher less those of the gap, for all k."""
    difference = student_coefficient(t, k) - teacher_coefficient(t, k) - gap(t, k)
    return [sp.gammasimp(difference / teacher_coefficient(t, k - 1))]


def flow_coefficient(shift: int, power: sp.Expr) -> sp.Expr:
    """Of s^power in 1F1(beta q; beta + shift; -c s): shift 0 the student, 1 the teacher."""
    return rising(KAPPA, power) * (-c) ** power / (rising(beta + shift, power) * sp.factorial(power))


def flow_residues(teacher: Callable[[sp.Expr], sp.Expr]) -> list[sp.Expr]:
    """Coefficients of s^k in Kummer's equation, in u = ubar + (s / beta) ubar' and in u' = -c u + c p ubar, for all k.

    Last, the discrete coefficients tend to these as t = s / eta grows: by induction on k, the ratio of neighbours does.
    """
    student = flow_coefficient(0, k)
    kummer = (k + 1) * (k + beta + 1) * teacher(k + 1) + c * k * teacher(k) + beta * c * q * teacher(k)
    lag = student - teacher(k) * (1 + k / beta)
    slope = (k + 1) * flow_coefficient(0, k + 1) + c * student - c * p * teacher(k)
    neighbours = sp.gammasimp(teacher_coefficient(t, k + 1) / teacher_coefficient(t, k)) * c * time / t
    late = sp.limit(sp.factor(neighbours), t, sp.oo) - sp.gammasimp(teacher(k + 1) / teacher(k)) * time
    return [*(sp.gammasimp(step / teacher(k)) for step in (kummer, lag, slope)), late, teacher(sp.Integer(0)) - 1]


def draw(rng: np.random.Generator) -> tuple[Mode, float]:
    return random_mode(rng, x=(0.3, 1.8)), float(rng.uniform(0.3, 2.5))


def _path_check(form: str):
    """A check of a closed form, named as the library does, at many steps; the nulls are another beta and no pull."""

    def check(rng: np.random.Generator) -> Check:
        (mode, exponent), steps = draw(rng), np.arange(121)
        students, teachers = simulate(mode, power_law_rates(exponent, 120))
        measured = {"student": students, "teacher": teachers, "gap": students - teachers}[form]
        predicted, other = (getattr(wma, form)(*mode, value, steps) for value in (exponent, exponent + 0.05))
        alone = getattr(wma, form)(mode.curvature, 0.0, mode.learning_rate, exponent, steps)
        return compare(predicted, measured, EXACT, other, alone)

    return check


def _flow_check(rng: np.random.Generator) -> Check:
    """Kummer's functions against an integrator that starts from their first two terms."""
    mode, exponent = draw(rng)
    early, times = 1e-6, np.linspace(0.5, 8, 6)

    def slopes(at, state):
        student, teacher = state
        return [-mode.curvature * student - mode.teacher_curvature * (student - teacher), exponent / at * (student - teacher)]

    start = [1 - mode.curvature * early, 1 - mode.curvature * early * exponent / (exponent + 1)]
    solved = integrate.solve_ivp(slopes, (early, 8), start, "Radau", times, rtol=1e-10, atol=1e-13)

    def predicted(curvature, teacher_curvature, value):
        each = curvature, teacher_curvature, value, times
        return np.stack([wma.flow_student(*each), wma.flow_teacher(*each)])

    nulls = predicted(mode.curvature, mode.teacher_curvature, exponent + 0.05), predicted(mode.curvature, 0.0, exponent)
    return compare(predicted(mode.curvature, mode.teacher_curvature, exponent), solved.y, INTEGRATED, *nulls)


def by_time(name: str, value: sp.Expr) -> sp.Rel:
    return sp.Eq(sp.Symbol(name), value * sp.Symbol("u_0"), evaluate=False)


CLAIMS = (
    Claim(
        "wma-student",
        "Under a power-law teacher the student's error is a Gauss hypergeometric function, exactly, at every step size.",
        PROJECT,
        lambda: by_time("u_t", sp.hyper([-t, KAPPA], [beta], x)),
        _path_check("student"),
        lambda: recursion_residues(student_coefficient, teacher_coefficient),
    ),
    Claim(
        "wma-teacher",
        "A power-law teacher's own error is the same hypergeometric function as its student's, with beta + 1 for the lower beta.",
        PROJECT,
        lambda: by_time("ubar_t", sp.hyper([-t, KAPPA], [beta + 1], x)),
        _path_check("teacher"),
        lambda: recursion_residues(student_coefficient, teacher_coefficient),
    ),
    Claim(
        "wma-gap",
        "The gap to a power-law teacher is a Gauss hypergeometric function too, and never changes sign for x <= 1.",
        PROJECT,
        lambda: by_time("g_t", -q * x * t / (beta + 1) * sp.hyper([1 - t, KAPPA + 1], [beta + 2], x)),
        _path_check("gap"),
        lambda: gap_residues(gap_coefficient),
    ),
    Claim(
        "wma-flow",
        "In the limit of small steps a power-law teacher and its student are confluent hypergeometric functions, and the teacher "
        "solves Kummer's equation.",
        PROJECT,
        lambda: sp.Eq(sp.Function("ubar")(time), sp.hyper([KAPPA], [beta + 1], -c * time) * sp.Symbol("u_0"), evaluate=False),
        _flow_check,
        lambda: flow_residues(lambda power: flow_coefficient(1, power)),
    ),
)
