"""What holds for any teacher, loss and optimiser; and what kernels and update periods come to."""

from collections.abc import Callable

import numpy as np
import sympy as sp

from tracer.averaging import Beta, Clock, Exponential, Kernel, PowerLaw, Uniform
from tracer.theory.claims.claim import PROJECT, TRACER, Check, Claim, compare
from tracer.theory.claims.instances import random_instance, random_mode, random_second_moment, simulate
from tracer.theory.claims.tolerances import EXACT
from tracer.theory.closed_forms import ema
from tracer.theory.closed_forms.stiffness import learning_rate_per_update
from tracer.theory.linearisation import Linearisation

beta, eta, sigma, ell, strength, r = sp.symbols("beta eta sigma ell lambda r", positive=True)
t, k = sp.symbols("t k", positive=True, integer=True)
m, a, teacher = sp.symbols("m a ubar_t", positive=True)


def power_law_weight(j: sp.Expr) -> sp.Expr:
    """alpha_j = (beta)_j / j!."""
    return sp.rf(beta, j) / sp.factorial(j)


def ema_weight(j: sp.Expr) -> sp.Expr:
    """alpha_j = (1 - m) m^-j for j > 0; alpha_0 = 1."""
    return (1 - m) * m**-j


def kernel_residues(weight: Callable, total: Callable, rate: sp.Expr) -> list[sp.Expr]:
    """Induction that the weights up to t add up to the claimed total, and the newest weight's share of it."""
    return [total(0) - 1, total(t) + weight(t + 1) - total(t + 1), weight(t) / total(t) - rate]


def power_law_total(j: sp.Expr) -> sp.Expr:
    """Sum of alpha_0 ... alpha_j."""
    return sp.rf(beta + 1, j) / sp.factorial(j)


def _streamed(rates: np.ndarray) -> np.ndarray:
    """Weights of the students in the last teacher, by feeding the streaming form with unit vectors."""
    units = np.eye(len(rates) + 1)
    mean = units[0]
    for rate, unit in zip(rates, units[1:], strict=True):
        mean = mean + rate * (unit - mean)
    return mean


def _power_law_check(rng: np.random.Generator) -> Check:
    exponent, steps = rng.uniform(0.3, 3.0), 60
    weights = np.cumprod([1.0, *((exponent + j) / (j + 1) for j in range(steps))])
    streamed = _streamed(PowerLaw(exponent).rates(Clock(steps), np.arange(1, steps + 1)))
    return compare(streamed, weights / weights.sum(), EXACT, PowerLaw(exponent + 0.1).weights(Clock(steps)))


def _ema_check(rng: np.random.Generator) -> Check:
    momentum, steps = rng.uniform(0.8, 0.95), 40
    weights = (1 - momentum) * momentum ** -np.arange(steps + 1.0)
    without_anchor = weights / weights.sum()
    weights[0] = 1.0
    streamed = _streamed(Exponential(momentum).rates(Clock(steps), np.arange(1, steps + 1)))
    return compare(streamed, weights / weights.sum(), EXACT, without_anchor)


def update_period_residues(shrunk: sp.Expr) -> list[sp.Expr]:
    """k steps with the teacher at rest: the distance to p times the teacher shrinks by a = 1 - eta c a step.

    The last residue compares that with one step of the size claimed, a share `shrunk` of the way over c.
    """
    c = sigma + ell
    p, u = ell / c, sp.Symbol("u", real=True)
    size = (1 - a) / c
    stepped = u - size * (sigma * u + ell * (u - teacher))
    after = p * teacher + a**k * (u - p * teacher)
    return [stepped - p * teacher - a * (u - p * teacher), after - (u - shrunk / c * (sigma * u + ell * (u - teacher)))]


def _update_period_check(rng: np.random.Generator) -> Check:
    mode, period, momentum = random_mode(rng), int(rng.integers(2, 7)), rng.uniform(0.3, 0.8)
    rates = [0.0 if step % period else 1 - momentum for step in range(1, 12 * period + 1)]
    students, teachers = simulate(mode, rates)
    updates = np.arange(13)

    def predicted(size):
        each = mode.curvature, mode.teacher_curvature, size, momentum, updates
        return np.stack([ema.student(*each), ema.teacher(*each)])

    nulls = mode.learning_rate, period * mode.learning_rate
    measured = np.stack([students, teachers])[:, ::period]
    return compare(predicted(learning_rate_per_update(*mode, period)), measured, EXACT, *(predicted(size) for size in nulls))


