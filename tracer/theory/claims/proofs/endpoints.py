"""Formulas and proofs of the claims in `tracer.theory.claims.endpoints`."""

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof, equation

rho, s, eta = sp.symbols("rho s_j eta", positive=True)
mu, strength, metric_value, a = sp.symbols("mu lambda D_j a", nonnegative=True)
alpha, cross, start, w = sp.symbols("alpha {C}v_j {W_0}v_j w", real=True)
OPTIMUM, DECAYED = cross / (rho * s), cross / (rho * s + mu)
SPECTRAL = strength * s ** (1 - alpha)
"""Curvature of the pull in a metric between the data's and that of the weights."""
L2_SP_BIAS, DISTILLATION_BIAS = strength / (rho * s + strength), strength / (rho + strength)
SPECTRAL_BIAS = SPECTRAL / (rho * s + SPECTRAL)


def held(pull: sp.Expr) -> sp.Expr:
    """Minimiser in one mode when a pull holds it to the pretrained weights."""
    return (cross + pull * start) / (rho * s + mu + pull)


def held_penalty(pull: sp.Expr) -> sp.Expr:
    """What that pull adds to the loss, with weight decay."""
    return mu * w**2 / 2 + pull * (w - start) ** 2 / 2


def limit_residues(value: sp.Expr, penalty: sp.Expr) -> list[sp.Expr]:
    """Slope of one mode's loss with its penalty (a function of w) at the claimed minimiser; it is quadratic, opening upwards.

    Last, the slope there off the task subspace, where s_j and C v_j are 0: without a penalty it vanishes anywhere.
    """
    loss, unseen = -cross * w + rho * s * w**2 / 2 + penalty, {cross: 0, s: 0}
    return [loss.diff(w).subs(w, value), loss.diff(w, 3), loss.subs(unseen).diff(w).subs(w, value.subs(unseen))]


def spectral_residues() -> list[sp.Expr]:
    """The limit under a pull lambda s_j^(1 - alpha), which is distillation's at alpha = 0 and L2-SP's at alpha = 1."""
    value = held(SPECTRAL)
    ends = [value.subs(alpha, 0) - held(strength * s), value.subs(alpha, 1) - held(strength)]
    return [*limit_residues(value, held_penalty(SPECTRAL)), *ends]


def moving_teacher_residues(value: sp.Expr = DECAYED) -> list[sp.Expr]:
    """At a fixed point of student and teacher (rate r > 0) both stand at the optimum, and no other point is fixed."""
    r, pull, teacher = sp.symbols("r ell wbar", positive=True)
    student = w - eta * ((rho * s + mu) * w - cross + pull * (w - teacher))
    steps = sp.Matrix([student, teacher + r * (student - teacher)])
    still = (steps - sp.Matrix([w, teacher])).subs({w: value, teacher: value})
    return [*still, (sp.eye(2) - steps.jacobian([w, teacher])).det() - r * eta * (rho * s + mu)]


def anchor_bias_residues(pull: sp.Expr, factor: sp.Expr) -> list[sp.Expr]:
    """(W_inf - W*) v_j less the factor times (W_0 - W*) v_j, for a pull in one mode, without weight decay."""
    return [held(pull).subs(mu, 0) - OPTIMUM - factor * (start - OPTIMUM)]


def decomposition_residues() -> list[sp.Expr]:
    """|D|^2 less its two parts, where the projector is on a line, or off it, in any direction of three dimensions."""
    direction, moved = sp.Matrix(sp.symbols("v_1:4", real=True)), sp.Matrix(1, 3, sp.symbols("d_1:4", real=True))
    task = moved * direction * direction.T / direction.dot(direction)
    return [moved.dot(moved) - task.dot(task) - (moved - task).dot(moved - task), *((moved - task) * direction)]


WHOLE, TASK, REST = (sp.Symbol(rf"{{\|{name}\|}}", positive=True) for name in ("W - W_0", "(W - W_0)P", "(W - W_0)Q"))


def _ends(value: sp.Expr) -> sp.Rel:
    return equation(sp.Symbol(r"{W_\infty}v_j"), value)


def _bias(factor: sp.Expr) -> sp.Rel:
    return equation(sp.Symbol(r"{(W_\infty - W^*)v_j}") / sp.Symbol("{(W_0 - W^*)v_j}"), factor)


def _held(pull: sp.Expr) -> Proof:
    return Proof(_ends(held(pull)), lambda: limit_residues(held(pull), held_penalty(pull)))


PROOFS = {
    "orthogonal-decomposition": Proof(equation(WHOLE**2, TASK**2 + REST**2), decomposition_residues),
    "fine-tuning-limit": Proof(_ends(OPTIMUM), lambda: limit_residues(OPTIMUM, sp.Integer(0))),
    "weight-decay-limit": Proof(_ends(DECAYED), lambda: limit_residues(DECAYED, mu * w**2 / 2)),
    "l2-sp-limit": _held(strength),
    "static-distillation-limit": _held(strength * s),
    "spectral-limit": Proof(_ends(held(SPECTRAL)), spectral_residues),
    "wise-ft-limit": Proof(_ends((1 - a) * start + a * OPTIMUM)),
    "moving-teacher-limit": Proof(_ends(DECAYED), moving_teacher_residues),
    "anchor-bias-l2-sp": Proof(_bias(L2_SP_BIAS), lambda: anchor_bias_residues(strength, L2_SP_BIAS)),
    "anchor-bias-distillation": Proof(_bias(DISTILLATION_BIAS), lambda: anchor_bias_residues(strength * s, DISTILLATION_BIAS)),
    "anchor-bias-spectral": Proof(_bias(SPECTRAL_BIAS), lambda: anchor_bias_residues(SPECTRAL, SPECTRAL_BIAS)),
}
