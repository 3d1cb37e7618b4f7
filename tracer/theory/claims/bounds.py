"""The paper's bounds on what persists and on how fast a bias goes, beside what is true; and that what persists is bias."""

from collections.abc import Callable

import numpy as np
import sympy as sp
from scipy import special

from tracer import theory
from tracer.averaging import Clock, Exponential, PowerLaw
from tracer.theory.claims.claim import PROJECT, TRACER, Check, Claim, compare
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
from tracer.theory.claims.proximal import STEPS, before, beta, m, omega, p, power_law, q
from tracer.theory.claims.tolerances import EXACT, SUMMED
from tracer.theory.closed_forms import ema, wma

x, t, T, strength = sp.symbols("x t T lambda", positive=True)
anchor = sp.Symbol(r"\omega_{0|T}", positive=True)
PERSISTENCE = ("Theorem C.6",)
OVERSHOOTING = Mode(1.0, 0.5, 1.0)
"""x = 3/2, sigma = 2 l: the first step lands on the optimum, and the second goes back."""


def force_residues(share: sp.Expr) -> list[sp.Expr]:
    """Where the student is solved its gradient is lambda (teacher - student), whatever the loss; then the teacher moves."""
    student = sp.Symbol("w", real=True)
    gradient = strength * (before - student)
    after = before + omega * (student - before)
    return [strength * (after - student) - share * gradient]


def monotone_residues(share: sp.Expr) -> list[sp.Expr]:
    """A coordinate's gap to an average with weights that add up to 1, here of four iterates, from a_0 = 0.

    What is left are terms w_k (a_3 - a_k), none of which is negative if the coordinate rises. Coordinates in an orthonormal basis
    then add up to norms. `share` is a weight w_0.
    """
    path, weights = [sp.Integer(0), *sp.symbols("a_1:4", real=True)], [anchor, *sp.symbols("w_1:3", positive=True)]
    weights.append(1 - sum(weights))
    mean = sum(weight * at for weight, at in zip(weights, path, strict=True))
    rest = sum(weight * (path[-1] - at) for weight, at in zip(weights[1:], path[1:], strict=True))
    return [sp.expand(path[-1] - mean - share * path[-1] - rest)]


def overshoot_residues(ratio: sp.Expr) -> list[sp.Expr]:
    """Two steps of descent with x = 3/2 and q = 2/3, at rates omega_1 and omega_2: the gap over the bound."""
    first, second = sp.symbols("omega_1:3", positive=True)
    half, third = sp.Rational(1, 2), sp.Rational(1, 3)
    student = teacher = sp.Integer(1)
    for rate in (first, second):
        student = -half * student + 3 * half * third * teacher
        teacher = teacher + rate * (student - teacher)
    bound = (1 - first) * (1 - second) * (1 - student)
    return [sp.simplify((teacher - student) / bound - ratio)]


def overshoot_ratio() -> sp.Expr:
    """Of the gap to the bound."""
    return 1 / (1 + sp.Symbol("omega_1", positive=True))


def loose_residues(ratio: sp.Expr) -> list[sp.Expr]:
    """A power-law teacher's gap, q (1 - omega_T) ubar_{T-1}, over the anchor's weight, prod (1 - omega_t); and how it grows."""
    kept = sp.gamma(beta + 1) * sp.gamma(T + 1) / sp.gamma(T + 1 + beta)
    measured = q * T / (beta + T) * power_law(T - 1) / kept
    growth = sp.gammasimp(ratio.subs(T, T + 1) / ratio)
    return [sp.gammasimp(measured / ratio) - 1, sp.limit(T * (growth - 1), T, sp.oo) - beta * p]


def looseness() -> sp.Expr:
    """Of the bound, less the share 1 - u_T of the way that the student has gone."""
    return q * sp.gamma(T + beta * p) / (sp.gamma(1 + beta * p) * sp.gamma(T))


def sharp_residues(bound: sp.Expr) -> list[sp.Expr]:
    """1 - q omega less the bound is 0 at omega = 0 and rises with omega; 1 - omega is S_{t-1}/S_t, so that products telescope."""
    alpha, total = sp.symbols("alpha S", positive=True)
    margin = 1 - q * omega - bound
    return [
        margin.subs(omega, 0),
        sp.simplify(margin.diff(omega) - q * ((1 - omega) ** (q - 1) - 1)),
        1 - alpha / (total + alpha) - total / (total + alpha),
    ]


def sharp_bound() -> sp.Expr:
    """Of the factor 1 - q omega."""
    return (1 - omega) ** q


