"""Formulas and proofs of the claims in `tracer.theory.claims.strengths`."""

from collections.abc import Callable

import sympy as sp

from tracer.theory.claims.proofs.endpoints import OPTIMUM, cross, held, mu, rho, s, start, strength
from tracer.theory.claims.proofs.matrices import entries
from tracer.theory.claims.proofs.proof import Proof, equation

PULLED = held(strength).subs(mu, 0)


def limit_residues(end: sp.Expr = PULLED, weak: sp.Expr = OPTIMUM, strong: sp.Expr = start) -> list[sp.Expr]:
    """Where an end tends as the strength vanishes, and as it grows, in a mode; and off the task subspace, where it stays."""
    unseen = end.subs({cross: 0, s: 0})
    return [sp.limit(end, strength, 0, "+") - weak, sp.limit(end, strength, sp.oo) - strong, unseen - start]


def interpolation_residues(share: sp.Expr = rho / (rho + strength)) -> list[sp.Expr]:
    """The end of static distillation in a mode, less the share of the way to the optimum; and that share's limits.

    Off the task subspace both are the pretrained weights.
    """
    apart = held(strength * s).subs(mu, 0) - start - share * (OPTIMUM - start)
    return [apart, sp.limit(share, strength, 0, "+") - 1, sp.limit(share, strength, sp.oo)]


def kept_by_l2_sp_residues(kept: sp.Expr = 1) -> list[sp.Expr]:
    """W (X X^T + lambda I) = Y X^T + lambda W_0 along a normal to x_1, x_2, which span the task, at the claimed share of W_0.

    For all entries of 2 x 3 weights: the data have no part along the normal. No step of descent moves it either: in the weights it
    retains, there is no slope.
    """
    initial, images, target = entries("a", 2, 3), entries("x", 3, 2), entries("y", 2, 2)
    normal = images[:, 0].cross(images[:, 1])
    pulled = (target * images.T + strength * initial) * normal
    metric = (images * images.T + strength * sp.eye(3)) * normal
    return [*(metric - strength * normal), *(kept * strength * initial * normal - pulled)]


def force_residues(metric: Callable[[sp.Matrix], sp.Matrix] = lambda images: images * images.T) -> list[sp.Expr]:
    """The pull lambda (W - Wbar) D along a normal to x_1, x_2, which span the task, wherever student and teacher stand.

    The metric is by default the data's. Then that of any loss of the embeddings: of slopes c_1, c_2 in them, c X^T in the weights.
    """
    student, teacher, images, slopes = entries("w", 2, 3), entries("v", 2, 3), entries("x", 3, 2), entries("c", 2, 2)
    normal = images[:, 0].cross(images[:, 1])
    return [*(strength * (student - teacher) * metric(images) * normal), *(slopes * images.T * normal)]


LIMITS = sp.Tuple(sp.Limit(PULLED, strength, 0, "+"), sp.Limit(PULLED, strength, sp.oo))
FIRST, TUNED = sp.symbols(r"W_0 W_{\mathrm{FT}}")
PROOFS = {
    "l2-sp-strength-limits": Proof(equation(LIMITS, sp.Tuple(OPTIMUM, start)), limit_residues),
    "distillation-interpolates": Proof(
        equation(r"W_\infty", (strength * FIRST + rho * TUNED) / (rho + strength)), interpolation_residues
    ),
    "l2-sp-keeps-orthogonal-part": Proof(equation(r"{W_\infty Q}", sp.Symbol("{W_0 Q}")), kept_by_l2_sp_residues),
    "teachers-exert-no-orthogonal-force": Proof(
        equation(strength * sp.Symbol(r"{(W_t - \bar W_t)\Sigma Q}"), sp.Integer(0)), force_residues
    ),
}
