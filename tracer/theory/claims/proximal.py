"""The dynamics of the paper's theorems, in which the student is solved at every step: its course, its limit and its products."""

from collections.abc import Callable

import numpy as np
import sympy as sp
from scipy import special

from tracer import theory
from tracer.averaging import Beta, Clock, Exponential, Kernel, Static
from tracer.theory.claims.claim import PROJECT, TRACER, Check, Claim, compare
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

q, omega, beta, a, t, T, m = sp.symbols("q omega beta a t T m", positive=True)
sigma, ell, best, before = sp.symbols(r"sigma ell w_* \bar{w}", positive=True)
p = 1 - q
THEOREM = "Theorem 3.4", "Theorem C.8"
RATE = sp.IndexedBase("omega")
k = sp.Symbol("k", integer=True, positive=True)
STEPS = 12


def solved(data_share: sp.Expr) -> sp.Expr:
    """The student of a mode, between the optimum and the teacher before."""
    return (1 - data_share) * before + data_share * best


def step_residues(claimed: sp.Expr) -> list[sp.Expr]:
    """The loss of a mode, to its teacher held: its slope at the claimed student, and its curvature, which is positive.

    Where both sigma and l are 0 the loss is flat, and descent stays where it starts (lemma C.1).
    """
    w = sp.Symbol("w", real=True)
    loss = sigma / 2 * (w - best) ** 2 + ell / 2 * (w - before) ** 2
    return [loss.diff(w).subs(w, claimed), loss.diff(w, 2) - (sigma + ell), loss.diff(w).subs({sigma: 0, ell: 0})]


def metric_residues(claimed: sp.Matrix) -> list[sp.Expr]:
    """Errors in coordinates y = e R^T, where K = R^T diag(q) R and L = R^T diag(p) R: what e_t (K + L) = ebar L says of them.

    Any pair of symmetric K, L >= 0 whose sum is invertible is of this form, here in two dimensions.
    """
    turn = sp.Matrix(2, 2, sp.symbols("R_1:5", real=True))
    shares = sp.diag(*sp.symbols("q_1:3", positive=True))
    teacher = sp.Matrix(1, 2, sp.symbols("y_1:3", real=True))
    curvature, teacher_curvature = turn.T * shares * turn, turn.T * (sp.eye(2) - shares) * turn
    student = teacher * claimed
    return list(sp.simplify(student * turn.T.inv() * (curvature + teacher_curvature) - teacher * turn.T.inv() * teacher_curvature))


def teacher_shares() -> sp.Matrix:
    """diag(p) of `metric_residues`."""
    return sp.eye(2) - sp.diag(*sp.symbols("q_1:3", positive=True))


def error_residues(factor: sp.Expr) -> list[sp.Expr]:
    """The student's error is p times the teacher's before it, and with it the teacher's takes the factor."""
    error = before - best
    student = solved(q)
    return [student - best - p * error, (1 - omega) * before + omega * student - best - factor * error]


def divergence_residues(lower: sp.Expr, upper: sp.Expr) -> list[sp.Expr]:
    """Bounds on log(1 - q omega) for omega in [0, 1].

    It is concave and meets the lower one at both ends; the upper one meets it at 0 and rises from it. Summed over the steps they
    put the product between p^S and e^(-q S) for rates that add up to S. As -log(1 - omega) >= omega, the anchor's weight, the
    product of 1 - omega, then goes to 0 too; that it does suffices only where rates stay below 1 by some margin (a weight that
    dwarfs all before it takes the anchor's away in one step, and p of the bias stays).
    """
    log_factor = sp.log(1 - q * omega)
    below, above = log_factor - lower, upper - log_factor
    return [
        sp.expand_log(below.subs(omega, 0), force=True),
        sp.simplify(below.subs(omega, 1)),
        below.diff(omega, 2) + q**2 / (1 - q * omega) ** 2,
        above.subs(omega, 0),
        above.diff(omega) - q**2 * omega / (1 - q * omega),
    ]


def lower_log() -> sp.Expr:
    """Of a factor: what a rate costs at most."""
    return omega * sp.log(p)


def upper_log() -> sp.Expr:
    """Of a factor: what a rate costs at least."""
    return -q * omega


def singular_residues(total: sp.Expr) -> list[sp.Expr]:
    """Weights tau^(-3/2) at tau_k = (k + 1/2)/(T + 1), over the first: they know no horizon, and are the odd terms of zeta(3/2)."""
    weight = ((k + sp.Rational(1, 2)) / (T + 1)) ** sp.Rational(-3, 2)
    odd = (2 * k + 1) ** sp.Rational(-3, 2)
    even_share = ((2 * k) / k) ** sp.Rational(-3, 2)
    whole = sp.zeta(sp.Rational(3, 2))
    return [sp.powsimp(sp.simplify(weight / weight.subs(k, 0) / odd), force=True) - 1, whole - even_share * whole - total]


