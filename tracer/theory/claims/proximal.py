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
from tracer.theory.claims.tolerances import ASYMPTOTIC, EXPONENT, SUMMED
from tracer.theory.closed_forms import ema, wma

STEPS = 12


@theorem(f"{TRACER}; {PROJECT} (q = rho/(rho + lambda), p = 1 - q)", "Definition C.3", "Proposition C.7")
def proximal_step(rng: np.random.Generator) -> Check:
    """Solved at every step, the student is p of its teacher and q of the optimum on the task subspace, and stays put off it."""
    # The nulls: the static teacher, and the roles of teacher and data exchanged.
    run = random_solved(rng, STEPS)
    penalty = run.instance.embedding_penalty

    def students(strength: float, kernel: Kernel) -> np.ndarray:
        strategy = theory.Distillation(strength, kernel)
        return theory.proximal(run.instance.problem, strategy, steps=STEPS).student(np.arange(STEPS + 1))

    nulls = students(run.strength, Static()), students(penalty**2 / run.strength + 0.1, run.kernel)
    return compare(students(run.strength, run.kernel), run.students, *nulls)


@theorem(PROJECT, "Proposition C.7", "Theorem C.8")
def proximal_any_metric(rng: np.random.Generator) -> Check:
    """In any metric, with weight decay or not, a solved student is p_j of its teacher in each mode shared by data and teacher."""
    # Other inputs and weight decay; the nulls are the data's metric, and a static teacher.
    case, kernel, strength = random_instance(rng, 0.3), random_weights(rng, STEPS), rng.uniform(0.5, 1.5)
    inputs = rng.standard_normal((5, case.images.shape[1]))
    metric = theory.Inputs(inputs.T @ inputs / len(inputs))

    def predicted(*settings: object) -> np.ndarray:
        path = theory.proximal(case.problem, theory.Distillation(strength, *settings), steps=STEPS)
        return np.stack([path.student(np.arange(STEPS + 1)), path.teacher(np.arange(STEPS + 1))])

    measured = np.stack(solve(case, kernel.all_rates, strength, inputs))
    return compare(predicted(kernel, metric), measured, predicted(kernel, "data"), predicted(Static(), metric))


@theorem(TRACER, "Theorem 3.4", "Theorem C.8")
def proximal_errors(rng: np.random.Generator) -> Check:
    """Whatever the weights, an update takes the teacher's task error times 1 - q omega_t; the student's is p times that before."""
    # The nulls are a teacher on its student, and p and q exchanged.
    run = random_solved(rng, STEPS)
    errors = run.instance.on_task(np.stack([run.teachers[1:], run.students[1:]]) - run.instance.optimum)
    initial, share = run.instance.on_task(run.instance.initial_weights - run.instance.optimum), run.data_share

    def predicted(factor: float, teacher_share: float) -> np.ndarray:
        kept = products(factor, run.rates)
        return np.stack([kept[1:], teacher_share * kept[:-1]])[..., None, None] * initial

    return compare(predicted(share, 1 - share), errors, predicted(1.0, 1 - share), predicted(1 - share, share))


@theorem(f"{TRACER} (that it suffices); {PROJECT} (the bounds, and with them in which sense T grows)", "Theorem 3.4", "Theorem C.8")
def proximal_divergence(rng: np.random.Generator) -> Check:
    """For any weights p^S <= |E_T|/|E_0| <= e^(-qS), S the sum of rates: if lambda > 0, the bias goes just if S diverges."""
    # Bounds less errors of many solved runs, and of rates of 1 and near 0, which meet them; the nulls are a tenth tighter.
    share = rng.uniform(0.3, 0.7)
    runs = [*(random_weights(rng, 60).all_rates for _ in range(40)), np.ones(5), np.full(5, 1e-6)]
    summed = np.array([rates.sum() for rates in runs])
    mode = random_mode(rng)._replace(curvature=share, teacher_curvature=1 - share, learning_rate=1.0)
    kept = np.log([simulate(mode, rates)[1][-1] for rates in runs])

    def excess(lower: float, upper: float) -> np.ndarray:
        return np.array([lower * np.log(1 - share) - kept / summed, kept / summed + upper * share]).max(axis=1)

    return Check(max(*excess(1.0, 1.0), 0.0), SUMMED, excess(0.9, 1.1).min())


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
    return compare(predicted, students[-1], held, case.on_task(predicted), case.initial_weights)


@theorem(PROJECT, "Theorem 3.4", "Theorem C.8")
def proximal_power_law(rng: np.random.Generator) -> Check:
    """A solved student's power-law teacher keeps a ratio of Gamma functions, falling like t^-kappa with kappa = beta q."""
    # Relative to the recursion; the null is a tenth more exponent.
    mode, exponent, steps = random_mode(rng, x=(1.0, 1.0)), rng.uniform(0.3, 2.0), np.arange(400)
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
    return compare(2 * [first * share], measured, 2 * [first], np.multiply(seconds, share), tolerance=EXPONENT)


@theorem(f"{TRACER} (its bound, met with equality)", "Theorem C.8", "Corollary C.9")
def proximal_ema(rng: np.random.Generator) -> Check:
    """Under an EMA the solved student's teacher keeps (p + q m)^t of its task error: it collapses at a geometric rate."""
    # The nulls are a teacher on its student, and gradient descent.
    mode, momentum, steps = random_mode(rng, x=(1.0, 1.0)), rng.uniform(0.7, 0.95), np.arange(60)
    _, teachers = simulate(mode, [1 - momentum] * 59)
    slower = mode._replace(learning_rate=mode.learning_rate / 2)
    return compare(
        ema.proximal_teacher(*mode[:2], momentum, steps), teachers, momentum**steps, ema.teacher(*slower, momentum, steps)
    )
