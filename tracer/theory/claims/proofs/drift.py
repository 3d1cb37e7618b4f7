"""Formulas and proofs of the claims in `tracer.theory.claims.drift`."""

import sympy as sp

from tracer.theory.claims.proofs import ema, persistence
from tracer.theory.claims.proofs.proof import Proof, equation

mu, strength, eta, beta, q = sp.symbols("mu lambda eta beta q", positive=True)
t = sp.Symbol("t", positive=True, integer=True)
w, start = sp.symbols("w {W_0}Q", real=True)
ALONE, KEPT, EXPONENT = (1 - eta * mu) ** t, strength / (strength + mu), beta * mu / (mu + strength)
SHRUNK = ema.STUDENT.subs({ema.sigma: mu, ema.t: t})
"""What fine-tuning retains at t; what L2-SP does for ever; a WMA's persistence exponent; and what an EMA retains at t."""


def fine_tuning_residues(retained: sp.Expr = ALONE) -> list[sp.Expr]:
    """Off the task subspace the loss is mu w^2 / 2: the start and the recursion of what descent retains of it."""
    stepped = (w - eta * (mu * w**2 / 2).diff(w)).subs(w, retained)
    return [retained.subs(t, 0) - 1, retained.subs(t, t + 1) - stepped]


def l2_sp_residues(kept: sp.Expr = KEPT) -> list[sp.Expr]:
    """Slope there of weight decay and the pull, at the claimed share of the pretrained weights."""
    return [(mu * w**2 / 2 + strength * (w - start) ** 2 / 2).diff(w).subs(w, kept * start)]


def ema_residues(retained: sp.Expr = SHRUNK) -> list[sp.Expr]:
    """Of a mode of curvature mu, pulled by lambda: the recurrence, and the first two values."""
    at = [retained.subs(t, step) for step in (0, 1, t, t + 1, t + 2)]
    return [at[0] - 1, at[1] - (1 - eta * mu), at[4] - (ema.plus + ema.minus) * at[3] + ema.plus * ema.minus * at[2]]


def wma_residues(exponent: sp.Expr = EXPONENT) -> list[sp.Expr]:
    """The persistence exponent of a mode of curvature mu, pulled by lambda."""
    share = {q: mu / (mu + strength)}
    return [*(step.subs(share) for step in persistence.exponent_residues()), (beta * q).subs(share) - exponent]


RETAINED = r"{W_t Q / W_0 Q}"
LOGARITHM = sp.log(sp.Function("u")(t) / sp.Symbol("u_0")) / sp.log(t)
PROOFS = {
    "orthogonal-drift-fine-tuning": Proof(equation(RETAINED, ALONE), fine_tuning_residues),
    "orthogonal-part-l2-sp": Proof(equation(r"{W_\infty Q}", KEPT * start), l2_sp_residues),
    "orthogonal-drift-ema": Proof(equation(RETAINED, SHRUNK), ema_residues),
    "orthogonal-drift-wma": Proof(equation(sp.Limit(LOGARITHM, t, sp.oo), -EXPONENT), wma_residues),
}
