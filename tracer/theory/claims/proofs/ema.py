"""Formulas and proofs of the claims in `tracer.theory.claims.ema`."""

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof, equation

sigma, ell, eta, m, a, gamma, time = sp.symbols("sigma ell eta m a gamma s", positive=True)
b = sp.Symbol("b", nonnegative=True)
plus, minus = sp.symbols("theta_+ theta_-", real=True)
slow, fast = sp.symbols("lambda_1 lambda_2", real=True)
t, k = sp.symbols("t k", positive=True, integer=True)
c = sigma + ell
MODE = {a: 1 - eta * c, b: eta * ell}
TRACE, DETERMINANT = a + m + (1 - m) * b, a * m
DISCRIMINANT = (a - m) ** 2 + 2 * (a + m) * (1 - m) * b + (1 - m) ** 2 * b**2
STEP = sp.Matrix([[a, b], [(1 - m) * a, m + (1 - m) * b]])
"""What one step makes of student and teacher."""
GAP = -m * eta * sigma * (plus**t - minus**t) / (plus - minus)
STUDENT = ((1 - eta * sigma - minus) * plus**t + (plus - (1 - eta * sigma)) * minus**t) / (plus - minus)
"""g_t and u_t by the two eigenvalues."""
DECAY_RATE = (1 - m) * eta * sigma / (1 - minus)
"""1 - theta_+, without cancellation."""
BUDGET = -m / (1 - m)
PERIOD_BUDGET = -(k * m / (1 - m) + k / (1 - a**k) - 1 / (1 - a))
"""Sum of the gap when the teacher moves every k steps."""
FELT_CURVATURE = sigma + 2 * m * ell / (1 + m)
"""What must stay below 2 over the step size."""
FLOW_GAP = -sigma * (sp.exp(slow * time) - sp.exp(fast * time)) / (slow - fast)
"""g(s) by the two rates of change."""


def eigenvalue(sign: int, discriminant: sp.Expr = DISCRIMINANT) -> sp.Expr:
    """theta_+ or theta_-."""
    return (TRACE + sign * sp.sqrt(discriminant)) / 2


def eigenvalue_residues(discriminant: sp.Expr = DISCRIMINANT) -> list[sp.Expr]:
    """The characteristic equation; the discriminant, a square plus no less than 0; and (1 - theta_+)(1 - theta_-)."""
    theta = sp.Symbol("theta")
    equation, roots = (theta * sp.eye(2) - STEP).det(), [eigenvalue(sign, discriminant) for sign in (1, -1)]
    squares = (a - m + (1 - m) * b) ** 2 + 4 * m * (1 - m) * b
    product = ((1 - roots[0]) * (1 - roots[1])).subs(MODE) - (1 - m) * eta * sigma
    return [*(equation.subs(theta, root) for root in roots), discriminant - squares, product]


def path_residues(path: sp.Expr, direction: tuple[int, int]) -> list[sp.Expr]:
    """By Cayley and Hamilton, any combination of student and teacher obeys y_{t+2} = trace y_{t+1} - determinant y_t.

    So it is the claimed one if that does too, and both agree at t = 0 and t = 1.
    """
    combination, start = sp.Matrix([direction]), sp.Matrix([1, 1])
    square = STEP * STEP - TRACE * STEP + DETERMINANT * sp.eye(2)
    recurrence = path.subs(t, t + 2) - (plus + minus) * path.subs(t, t + 1) + plus * minus * path
    starts = path.subs(t, 0) - (combination * start)[0], path.subs(t, 1) - (combination * STEP * start)[0].subs(MODE)
    return [*square, STEP.trace() - TRACE, recurrence, *starts]


def collapse_residues(rate: sp.Expr = DECAY_RATE) -> list[sp.Expr]:
    """The ratio of successive gaps and its limit theta_+, if theta_- is theta_+ / (1 + v); and 1 - theta_+, less the rate."""
    v, powers = sp.symbols("v p", positive=True)
    ratio = (GAP.subs(t, t + 1) / GAP).subs(minus, plus / (1 + v))
    late = sp.limit((1 - powers / (1 + v)) / (1 - powers), powers, 0) - 1
    known = {plus: eigenvalue(1).subs(MODE), minus: eigenvalue(-1).subs(MODE)}
    return [ratio - plus * (1 - (1 + v) ** (-t - 1)) / (1 - (1 + v) ** -t), late, (1 - plus - rate).subs(known)]