def singular_total() -> sp.Expr:
    """Limit of the sum of the weights over the first, for tau^(-3/2)."""
    return (1 - 2 ** sp.Rational(-3, 2)) * sp.zeta(sp.Rational(3, 2))


def limit_residues(limit: sp.Expr) -> list[sp.Expr]:
    """Where student and teacher stand still together, a moving teacher has no choice."""
    return [solved(q).subs(before, limit) - limit]


def power_law_residues(product: Callable[[sp.Expr], sp.Expr]) -> list[sp.Expr]:
    """Start, ratio of neighbours, and the exponent to which t (1 - ratio) tends."""
    ratio = sp.gammasimp(product(t + 1) / product(t))
    return [
        sp.gammasimp(product(sp.Integer(0))) - 1,
        ratio - (1 - q * beta / (beta + t + 1)),
        sp.limit(t * (1 - ratio), t, sp.oo) - beta * q,
    ]


def power_law(steps: sp.Expr) -> sp.Expr:
    """prod (1 - q beta / (beta + k)) over k = 1 ... steps."""
    return sp.gamma(beta + 1) * sp.gamma(steps + 1 + beta * p) / (sp.gamma(1 + beta * p) * sp.gamma(steps + 1 + beta))


def horizon_residues(exponent: sp.Expr) -> list[sp.Expr]:
    """A factor over that of the anchor's weight to the power q is 1 + O(omega^2), so their product tends to a constant.

    Early, where F is a power a of time, omega_k = 1 - (k/(k+1))^a whatever b; later the squares add up to O(1/T). The anchor's
    weight is F(1/(T + 1)), of which the integral of the leading density is T^-a / (a B): its exponent times q is the claimed one.
    """
    tau, normaliser = sp.symbols("tau B", positive=True)
    quotient = sp.log(1 - q * omega) - q * sp.log(1 - omega)
    anchor = sp.integrate(tau ** (a - 1) / normaliser, (tau, 0, 1 / T))
    early = tau**a
    return [
        sp.limit(quotient / omega**2, omega, 0) - q * p / 2,
        1 - (early.subs(tau, k) / early.subs(tau, k + 1)) - (1 - (k / (k + 1)) ** a),
        sp.simplify(-T * sp.log(anchor**q).diff(T)) - exponent,
    ]


def ema_residues(kept: sp.Expr) -> list[sp.Expr]:
    """An EMA's rate is 1 - m at every step."""
    return [1 - q * (1 - m) - kept]


def _step_check(rng: np.random.Generator) -> Check:
    """The nulls: gradient descent, the static teacher, and the roles of teacher and data exchanged."""
    run, times = random_solved(rng, STEPS), np.arange(STEPS + 1)
    problem, penalty = run.instance.problem, run.instance.embedding_penalty

    def student(strength: float, kernel: Kernel) -> np.ndarray:
        return theory.proximal(problem, theory.Distillation(strength, kernel), steps=STEPS).student(times)

    strategy = theory.Distillation(run.strength, run.kernel)
    rate = 0.5 * theory.max_learning_rate(problem, strategy)
    descended = theory.gradient_descent(problem, strategy, learning_rate=rate, steps=STEPS).student(times)
    nulls = descended, student(run.strength, Static()), student(penalty**2 / run.strength + 0.1, run.kernel)
    return compare(student(run.strength, run.kernel), run.students, EXACT, *nulls)


def _metric_check(rng: np.random.Generator) -> Check:
    """Other inputs and weight decay; the nulls are the data's metric, and the student of the plain formula."""
    case, kernel, strength = random_instance(rng, 0.3), random_weights(rng, STEPS), rng.uniform(0.5, 1.5)
    inputs = rng.standard_normal((5, case.images.shape[1]))
    measured = np.stack(solve(case, kernel.all_rates, strength, inputs))
    metric = theory.Inputs(inputs.T @ inputs / len(inputs))

    def predicted(metric, kernel):
        path = theory.proximal(case.problem, theory.Distillation(strength, kernel, metric), steps=STEPS)
        return np.stack([path.student(np.arange(STEPS + 1)), path.teacher(np.arange(STEPS + 1))])

    return compare(predicted(metric, kernel), measured, EXACT, predicted("data", kernel), predicted(metric, Static()))