def descent_residues(factor: sp.Expr) -> list[sp.Expr]:
    """With v = u - p ubar, at least 0 at first: v and the teacher's excess over its factor are sums of terms >= 0 for x <= 1.

    So u falls, by x v at each step: every mode is monotone, and `finite-horizon-persistence` holds for descent too.
    """
    u, teacher = sp.symbols("u ubar", positive=True)
    v = u - p * teacher
    student = (1 - x) * u + x * p * teacher
    after = teacher + omega * (student - teacher)
    return [
        student - u + x * v,
        after - factor * teacher - omega * (1 - x) * v,
        student - p * after - ((1 - p * omega) * (1 - x) * v + p * q * omega * teacher),
    ]


def rate_residues(bound: Callable[[sp.Expr, sp.Expr], sp.Expr]) -> list[sp.Expr]:
    """The factor's excess, q (omega - omega_min); equality for an EMA; and what is left of the bound where omega_min = c/T."""
    least, c = sp.symbols("omega_min c", positive=True)
    return [
        bound(least, sp.Integer(1)) - (1 - q * omega) - q * (omega - least),
        bound(1 - m, sp.Integer(1)) - (p + q * m),
        sp.limit(bound(c / T, T), T, sp.oo) - sp.exp(-q * c),
    ]


def rate_bound(least: sp.Expr, steps: sp.Expr) -> sp.Expr:
    """On the teacher's error, over the initial one."""
    return (1 - q * least) ** steps


def _force_check(rng: np.random.Generator) -> Check:
    """In a metric of other inputs, with weight decay; the nulls leave out the teacher's move, or take it for what is left."""
    case, kernel = random_instance(rng, 0.2), random_weights(rng, STEPS)
    inputs, strength = rng.standard_normal((5, case.images.shape[1])), rng.uniform(0.5, 1.5)
    students, _ = solve(case, kernel.all_rates, strength, inputs)
    gradients = np.array([case.problem.gradient(student) for student in students[1:]])
    distillation = theory.Distillation(strength, kernel, theory.Inputs(inputs.T @ inputs / len(inputs)))
    path, rates = theory.proximal(case.problem, distillation, steps=STEPS), kernel.all_rates[:, None, None]
    return compare(path.force(np.arange(1, STEPS + 1)), -(1 - rates) * gradients, EXACT, -gradients, -rates * gradients)


def _monotone_check(rng: np.random.Generator) -> Check:
    """Bounds less gaps, for random kernels, an EMA's among them, and paths monotone in some basis.

    The null is a bound a tenth higher, which a path that jumps at its first step breaks.
    """
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


def _overshoot_check(rng: np.random.Generator) -> Check:
    """The null is the bound."""
    rates = rng.uniform(0.3, 0.7, 2)
    students, teachers = simulate(OVERSHOOTING, rates)
    bound = np.prod(1 - rates) * abs(students[-1] - 1)
    return compare(bound / (1 + rates[0]), abs(students[-1] - teachers[-1]), EXACT, bound)


def _loose_check(rng: np.random.Generator) -> Check:
    """Gap over bound by the recursion; the nulls are equality, and a teacher that does not pull."""
    mode, exponent, steps = random_mode(rng), rng.uniform(0.5, 1.5), 2000
    mode = mode._replace(learning_rate=mode.learning_rate / mode.x)
    students, teachers = simulate(mode, power_law_rates(exponent, steps))
    bound = PowerLaw(exponent).anchor_weight(Clock(steps)) * (1 - students[-1])
    measured = (teachers[-1] - students[-1]) / bound

    def predicted(share: float) -> float:
        growth = exponent * (1 - share)
        return float(share * special.poch(steps, growth) / special.gamma(1 + growth) / (1 - students[-1]))

    return compare(predicted(mode.data_share), measured, EXACT, 1.0, predicted(1.0))


def _sharp_check(rng: np.random.Generator) -> Check:
    """Bounds less errors and gaps, for random weights and small rates, which meet them; the null's power is lower."""
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


def _descent_check(rng: np.random.Generator) -> Check:
    """Bounds less teachers and students of descent, for x up to 1, where they meet them; the null's share q is less."""

    def violation(mode: Mode, rates: np.ndarray, share: float) -> float:
        students, teachers = simulate(mode, rates)
        rise, below = np.diff(students).max(), (mode.teacher_share * teachers - students).max()
        return float(max((products(share, rates) - teachers).max(), rise, below, 0.0))

    modes = [random_mode(rng, x=(0.01, 1.0), share=(0.05, 0.95)) for _ in range(40)] + [random_mode(rng, x=(1.0, 1.0))]
    runs = [(mode, random_weights(rng, 60).all_rates) for mode in modes]
    found = max(violation(mode, rates, mode.data_share) for mode, rates in runs)
    return Check(found, EXACT, max(violation(mode, rates, 0.9 * mode.data_share) for mode, rates in runs))


