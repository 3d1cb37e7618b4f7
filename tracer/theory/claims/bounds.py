"""The paper's bounds on what persists and on how fast a bias goes, beside what is true; and that what persists is bias."""

import numpy as np
from scipy import special

from tracer.averaging import Clock, Exponential, Kernel, PowerLaw
from tracer.theory.claims.claim import PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.instances import (
    Mode,
    extrapolated,
    power_law_rates,
    products,
    random_instance,
    random_mode,
    random_weights,
    simulate,
    solve,
)
from tracer.theory.claims.proximal import STEPS, solved_mode
from tracer.theory.claims.tolerances import EXACT, SUMMED
from tracer.theory.closed_forms import ema


@theorem(
    f"{PROJECT}; for the data's metric and rho = 1 it is gap = (1 - omega_t)/lambda times the student's error",
    "Theorem 3.4",
    "Theorem C.6",
    "Theorem C.8",
)
def persistence_is_bias(rng: np.random.Generator) -> Check:
    """Whatever the loss, the pull on a solved student is 1 - omega_t of its undistilled gradient: what persists is unlearned."""
    # In a metric of other inputs, with weight decay; the nulls leave out the teacher's move, or take it for what is left.
    case, kernel, strength = random_instance(rng, 0.2), random_weights(rng, STEPS), rng.uniform(0.5, 1.5)
    inputs = rng.standard_normal((5, case.images.shape[1]))
    metric = inputs.T @ inputs / len(inputs)
    students, teachers = solve(case, kernel.all_rates, strength, inputs)
    gradients = np.array([case.problem.gradient(student) for student in students[1:]])
    measured, rates = strength * (students - teachers)[1:] @ metric, kernel.all_rates[:, None, None]
    return compare(-(1 - rates) * gradients, measured, -gradients, -rates * gradients)


@theorem(f"{TRACER} (on a straight line); {PROJECT} (in any basis)", "Theorem C.6")
def finite_horizon_persistence(rng: np.random.Generator) -> Check:
    """If coordinates in some orthonormal basis are monotone, the gap to any average, an EMA's too, is >= omega_0 |W_T - W_0|."""
    # Bounds less gaps, on paths monotone in some basis, some of which jump at once; the null is a bound a tenth higher.
    kept = []
    for trial in range(60):
        kernel: Kernel = Exponential(0.7) if trial % 2 else random_weights(rng, STEPS)
        shares = kernel.weights(Clock(STEPS))
        moves = rng.exponential(size=(STEPS, 6)) ** 3
        moves[1:] *= trial > 4
        path = np.pad(np.cumsum(moves, axis=0), ((1, 0), (0, 0))) @ np.linalg.qr(rng.standard_normal((6, 6)))[0]
        kept.append((shares[0], np.linalg.norm(path[-1] - shares @ path) / np.linalg.norm(path[-1])))
    bounds, gaps = np.transpose(kept)
    return Check(max(float((bounds - gaps).max()), 0.0), EXACT, float((1.1 * bounds - gaps).max()))


@theorem(PROJECT, "Theorem C.6")
def persistence_needs_monotony(rng: np.random.Generator) -> Check:
    """Without monotone coordinates it fails: descent with x = 3/2, sigma = 2 l has a gap of 1/(1 + omega_1) times the bound."""
    # The null is the bound.
    rates = rng.uniform(0.3, 0.7, 2)
    students, teachers = simulate(Mode(1.0, 0.5, 1.0), rates)
    bound = np.prod(1 - rates) * abs(students[-1] - 1)
    return compare(bound / (1 + rates[0]), abs(students[-1] - teachers[-1]), bound)


@theorem(PROJECT, "Theorem C.6")
def persistence_bound_is_loose(rng: np.random.Generator) -> Check:
    """Under a power-law teacher a solved student's gap exceeds that bound by a factor that grows like T^(beta p)."""
    # Gap over bound by the recursion; the nulls are equality, and a teacher that does not pull.
    mode, exponent, steps = solved_mode(rng), rng.uniform(0.5, 1.5), 2000
    students, teachers = simulate(mode, power_law_rates(exponent, steps))
    gone = 1 - students[-1]
    bound = PowerLaw(exponent).anchor_weight(Clock(steps)) * gone

    def looseness(share: float) -> float:
        growth = exponent * (1 - share)
        return float(share * special.poch(steps, growth) / special.gamma(1 + growth) / gone)

    return compare(looseness(mode.data_share), (teachers[-1] - students[-1]) / bound, 1.0, looseness(1.0))


def _excess(mode: Mode, rates: np.ndarray, power: float) -> float:
    """By how much a mode breaks the bounds: omega_0^power on its teacher's error, and q (1 - omega_t) times that on the gap."""
    students, teachers = simulate(mode, rates)
    bound = products(1.0, rates) ** power
    gaps = np.abs(students - teachers)[1:]
    return max(float((bound - teachers).max()), float((mode.data_share * (1 - rates) * bound[:-1] - gaps).max()), 0.0)


@theorem(PROJECT, "Theorem C.6", "Theorem C.8")
def sharp_persistence(rng: np.random.Generator) -> Check:
    """For any weights a solved student's teacher keeps omega_0^q of its error or more, the gap q (1 - omega_t) of that before."""
    # Bounds less errors and gaps, for random weights and small rates, which meet them; the null's power is lower.
    mode = solved_mode(rng)
    runs = random_weights(rng, STEPS).all_rates, np.full(STEPS, 1e-4)
    found, null = (max(_excess(mode, rates, each * mode.data_share) for rates in runs) for each in (1.0, 0.9))
    return Check(found, EXACT, null)


@theorem(PROJECT, "Theorem C.6", "Theorem C.8")
def descent_persists_longer(rng: np.random.Generator) -> Check:
    """Descent with x <= 1 is monotone and keeps at least what a solved student does: >= 1 - q omega_t of its teacher's error."""
    # Rises of the student, and bounds less its teacher, for x up to 1, which meets them; the null's share q is less.
    modes = [random_mode(rng, x=(0.01, 1.0), share=(0.05, 0.95)) for _ in range(40)] + [solved_mode(rng)]
    excess = []
    for mode in modes:
        rates = random_weights(rng, 60).all_rates
        students, teachers = simulate(mode, rates)
        rise = np.diff(students).max()
        excess.append([max((products(share, rates) - teachers).max(), rise) for share in (mode.data_share, 0.9 * mode.data_share)])
    found, null = np.max(excess, axis=0)
    return Check(max(found, 0.0), EXACT, null)


@theorem(f"{TRACER} (the bound); {PROJECT} (what it says of which kernel)", "Corollary C.9")
def geometric_rate(rng: np.random.Generator) -> Check:
    """Rates >= omega_min give a geometric rate, an EMA's exactly; with omega_min = c/T, as on a horizon, the bound is e^(-qc)."""
    # An EMA's teacher, which meets the bound, and the bound for a power law on long horizons; the null has no pull.
    mode, momentum, exponent = solved_mode(rng), rng.uniform(0.8, 0.95), rng.uniform(0.5, 1.5)
    share, steps = mode.data_share, np.array([100_000, 200_000])
    measured = simulate(mode, [1 - momentum] * 30)[1][-1], extrapolated(*(1 - share * exponent / (exponent + steps)) ** steps)
    predicted = ema.proximal_teacher(*mode[:2], momentum, 30), np.exp(-share * exponent)
    return compare(predicted, measured, (momentum**30, np.exp(-exponent)), tolerance=SUMMED)
