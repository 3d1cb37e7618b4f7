"""Formulas and proofs of the claims in `tracer.theory.claims.replay`."""

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof, equation

rho, eta, strength, force, m = sp.symbols("rho eta lambda {\\kappa'} m", positive=True)
blocks = r"\Delta_P \Delta_Q D_{PP} D_{PQ} D_{QP} D_{QQ} \Sigma_P G_P"
task, outside, inner, mixed, mixed_back, outer, moment, gradient = sp.symbols(blocks, commutative=False)
"""Blocks of displacements, metric, second moment and initial gradient on (P) and off (Q) the task subspace, of any size."""
STATIC_SHIFT = -task * mixed * outer**-1
"""Displacement off the task subspace under a static teacher, D_QQ having an inverse."""
SCHUR_COMPLEMENT = inner - mixed * outer**-1 * mixed_back
"""The metric that the task part feels."""


def static_shift_residues(shift: sp.Expr = STATIC_SHIFT) -> list[sp.Expr]:
    """Slope of the penalty off the task subspace, where the loss has none, at the shifted weights."""
    return [strength * (task * mixed + shift * outer)]


def schur_complement_residues(felt: sp.Expr = SCHUR_COMPLEMENT) -> list[sp.Expr]:
    """Slope in the task subspace with the shift put in, less that of a task that knows the felt metric alone."""
    slope = rho * task * moment + gradient + strength * (task * inner + STATIC_SHIFT * mixed_back)
    return [slope - (task * (rho * moment + strength * felt) + gradient)]


def ema_shift(system: sp.Expr) -> sp.Expr:
    """The same under an EMA teacher, with kappa' = eta lambda m / (1 - m); the system is I + kappa' D_QQ."""
    return -force * task * mixed * system**-1


def ema_shift_residues(budget: sp.Expr = m / (1 - m)) -> list[sp.Expr]:
    """Off the task subspace the student moves by -eta lambda (sum of gaps) D Q.

    The sum is the budget, m / (1 - m), times the displacement, in which both end at the same place (`teacher-displacement`).
    """
    system = sp.Symbol("K", commutative=False)
    shift, metric = ema_shift(system), (system - 1) / force
    pulled = shift + eta * strength * budget * (task * mixed + shift * metric)
    return [pulled.subs(strength, force * (1 - m) / (eta * m))]


MOVED = ema_shift(1 + force * outer).subs(task, sp.Symbol("{(W^* - W_0)P}", commutative=False))
FELT = equation(task * (rho * moment + strength * SCHUR_COMPLEMENT), -gradient)
PROOFS = {
    "replay-moves-orthogonal-part": Proof(equation(outside, STATIC_SHIFT), static_shift_residues),
    "replay-schur-complement": Proof(FELT, schur_complement_residues),
    "ema-replay": Proof(equation(outside, MOVED), ema_shift_residues),
}
