"""Formulas and proofs of the claims in `tracer.theory.claims.replay`."""

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof

rho, eta, strength, force, m = sp.symbols("rho eta lambda {\\kappa'} m", positive=True)

blocks = r"\Delta_P \Delta_Q D_{PP} D_{PQ} D_{QP} D_{QQ} \Sigma_P G_P"
task, outside, inner, mixed, mixed_back, outer, moment, gradient = sp.symbols(blocks, commutative=False)
"""Blocks of displacements, metric, second moment and initial gradient on (P) and off (Q) the task subspace, of any size."""


def static_shift() -> sp.Expr:
    """Displacement off the task subspace under a static teacher, D_QQ having an inverse."""
    return -task * mixed * outer**-1


def schur_complement() -> sp.Expr:
    """The metric that the task part feels."""
    return inner - mixed * outer**-1 * mixed_back


def static_shift_residues(shift: sp.Expr) -> list[sp.Expr]:
    """Slope of the penalty off the task subspace, where the loss has none, at the shifted weights."""
    return [strength * (task * mixed + shift * outer)]


def schur_complement_residues(felt: sp.Expr) -> list[sp.Expr]:
    """Slope in the task subspace with the shift put in, less that of a task that knows the felt metric alone."""
    slope = rho * task * moment + gradient + strength * (task * inner + static_shift() * mixed_back)
    return [slope - (task * (rho * moment + strength * felt) + gradient)]


def ema_shift(system: sp.Expr) -> sp.Expr:
    """The same under an EMA teacher, with kappa' = eta lambda m / (1 - m); the system is I + kappa' D_QQ."""
    return -force * task * mixed * system**-1


def ema_shift_residues(budget: sp.Expr) -> list[sp.Expr]:
    """Off the task subspace the student moves by -eta lambda (sum of gaps) D Q.

    The sum is the budget, m / (1 - m), times the displacement, in which both end at the same place (`teacher-displacement`).
    """
    system = sp.Symbol("K", commutative=False)
    shift, metric = ema_shift(system), (system - 1) / force
    teacher_curvature = eta * strength * budget
    return [(shift + teacher_curvature * (task * mixed + shift * metric)).subs(strength, force * (1 - m) / (eta * m))]


def _ema_shift() -> sp.Rel:
    moved = sp.Symbol("{(W^* - W_0)P}", commutative=False)
    return sp.Eq(outside, ema_shift(1 + force * outer).subs(task, moved), evaluate=False)


PROOFS = {
    "replay-moves-orthogonal-part": Proof(
        sp.Eq(outside, static_shift(), evaluate=False), lambda: static_shift_residues(static_shift())
    ),
    "replay-schur-complement": Proof(
        sp.Eq(task * (rho * moment + strength * schur_complement()), -gradient, evaluate=False),
        lambda: schur_complement_residues(schur_complement()),
    ),
    "ema-replay": Proof(_ema_shift(), lambda: ema_shift_residues(m / (1 - m))),
}
