"""What a weighted moving average leaves after long: power laws, their constants and sums, and the same over a horizon."""

import numpy as np

from tracer.averaging import Beta, Clock
from tracer.theory.claims.claim import PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.instances import Mode, extrapolated, power_law_rates, random_mode, simulate
from tracer.theory.claims.tolerances import ASYMPTOTIC, HORIZON, LAG
from tracer.theory.closed_forms import wma

TIMES = np.array([1000, 2000, 4000])
"""The first correction to a power law is extrapolated away between the last two."""


def _draw(rng: np.random.Generator) -> tuple[Mode, float, np.ndarray]:
    """A mode, a kernel's exponent, and student, teacher and gap after all steps, (3, T + 1)."""
    mode, exponent = random_mode(rng, x=(0.3, 1.2), share=(0.35, 0.65)), float(rng.uniform(0.5, 1.4))
    students, teachers = simulate(mode, power_law_rates(exponent, TIMES[-1]))
    return mode, exponent, np.stack([students, teachers, students - teachers])


@theorem(f"{TRACER} (that they persist); {PROJECT} (the exponent)", "Theorem 3.4", "Theorem C.6", "Theorem C.8")
def wma_persistence_exponent(rng: np.random.Generator) -> Check:
    """Under a weighted moving average student, teacher and gap fall only like t^-kappa, kappa = beta sigma/(sigma + l)."""
    # Slopes between times twice as late; the nulls are no pull, and a bias that stays.
    mode, exponent, paths = _draw(rng)
    measured = extrapolated(*-np.diff(np.log2(np.abs(paths[:, TIMES]))).T)
    predicted = wma.persistence_exponent(mode.curvature, mode.teacher_curvature, exponent)
    return compare(predicted, measured, exponent, 0.0, tolerance=ASYMPTOTIC)


@theorem(PROJECT, "Theorem C.6", "Theorem C.8")
def wma_persistence_constant(rng: np.random.Generator) -> Check:
    """To leading order the WMA's error is Gamma(beta+1)/Gamma(1+beta p) (xt)^-kappa, the student's p and the gap -q times it."""
    # The null takes the student for its teacher.
    mode, exponent, paths = _draw(rng)
    measured = extrapolated(*(paths[:, TIMES[1:]] * (mode.x * TIMES[1:]) ** (exponent * mode.data_share)).T)
    teacher = wma.persistence_constant(mode.curvature, mode.teacher_curvature, exponent)
    shares = np.array([mode.teacher_share, 1.0, -mode.data_share])
    return compare(teacher * shares, measured, teacher * np.array([1.0, 1.0, 0.0]), tolerance=ASYMPTOTIC)


@theorem(PROJECT)
def wma_impulse_growth(rng: np.random.Generator) -> Check:
    """The gap to a weighted moving average adds up without bound, like T^(1 - kappa) for kappa < 1 and log T for kappa = 1."""
    # Sums between T/2 and T over T^(1 - kappa), for kappa < 1; the nulls are an EMA's finite sum and that of the errors.
    mode, exponent, (_, _, gaps) = _draw(rng)
    kappa = exponent * mode.data_share
    sums = np.concatenate([[0.0], np.cumsum(np.abs(gaps))])
    measured = extrapolated(*((sums[TIMES[1:]] - sums[TIMES[:-1]]) / TIMES[1:] ** (1 - kappa)))
    law = wma.persistence_constant(mode.curvature, mode.teacher_curvature, exponent) * mode.x**-kappa
    errors = law * (1 - 2 ** (kappa - 1)) / (1 - kappa)
    return compare(mode.data_share * errors, measured, 0.0, errors, tolerance=ASYMPTOTIC)


def _horizons(rng: np.random.Generator, low: float, high: float) -> list[tuple[Mode, float, int, np.ndarray, np.ndarray]]:
    """Two runs under a Beta kernel: mode, beta, T, students and teachers.

    The second has half the step size and four times the horizon, which halves both corrections.
    """
    mode, exponent = random_mode(rng, x=(0.04, 0.04)), float(rng.uniform(low, high))
    runs = []
    for halvings in range(2):
        finer, horizon = mode._replace(learning_rate=mode.learning_rate / 2**halvings), 4000 * 4**halvings
        rates = Beta(exponent, exponent).rates(Clock(horizon), np.arange(1, horizon + 1)).tolist()
        runs.append((finer, exponent, horizon, *simulate(finer, rates)))
    return runs


@theorem(PROJECT, "Theorem C.6", "Theorem C.8")
def wma_horizon(rng: np.random.Generator) -> Check:
    """For small steps a Beta(beta, beta) kernel over a horizon T leaves the exponent kappa in T, and its mass F the constant."""
    # Simulated over predicted errors at half time and at the end; the null is a quarter of beta.
    ratios = []
    for mode, exponent, horizon, _, teachers in _horizons(rng, 0.4, 1.2):
        times = np.array([horizon // 2, horizon])
        ratios.append([teachers[times] / wma.beta_teacher(*mode, each, each, horizon, times) for each in (exponent, exponent / 4)])
    ratio, null = extrapolated(*ratios)
    return compare(ratio, np.ones(2), null, tolerance=HORIZON)


@theorem(PROJECT)
def wma_end_of_horizon(rng: np.random.Generator) -> Check:
    """For small steps the student lags p times its teacher by the share q delta ~ (xT)^-beta at the end of a Beta kernel's run."""
    # Simulated over predicted lag of student and gap at the very end; the null is no lag.
    lags = []
    for mode, exponent, horizon, students, teachers in _horizons(rng, 0.8, 1.2):
        student, teacher, gap = wma.beta_end(*mode, exponent, exponent, horizon)
        without = np.array([mode.teacher_share, -mode.data_share])
        simulated = np.array([students[-1], students[-1] - teachers[-1]]) / teachers[-1]
        lags.append((simulated - without) / (np.array([student, gap]) / teacher - without))
    return compare(extrapolated(*lags), np.ones(2), np.zeros(2), tolerance=LAG)
