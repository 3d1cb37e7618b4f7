"""The dynamics of the paper's theorems, in which the student is solved at every step: its course, its limit and its products."""

import numpy as np
from scipy import special

from tracer import theory
from tracer.averaging import Beta, Clock, Exponential, Kernel, Static
from tracer.theory.claims.claim import PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.instances import (
    Mode,
    Weighted,
    power_law_rates,
    products,
    random_instance,
    random_mode,
    random_weights,
    simulate,
    solve,
)
from tracer.theory.claims.tolerances import ASYMPTOTIC, EXPONENT, SUMMED
from tracer.theory.closed_forms import ema, wma

STEPS = 12


def solved_mode(rng: np.random.Generator) -> Mode:
    """One that a step of descent solves: x = 1."""
    return random_mode(rng, x=(1.0, 1.0))


@theorem(f"{TRACER}; {PROJECT} (q = rho/(rho + lambda), p = 1 - q)", "Definition C.3", "Proposition C.7")
def proximal_step(rng: np.random.Generator) -> Check:
    """Solved at every step, the student is p of its teacher and q of the optimum on the task subspace, and stays put off it."""
    # The nulls: the static teacher, and the roles of teacher and data exchanged.
    case, kernel, strength = random_instance(rng), random_weights(rng, STEPS), rng.uniform(0.4, 0.8)
    measured, _ = solve(case, kernel.all_rates, strength * case.embedding_penalty)

    def students(ratio: float, kernel: Kernel) -> np.ndarray:
        strategy = theory.Distillation(ratio * case.embedding_penalty, kernel)
        return theory.proximal(case.problem, strategy, steps=STEPS).student(np.arange(STEPS + 1))

    return compare(students(strength, kernel), measured, students(strength, Static()), students(1 / strength, kernel))


@theorem(PROJECT, "Proposition C.7", "Theorem C.8")
def proximal_any_metric(rng: np.random.Generator) -> Check:
    """In any metric, with weight decay or not, a solved student is p_j of its teacher in each mode shared by data and teacher."""
    # Other inputs and weight decay; the nulls are the data's metric, and a static teacher.
    case, kernel, strength = random_instance(rng, 0.3), random_weights(rng, STEPS), rng.uniform(0.5, 1.5)
    inputs, times = rng.standard_normal((5, 7)), np.arange(STEPS + 1)
    metric = theory.Inputs(inputs.T @ inputs / len(inputs))

    def predicted(kernel: Kernel, metric: theory.Metric | str) -> np.ndarray:
        path = theory.proximal(case.problem, theory.Distillation(strength, kernel, metric), steps=STEPS)
        return np.stack([path.student(times), path.teacher(times)])

    measured = np.stack(solve(case, kernel.all_rates, strength, inputs))
    return compare(predicted(kernel, metric), measured, predicted(kernel, "data"), predicted(Static(), metric))


@theorem(TRACER, "Theorem 3.4", "Theorem C.8")
def proximal_errors(rng: np.random.Generator) -> Check:
    """Whatever the weights, an update takes the teacher's task error times 1 - q omega_t; the student's is p times that before."""
    # The nulls are a teacher on its student, and a student on its teacher.
    mode, rates = solved_mode(rng), random_weights(rng, STEPS).all_rates
    students, teachers = simulate(mode, rates)

    def predicted(factor: float, teacher_share: float) -> np.ndarray:
        kept = products(factor, rates)
        return np.stack([kept[1:], teacher_share * kept[:-1]])

    nulls = predicted(1.0, mode.teacher_share), predicted(mode.data_share, 1.0)
    return compare(predicted(mode.data_share, mode.teacher_share), np.stack([teachers[1:], students[1:]]), *nulls)


@theorem(f"{TRACER} (that it suffices); {PROJECT} (the bounds, and with them in which sense T grows)", "Theorem 3.4", "Theorem C.8")
def proximal_divergence(rng: np.random.Generator) -> Check:
    """For any weights p^S <= |E_T|/|E_0| <= e^(-qS), S the sum of rates: if lambda > 0, the bias goes just if S diverges."""
    # Logarithms of errors over the sum of rates, which are 1 and near 0 in two runs, to meet the bounds; nulls are a tenth tighter.
    mode = solved_mode(rng)
    runs = [*(random_weights(rng, 60).all_rates for _ in range(40)), np.ones(5), np.full(5, 1e-6)]
    kept = np.array([np.log(simulate(mode, rates)[1][-1]) / rates.sum() for rates in runs])
    lowest, highest = np.log(mode.teacher_share), -mode.data_share
    tightened = (1.0, 1.0), (0.9, 1.0), (1.0, 1.1)
    found, *nulls = (max(*(lower * lowest - kept), *(kept - upper * highest), 0.0) for lower, upper in tightened)
    return Check(found, SUMMED, min(nulls))


