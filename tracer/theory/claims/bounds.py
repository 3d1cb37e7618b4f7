"""The paper's bounds on what persists and on how fast a bias goes, beside what is true; and that what persists is bias."""

import numpy as np
from scipy import special

from tracer import theory
from tracer.averaging import Clock, Exponential, PowerLaw
from tracer.theory.claims.claim import PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.instances import (
    Mode,
    Weighted,
    extrapolated,
    power_law_rates,
    products,
    random_instance,
    random_mode,
    random_solved,
    random_weights,
    simulate,
    solve,
)
from tracer.theory.claims.proximal import STEPS
from tracer.theory.claims.tolerances import EXACT, SUMMED
from tracer.theory.closed_forms import ema, wma

PERSISTENCE = ("Theorem C.6",)

OVERSHOOTING = Mode(1.0, 0.5, 1.0)
"""x = 3/2, sigma = 2 l: the first step lands on the optimum, and the second goes back."""


@theorem(
    f"{PROJECT}; for the data's metric and rho = 1 it is gap = (1 - omega_t)/lambda times the student's error",
    "Theorem 3.4",
    "Theorem C.6",
    "Theorem C.8",
)
def persistence_is_bias(rng: np.random.Generator) -> Check:
    """Whatever the loss, the pull on a solved student is 1 - omega_t of its undistilled gradient: what persists is unlearned."""
    # In a metric of other inputs, with weight decay; the nulls leave out the teacher's move, or take it for what is left.
    case, kernel = random_instance(rng, 0.2), random_weights(rng, STEPS)
    inputs, strength = rng.standard_normal((5, case.images.shape[1])), rng.uniform(0.5, 1.5)
    students, _ = solve(case, kernel.all_rates, strength, inputs)
    gradients = np.array([case.problem.gradient(student) for student in students[1:]])
    distillation = theory.Distillation(strength, kernel, theory.Inputs(inputs.T @ inputs / len(inputs)))
    path, rates = theory.proximal(case.problem, distillation, steps=STEPS), kernel.all_rates[:, None, None]
    return compare(path.force(np.arange(1, STEPS + 1)), -(1 - rates) * gradients, -gradients, -rates * gradients)


@theorem(f"{TRACER} (on a straight line); {PROJECT} (in any basis)", "Theorem C.6")
def finite_horizon_persistence(rng: np.random.Generator) -> Check:
    """If coordinates in some orthonormal basis are monotone, the gap to any average, an EMA's too, is >= omega_0 |W_T - W_0|."""
    # Bounds less gaps, for random kernels, an EMA's among them, and paths monotone in some basis.
    #
    # The null is a bound a tenth higher, which a path that jumps at its first step breaks.
    worst = {1.0: -np.inf, 1.1: -np.inf}
    for trial in range(60):
        kernel = Exponential(0.7) if trial % 2 else random_weights(rng, STEPS)
        shares = kernel.weights(Clock(STEPS))
        steps = rng.exponential(size=(STEPS, 6)) ** 3 * (np.arange(STEPS) < (1 if trial < 4 else STEPS))[:, None]
        basis = np.linalg.qr(rng.standard_normal((6, 6)))[0]
        path = np.concatenate([np.zeros((1, 6)), np.cumsum(steps, axis=0)]) * rng.choice([-1, 1], 6) @ basis
        distance, apart = np.linalg.norm(path[-1]), np.linalg.norm(path[-1] - shares @ path)
        for factor in worst:
            worst[factor] = max(worst[factor], float(factor * shares[0] - apart / distance))
    return Check(max(worst[1.0], 0.0), EXACT, worst[1.1])


@theorem(PROJECT, "Theorem C.6")
def persistence_needs_monotony(rng: np.random.Generator) -> Check:
    """Without monotone coordinates it fails: descent with x = 3/2, sigma = 2 l has a gap of 1/(1 + omega_1) times the bound."""
    # The null is the bound.
    rates = rng.uniform(0.3, 0.7, 2)
    students, teachers = simulate(OVERSHOOTING, rates)
    bound = np.prod(1 - rates) * abs(students[-1] - 1)
    return compare(bound / (1 + rates[0]), abs(students[-1] - teachers[-1]), bound)


