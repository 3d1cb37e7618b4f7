"""Formulas and proofs of the claims in `tracer.theory.claims.persistence`."""

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof, equation

beta, x, t, T, q, KAPPA = sp.symbols("beta x t T q kappa", positive=True)
p = 1 - q
NORMALISER = sp.gamma(beta) ** 2 / sp.gamma(2 * beta)
"""B(beta, beta)."""
CONSTANT = sp.gamma(beta + 1) / sp.gamma(1 + beta * p)
"""Of the teacher's power law (x t)^-kappa."""
IMPULSE = q * CONSTANT / (x**KAPPA * (1 - KAPPA))
"""Of the sum of |g_t| up to T, in units of T^(1 - kappa)."""
LAG = sp.gamma(2 * beta) / sp.gamma(beta) * (x * T) ** -beta
"""delta, how far the student lags behind its teacher at the end of the horizon."""
F, MASS = sp.Function("F"), sp.Symbol("F", positive=True)
HORIZON = CONSTANT * (x * T) ** -KAPPA * (beta * NORMALISER * MASS) ** -q
"""The teacher of a Beta(beta, beta) kernel at the mass F that the kernel has put on the past."""


def exponent_residues(exponent: sp.Expr = beta * q) -> list[sp.Expr]:
    """The student follows p times its teacher; then the teacher's recursion asks for the exponent, to leading order in 1 / t.

    At x = 1 exactly: ubar_t = (beta p + 1)_t / (beta + 1)_t, u_t = (beta p)_t / (beta)_t, by their ratios of neighbours, of which
    t (1 - ratio) tends to the exponent.
    """
    teacher, behind = ((beta * p + shift + t) / (beta + shift + t) for shift in (1, 0))
    law, student = t**-exponent, p * (beta + t) / (beta * p + t)
    later = student.subs(t, t + 1) * teacher
    return [
        t * law.diff(t) / law - beta * (p - 1),
        (beta + t + 1) * teacher - (t + 1) - beta * later,
        later - p,
        behind * student - later,
        *(sp.limit(t * (1 - ratio), t, sp.oo) - exponent for ratio in (teacher, behind)),
    ]


def constant_residues(claimed: sp.Expr = CONSTANT) -> list[sp.Expr]:
    """By Watson's lemma, the mean of (1 - x Y)^t over Beta(kappa, b) is to leading order that of e^{-x t y} over y^{kappa - 1} / B.

    The integral; its constant for the teacher (b = beta p + 1), p and -q times that for student (b = beta p) and gap; and that of
    a teacher that does not pull.
    """
    y = sp.Symbol("y", positive=True)
    integral = sp.integrate(y ** (KAPPA - 1) * sp.exp(-x * t * y), (y, 0, sp.oo)) - sp.gamma(KAPPA) * (x * t) ** -KAPPA
    student, teacher = (sp.gamma(beta + shift) / sp.gamma(beta * p + shift) for shift in (0, 1))
    shares = [(teacher, sp.Integer(1)), (student, p), (student - teacher, -q)]
    return [integral, *(sp.gammasimp(each / claimed) - share for each, share in shares), claimed.subs(q, 1) - sp.gamma(beta + 1)]


def impulse_residues(claimed: sp.Expr = IMPULSE) -> list[sp.Expr]:
    """Growth of the claimed sum over that of the integral of q C (x t)^-kappa; and at the border kappa = 1, between T and 2T."""
    law = q * CONSTANT * (x * t) ** -KAPPA
    at_border = sp.integrate(law.subs(KAPPA, 1), (t, T, 2 * T)) - q * CONSTANT / x * sp.log(2)
    return [(claimed * t ** (1 - KAPPA)).diff(t) / law - 1, at_border]


def horizon_residues(law: sp.Expr = HORIZON) -> list[sp.Expr]:
    """A teacher that moves at the speed F'/F after a student that is p times it falls like F^-q, for any F.

    Early, where beta B F(t / T) = (t / T)^beta, it is the power-law teacher of exponent beta.
    """
    at = law.subs(MASS, F(t))
    early = law.subs(MASS, (t / T) ** beta / (beta * NORMALISER)) / (CONSTANT * (x * t) ** -KAPPA)
    obeyed = at.diff(t) / at - F(t).diff(t) / F(t) * (p - 1)
    return [obeyed, sp.log(early.subs(KAPPA, beta * q)).expand(force=True)]


def lag_residues(delta: sp.Expr = LAG) -> list[sp.Expr]:
    """v = u - p ubar obeys v' = -c v - p ubar' with ubar' = -q F' ubar / F; to leading order F' = (1 - t / T)^{beta - 1} / (B T).

    So v_T = p q ubar_T times the integral of e^{-x tau} F' over the steps tau before the end, which is delta.
    """
    tau, d = sp.Symbol("tau", positive=True), sp.Symbol("delta")
    integral = sp.integrate(sp.exp(-x * tau) * (tau / T) ** (beta - 1) / (T * NORMALISER), (tau, 0, sp.oo))
    student = p + p * q * d
    return [sp.gammasimp(sp.powsimp(integral / delta, force=True)) - 1, student - p * (1 + q * d), student - 1 + q * (1 - p * d)]


def _limit(of: sp.Expr, by: sp.Symbol, value: sp.Expr) -> sp.Rel:
    return equation(sp.Limit(of, by, sp.oo), value)


def _impulse() -> sp.Rel:
    i = sp.Symbol("t", integer=True)
    summed = sp.Sum(sp.Abs(sp.Function("g")(i)), (i, 0, T))
    return _limit(summed / T ** (1 - KAPPA), T, IMPULSE * sp.Abs(FIRST))


FIRST, DURATION, PROGRESS = sp.Symbol("u_0"), sp.Symbol("{(xT)}", positive=True), sp.Symbol("tau", positive=True)
SIGMA, ELL = sp.symbols("sigma ell", positive=True)
LAW = sp.Function("ubar")(t) * (x * t) ** KAPPA
OVER_HORIZON = sp.Function("ubar")(PROGRESS * T) / HORIZON.subs(MASS, F(PROGRESS)).subs(x * T, DURATION)
LAGGING = (sp.Symbol("u_T") / (p * sp.Symbol("ubar_T")) - 1) / LAG.subs(x * T, DURATION)
PROOFS = {
    "wma-persistence-exponent": Proof(equation(KAPPA, beta * SIGMA / (SIGMA + ELL)), exponent_residues),
    "wma-persistence-constant": Proof(_limit(LAW, t, CONSTANT * FIRST), constant_residues),
    "wma-impulse-growth": Proof(_impulse(), impulse_residues),
    "wma-horizon": Proof(_limit(OVER_HORIZON, DURATION, FIRST), horizon_residues),
    "wma-end-of-horizon": Proof(_limit(LAGGING, DURATION, q), lag_residues),
}