def _error_check(rng: np.random.Generator) -> Check:
    """Errors of teacher and student by least squares; the nulls are a teacher on its student, and p and q exchanged."""
    run = random_solved(rng, STEPS)
    errors = run.instance.on_task(np.stack([run.teachers[1:], run.students[1:]]) - run.optimum)
    initial, share = run.instance.on_task(run.instance.initial_weights - run.optimum), run.data_share

    def predicted(factor: float, teacher_share: float) -> np.ndarray:
        kept = products(factor, run.rates)
        return np.stack([kept[1:], teacher_share * kept[:-1]])[..., None, None] * initial

    return compare(predicted(share, 1 - share), errors, EXACT, predicted(1.0, 1 - share), predicted(1 - share, share))


def _divergence_check(rng: np.random.Generator) -> Check:
    """Products over their bounds, for many weights and rates of 1 and near 0, which meet them; the nulls are a tenth tighter."""
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


def _singular_check(rng: np.random.Generator) -> Check:
    """The weights' sum, its tail of order T^-1/2 extrapolated away; and the error left, which must not be below the bound."""
    share, steps = rng.uniform(0.3, 0.7), 40_000
    alphas = (np.arange(4 * steps + 1) + 0.5) ** -1.5
    sums = np.cumsum(alphas) / alphas[0]
    kept = products(share, Weighted(alphas).all_rates)[-1]
    total = float(singular_total())
    found = compare(total, 2 * sums[-1] - sums[steps], ASYMPTOTIC, special.zeta(1.5))
    return found._replace(error=max(found.error, total**-share - kept, 0.0))


def _limit_check(rng: np.random.Generator) -> Check:
    """The nulls: a static teacher's limit, the optimum without what the data do not see, and the start."""
    case, strength = random_instance(rng), rng.uniform(0.5, 1.0)
    students, _ = solve(case, [0.5] * 200, strength)
    predicted = theory.proximal(case.problem, theory.Distillation(strength, Exponential(0.5)), steps=1).limit()
    held = theory.limit(case.problem, theory.Distillation(strength, Static()))
    return compare(predicted, students[-1], EXACT, held, case.on_task(predicted), case.initial_weights)


def _power_law_check(rng: np.random.Generator) -> Check:
    """By the recursion, relative to itself; the nulls are a tenth more exponent, and gradient descent at half the step."""
    mode, exponent, steps = random_mode(rng), rng.uniform(0.3, 2.0), np.arange(400)
    curvature, teacher_curvature = mode.curvature, mode.teacher_curvature
    _, teachers = simulate(mode._replace(learning_rate=1 / (curvature + teacher_curvature)), power_law_rates(exponent, 399))

    def ratio(prediction):
        return prediction / teachers

    nulls = (
        wma.proximal_teacher(curvature, teacher_curvature, 1.1 * exponent, steps),
        wma.teacher(curvature, teacher_curvature, 0.5 / (curvature + teacher_curvature), exponent, steps),
    )
    return compare(
        ratio(wma.proximal_teacher(curvature, teacher_curvature, exponent, steps)), np.ones(400), EXACT, *map(ratio, nulls)
    )


def _horizon_check(rng: np.random.Generator) -> Check:
    """Exponents between T and 4 T for two second parameters; the nulls leave out q, or take the other parameter."""
    share, first = rng.uniform(0.4, 0.6), rng.uniform(0.4, 1.0)
    seconds = rng.uniform(0.5, 0.7), rng.uniform(1.2, 1.5)

    def left(second: float, steps: int) -> float:
        return products(share, Beta(first, second).rates(Clock(steps), np.arange(1, steps + 1)))[-1]

    measured = [np.log(left(second, 4000) / left(second, 16_000)) / np.log(4) for second in seconds]
    return compare(2 * [first * share], measured, EXPONENT, 2 * [first], np.multiply(seconds, share))


def _ema_check(rng: np.random.Generator) -> Check:
    mode, momentum, steps = random_mode(rng), rng.uniform(0.7, 0.95), np.arange(60)
    each = mode.curvature, mode.teacher_curvature
    _, teachers = simulate(mode._replace(learning_rate=1 / sum(each)), [1 - momentum] * 59)
    predicted = ema.proximal_teacher(*each, momentum, steps)
    return compare(predicted, teachers, EXACT, momentum**steps, ema.teacher(*mode, momentum, steps))


def _matrix(name: str) -> sp.Symbol:
    return sp.Symbol(name, commutative=False)


def _step() -> sp.Rel:
    old, teacher, optimum, task, rest = map(_matrix, ("W_{t-1}", r"\bar{W}_{t-1}", "W_*", "P", "Q"))
    return sp.Eq(_matrix("W_t"), old * rest + sp.Symbol("p") * teacher * task + q * optimum * task, evaluate=False)


