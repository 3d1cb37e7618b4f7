"""Formulas and proofs of the claims in `tracer.theory.claims.bounds`."""

from collections.abc import Callable

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof
from tracer.theory.claims.proofs.proximal import before, beta, m, omega, p, power_law, q

x, t, T, strength = sp.symbols("x t T lambda", positive=True)

anchor = sp.Symbol(r"\omega_{0|T}", positive=True)


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


def norm(of: str) -> sp.Symbol:
    """Its symbol."""
    return sp.Symbol(rf"{{\|{of}\|}}")


PROOFS = {
    "persistence-is-bias": Proof(
        sp.Eq(
            strength * sp.Symbol(r"(\bar{W}_t - W_t)", commutative=False) * sp.Symbol("D", commutative=False),
            (1 - sp.Symbol("omega_t")) * sp.Symbol(r"\nabla L(W_t)"),
            evaluate=False,
        ),
        lambda: force_residues(1 - omega),
    ),
    "finite-horizon-persistence": Proof(
        sp.Ge(norm(r"W_T - \bar{W}_T"), anchor * norm("W_T - W_0"), evaluate=False), lambda: monotone_residues(anchor)
    ),
    "persistence-needs-monotony": Proof(
        sp.Eq(norm(r"W_2 - \bar{W}_2"), overshoot_ratio() * sp.Symbol(r"\omega_{0|2}") * norm("W_2 - W_0"), evaluate=False),
        lambda: overshoot_residues(overshoot_ratio()),
    ),
    "persistence-bound-is-loose": Proof(
        sp.Eq(
            norm(r"W_T - \bar{W}_T") / (anchor * norm("W_T - W_0")),
            looseness().subs(p, sp.Symbol("p")) / (1 - sp.Symbol("u_T")),
            evaluate=False,
        ),
        lambda: loose_residues(looseness()),
    ),
    "sharp-persistence": Proof(
        sp.Ge(sp.Abs(sp.Symbol("E_t")), sp.Symbol(r"\omega_{0|t}") ** q * sp.Abs(sp.Symbol("E_0")), evaluate=False),
        lambda: sharp_residues(sharp_bound()),
    ),
    "descent-persists-longer": Proof(
        sp.Ge(sp.Symbol(r"\bar{u}_t"), (1 - q * sp.Symbol("omega_t")) * sp.Symbol(r"\bar{u}_{t-1}"), evaluate=False),
        lambda: descent_residues(1 - q * omega),
    ),
    "geometric-rate": Proof(
        sp.Le(sp.Abs(sp.Symbol("E_t")), rate_bound(sp.Symbol("omega_min"), t) * sp.Abs(sp.Symbol("E_0")), evaluate=False),
        lambda: rate_residues(rate_bound),
    ),
}
