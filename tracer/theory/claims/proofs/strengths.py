"""Formulas and proofs of the claims in `tracer.theory.claims.strengths`."""

from collections.abc import Callable

import sympy as sp

from tracer.theory.claims.proofs.endpoints import cross, held, mu, rho, s, start, strength
from tracer.theory.claims.proofs.matrices import entries
from tracer.theory.claims.proofs.proof import Proof

OPTIMUM = cross / (rho * s)
SHARE = rho / (rho + strength)
"""Of the way from the pretrained weights to the optimum."""


def limit_residues(end: sp.Expr, weak: sp.Expr, strong: sp.Expr) -> list[sp.Expr]:
    """Where an end tends as the strength vanishes, and as it grows, in a mode; and off the task subspace, where it stays."""
    unseen = end.subs({cross: 0, s: 0})
    return [sp.limit(end, strength, 0, "+") - weak, sp.limit(end, strength, sp.oo) - strong, unseen - start]


def interpolation_residues(share: sp.Expr) -> list[sp.Expr]:
    """The end of static distillation in a mode, less the share of the way to the optimum; and that share's limits.

    Off the task subspace both are the pretrained weights.
    """
    end = held(strength * s).subs(mu, 0)
    return [
        end - start - share * (OPTIMUM - start),
        sp.limit(share, strength, 0, "+") - 1,
        sp.limit(share, strength, sp.oo),
    ]


def kept_by_l2_sp_residues(kept: sp.Expr) -> list[sp.Expr]:
    """W (X X^T + lambda I) = Y X^T + lambda W_0 along a normal to x_1, x_2, which span the task, at the claimed share of W_0.

    For all entries of 2 x 3 weights: the data have no part along the normal. No step of descent moves it either: in the weights it
    retains, there is no slope.
    """
    initial, images, target = entries("a", 2, 3), entries("x", 3, 2), entries("y", 2, 2)
    normal = images[:, 0].cross(images[:, 1])
    pulled = (target * images.T + strength * initial) * normal
    metric = (images * images.T + strength * sp.eye(3)) * normal
    return [*(metric - strength * normal), *(kept * strength * initial * normal - pulled)]


def force_residues(metric: Callable[[sp.Matrix], sp.Matrix]) -> list[sp.Expr]:
    """The pull lambda (W - Wbar) D along a normal to x_1, x_2, which span the task, wherever student and teacher stand.

    Then that of any loss of the embeddings: of slopes c_1, c_2 in them, c X^T in the weights.
    """
    student, teacher, images, slopes = entries("w", 2, 3), entries("v", 2, 3), entries("x", 3, 2), entries("c", 2, 2)
    normal = images[:, 0].cross(images[:, 1])
    return [*(strength * (student - teacher) * metric(images) * normal), *(slopes * images.T * normal)]


def second_moment(images: sp.Matrix) -> sp.Matrix:
    """Sigma."""
    return images * images.T / images.cols


def _l2_sp_limits() -> sp.Rel:
    end = held(strength).subs(mu, 0)
    ends = sp.Tuple(sp.Limit(end, strength, 0, "+"), sp.Limit(end, strength, sp.oo))
    return sp.Eq(ends, sp.Tuple(OPTIMUM, start), evaluate=False)


def _interpolation() -> sp.Rel:
    end, first, tuned = sp.symbols(r"W_\infty W_0 W_{\mathrm{FT}}")
    return sp.Eq(end, (strength * first + rho * tuned) / (rho + strength), evaluate=False)


PROOFS = {
    "l2-sp-strength-limits": Proof(_l2_sp_limits(), lambda: limit_residues(held(strength).subs(mu, 0), OPTIMUM, start)),
    "distillation-interpolates": Proof(_interpolation(), lambda: interpolation_residues(SHARE)),
    "l2-sp-keeps-orthogonal-part": Proof(
        sp.Eq(sp.Symbol(r"{W_\infty Q}"), sp.Symbol("{W_0 Q}"), evaluate=False), lambda: kept_by_l2_sp_residues(sp.Integer(1))
    ),
    "teachers-exert-no-orthogonal-force": Proof(
        sp.Eq(strength * sp.Symbol(r"{(W_t - \bar W_t)\Sigma Q}"), 0, evaluate=False), lambda: force_residues(second_moment)
    ),
}