def displacement_residues(weight: sp.Expr) -> list[sp.Expr]:
    """Induction over updates: at first both sides are 0, and an update adds equals to both, wherever the student went."""
    student, before = sp.symbols("W_t Wbar", commutative=False)
    after = before + r * (student - before)
    return [weight * (student - after) - (after - before)]


def _displacement_check(rng: np.random.Generator) -> Check:
    """The true contrastive loss by sign descent with noise, and any of the kernels."""
    case, steps = random_instance(rng), 50
    loss = Linearisation(case.images, case.texts, case.initial_weights, 5.0)
    kernels: list[Kernel] = [Uniform(), PowerLaw(0.5), Exponential(0.9), Beta(0.5, 0.5)]
    rates = kernels[rng.integers(len(kernels))].rates(Clock(steps), np.arange(1, steps + 1))
    student = mean = case.initial_weights
    gaps = []
    for rate in rates:
        student = student - 0.05 * np.sign(loss.gradient(student)) + 0.02 * rng.standard_normal(student.shape)
        mean = mean + rate * (student - mean)
        gaps.append(student - mean)
    moved = mean - case.initial_weights
    return compare(np.tensordot(rates / (1 - rates), gaps, 1), moved, EXACT, np.tensordot(rates, gaps, 1), 0 * moved)


def energy_residues(student_loss: Callable, teacher_loss: Callable) -> list[sp.Expr]:
    """What a gradient step and an update take off the energy u K u^T / 2 + lambda g D g^T / 2, for any symmetric 2 x 2 K and D.

    With the step's gradient G: eta |G|^2 - eta^2 G (K + lambda D) G^T / 2; by the update: lambda r (2 - r) g D g^T / 2.
    Neither is negative within the bounds. In more dimensions the sums run further, over the same terms.
    """
    u, g = (sp.Matrix(1, 2, sp.symbols(f"{name}_1:3", real=True)) for name in "ug")
    curvature, metric = (sp.Matrix(2, 2, [sp.Symbol(f"{name}_{i}", real=True) for i in (1, 2, 2, 3)]) for name in "KD")

    def energy(u, g):
        return (u * curvature * u.T + strength * g * metric * g.T)[0] / 2

    slope = u * curvature + strength * g * metric
    stepped = energy(u - eta * slope, g - eta * slope) - energy(u, g)
    updated = energy(u, (1 - r) * g) - energy(u, g)
    bent = (slope * (curvature + strength * metric) * slope.T)[0]
    return [stepped + student_loss(slope.dot(slope), bent), updated + teacher_loss((g * metric * g.T)[0])]


def _energy_check(rng: np.random.Generator) -> Check:
    """The largest rise of the energy at the extremes allowed; the nulls allow teacher's rates, or step sizes, above them."""
    case = random_instance(rng, rng.uniform(0.0, 0.5))
    problem, metric, teacher_curvature = case.problem, random_second_moment(rng, case.images.shape[1]), rng.uniform(0.5, 1.5)
    largest = 2 / np.linalg.norm(problem.curvature_matrix + teacher_curvature * metric, 2)

    def rise(rates, learning_rate) -> float:
        student, mean, energies = case.initial_weights, case.initial_weights, []
        for rate in rates:
            gap = student - mean
            energies.append(problem.loss(student) + teacher_curvature * np.sum(gap @ metric * gap) / 2)
            student = student - learning_rate * (problem.gradient(student) + teacher_curvature * gap @ metric)
            mean = mean + rate * (student - mean)
        return float(max(0.0, np.diff(energies).max()) / np.ptp(energies))

    allowed = rng.uniform(0, 2, 60)
    beyond = rise(allowed + 2, largest), rise(allowed, 1.5 * largest)
    return Check(rise(allowed, largest), EXACT, min(beyond))


def _gap_bound_check(rng: np.random.Generator) -> Check:
    """Errors and gaps over their bounds, for the worst of many teachers; the null is the static teacher's bound, q."""
    mode = random_mode(rng, x=(1.8, 2.0))
    runs = [simulate(mode, rng.uniform(0, 2, 40)) for _ in range(40)]
    error = max(np.abs(students).max() for students, _ in runs)
    gap = max(np.abs(students - teachers).max() for students, teachers in runs)
    bound = np.sqrt(mode.curvature / mode.teacher_curvature)
    return Check(float(max(error - 1, gap / bound - 1, 0.0)), EXACT, float(max(gap / mode.data_share - 1, 0.0)))


