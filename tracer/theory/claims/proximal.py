"""The dynamics of the paper's theorems, in which the student is solved at every step: its course, its limit and its products."""

import numpy as np
from scipy import special

from tracer import theory
from tracer.averaging import Beta, Clock, Exponential, Kernel, Static
from tracer.theory.claims.claim import PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.instances import (
    Weighted,
    power_law_rates,
    products,
    random_instance,
    random_mode,
    random_solved,
    random_weights,
    simulate,
    solve,
)
from tracer.theory.claims.tolerances import ASYMPTOTIC, EXACT, EXPONENT
from tracer.theory.closed_forms import ema, wma

THEOREM = "Theorem 3.4", "Theorem C.8"

STEPS = 12


@theorem(f"{TRACER}; {PROJECT} (q = rho/(rho + lambda), p = 1 - q)", "Definition C.3", "Proposition C.7")
def proximal_step(rng: np.random.Generator) -> Check:
    """Solved at every step, the student is p of its teacher and q of the optimum on the task subspace, and stays put off it."""
    # The nulls: gradient descent, the static teacher, and the roles of teacher and data exchanged.
    run, times = random_solved(rng, STEPS), np.arange(STEPS + 1)
    problem, penalty = run.instance.problem, run.instance.embedding_penalty

    def student(strength: float, kernel: Kernel) -> np.ndarray:
        return theory.proximal(problem, theory.Distillation(strength, kernel), steps=STEPS).student(times)

    strategy = theory.Distillation(run.strength, run.kernel)
    rate = 0.5 * theory.max_learning_rate(problem, strategy)
    descended = theory.gradient_descent(problem, strategy, learning_rate=rate, steps=STEPS).student(times)
    nulls = descended, student(run.strength, Static()), student(penalty**2 / run.strength + 0.1, run.kernel)
    return compare(student(run.strength, run.kernel), run.students, *nulls)


@theorem(PROJECT, "Proposition C.7", "Theorem C.8")
def proximal_any_metric(rng: np.random.Generator) -> Check:
    """In any metric, with weight decay or not, a solved student is p_j of its teacher in each mode shared by data and teacher."""
    # Other inputs and weight decay; the nulls are the data's metric, and the student of the plain formula.
    case, kernel, strength = random_instance(rng, 0.3), random_weights(rng, STEPS), rng.uniform(0.5, 1.5)
    inputs = rng.standard_normal((5, case.images.shape[1]))
    measured = np.stack(solve(case, kernel.all_rates, strength, inputs))
    metric = theory.Inputs(inputs.T @ inputs / len(inputs))

    def predicted(metric, kernel):
        path = theory.proximal(case.problem, theory.Distillation(strength, kernel, metric), steps=STEPS)
        return np.stack([path.student(np.arange(STEPS + 1)), path.teacher(np.arange(STEPS + 1))])

    return compare(predicted(metric, kernel), measured, predicted("data", kernel), predicted(metric, Static()))


@theorem(TRACER, "Theorem 3.4", "Theorem C.8")
def proximal_errors(rng: np.random.Generator) -> Check:
    """Whatever the weights, an update takes the teacher's task error times 1 - q omega_t; the student's is p times that before."""
    # Errors of teacher and student by least squares; the nulls are a teacher on its student, and p and q exchanged.
    run = random_solved(rng, STEPS)
    errors = run.instance.on_task(np.stack([run.teachers[1:], run.students[1:]]) - run.optimum)
    initial, share = run.instance.on_task(run.instance.initial_weights - run.optimum), run.data_share

    def predicted(factor: float, teacher_share: float) -> np.ndarray:
        kept = products(factor, run.rates)
        return np.stack([kept[1:], teacher_share * kept[:-1]])[..., None, None] * initial

    return compare(predicted(share, 1 - share), errors, predicted(1.0, 1 - share), predicted(1 - share, share))


@theorem(f"{TRACER} (that it suffices); {PROJECT} (the bounds, and with them in which sense T grows)", "Theorem 3.4", "Theorem C.8")
def proximal_divergence(rng: np.random.Generator) -> Check:
    """For any weights p^S <= |E_T|/|E_0| <= e^(-qS), S the sum of rates: if lambda > 0, the bias goes just if S diverges."""
    # Products over their bounds, for many weights and rates of 1 and near 0, which meet them; the nulls are a tenth tighter.
    share = rng.uniform(0.3, 0.7)
    rates = [*(random_weights(rng, 60).all_rates for _ in range(40)), np.ones(5), np.full(5, 1e-6)]
    kept = np.array(
        [
            simulate(random_mode(rng)._replace(curvature=share, teacher_curvature=1 - share, learning_rate=1.0), each)[1][-1]
            for each in rates
        ]
    )
    summed = np.array([each.sum() for each in rates])

    def violation(lower: float, upper: float) -> float:
        below, above = lower * summed * np.log(1 - share) - np.log(kept), np.log(kept) + upper * share * summed
        return max(below.max(), above.max() if upper == 1 else (above / summed).max(), 0.0)

    return Check(violation(1.0, 1.0), EXACT, min(violation(0.9, 1.0), violation(1.0, 1.1)))


