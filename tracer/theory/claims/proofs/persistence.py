"""Formulas and proofs of the claims in `tracer.theory.claims.persistence`."""

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof

beta, x, t, T, q = sp.symbols("beta x t T q", positive=True)

p = 1 - q
KAPPA = sp.Symbol("kappa", positive=True)

IN_SHARES = {KAPPA: beta * q}

NORMALISER = sp.gamma(beta) ** 2 / sp.gamma(2 * beta)
"""B(beta, beta)."""

F = sp.Function("F")


def constant() -> sp.Expr:
    """Of the teacher's power law (x t)^-kappa."""
    return sp.gamma(beta + 1) / sp.gamma(1 + beta * p)


def exponent_residues(exponent: sp.Expr) -> list[sp.Expr]:
    """The student follows p times its teacher; then the teacher's recursion asks for the exponent, to leading order in 1 / t.

    At x = 1 exactly: ubar_t = (beta p + 1)_t / (beta + 1)_t, u_t = (beta p)_t / (beta)_t, by their ratios of neighbours, of which
    t (1 - ratio) tends to the exponent.
    """
    teacher_ratio, student_ratio = ((beta * p + shift + t) / (beta + shift + t) for shift in (1, 0))
    law = t**-exponent
    student = p * (beta + t) / (beta * p + t)
    return [
        t * law.diff(t) / law - beta * (p - 1),
        (beta + t + 1) * teacher_ratio - (t + 1) - beta * student.subs(t, t + 1) * teacher_ratio,
        student.subs(t, t + 1) * teacher_ratio - p,
        student_ratio * student - student.subs(t, t + 1) * teacher_ratio,
        *(sp.limit(t * (1 - ratio), t, sp.oo) - exponent for ratio in (teacher_ratio, student_ratio)),
    ]


def constant_residues(claimed: sp.Expr) -> list[sp.Expr]:
    """By Watson's lemma, the mean of (1 - x Y)^t over Beta(kappa, b) is to leading order that of e^{-x t y} over y^{kappa - 1} / B.

    The integral; its constant for the teacher (b = beta p + 1), p and -q times that for student (b = beta p) and gap; and that of
    a teacher that does not pull.
    """
    y, kappa = sp.symbols("y kappa", positive=True)
    integral = sp.integrate(y ** (kappa - 1) * sp.exp(-x * t * y), (y, 0, sp.oo))

    def leading(b: sp.Expr) -> sp.Expr:
        return sp.gamma(beta * q + b) / sp.gamma(b)

    student, teacher = leading(beta * p), leading(beta * p + 1)
    return [
        integral - sp.gamma(kappa) * (x * t) ** -kappa,
        sp.gammasimp(teacher / claimed) - 1,
        sp.gammasimp(student / claimed) - p,
        sp.gammasimp((student - teacher) / claimed) + q,
        claimed.subs(q, 1) - sp.gamma(beta + 1),
    ]


def impulse_constant(kappa: sp.Expr) -> sp.Expr:
    """Of the sum of |g_t| up to T, in units of T^(1 - kappa)."""
    return q * constant() / (x**kappa * (1 - kappa))


def impulse_residues(claimed: sp.Expr) -> list[sp.Expr]:
    """Growth of the claimed sum over that of the integral of q C (x t)^-kappa; and at the border kappa = 1, between T and 2T."""
    law = q * constant() * (x * t) ** -KAPPA
    at_border = sp.integrate(law.subs(KAPPA, 1), (t, T, 2 * T)) - q * constant() / x * sp.log(2)
    return [(claimed * t ** (1 - KAPPA)).diff(t) / law - 1, at_border]


def horizon_law(mass: sp.Expr, kappa: sp.Expr = KAPPA) -> sp.Expr:
    """The teacher of a Beta(beta, beta) kernel at the mass F that the kernel has put on the past."""
    return constant() * (x * T) ** -kappa * (beta * NORMALISER * mass) ** -q


