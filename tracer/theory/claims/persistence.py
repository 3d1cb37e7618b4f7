"""What a weighted moving average leaves after long: power laws, their constants and sums, and the same over a horizon."""

import numpy as np

from tracer.averaging import Beta, Clock
from tracer.theory.claims.claim import PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.instances import Mode, extrapolated, power_law_rates, random_mode, simulate
from tracer.theory.claims.tolerances import ASYMPTOTIC, HORIZON, LAG
from tracer.theory.closed_forms import wma

STEPS = 4000
"""After these and half as many the first correction to a power law is extrapolated away."""


def _draw(rng: np.random.Generator) -> tuple[Mode, float]:
    return random_mode(rng, x=(0.3, 1.2), share=(0.35, 0.65)), float(rng.uniform(0.5, 1.4))


def _paths(mode: Mode, exponent: float) -> np.ndarray:
    """Student, teacher and gap after STEPS / 4, STEPS / 2 and STEPS, (3, 3)."""
    students, teachers = simulate(mode, power_law_rates(exponent, STEPS))
    at = np.array([STEPS // 4, STEPS // 2, STEPS])
    return np.stack([students[at], teachers[at], (students - teachers)[at]])


def _at_horizons(rng: np.random.Generator, kernels: tuple[float, float], measure) -> np.ndarray:
    """Halving the step size at four times the horizon halves both corrections; measure(students, teachers, mode, beta, T)."""
    mode, exponent = random_mode(rng, x=(0.04, 0.04)), float(rng.uniform(*kernels))
    found = []
    for halvings in range(2):
        finer, horizon = mode._replace(learning_rate=mode.learning_rate / 2**halvings), 4000 * 4**halvings
        rates = Beta(exponent, exponent).rates(Clock(horizon), np.arange(1, horizon + 1))
        found.append(measure(*simulate(finer, rates.tolist()), finer, exponent, horizon))
    return extrapolated(*found)


@theorem(f"{TRACER} (that they persist); {PROJECT} (the exponent)", "Theorem 3.4", "Theorem C.6", "Theorem C.8")
def wma_persistence_exponent(rng: np.random.Generator) -> Check:
    """Under a weighted moving average student, teacher and gap fall only like t^-kappa, kappa = beta sigma/(sigma + l)."""
    # Slopes between times twice as late; the nulls are no pull, and a bias that stays.
    mode, exponent = _draw(rng)
    slopes = -np.diff(np.log2(np.abs(_paths(mode, exponent))), axis=1)
    measured = extrapolated(*slopes.T)
    return compare(
        wma.persistence_exponent(mode.curvature, mode.teacher_curvature, exponent), measured, exponent, 0.0, tolerance=ASYMPTOTIC
    )


@theorem(PROJECT, "Theorem C.6", "Theorem C.8")
def wma_persistence_constant(rng: np.random.Generator) -> Check:
    """To leading order the WMA's error is Gamma(beta+1)/Gamma(1+beta p) (xt)^-kappa, the student's p and the gap -q times it."""
    mode, exponent = _draw(rng)
    kappa, times = exponent * mode.data_share, np.array([STEPS // 2, STEPS])
    scaled = _paths(mode, exponent)[:, 1:] * (mode.x * times) ** kappa
    measured = extrapolated(*scaled.T)
    teacher = wma.persistence_constant(mode.curvature, mode.teacher_curvature, exponent)
    shares = np.array([mode.teacher_share, 1.0, -mode.data_share])
    return compare(teacher * shares, measured, teacher * np.array([1.0, 1.0, 0.0]), np.zeros(3), tolerance=ASYMPTOTIC)


@theorem(PROJECT)
def wma_impulse_growth(rng: np.random.Generator) -> Check:
    """The gap to a weighted moving average adds up without bound, like T^(1 - kappa) for kappa < 1 and log T for kappa = 1."""
    # Sums between T and 2T over T^(1 - kappa), for kappa < 1; the nulls are an EMA's finite sum and that of the errors.
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
    return compare(mode.data_share * constant, extrapolated(half, whole), 0.0, constant, tolerance=ASYMPTOTIC)


@theorem(PROJECT, "Theorem C.6", "Theorem C.8")
def wma_horizon(rng: np.random.Generator) -> Check:
    """For small steps a Beta(beta, beta) kernel over a horizon T leaves the exponent kappa in T, and its mass F the constant."""
    # Simulated over predicted errors at half time and at the end; the nulls are a collapsed teacher, and a quarter of beta.

    def measure(students: np.ndarray, teachers: np.ndarray, mode: Mode, exponent: float, horizon: int) -> np.ndarray:
        times = np.array([horizon // 2, horizon])
        predicted, other = (wma.beta_teacher(*mode, value, value, horizon, times) for value in (exponent, exponent / 4))
        return np.stack([teachers[times] / predicted, teachers[times] / other])

    ratio, other = _at_horizons(rng, (0.4, 1.2), measure)
    return Check(float(np.abs(ratio - 1).max()), HORIZON, float(min(1.0, np.abs(other - 1).max())))


@theorem(PROJECT)
def wma_end_of_horizon(rng: np.random.Generator) -> Check:
    """For small steps the student lags p times its teacher by the share q delta ~ (xT)^-beta at the end of a Beta kernel's run."""
    # Simulated over predicted lag of student and gap at the very end; the null is no lag.

    def measure(students: np.ndarray, teachers: np.ndarray, mode: Mode, exponent: float, horizon: int) -> np.ndarray:
        student, teacher, gap = wma.beta_end(*mode, exponent, exponent, horizon)
        without = np.array([mode.teacher_share, -mode.data_share])
        simulated = np.array([students[-1], students[-1] - teachers[-1]]) / teachers[-1]
        return (simulated - without) / (np.array([student, gap]) / teacher - without)

    ratio = _at_horizons(rng, (0.8, 1.2), measure)
    return compare(np.ones(2), ratio, np.zeros(2), scale=1.0, tolerance=LAG)
