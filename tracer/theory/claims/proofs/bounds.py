"""Formulas and proofs of the claims in `tracer.theory.claims.bounds`."""

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof, bound, equation
from tracer.theory.claims.proofs.proximal import POWER_LAW, P, before, beta, m, omega, p, q, t

x, T, strength, first, second = sp.symbols("x T lambda omega_1 omega_2", positive=True)
anchor, least = sp.symbols(r"\omega_{0|T} omega_min", positive=True)
RATE_BOUND = (1 - q * least) ** t
"""On the teacher's error, over the initial one."""
OVERSHOOT = 1 / (1 + first)
"""Of the gap to the bound."""
LOOSENESS = q * sp.gamma(T + beta * p) / (sp.gamma(1 + beta * p) * sp.gamma(T))
"""Of the bound, less the share 1 - u_T of the way that the student has gone."""


def force_residues(share: sp.Expr = 1 - omega) -> list[sp.Expr]:
    """Where the student is solved its gradient is lambda (teacher - student), whatever the loss; then the teacher moves."""
    student = sp.Symbol("w", real=True)
    after = before + omega * (student - before)
    return [strength * (after - student) - share * strength * (before - student)]


def monotone_residues(share: sp.Expr = anchor) -> list[sp.Expr]:
    """A coordinate's gap to an average with weights that add up to 1, here of four iterates, from a_0 = 0.

    What is left are terms w_k (a_3 - a_k), none of which is negative if the coordinate rises. Coordinates in an orthonormal basis
    then add up to norms. `share` is a weight w_0.
    """
    path, weights = [sp.Integer(0), *sp.symbols("a_1:4", real=True)], [anchor, *sp.symbols("w_1:3", positive=True)]
    weights.append(1 - sum(weights))
    mean = sum(weight * at for weight, at in zip(weights, path, strict=True))
    rest = sum(weight * (path[-1] - at) for weight, at in zip(weights[1:], path[1:], strict=True))
    return [sp.expand(path[-1] - mean - share * path[-1] - rest)]


def overshoot_residues(ratio: sp.Expr = OVERSHOOT) -> list[sp.Expr]:
    """Two steps of descent with x = 3/2 and q = 2/3, at rates omega_1 and omega_2: the gap over the bound."""
    student = teacher = sp.Integer(1)
    for rate in (first, second):
        student = (teacher - student) / 2
        teacher = teacher + rate * (student - teacher)
    return [sp.simplify((teacher - student) / ((1 - first) * (1 - second) * (1 - student)) - ratio)]


def loose_residues(ratio: sp.Expr = LOOSENESS) -> list[sp.Expr]:
    """A power-law teacher's gap, q (1 - omega_T) ubar_{T-1}, over the anchor's weight, prod (1 - omega_t); and how it grows."""
    kept = sp.gamma(beta + 1) * sp.gamma(T + 1) / sp.gamma(T + 1 + beta)
    measured = q * T / (beta + T) * POWER_LAW.subs(t, T - 1) / kept
    growth = sp.gammasimp(ratio.subs(T, T + 1) / ratio)
    return [sp.gammasimp(measured / ratio) - 1, sp.limit(T * (growth - 1), T, sp.oo) - beta * p]


def sharp_residues(least: sp.Expr = (1 - omega) ** q) -> list[sp.Expr]:
    """1 - q omega less the bound is 0 at omega = 0 and rises with omega; 1 - omega is S_{t-1}/S_t, so that products telescope."""
    alpha, total = sp.symbols("alpha S", positive=True)
    margin = 1 - q * omega - least
    slope = sp.simplify(margin.diff(omega) - q * ((1 - omega) ** (q - 1) - 1))
    return [margin.subs(omega, 0), slope, 1 - alpha / (total + alpha) - total / (total + alpha)]


def descent_residues(factor: sp.Expr = 1 - q * omega) -> list[sp.Expr]:
    """With v = u - p ubar, at least 0 at first: v and the teacher's excess over its factor are sums of terms >= 0 for x <= 1.

    So u falls, by x v at each step: every mode is monotone, and `finite-horizon-persistence` holds for descent too.
    """
    u, teacher = sp.symbols("u ubar", positive=True)
    v, student = u - p * teacher, (1 - x) * u + x * p * teacher
    after = teacher + omega * (student - teacher)
    ahead = student - p * after - ((1 - p * omega) * (1 - x) * v + p * q * omega * teacher)
    return [student - u + x * v, after - factor * teacher - omega * (1 - x) * v, ahead]


def rate_residues(largest: sp.Expr = RATE_BOUND) -> list[sp.Expr]:
    """The factor's excess, q (omega - omega_min); equality for an EMA; and what is left of the bound where omega_min = c/T."""
    c, factor = sp.Symbol("c", positive=True), largest.subs(t, 1)
    horizon = sp.limit(largest.subs({least: c / T, t: T}), T, sp.oo) - sp.exp(-q * c)
    return [factor - (1 - q * omega) - q * (omega - least), factor.subs(least, 1 - m) - (p + q * m), horizon]


def norm(of: str) -> sp.Symbol:
    """Its symbol."""
    return sp.Symbol(rf"{{\|{of}\|}}")


def _bias() -> sp.Rel:
    gap, metric = (sp.Symbol(name, commutative=False) for name in (r"(\bar{W}_t - W_t)", "D"))
    return equation(strength * gap * metric, (1 - RATE) * sp.Symbol(r"\nabla L(W_t)"))


RATE, INITIAL, ERROR = sp.Symbol("omega_t"), sp.Abs(sp.Symbol("E_0")), sp.Abs(sp.Symbol("E_t"))
AT_END, GONE = norm(r"W_T - \bar{W}_T"), norm("W_T - W_0")
AT_TWO = equation(norm(r"W_2 - \bar{W}_2"), OVERSHOOT * sp.Symbol(r"\omega_{0|2}") * norm("W_2 - W_0"))
LOOSE = equation(AT_END / (anchor * GONE), LOOSENESS.subs(p, P) / (1 - sp.Symbol("u_T")))
DESCENT = sp.Ge(sp.Symbol(r"\bar{u}_t"), (1 - q * RATE) * sp.Symbol(r"\bar{u}_{t-1}"), evaluate=False)
PROOFS = {
    "persistence-is-bias": Proof(_bias(), force_residues),
    "finite-horizon-persistence": Proof(sp.Ge(AT_END, anchor * GONE, evaluate=False), monotone_residues),
    "persistence-needs-monotony": Proof(AT_TWO, overshoot_residues),
    "persistence-bound-is-loose": Proof(LOOSE, loose_residues),
    "sharp-persistence": Proof(sp.Ge(ERROR, sp.Symbol(r"\omega_{0|t}") ** q * INITIAL, evaluate=False), sharp_residues),
    "descent-persists-longer": Proof(DESCENT, descent_residues),
    "geometric-rate": Proof(bound(ERROR, RATE_BOUND * INITIAL), rate_residues),
}
