"""Formulas and proofs of the claims in `tracer.theory.claims.wma`."""

from collections.abc import Callable

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof, equation

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


def recursion_residues(student: Coefficient = student_coefficient, teacher: Coefficient = teacher_coefficient) -> list[sp.Expr]:
    """Coefficients of x^k on both sides of both recursions, for all k and t; u_0 = ubar_0 = 1, and those of x^0 stay 1.

        u_{t+1} = (1 - x) u_t + p x ubar_t,    (beta + t + 1) ubar_{t+1} = (t + 1) ubar_t + beta u_{t+1}

    Both are polynomials in t. The first rests on (-t-1)_k - (-t)_k = -k (-t)_{k-1}.
    """
    first = student(t + 1, k) - student(t, k) + student(t, k - 1) - p * teacher(t, k - 1)
    second = (beta + t + 1) * teacher(t + 1, k) - (t + 1) * teacher(t, k) - beta * student(t + 1, k)
    starts = [part(step, sp.Integer(0)) - 1 for part in (student, teacher) for step in (t, t + 1)]
    return [sp.gammasimp(step / student(t, k - 1)) for step in (first, second)] + starts


def gap_residues(gap: Coefficient = gap_coefficient) -> list[sp.Expr]:
    """Coefficients of student minus teacher less those of the gap, for all k."""
    difference = student_coefficient(t, k) - teacher_coefficient(t, k) - gap(t, k)
    return [sp.gammasimp(difference / teacher_coefficient(t, k - 1))]


def flow_coefficient(shift: int, power: sp.Expr) -> sp.Expr:
    """Of s^power in 1F1(beta q; beta + shift; -c s): shift 0 the student, 1 the teacher."""
    return rising(KAPPA, power) * (-c) ** power / (rising(beta + shift, power) * sp.factorial(power))


def flow_residues(teacher: Callable[[sp.Expr], sp.Expr] = lambda power: flow_coefficient(1, power)) -> list[sp.Expr]:
    """Coefficients of s^k in Kummer's equation, in u = ubar + (s / beta) ubar' and in u' = -c u + c p ubar, for all k.

    Last, the discrete coefficients tend to these as t = s / eta grows: by induction on k, the ratio of neighbours does.
    """
    student = flow_coefficient(0, k)
    kummer = (k + 1) * (k + beta + 1) * teacher(k + 1) + c * k * teacher(k) + beta * c * q * teacher(k)
    slope = (k + 1) * flow_coefficient(0, k + 1) + c * student - c * p * teacher(k)
    neighbours = sp.gammasimp(teacher_coefficient(t, k + 1) / teacher_coefficient(t, k)) * c * time / t
    late = sp.limit(sp.factor(neighbours), t, sp.oo) - sp.gammasimp(teacher(k + 1) / teacher(k)) * time
    steps = kummer, student - teacher(k) * (1 + k / beta), slope
    return [*(sp.gammasimp(step / teacher(k)) for step in steps), late, teacher(sp.Integer(0)) - 1]


FIRST = sp.Symbol("u_0")
GAP = -q * x * t / (beta + 1) * sp.hyper([1 - t, KAPPA + 1], [beta + 2], x)
FLOW = equation(sp.Function("ubar")(time), sp.hyper([KAPPA], [beta + 1], -c * time) * FIRST)
PROOFS = {
    "wma-student": Proof(equation("u_t", sp.hyper([-t, KAPPA], [beta], x) * FIRST), recursion_residues),
    "wma-teacher": Proof(equation("ubar_t", sp.hyper([-t, KAPPA], [beta + 1], x) * FIRST), recursion_residues),
    "wma-gap": Proof(equation("g_t", GAP * FIRST), gap_residues),
    "wma-flow": Proof(FLOW, flow_residues),
}
