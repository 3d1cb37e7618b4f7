"""Formulas and proofs of the claims in `tracer.theory.claims.coverage`."""

import sympy as sp

from tracer.theory.claims.proofs.matrices import entries, inner
from tracer.theory.claims.proofs.proof import Proof, bound, equation

data, pull, strength, delta = sp.symbols("k d lambda delta", positive=True)
gradient = sp.Symbol("g", real=True)
"""Of a mode of the pencil of curvature and metric: their values there, and the slope at the pretrained weights."""
kappa = sp.Symbol("kappa", positive=True)
HELD = pull / (pull + delta)
"""Share of an eigendirection of the pool that counts as held."""
FALL = gradient**2 / (2 * data)
"""Of a mode's loss, from the pretrained weights to its smallest value."""
displaced, angle = sp.symbols("Delta_P theta", positive=True)
DRIFT = -displaced * sp.cot(angle)
"""Displacement at right angles to a task of one direction, which it is displaced in."""
QUARTER, HALF = sp.Rational(1, 4), sp.Rational(1, 2)


def kappa_residues(factor: sp.Expr = kappa) -> list[sp.Expr]:
    """kappa F_D - F_o, for all entries of 2 x 2 matrices and one row of a displacement (others have more terms alike).

    R is the root of D, Sigma_o = R M R, as is possible on the span of the pool, and kappa I - M = N N^T, as is possible for kappa
    the largest eigenvalue of M. So it is half the square of Delta R N: never negative, and 0 along the eigenvector.
    """
    moved, corner, rest = entries("y", 1, 2), entries("r", 2, 2), entries("n", 2, 2)
    root = corner + corner.T
    pool, keep = root * root, root * (kappa * sp.eye(2) - rest * rest.T) * root
    apart = moved * root * rest
    return [factor * inner(moved * pool, moved) / 2 - inner(moved * keep, moved) / 2 - inner(apart, apart) / 2]


def falls_residues(held: sp.Expr = HELD) -> list[sp.Expr]:
    """How the share of a direction changes with delta, and its limits; where the pool has nothing it is 0.

    Coverage is the mean of these shares over directions, weighed by what is to be kept there: it is 1 only if there is none of that
    where the pool has nothing.
    """
    slope = held.diff(delta) + pull / (pull + delta) ** 2
    return [slope, sp.limit(held, delta, 0, "+") - 1, sp.limit(held, delta, sp.oo), held.subs(pull, 0)]


def share_residues(held: sp.Expr = HELD) -> list[sp.Expr]:
    """In an eigendirection of the pool the change g/(k + lambda d) is that without a pull, g/k, less the held share of it.

    What is to be kept weighs these by c_j (a slope of any rotation, whose squares are the identity, leaves the diagonal alone).
    Last, of weights c_j and shares x_j left: mean square less squared mean, and x less its square, neither of which is negative.
    """
    free, pulled = gradient / data, gradient / (data + strength * pull)
    weights, left = sp.symbols("c_1:4", positive=True), sp.symbols("x_1:4", positive=True)
    pairs = list(zip(weights, left, strict=True))
    total, mean, square = (sum(c * x**power for c, x in pairs) for power in range(3))
    spread = sum(c * other * (x - y) ** 2 for c, x in pairs for other, y in pairs) / (2 * total**2)
    return [
        pulled - (1 - held.subs(delta, data / strength)) * free,
        square / total - (mean / total) ** 2 - spread,
        mean - square - sum(c * x * (1 - x) for c, x in pairs),
    ]


def uncovered_residues(drift: sp.Expr = DRIFT) -> list[sp.Expr]:
    """Slopes of loss and pull in the task's direction and at right angles to it, where the task is solved and the weights drift.

    The pool lies at an angle between the two: embeddings of its inputs stand still, so that no strength pulls any more.
    """
    task, off = sp.symbols("y_1 y_2", real=True)
    seen = task * sp.cos(angle) + off * sp.sin(angle)
    loss = data * (task - displaced) ** 2 / 2 + strength * seen**2 / 2
    return [loss.diff(at).subs({task: displaced, off: drift}) for at in (task, off)]


def held_error_residues(share: sp.Expr = QUARTER) -> list[sp.Expr]:
    """The share of a mode's fall, less lambda times its forgetting on the pool: a square, which vanishes at lambda d = k.

    Modes in which the loss is flat have no slope and stay. With `kappa_residues` that bounds the forgetting on other inputs.
    """
    moved = gradient / (data + strength * pull)
    square = (data - strength * pull) ** 2 / (data + strength * pull) ** 2
    return [share * FALL - strength * pull * moved**2 / 2 - FALL * square / 4]


def convex_residues(share: sp.Expr = HALF) -> list[sp.Expr]:
    """Where the pull ends the loss's slope is -lambda Delta D, for all entries of 2 x 2 matrices.

    A convex loss lies above its tangent: it has fallen by at least the slope times -Delta. Then, of a mode that is held strongly,
    the share of its fall over lambda times its forgetting.
    """
    moved, root = entries("y", 2, 2), entries("r", 2, 2)
    metric = root.T * root
    forgotten = inner(moved * metric, moved) / 2
    change = gradient / (data + strength * pull)
    fall = FALL - data * (gradient / data - change) ** 2 / 2
    return [
        share * inner(-strength * moved * metric, -moved) - strength * forgotten,
        sp.limit(share * fall / (strength * pull * change**2 / 2), strength, sp.oo) - 1,
    ]


LARGEST = sp.Symbol(r"\lambda_{\max}(D^{+1/2}\Sigma_oD^{+1/2})")
IN_SPAN, HELD_BY, ALL = (
    sp.Symbol(rf"\mathrm{{tr}}({of})") for of in (r"\Sigma_oDD^+", r"\Sigma_oD(D + \delta\bar dI)^{-1}", r"\Sigma_o")
)
COVERAGE, FORGOTTEN, LOSS = (sp.Function(name) for name in ("c", "F_o", "L"))
FIRST, LAST, BEST = sp.symbols(r"W_0 W_\lambda W^*")
PROOFS = {
    "coverage-kappa": Proof(equation(kappa, LARGEST), kappa_residues),
    "coverage-falls": Proof(equation(COVERAGE(0), IN_SPAN / ALL), falls_residues),
    "coverage-share": Proof(equation(COVERAGE(delta), HELD_BY / ALL), share_residues),
    "uncovered-replay": Proof(equation("Delta_Q", DRIFT), uncovered_residues),
    "held-error": Proof(bound(FORGOTTEN(LAST), kappa / (4 * strength) * (LOSS(FIRST) - LOSS(BEST))), held_error_residues),
    "held-error-of-convex-losses": Proof(
        bound(FORGOTTEN(LAST), kappa / (2 * strength) * (LOSS(FIRST) - LOSS(LAST))), convex_residues
    ),
}