@theorem(PROJECT, "Theorem 3.4", "Theorem C.8")
def kernel_that_keeps_its_bias(rng: np.random.Generator) -> Check:
    """A kernel not integrable at 0, tau^(-3/2), keeps 1/((1 - 2^(-3/2)) zeta(3/2)) of the weight on W_0 at all T, and a bias."""
    # The sum of the weights, its tail of order T^-1/2 extrapolated away; the null counts the even terms too.
    # The error that is left must not fall below the bound by the anchor's weight.
    share, steps = rng.uniform(0.3, 0.7), 40_000
    weights = (np.arange(4 * steps + 1) + 0.5) ** -1.5
    sums, total = np.cumsum(weights) / weights[0], (1 - 2**-1.5) * float(special.zeta(1.5))
    found = compare(total, 2 * sums[-1] - sums[steps], special.zeta(1.5), tolerance=ASYMPTOTIC)
    return found._replace(error=max(found.error, total**-share - products(share, Weighted(weights).all_rates)[-1]))


@theorem(TRACER, "Theorem 3.4", "Theorem C.8")
def proximal_limit(rng: np.random.Generator) -> Check:
    """If the rates add up without bound, the student tends to direct fine-tuning: the optimum on the task, W_0 off it."""
    # The nulls: a static teacher's limit, the optimum without what the data do not see, and the start.
    case, strength = random_instance(rng), rng.uniform(0.5, 1.0)
    students, _ = solve(case, [0.5] * 200, strength)
    predicted = theory.proximal(case.problem, theory.Distillation(strength, Exponential(0.5)), steps=1).limit()
    held = theory.limit(case.problem, theory.Distillation(strength, Static()))
    return compare(predicted, students[-1], held, case.optimum, case.initial_weights)


@theorem(PROJECT, "Theorem 3.4", "Theorem C.8")
def proximal_power_law(rng: np.random.Generator) -> Check:
    """A solved student's power-law teacher keeps a ratio of Gamma functions, falling like t^-kappa with kappa = beta q."""
    # Relative to the recursion; the null is a tenth more exponent.
    mode, exponent, steps = solved_mode(rng), rng.uniform(0.3, 2.0), np.arange(400)
    _, teachers = simulate(mode, power_law_rates(exponent, 399))
    predicted, null = (wma.proximal_teacher(*mode[:2], each, steps) / teachers for each in (exponent, 1.1 * exponent))
    return compare(predicted, np.ones(400), null)


@theorem(PROJECT, "Theorem 3.4", "Theorem C.8")
def proximal_horizon(rng: np.random.Generator) -> Check:
    """On a Beta(a, b) kernel's horizon T it falls like T^(-a q): b, and all else about the kernel, is in the constant alone."""
    # Exponents between T and 4 T for two second parameters; the nulls leave out q, or take the other parameter.
    share, first = rng.uniform(0.4, 0.6), rng.uniform(0.4, 1.0)
    seconds = rng.uniform(0.5, 0.7), rng.uniform(1.2, 1.5)

    def left(second: float, steps: int) -> float:
        return float(products(share, Beta(first, second).rates(Clock(steps), np.arange(1, steps + 1)))[-1])

    measured = [np.log(left(second, 4000) / left(second, 16_000)) / np.log(4) for second in seconds]
    return compare(first * share, measured, first, np.multiply(seconds, share), tolerance=EXPONENT)


@theorem(f"{TRACER} (its bound, met with equality)", "Theorem C.8", "Corollary C.9")
def proximal_ema(rng: np.random.Generator) -> Check:
    """Under an EMA the solved student's teacher keeps (p + q m)^t of its task error: it collapses at a geometric rate."""
    # The nulls are a teacher on its student, and gradient descent.
    mode, momentum, steps = solved_mode(rng), rng.uniform(0.7, 0.95), np.arange(60)
    _, teachers = simulate(mode, [1 - momentum] * 59)
    descended = ema.teacher(*mode[:2], mode.learning_rate / 2, momentum, steps)
    return compare(ema.proximal_teacher(*mode[:2], momentum, steps), teachers, momentum**steps, descended)