def horizon_residues(law: sp.Expr) -> list[sp.Expr]:
    """A teacher that moves at the speed F'/F after a student that is p times it falls like F^-q, for any F.

    Early, where beta B F(t / T) = (t / T)^beta, it is the power-law teacher of exponent beta.
    """
    mass = sp.Symbol("F", positive=True)
    obeyed = law.subs(mass, F(t)).diff(t) / law.subs(mass, F(t)) - F(t).diff(t) / F(t) * (p - 1)
    early = law.subs(mass, (t / T) ** beta / (beta * NORMALISER)) / (constant() * (x * t) ** -KAPPA)
    return [obeyed, sp.log(early.subs(IN_SHARES)).expand(force=True)]


def lag() -> sp.Expr:
    """delta, how far the student lags behind its teacher at the end of the horizon."""
    return sp.gamma(2 * beta) / sp.gamma(beta) * (x * T) ** -beta


def lag_residues(delta: sp.Expr) -> list[sp.Expr]:
    """v = u - p ubar obeys v' = -c v - p ubar' with ubar' = -q F' ubar / F; to leading order F' = (1 - t / T)^{beta - 1} / (B T).

    So v_T = p q ubar_T times the integral of e^{-x tau} F' over the steps tau before the end, which is delta.
    """
    tau = sp.Symbol("tau", positive=True)
    density = (tau / T) ** (beta - 1) / (T * NORMALISER)
    integral = sp.integrate(sp.exp(-x * tau) * density, (tau, 0, sp.oo))
    d = sp.Symbol("delta")
    student = p + p * q * d
    return [sp.gammasimp(sp.powsimp(integral / delta, force=True)) - 1, student - p * (1 + q * d), student - 1 + q * (1 - p * d)]


def _limit(name: str, factor: sp.Expr, value: sp.Expr) -> sp.Rel:
    return sp.Eq(sp.Limit(sp.Function(name)(t) * factor, t, sp.oo), value * sp.Symbol("u_0"), evaluate=False)


def _exponent() -> sp.Rel:
    curvature, teacher_curvature = sp.symbols("sigma ell", positive=True)
    return sp.Eq(KAPPA, beta * curvature / (curvature + teacher_curvature), evaluate=False)


def _impulse() -> sp.Rel:
    i = sp.Symbol("t", integer=True)
    summed = sp.Sum(sp.Abs(sp.Function("g")(i)), (i, 0, T))
    return sp.Eq(sp.Limit(summed / T ** (1 - KAPPA), T, sp.oo), impulse_constant(KAPPA) * sp.Abs(sp.Symbol("u_0")), evaluate=False)


def _horizon() -> sp.Rel:
    duration, progress = sp.Symbol("{(xT)}", positive=True), sp.Symbol("tau", positive=True)
    ratio = sp.Function("ubar")(progress * T) / horizon_law(F(progress)).subs(x * T, duration)
    return sp.Eq(sp.Limit(ratio, duration, sp.oo), sp.Symbol("u_0"), evaluate=False)


def _end() -> sp.Rel:
    duration = sp.Symbol("{(xT)}", positive=True)
    lagging = sp.Symbol("u_T") / (p * sp.Symbol("ubar_T")) - 1
    return sp.Eq(sp.Limit(lagging / lag().subs(x * T, duration), duration, sp.oo), q, evaluate=False)


PROOFS = {
    "wma-persistence-exponent": Proof(_exponent(), lambda: exponent_residues(beta * q)),
    "wma-persistence-constant": Proof(_limit("ubar", (x * t) ** KAPPA, constant()), lambda: constant_residues(constant())),
    "wma-impulse-growth": Proof(_impulse(), lambda: impulse_residues(impulse_constant(KAPPA))),
    "wma-horizon": Proof(_horizon(), lambda: horizon_residues(horizon_law(sp.Symbol("F", positive=True)))),
    "wma-end-of-horizon": Proof(_end(), lambda: lag_residues(lag())),
}
