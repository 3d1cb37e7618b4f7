"""Formulas and proofs of the claims in `tracer.theory.claims.drift`."""

import sympy as sp

from tracer.theory.claims.proofs import ema as ema_claims
from tracer.theory.claims.proofs import persistence
from tracer.theory.claims.proofs.proof import Proof

mu, strength, eta, beta, m, q = sp.symbols("mu lambda eta beta m q", positive=True)

t = sp.Symbol("t", positive=True, integer=True)

w, start = sp.symbols("w {W_0}Q", real=True)

RETAINED = sp.Symbol(r"{W_t Q / W_0 Q}")


def fine_tuning_residues(retained: sp.Expr) -> list[sp.Expr]:
    """Off the task subspace the loss is mu w^2 / 2: the start and the recursion of what descent retains of it."""
    stepped = (w - eta * (mu * w**2 / 2).diff(w)).subs(w, retained)
    return [retained.subs(t, 0) - 1, retained.subs(t, t + 1) - stepped]


def l2_sp_residues(kept: sp.Expr) -> list[sp.Expr]:
    """Slope there of weight decay and the pull, at the claimed share of the pretrained weights."""
    return [(mu * w**2 / 2 + strength * (w - start) ** 2 / 2).diff(w).subs(w, kept * start)]


def ema_retained(steps: sp.Expr) -> sp.Expr:
    """u_t of a mode of curvature mu."""
    return ema_claims.student(steps).subs(ema_claims.sigma, mu)


def ema_residues(retained) -> list[sp.Expr]:
    """Of a mode of curvature mu, pulled by lambda: the recurrence, and the first two values."""
    plus, minus = ema_claims.plus, ema_claims.minus
    recurrence = retained(t + 2) - (plus + minus) * retained(t + 1) + plus * minus * retained(t)
    return [retained(0) - 1, retained(1) - (1 - eta * mu), recurrence]


def wma_residues(exponent: sp.Expr) -> list[sp.Expr]:
    """The persistence exponent of a mode of curvature mu, pulled by lambda."""
    share = {q: mu / (mu + strength)}
    return [*(step.subs(share) for step in persistence.exponent_residues(beta * q)), (beta * q).subs(share) - exponent]


def _wma_exponent() -> sp.Rel:
    retained = sp.Function("u")(t) / sp.Symbol("u_0")
    return sp.Eq(sp.Limit(sp.log(retained) / sp.log(t), t, sp.oo), -beta * mu / (mu + strength), evaluate=False)


def _retained(value: sp.Expr) -> sp.Rel:
    return sp.Eq(RETAINED, value, evaluate=False)


PROOFS = {
    "orthogonal-drift-fine-tuning": Proof(_retained((1 - eta * mu) ** t), lambda: fine_tuning_residues((1 - eta * mu) ** t)),
    "orthogonal-part-l2-sp": Proof(
        sp.Eq(sp.Symbol(r"{W_\infty Q}"), strength / (strength + mu) * start, evaluate=False),
        lambda: l2_sp_residues(strength / (strength + mu)),
    ),
    "orthogonal-drift-ema": Proof(_retained(ema_retained(t)), lambda: ema_residues(ema_retained)),
    "orthogonal-drift-wma": Proof(_wma_exponent(), lambda: wma_residues(beta * mu / (mu + strength))),
}