@theorem(PROJECT, "Theorem C.6")
def persistence_bound_is_loose(rng: np.random.Generator) -> Check:
    """Under a power-law teacher a solved student's gap exceeds that bound by a factor that grows like T^(beta p)."""
    # Gap over bound by the recursion; the nulls are equality, and a teacher that does not pull.
    mode, exponent, steps = random_mode(rng), rng.uniform(0.5, 1.5), 2000
    mode = mode._replace(learning_rate=mode.learning_rate / mode.x)
    students, teachers = simulate(mode, power_law_rates(exponent, steps))
    bound = PowerLaw(exponent).anchor_weight(Clock(steps)) * (1 - students[-1])
    measured = (teachers[-1] - students[-1]) / bound

    def predicted(share: float) -> float:
        growth = exponent * (1 - share)
        return float(share * special.poch(steps, growth) / special.gamma(1 + growth) / (1 - students[-1]))

    return compare(predicted(mode.data_share), measured, 1.0, predicted(1.0))


@theorem(PROJECT, "Theorem C.6", "Theorem C.8")
def sharp_persistence(rng: np.random.Generator) -> Check:
    """For any weights a solved student's teacher keeps omega_0^q of its error or more, the gap q (1 - omega_t) of that before."""
    # Bounds less errors and gaps, for random weights and small rates, which meet them; the null's power is lower.
    run = random_solved(rng, STEPS)
    runs = run, run._replace(kernel=Weighted(np.array([1.0, *STEPS * [1e-4]])))

    def violation(power: float) -> float:
        worst = 0.0
        for each in runs:
            students, teachers = solve(each.instance, each.rates, each.strength)
            initial = each.errors(teachers[0])
            bound = products(1.0, each.rates) ** power
            gap_bound = each.data_share * (1 - each.rates) * bound[:-1]
            errors, gaps = each.errors(teachers) / initial, each.distances(students - teachers)[1:] / initial
            worst = max(worst, float((bound - errors).max()), float((gap_bound - gaps).max()))
        return worst

    return Check(violation(run.data_share), EXACT, violation(0.9 * run.data_share))


@theorem(PROJECT, "Theorem C.6", "Theorem C.8")
def descent_persists_longer(rng: np.random.Generator) -> Check:
    """Descent with x <= 1 is monotone and keeps at least what a solved student does: >= 1 - q omega_t of its teacher's error."""
    # Bounds less teachers and students of descent, for x up to 1, where they meet them; the null's share q is less.

    def violation(mode: Mode, rates: np.ndarray, share: float) -> float:
        students, teachers = simulate(mode, rates)
        rise, below = np.diff(students).max(), (mode.teacher_share * teachers - students).max()
        return float(max((products(share, rates) - teachers).max(), rise, below, 0.0))

    modes = [random_mode(rng, x=(0.01, 1.0), share=(0.05, 0.95)) for _ in range(40)] + [random_mode(rng, x=(1.0, 1.0))]
    runs = [(mode, random_weights(rng, 60).all_rates) for mode in modes]
    found = max(violation(mode, rates, mode.data_share) for mode, rates in runs)
    return Check(found, EXACT, max(violation(mode, rates, 0.9 * mode.data_share) for mode, rates in runs))


@theorem(f"{TRACER} (the bound); {PROJECT} (what it says of which kernel)", "Corollary C.9")
def geometric_rate(rng: np.random.Generator) -> Check:
    """Rates >= omega_min give a geometric rate, an EMA's exactly; with omega_min = c/T, as on a horizon, the bound is e^(-qc)."""
    # An EMA's teacher, which meets the bound, and the bound for a power law on long horizons; the null is its teacher.
    mode, momentum, exponent = random_mode(rng), rng.uniform(0.8, 0.95), rng.uniform(0.5, 1.5)
    mode = mode._replace(learning_rate=mode.learning_rate / mode.x)
    _, teachers = simulate(mode, [1 - momentum] * 30)
    share = mode.data_share
    bounds = [(1 - share * exponent / (exponent + steps)) ** steps for steps in (100_000, 200_000)]
    kept = ema.proximal_teacher(mode.curvature, mode.teacher_curvature, momentum, 30)
    truth = wma.proximal_teacher(mode.curvature, mode.teacher_curvature, exponent, 200_000)
    measured = teachers[-1], extrapolated(*bounds)
    return compare((kept, np.exp(-share * exponent)), measured, (kept, truth), (momentum**30, measured[1]), tolerance=SUMMED)