@theorem(PROJECT, "Theorem 3.4", "Theorem C.8")
def kernel_that_keeps_its_bias(rng: np.random.Generator) -> Check:
    """A kernel not integrable at 0, tau^(-3/2), keeps 1/((1 - 2^(-3/2)) zeta(3/2)) of the weight on W_0 at all T, and a bias."""
    # The weights' sum, its tail of order T^-1/2 extrapolated away; and the error left, which must not be below the bound.
    share, steps = rng.uniform(0.3, 0.7), 40_000
    alphas = (np.arange(4 * steps + 1) + 0.5) ** -1.5
    sums = np.cumsum(alphas) / alphas[0]
    kept = products(share, Weighted(alphas).all_rates)[-1]
    total = (1 - 2**-1.5) * float(special.zeta(1.5))
    found = compare(total, 2 * sums[-1] - sums[steps], special.zeta(1.5), tolerance=ASYMPTOTIC)
    return found._replace(error=max(found.error, total**-share - kept, 0.0))


@theorem(TRACER, "Theorem 3.4", "Theorem C.8")
def proximal_limit(rng: np.random.Generator) -> Check:
    """If the rates add up without bound, the student tends to direct fine-tuning: the optimum on the task, W_0 off it."""
    # The nulls: a static teacher's limit, the optimum without what the data do not see, and the start.
    case, strength = random_instance(rng), rng.uniform(0.5, 1.0)
    students, _ = solve(case, [0.5] * 200, strength)
    predicted = theory.proximal(case.problem, theory.Distillation(strength, Exponential(0.5)), steps=1).limit()
    held = theory.limit(case.problem, theory.Distillation(strength, Static()))
    return compare(predicted, students[-1], held, case.on_task(predicted), case.initial_weights)


@theorem(PROJECT, "Theorem 3.4", "Theorem C.8")
def proximal_power_law(rng: np.random.Generator) -> Check:
    """A solved student's power-law teacher keeps a ratio of Gamma functions, falling like t^-kappa with kappa = beta q."""
    # By the recursion, relative to itself; the nulls are a tenth more exponent, and gradient descent at half the step.
    mode, exponent, steps = random_mode(rng), rng.uniform(0.3, 2.0), np.arange(400)
    curvature, teacher_curvature = mode.curvature, mode.teacher_curvature
    _, teachers = simulate(mode._replace(learning_rate=1 / (curvature + teacher_curvature)), power_law_rates(exponent, 399))

    def ratio(prediction):
        return prediction / teachers

    nulls = (
        wma.proximal_teacher(curvature, teacher_curvature, 1.1 * exponent, steps),
        wma.teacher(curvature, teacher_curvature, 0.5 / (curvature + teacher_curvature), exponent, steps),
    )
    return compare(ratio(wma.proximal_teacher(curvature, teacher_curvature, exponent, steps)), np.ones(400), *map(ratio, nulls))


@theorem(PROJECT, "Theorem 3.4", "Theorem C.8")
def proximal_horizon(rng: np.random.Generator) -> Check:
    """On a Beta(a, b) kernel's horizon T it falls like T^(-a q): b, and all else about the kernel, is in the constant alone."""
    # Exponents between T and 4 T for two second parameters; the nulls leave out q, or take the other parameter.
    share, first = rng.uniform(0.4, 0.6), rng.uniform(0.4, 1.0)
    seconds = rng.uniform(0.5, 0.7), rng.uniform(1.2, 1.5)

    def left(second: float, steps: int) -> float:
        return products(share, Beta(first, second).rates(Clock(steps), np.arange(1, steps + 1)))[-1]

    measured = [np.log(left(second, 4000) / left(second, 16_000)) / np.log(4) for second in seconds]
    return compare(2 * [first * share], measured, 2 * [first], np.multiply(seconds, share), tolerance=EXPONENT)


@theorem(f"{TRACER} (its bound, met with equality)", "Theorem C.8", "Corollary C.9")
def proximal_ema(rng: np.random.Generator) -> Check:
    """Under an EMA the solved student's teacher keeps (p + q m)^t of its task error: it collapses at a geometric rate."""
    mode, momentum, steps = random_mode(rng), rng.uniform(0.7, 0.95), np.arange(60)
    each = mode.curvature, mode.teacher_curvature
    _, teachers = simulate(mode._replace(learning_rate=1 / sum(each)), [1 - momentum] * 59)
    predicted = ema.proximal_teacher(*each, momentum, steps)
    return compare(predicted, teachers, momentum**steps, ema.teacher(*mode, momentum, steps))
