"""Formulas and proofs of the claims in `tracer.theory.claims.teachers`."""

from collections.abc import Callable

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof, bound, equation

beta, eta, sigma, ell, strength, r = sp.symbols("beta eta sigma ell lambda r", positive=True)
t, k = sp.symbols("t k", positive=True, integer=True)
m, a, teacher = sp.symbols("m a ubar_t", positive=True)
square, bent = sp.symbols("G^2 G(K+D)G", positive=True)
STEP_LOSS, UPDATE_LOSS = eta * square - eta**2 * bent / 2, strength * r * (2 - r) * square / 2
"""What a gradient step and the teacher's update take off the energy."""
LARGEST_GAP = sp.sqrt(sigma / ell)
Form = Callable[[sp.Expr], sp.Expr]


def power_law_weight(j: sp.Expr) -> sp.Expr:
    """alpha_j = (beta)_j / j!."""
    return sp.rf(beta, j) / sp.factorial(j)


def power_law_total(j: sp.Expr) -> sp.Expr:
    """Sum of alpha_0 ... alpha_j."""
    return sp.rf(beta + 1, j) / sp.factorial(j)


def ema_weight(j: sp.Expr) -> sp.Expr:
    """alpha_j = (1 - m) m^-j for j > 0; alpha_0 = 1."""
    return (1 - m) * m**-j


def kernel_residues(weight: Form, total: Form, rate: sp.Expr) -> list[sp.Expr]:
    """Induction that the weights up to t add up to the claimed total, and the newest weight's share of it."""
    return [total(sp.Integer(0)) - 1, total(t) + weight(t + 1) - total(t + 1), weight(t) / total(t) - rate]


def update_period_residues(shrunk: sp.Expr = 1 - a**k) -> list[sp.Expr]:
    """k steps with the teacher at rest: the distance to p times the teacher shrinks by a = 1 - eta c a step.

    The last residue compares that with one step of the size claimed, a share `shrunk` of the way over c.
    """
    c, u = sigma + ell, sp.Symbol("u", real=True)
    held, slope = ell / c * teacher, sigma * u + ell * (u - teacher)
    return [u - (1 - a) / c * slope - held - a * (u - held), held + a**k * (u - held) - (u - shrunk / c * slope)]


def displacement_residues(weight: sp.Expr = r / (1 - r)) -> list[sp.Expr]:
    """Induction over updates: at first both sides are 0, and an update adds equals to both, wherever the student went."""
    student, before = sp.symbols("W_t Wbar", commutative=False)
    after = before + r * (student - before)
    return [weight * (student - after) - (after - before)]


def energy_residues(step: sp.Expr = STEP_LOSS, update: sp.Expr = UPDATE_LOSS) -> list[sp.Expr]:
    """What a gradient step and an update take off the energy u K u^T / 2 + lambda g D g^T / 2, for any symmetric 2 x 2 K and D.

    With the step's gradient G: eta |G|^2 - eta^2 G (K + lambda D) G^T / 2; by the update: lambda r (2 - r) g D g^T / 2.
    Neither is negative within the bounds. In more dimensions the sums run further, over the same terms.
    """
    u, g = (sp.Matrix(1, 2, sp.symbols(f"{name}_1:3", real=True)) for name in "ug")
    curvature, metric = (sp.Matrix(2, 2, [sp.Symbol(f"{name}_{i}", real=True) for i in (1, 2, 2, 3)]) for name in "KD")

    def energy(u: sp.Matrix, g: sp.Matrix) -> sp.Expr:
        return (u * curvature * u.T + strength * g * metric * g.T)[0] / 2

    slope = u * curvature + strength * g * metric
    stepped = energy(u - eta * slope, g - eta * slope) - energy(u, g)
    known = {square: slope.dot(slope), bent: (slope * (curvature + strength * metric) * slope.T)[0]}
    updated = energy(u, (1 - r) * g) - energy(u, g)
    return [stepped + step.subs(known), updated + update.subs(square, (g * metric * g.T)[0])]


def gap_bound_residues(bound: sp.Expr = LARGEST_GAP) -> list[sp.Expr]:
    """The energy sigma u^2 / 2 + l g^2 / 2, never above its first value sigma / 2, where g is at its bound and u is 0."""
    return [ell * bound**2 / 2 - sigma / 2]


def _energy() -> sp.Rel:
    def at(step: str) -> sp.Expr:
        gap = sp.Symbol(rf"{{\|W_{{{step}}} - \bar W_{{{step}}}\|_D}}")
        return sp.Function("L")(sp.Symbol(f"W_{{{step}}}")) + strength / 2 * gap**2

    return bound(at("t+1"), at("t"))


def _displacement() -> sp.Rel:
    rate, student, mean = (sp.IndexedBase(name) for name in ("r", "W", r"\bar W"))
    i, T = sp.symbols("t T", integer=True)
    return equation(sp.Sum(rate[i] / (1 - rate[i]) * (student[i] - mean[i]), (i, 1, T)), mean[T] - student[0])


C = sigma + ell
POWER_LAW = equation(power_law_weight(t) / sp.Sum(power_law_weight(k), (k, 0, t)), beta / (beta + t))
EMA = equation(ema_weight(t) / (1 + sp.Sum(ema_weight(k), (k, 1, t))), 1 - m)
GAP = bound(sp.Abs(sp.Symbol("g_t")), LARGEST_GAP * sp.Abs(sp.Symbol("u_0")))
PROOFS = {
    "power-law-rates": Proof(POWER_LAW, lambda: kernel_residues(power_law_weight, power_law_total, beta / (beta + t))),
    "ema-weights": Proof(EMA, lambda: kernel_residues(ema_weight, lambda j: m**-j, 1 - m)),
    "update-period": Proof(equation("eta_k", (1 - (1 - eta * C) ** k) / C), update_period_residues),
    "teacher-displacement": Proof(_displacement(), displacement_residues),
    "energy-never-rises": Proof(_energy(), energy_residues),
    "gap-bound": Proof(GAP, gap_bound_residues),
}