def gap_bound_residues(bound: sp.Expr) -> list[sp.Expr]:
    """Where the energy sigma u^2 / 2 + l g^2 / 2 is at most its first value sigma / 2: u = 1 and g = the bound at the ends."""
    u, g = sp.symbols("u g", positive=True)
    energy = sigma * u**2 / 2 + ell * g**2 / 2
    first = energy.subs({u: 1, g: 0})
    return [energy.subs({u: 1, g: 0}) - first, energy.subs({u: 0, g: bound}) - first]


def _energy() -> sp.Rel:
    def at(step):
        gap = sp.Symbol(rf"{{\|W_{{{step}}} - \bar W_{{{step}}}\|_D}}")
        return sp.Function("L")(sp.Symbol(f"W_{{{step}}}")) + strength / 2 * gap**2

    return sp.Le(at("t+1"), at("t"), evaluate=False)


def _displacement() -> sp.Rel:
    rate, student, mean = (sp.IndexedBase(name) for name in ("r", "W", r"\bar W"))
    i, T = sp.symbols("t T", integer=True)
    weighed = sp.Sum(rate[i] / (1 - rate[i]) * (student[i] - mean[i]), (i, 1, T))
    return sp.Eq(weighed, mean[T] - student[0], evaluate=False)


def student_energy_loss(square: sp.Expr, bent: sp.Expr) -> sp.Expr:
    """What the gradient step takes off the energy."""
    return eta * square - eta**2 * bent / 2


def teacher_energy_loss(square: sp.Expr) -> sp.Expr:
    """What the teacher's update takes off the energy."""
    return strength * r * (2 - r) * square / 2


CLAIMS = (
    Claim(
        "power-law-rates",
        "Weights (beta)_j / j! on the iterates are the streaming average with the rates beta / (beta + t); beta = 1 is uniform.",
        PROJECT,
        lambda: sp.Eq(power_law_weight(t) / sp.Sum(power_law_weight(k), (k, 0, t)), beta / (beta + t), evaluate=False),
        _power_law_check,
        lambda: kernel_residues(power_law_weight, power_law_total, beta / (beta + t)),
        paper=("Section C.5.1",),
    ),
    Claim(
        "ema-weights",
        "An EMA weighs iterate j > 0 by (1 - m) m^-j and the pretrained model by 1.",
        TRACER,
        lambda: sp.Eq(ema_weight(t) / (1 + sp.Sum(ema_weight(k), (k, 1, t))), 1 - m, evaluate=False),
        _ema_check,
        lambda: kernel_residues(ema_weight, lambda j: m**-j, 1 - m),
        paper=("Section C.5.1",),
    ),
    Claim(
        "update-period",
        "With an update every k steps, these act as one step of size (1 - (1 - eta c)^k)/c, so closed forms hold for any period.",
        PROJECT,
        lambda: sp.Eq(sp.Symbol("eta_k"), (1 - (1 - eta * (sigma + ell)) ** k) / (sigma + ell), evaluate=False),
        _update_period_check,
        lambda: update_period_residues(1 - a**k),
    ),
    Claim(
        "teacher-displacement",
        "For any teacher, loss and optimiser the gaps after updates, weighed by r/(1-r), add up to the teacher's displacement.",
        PROJECT,
        _displacement,
        _displacement_check,
        lambda: displacement_residues(r / (1 - r)),
    ),
    Claim(
        "energy-never-rises",
        "For any rates in [0, 2] and step sizes up to 2 over the largest curvature, loss plus penalty never increases.",
        PROJECT,
        _energy,
        _energy_check,
        lambda: energy_residues(student_energy_loss, teacher_energy_loss),
    ),
    Claim(
        "gap-bound",
        "For rates in [0, 2] and stable steps no mode's error exceeds the initial one, nor its gap sqrt(sigma/l) times that.",
        PROJECT,
        lambda: sp.Le(sp.Abs(sp.Symbol("g_t")), sp.sqrt(sigma / ell) * sp.Abs(sp.Symbol("u_0")), evaluate=False),
        _gap_bound_check,
        lambda: gap_bound_residues(sp.sqrt(sigma / ell)),
    ),
)