def _metric() -> sp.Rel:
    metric = sp.Symbol("lambda") * _matrix("D")
    whole = _matrix("K") + metric
    return sp.Eq((_matrix("W_t") - _matrix("W_*")) * whole, (_matrix(r"\bar{W}_{t-1}") - _matrix("W_*")) * metric, evaluate=False)


def _error(step: str) -> sp.Symbol:
    return sp.Symbol(f"E_{{{step}}}")


def _product(term: sp.Expr, last: sp.Expr) -> sp.Expr:
    return sp.Product(term, (k, 1, last))


CLAIMS = (
    Claim(
        "proximal-step",
        "Solved at every step, the student is p of its teacher and q of the optimum on the task subspace, and stays put off it.",
        f"{TRACER}; {PROJECT} (q = rho/(rho + lambda), p = 1 - q)",
        _step,
        _step_check,
        lambda: step_residues(solved(sigma / (sigma + ell))),
        ("Definition C.3", "Proposition C.7"),
    ),
    Claim(
        "proximal-any-metric",
        "In any metric, with weight decay or not, a solved student is p_j of its teacher in each mode shared by data and teacher.",
        PROJECT,
        _metric,
        _metric_check,
        lambda: metric_residues(teacher_shares()),
        ("Proposition C.7", "Theorem C.8"),
    ),
    Claim(
        "proximal-errors",
        "Whatever the weights, an update takes the teacher's task error times 1 - q omega_t; the student's is p times that before.",
        TRACER,
        lambda: sp.Eq(_error("t"), (1 - q * sp.Symbol("omega_t")) * _error("t-1"), evaluate=False),
        _error_check,
        lambda: error_residues(1 - q * omega),
        THEOREM,
    ),
    Claim(
        "proximal-divergence",
        "For any weights p^S <= |E_T|/|E_0| <= e^(-qS), S the sum of rates: if lambda > 0, the bias goes just if S diverges.",
        f"{TRACER} (that it suffices); {PROJECT} (the bounds, and with them in which sense T grows)",
        lambda: sp.Le(sp.Symbol("p") ** sp.Sum(RATE[k], (k, 1, T)), sp.Abs(_error("T") / _error("0")), evaluate=False),
        _divergence_check,
        lambda: divergence_residues(lower_log(), upper_log()),
        THEOREM,
    ),
    Claim(
        "kernel-that-keeps-its-bias",
        "A kernel not integrable at 0, tau^(-3/2), keeps 1/((1 - 2^(-3/2)) zeta(3/2)) of the weight on W_0 at all T, and a bias.",
        PROJECT,
        lambda: sp.Eq(sp.Limit(1 / sp.Symbol(r"\omega_{0|T}"), T, sp.oo), singular_total(), evaluate=False),
        _singular_check,
        lambda: singular_residues(singular_total()),
        THEOREM,
    ),
    Claim(
        "proximal-limit",
        "If the rates add up without bound, the student tends to direct fine-tuning: the optimum on the task, W_0 off it.",
        TRACER,
        lambda: sp.Eq(
            sp.Limit(sp.Function("W")(t), t, sp.oo), _matrix("W_*") * _matrix("P") + _matrix("W_0") * _matrix("Q"), evaluate=False
        ),
        _limit_check,
        lambda: limit_residues(best),
        THEOREM,
    ),
    Claim(
        "proximal-power-law",
        "A solved student's power-law teacher keeps a ratio of Gamma functions, falling like t^-kappa with kappa = beta q.",
        PROJECT,
        lambda: sp.Eq(_product(1 - q * beta / (beta + k), t), power_law(t).subs(p, sp.Symbol("p")), evaluate=False),
        _power_law_check,
        lambda: power_law_residues(power_law),
        THEOREM,
    ),
    Claim(
        "proximal-horizon",
        "On a Beta(a, b) kernel's horizon T it falls like T^(-a q): b, and all else about the kernel, is in the constant alone.",
        PROJECT,
        lambda: sp.Eq(sp.Limit(-sp.log(sp.Abs(sp.Function("E")(T))) / sp.log(T), T, sp.oo), a * q, evaluate=False),
        _horizon_check,
        lambda: horizon_residues(a * q),
        THEOREM,
    ),
    Claim(
        "proximal-ema",
        "Under an EMA the solved student's teacher keeps (p + q m)^t of its task error: it collapses at a geometric rate.",
        f"{TRACER} (its bound, met with equality)",
        lambda: sp.Eq(_error("t"), (sp.Symbol("p") + q * m) ** t * _error("0"), evaluate=False),
        _ema_check,
        lambda: ema_residues(p + q * m),
        ("Theorem C.8", "Corollary C.9"),
    ),
)