def _rate_check(rng: np.random.Generator) -> Check:
    """An EMA's teacher, which meets the bound, and the bound for a power law on long horizons; the null is its teacher."""
    mode, momentum, exponent = random_mode(rng), rng.uniform(0.8, 0.95), rng.uniform(0.5, 1.5)
    mode = mode._replace(learning_rate=mode.learning_rate / mode.x)
    _, teachers = simulate(mode, [1 - momentum] * 30)
    share = mode.data_share
    bounds = [(1 - share * exponent / (exponent + steps)) ** steps for steps in (100_000, 200_000)]
    kept = ema.proximal_teacher(mode.curvature, mode.teacher_curvature, momentum, 30)
    truth = wma.proximal_teacher(mode.curvature, mode.teacher_curvature, exponent, 200_000)
    measured = teachers[-1], extrapolated(*bounds)
    return compare((kept, np.exp(-share * exponent)), measured, SUMMED, (kept, truth), (momentum**30, measured[1]))


def norm(of: str) -> sp.Symbol:
    """Its symbol."""
    return sp.Symbol(rf"{{\|{of}\|}}")


CLAIMS = (
    Claim(
        "persistence-is-bias",
        "Whatever the loss, the pull on a solved student is 1 - omega_t of its undistilled gradient: what persists is unlearned.",
        f"{PROJECT}; for the data's metric and rho = 1 it is gap = (1 - omega_t)/lambda times the student's error",
        lambda: sp.Eq(
            strength * sp.Symbol(r"(\bar{W}_t - W_t)", commutative=False) * sp.Symbol("D", commutative=False),
            (1 - sp.Symbol("omega_t")) * sp.Symbol(r"\nabla L(W_t)"),
            evaluate=False,
        ),
        _force_check,
        lambda: force_residues(1 - omega),
        ("Theorem 3.4", "Theorem C.6", "Theorem C.8"),
    ),
    Claim(
        "finite-horizon-persistence",
        "If coordinates in some orthonormal basis are monotone, the gap to any average, an EMA's too, is >= omega_0 |W_T - W_0|.",
        f"{TRACER} (on a straight line); {PROJECT} (in any basis)",
        lambda: sp.Ge(norm(r"W_T - \bar{W}_T"), anchor * norm("W_T - W_0"), evaluate=False),
        _monotone_check,
        lambda: monotone_residues(anchor),
        PERSISTENCE,
    ),
    Claim(
        "persistence-needs-monotony",
        "Without monotone coordinates it fails: descent with x = 3/2, sigma = 2 l has a gap of 1/(1 + omega_1) times the bound.",
        PROJECT,
        lambda: sp.Eq(norm(r"W_2 - \bar{W}_2"), overshoot_ratio() * sp.Symbol(r"\omega_{0|2}") * norm("W_2 - W_0"), evaluate=False),
        _overshoot_check,
        lambda: overshoot_residues(overshoot_ratio()),
        PERSISTENCE,
    ),
    Claim(
        "persistence-bound-is-loose",
        "Under a power-law teacher a solved student's gap exceeds that bound by a factor that grows like T^(beta p).",
        PROJECT,
        lambda: sp.Eq(
            norm(r"W_T - \bar{W}_T") / (anchor * norm("W_T - W_0")),
            looseness().subs(p, sp.Symbol("p")) / (1 - sp.Symbol("u_T")),
            evaluate=False,
        ),
        _loose_check,
        lambda: loose_residues(looseness()),
        PERSISTENCE,
    ),
    Claim(
        "sharp-persistence",
        "For any weights a solved student's teacher keeps omega_0^q of its error or more, the gap q (1 - omega_t) of that before.",
        PROJECT,
        lambda: sp.Ge(sp.Abs(sp.Symbol("E_t")), sp.Symbol(r"\omega_{0|t}") ** q * sp.Abs(sp.Symbol("E_0")), evaluate=False),
        _sharp_check,
        lambda: sharp_residues(sharp_bound()),
        (*PERSISTENCE, "Theorem C.8"),
    ),
    Claim(
        "descent-persists-longer",
        "Descent with x <= 1 is monotone and keeps at least what a solved student does: >= 1 - q omega_t of its teacher's error.",
        PROJECT,
        lambda: sp.Ge(sp.Symbol(r"\bar{u}_t"), (1 - q * sp.Symbol("omega_t")) * sp.Symbol(r"\bar{u}_{t-1}"), evaluate=False),
        _descent_check,
        lambda: descent_residues(1 - q * omega),
        (*PERSISTENCE, "Theorem C.8"),
    ),
    Claim(
        "geometric-rate",
        "Rates >= omega_min give a geometric rate, an EMA's exactly; with omega_min = c/T, as on a horizon, the bound is e^(-qc).",
        f"{TRACER} (the bound); {PROJECT} (what it says of which kernel)",
        lambda: sp.Le(sp.Abs(sp.Symbol("E_t")), rate_bound(sp.Symbol("omega_min"), t) * sp.Abs(sp.Symbol("E_0")), evaluate=False),
        _rate_check,
        lambda: rate_residues(rate_bound),
        ("Corollary C.9",),
    ),
)
