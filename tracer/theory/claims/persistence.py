"""What a weighted moving average leaves after long: power laws, their constants and sums, and the same over a horizon."""

import numpy as np
import sympy as sp

from tracer.averaging import Beta, Clock
from tracer.theory.claims.claim import PROJECT, TRACER, Check, Claim, compare
from tracer.theory.claims.instances import Mode, extrapolated, power_law_rates, random_mode, simulate
from tracer.theory.claims.tolerances import ASYMPTOTIC, HORIZON, LAG
from tracer.theory.closed_forms import wma

beta, x, t, T, q = sp.symbols("beta x t T q", positive=True)
p = 1 - q
KAPPA = sp.Symbol("kappa", positive=True)
IN_SHARES = {KAPPA: beta * q}
NORMALISER = sp.gamma(beta) ** 2 / sp.gamma(2 * beta)
"""B(beta, beta)."""
F = sp.Function("F")
STEPS = 4000
"""After these and half as many the first correction to a power law is extrapolated away."""


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


def _draw(rng: np.random.Generator) -> tuple[Mode, float]:
    return random_mode(rng, x=(0.3, 1.2), share=(0.35, 0.65)), float(rng.uniform(0.5, 1.4))


def _paths(mode: Mode, exponent: float) -> np.ndarray:
    """Student, teacher and gap after STEPS / 4, STEPS / 2 and STEPS, (3, 3)."""
    students, teachers = simulate(mode, power_law_rates(exponent, STEPS))
    at = np.array([STEPS // 4, STEPS // 2, STEPS])
    return np.stack([students[at], teachers[at], (students - teachers)[at]])


def _exponent_check(rng: np.random.Generator) -> Check:
    """Slopes between times twice as late; the nulls are no pull, and a bias that stays."""
    mode, exponent = _draw(rng)
    slopes = -np.diff(np.log2(np.abs(_paths(mode, exponent))), axis=1)
    measured = extrapolated(*slopes.T)
    return compare(wma.persistence_exponent(mode.curvature, mode.teacher_curvature, exponent), measured, ASYMPTOTIC, exponent, 0.0)


def _constant_check(rng: np.random.Generator) -> Check:
    mode, exponent = _draw(rng)
    kappa, times = exponent * mode.data_share, np.array([STEPS // 2, STEPS])
    scaled = _paths(mode, exponent)[:, 1:] * (mode.x * times) ** kappa
    measured = extrapolated(*scaled.T)
    teacher = wma.persistence_constant(mode.curvature, mode.teacher_curvature, exponent)
    shares = np.array([mode.teacher_share, 1.0, -mode.data_share])
    return compare(teacher * shares, measured, ASYMPTOTIC, teacher * np.array([1.0, 1.0, 0.0]), np.zeros(3))


def _impulse_check(rng: np.random.Generator) -> Check:
    """Sums between T and 2T over T^(1 - kappa), for kappa < 1; the nulls are an EMA's finite sum and that of the errors."""
    mode, exponent = _draw(rng)
    kappa = exponent * mode.data_share
    gaps = np.abs(np.subtract(*simulate(mode, power_law_rates(exponent, STEPS))))
    sums = np.concatenate([[0.0], np.cumsum(gaps)])
    half, whole = (np.diff(sums[[end // 2, end]])[0] / end ** (1 - kappa) for end in (STEPS // 2, STEPS))
    constant = (
        wma.persistence_constant(mode.curvature, mode.teacher_curvature, exponent)
        * mode.x**-kappa
        * (1 - 2 ** (kappa - 1))
        / (1 - kappa)
    )
    return compare(mode.data_share * constant, extrapolated(half, whole), ASYMPTOTIC, 0.0, constant)


def _at_horizons(rng: np.random.Generator, kernels: tuple[float, float], measure) -> np.ndarray:
    """Halving the step size at four times the horizon halves both corrections; measure(students, teachers, mode, beta, T)."""
    mode, exponent = random_mode(rng, x=(0.04, 0.04)), float(rng.uniform(*kernels))
    found = []
    for halvings in range(2):
        finer, horizon = mode._replace(learning_rate=mode.learning_rate / 2**halvings), 4000 * 4**halvings
        rates = Beta(exponent, exponent).rates(Clock(horizon), np.arange(1, horizon + 1))
        found.append(measure(*simulate(finer, rates.tolist()), finer, exponent, horizon))
    return extrapolated(*found)


def _horizon_check(rng: np.random.Generator) -> Check:
    """Simulated over predicted errors at half time and at the end; the nulls are a collapsed teacher, and a quarter of beta."""

    def measure(students: np.ndarray, teachers: np.ndarray, mode: Mode, exponent: float, horizon: int) -> np.ndarray:
        times = np.array([horizon // 2, horizon])
        predicted, other = (wma.beta_teacher(*mode, value, value, horizon, times) for value in (exponent, exponent / 4))
        return np.stack([teachers[times] / predicted, teachers[times] / other])

    ratio, other = _at_horizons(rng, (0.4, 1.2), measure)
    return Check(float(np.abs(ratio - 1).max()), HORIZON, float(min(1.0, np.abs(other - 1).max())))


def _lag_check(rng: np.random.Generator) -> Check:
    """Simulated over predicted lag of student and gap at the very end; the null is no lag."""

    def measure(students: np.ndarray, teachers: np.ndarray, mode: Mode, exponent: float, horizon: int) -> np.ndarray:
        student, teacher, gap = wma.beta_end(*mode, exponent, exponent, horizon)
        without = np.array([mode.teacher_share, -mode.data_share])
        simulated = np.array([students[-1], students[-1] - teachers[-1]]) / teachers[-1]
        return (simulated - without) / (np.array([student, gap]) / teacher - without)

    ratio = _at_horizons(rng, (0.8, 1.2), measure)
    return compare(np.ones(2), ratio, LAG, np.zeros(2), scale=1.0)


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


CLAIMS = (
    Claim(
        "wma-persistence-exponent",
        "Under a weighted moving average student, teacher and gap fall only like t^-kappa, kappa = beta sigma/(sigma + l).",
        f"{TRACER} (that they persist); {PROJECT} (the exponent)",
        _exponent,
        _exponent_check,
        lambda: exponent_residues(beta * q),
        paper=("Theorem 3.4", "Theorem C.6", "Theorem C.8"),
    ),
    Claim(
        "wma-persistence-constant",
        "To leading order the WMA's error is Gamma(beta+1)/Gamma(1+beta p) (xt)^-kappa, the student's p and the gap -q times it.",
        PROJECT,
        lambda: _limit("ubar", (x * t) ** KAPPA, constant()),
        _constant_check,
        lambda: constant_residues(constant()),
        paper=("Theorem C.6", "Theorem C.8"),
    ),
    Claim(
        "wma-impulse-growth",
        "The gap to a weighted moving average adds up without bound, like T^(1 - kappa) for kappa < 1 and log T for kappa = 1.",
        PROJECT,
        _impulse,
        _impulse_check,
        lambda: impulse_residues(impulse_constant(KAPPA)),
    ),
    Claim(
        "wma-horizon",
        "For small steps a Beta(beta, beta) kernel over a horizon T leaves the exponent kappa in T, and its mass F the constant.",
        PROJECT,
        _horizon,
        _horizon_check,
        lambda: horizon_residues(horizon_law(sp.Symbol("F", positive=True))),
        ("Theorem C.6", "Theorem C.8"),
    ),
    Claim(
        "wma-end-of-horizon",
        "For small steps the student lags p times its teacher by the share q delta ~ (xT)^-beta at the end of a Beta kernel's run.",
        PROJECT,
        _end,
        _lag_check,
        lambda: lag_residues(lag()),
    ),
)