def budget_residues(total: sp.Expr = BUDGET) -> list[sp.Expr]:
    """The gap's two geometric series, at (1 - theta_+)(1 - theta_-) = (1 - m) eta sigma (`ema-eigenvalues`), less the total."""
    summed = -m * eta * sigma * (1 / (1 - plus) - 1 / (1 - minus)) / (plus - minus)
    return [summed.subs(plus, 1 - DECAY_RATE) - total]


def period_budget_residues(total: sp.Expr = PERIOD_BUDGET) -> list[sp.Expr]:
    """With p times the teacher taken off, the student shrinks by a per step: so within a period, and from one to the next.

    The students' and teachers' sums U and V over updates obey U - V = -m / (1 - m) (`teacher-displacement`) and
    U - p V - 1 = a^k (U - p V).
    """
    p, kept = sp.symbols("p a^k", positive=True)
    students, teachers = sp.symbols("U V", real=True)
    ahead = students - p * teachers
    found = sp.solve([students - teachers - BUDGET, ahead - 1 - kept * ahead], [students, teachers], dict=True)[0]
    summed = -k * (1 - p) * teachers + ahead * (1 - kept) / (1 - a)
    step = (STEP[0, :] * sp.Matrix([students, teachers]))[0].subs(b, p * (1 - a)) - p * teachers
    return [step - a * ahead, summed.subs(found).subs(kept, a**k) - total]


def gap_sign_residues(second: sp.Expr = TRACE) -> list[sp.Expr]:
    """The gap after two steps over that after one, which is theta_+ + theta_-, less the claim: where negative, the sign changes.

    Where it is not, theta_+ >= |theta_-|, so that theta_+^t - theta_-^t never changes sign, and sizes add up to the budget.
    """
    return [GAP.subs(t, 2) - GAP.subs(t, 1) * (plus + minus), eigenvalue(1) + eigenvalue(-1) - second]


def stability_residues(felt: sp.Expr = FELT_CURVATURE) -> list[sp.Expr]:
    """The characteristic polynomial at -1, positive up to the claimed bound and zero there; at 1 it is positive throughout."""
    at_minus_one, at_one = 1 + TRACE + DETERMINANT, 1 - TRACE + DETERMINANT
    return [at_minus_one.subs(MODE) - (1 + m) * (2 - eta * felt), at_one.subs(MODE) - (1 - m) * eta * sigma]


def flow_residues(path: sp.Expr = FLOW_GAP) -> list[sp.Expr]:
    """g'' + (c + gamma) g' + gamma sigma g = 0 with g(0) = 0, g'(0) = -sigma; and steps with m = 1 - gamma eta tend to it."""
    rate = sp.Symbol("lambda")
    equation = rate**2 + (c + gamma) * rate + gamma * sigma
    of_flow = (rate * sp.eye(2) - sp.Matrix([[-c, ell], [gamma, -gamma]])).det()
    of_step = ((1 + eta * rate) * sp.eye(2) - STEP).det().subs(MODE).subs(m, 1 - gamma * eta)
    obeyed = path.diff(time, 2) - (slow + fast) * path.diff(time) + slow * fast * path
    starts = path.subs(time, 0), path.diff(time).subs(time, 0) + sigma
    return [of_flow - equation, sp.limit(sp.expand(of_step) / eta**2, eta, 0) - equation, obeyed, *starts]


FIRST, g = sp.Symbol("u_0"), sp.Function("g")
COLLAPSE = equation(1 - sp.Limit(g(t + 1) / g(t), t, sp.oo), DECAY_RATE)
SUM = sp.Sum(g(t), (t, 0, sp.oo))
PROOFS = {
    "ema-eigenvalues": Proof(equation(plus, eigenvalue(1)), eigenvalue_residues),
    "ema-student": Proof(equation("u_t", STUDENT * FIRST), lambda: path_residues(STUDENT, (1, 0))),
    "ema-gap": Proof(equation("g_t", GAP * FIRST), lambda: path_residues(GAP, (1, -1))),
    "ema-collapse": Proof(COLLAPSE, collapse_residues),
    "ema-budget": Proof(equation(SUM, BUDGET * FIRST), budget_residues),
    "ema-budget-with-period": Proof(equation(SUM, PERIOD_BUDGET * FIRST), period_budget_residues),
    "ema-gap-sign": Proof(sp.Ge(TRACE, 0, evaluate=False), gap_sign_residues),
    "ema-stability": Proof(sp.Lt(eta * FELT_CURVATURE, 2, evaluate=False), stability_residues),
    "ema-flow": Proof(equation(g(time), FLOW_GAP * FIRST), flow_residues),
}
