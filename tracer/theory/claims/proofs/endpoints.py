"""Formulas and proofs of the claims in `tracer.theory.claims.endpoints`."""

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof

rho, s, eta = sp.symbols("rho s_j eta", positive=True)

mu, strength, metric_value, a = sp.symbols("mu lambda D_j a", nonnegative=True)

alpha, cross, start, w = sp.symbols("alpha {C}v_j {W_0}v_j w", real=True)

END = sp.Symbol(r"{W_\infty}v_j")


def ends_at(value: sp.Expr) -> sp.Rel:
    """The formula of the limit in one eigendirection."""
    return sp.Eq(END, value, evaluate=False)


def limit_residues(value: sp.Expr, penalty: sp.Expr) -> list[sp.Expr]:
    """Slope of one mode's loss with its penalty (a function of w) at the claimed minimiser; it is quadratic, opening upwards.

    Last, the slope there off the task subspace, where s_j and C v_j are 0: without a penalty it vanishes anywhere.
    """
    loss = -cross * w + rho * s * w**2 / 2 + penalty
    unseen = {cross: 0, s: 0}
    return [loss.diff(w).subs(w, value), loss.diff(w, 3), loss.subs(unseen).diff(w).subs(w, value.subs(unseen))]


def held(teacher_curvature: sp.Expr) -> sp.Expr:
    """Minimiser in one mode when a pull holds it to the pretrained weights."""
    return (cross + teacher_curvature * start) / (rho * s + mu + teacher_curvature)


def held_penalty(teacher_curvature: sp.Expr) -> sp.Expr:
    """What that pull adds to the loss, with weight decay."""
    return mu * w**2 / 2 + teacher_curvature * (w - start) ** 2 / 2


def moving_teacher_residues(value: sp.Expr) -> list[sp.Expr]:
    """At a fixed point of student and teacher (rate r > 0) both stand at the optimum, and no other point is fixed."""
    r, teacher_curvature, teacher = sp.symbols("r ell wbar", positive=True)
    slope = (rho * s + mu) * w - cross + teacher_curvature * (w - teacher)
    steps = sp.Matrix([w - eta * slope, teacher + r * (w - eta * slope - teacher)])
    still = (steps - sp.Matrix([w, teacher])).subs({w: value, teacher: value})
    apart = (sp.eye(2) - steps.jacobian([w, teacher])).det()
    return [*still, apart - r * eta * (rho * s + mu)]


def anchor_bias_residues(teacher_curvature: sp.Expr, factor: sp.Expr) -> list[sp.Expr]:
    """(W_inf - W*) v_j less the factor times (W_0 - W*) v_j, for a pull in one mode, without weight decay."""
    optimum = cross / (rho * s)
    return [held(teacher_curvature).subs(mu, 0) - optimum - factor * (start - optimum)]


def decomposition_residues() -> list[sp.Expr]:
    """|D|^2 less its two parts, where the projector is on a line, or off it, in any direction of three dimensions."""
    direction = sp.Matrix(sp.symbols("v_1:4", real=True))
    moved = sp.Matrix(1, 3, sp.symbols("d_1:4", real=True))
    task = moved * direction * direction.T / direction.dot(direction)
    return [moved.dot(moved) - task.dot(task) - (moved - task).dot(moved - task), *((moved - task) * direction)]


def _decomposition() -> sp.Rel:
    whole, task, rest = (sp.Symbol(rf"{{\|{name}\|}}", positive=True) for name in ("W - W_0", "(W - W_0)P", "(W - W_0)Q"))
    return sp.Eq(whole**2, task**2 + rest**2, evaluate=False)


def _bias(teacher_curvature: sp.Expr, factor: sp.Expr) -> sp.Rel:
    left, initial = sp.Symbol(r"{(W_\infty - W^*)v_j}"), sp.Symbol("{(W_0 - W^*)v_j}")
    return sp.Eq(left / initial, factor, evaluate=False)


L2_SP_BIAS = strength / (rho * s + strength)

DISTILLATION_BIAS = strength / (rho + strength)

SPECTRAL_PULL = strength * s ** (1 - alpha)

SPECTRAL_BIAS = SPECTRAL_PULL / (rho * s + SPECTRAL_PULL)

PROOFS = {
    "orthogonal-decomposition": Proof(_decomposition(), decomposition_residues),
    "fine-tuning-limit": Proof(ends_at(cross / (rho * s)), lambda: limit_residues(cross / (rho * s), sp.Integer(0))),
    "weight-decay-limit": Proof(ends_at(cross / (rho * s + mu)), lambda: limit_residues(cross / (rho * s + mu), mu * w**2 / 2)),
    "l2-sp-limit": Proof(ends_at(held(strength)), lambda: limit_residues(held(strength), held_penalty(strength))),
    "static-distillation-limit": Proof(
        ends_at(held(strength * s)), lambda: limit_residues(held(strength * s), held_penalty(strength * s))
    ),
    "spectral-limit": Proof(
        ends_at(held(SPECTRAL_PULL)),
        lambda: [
            *limit_residues(held(SPECTRAL_PULL), held_penalty(SPECTRAL_PULL)),
            held(SPECTRAL_PULL).subs(alpha, 0) - held(strength * s),
            held(SPECTRAL_PULL).subs(alpha, 1) - held(strength),
        ],
    ),
    "wise-ft-limit": Proof(ends_at((1 - a) * start + a * cross / (rho * s))),
    "moving-teacher-limit": Proof(ends_at(cross / (rho * s + mu)), lambda: moving_teacher_residues(cross / (rho * s + mu))),
    "anchor-bias-l2-sp": Proof(_bias(strength, L2_SP_BIAS), lambda: anchor_bias_residues(strength, L2_SP_BIAS)),
    "anchor-bias-distillation": Proof(
        _bias(strength * s, DISTILLATION_BIAS), lambda: anchor_bias_residues(strength * s, DISTILLATION_BIAS)
    ),
    "anchor-bias-spectral": Proof(_bias(SPECTRAL_PULL, SPECTRAL_BIAS), lambda: anchor_bias_residues(SPECTRAL_PULL, SPECTRAL_BIAS)),
}
