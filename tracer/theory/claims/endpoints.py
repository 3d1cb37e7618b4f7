"""Where each strategy ends, by eigendirection of the second moment, and the bias of a teacher that stands still."""

from collections.abc import Callable

import numpy as np
import sympy as sp

from tracer.averaging import Exponential, Static
from tracer.theory.claims.claim import TRACER, Check, Claim, compare
from tracer.theory.claims.instances import Instance, descend, random_instance, stable_learning_rate
from tracer.theory.claims.tolerances import EXACT
from tracer.theory.geometry import describe
from tracer.theory.limits import anchor_bias, limit
from tracer.theory.metrics import Spectral
from tracer.theory.strategies import L2SP, Distillation, FineTuning, Strategy, WeightDecay, WiSEFT

rho, s, eta = sp.symbols("rho s_j eta", positive=True)
mu, strength, metric_value, a = sp.symbols("mu lambda D_j a", nonnegative=True)
alpha, cross, start, w = sp.symbols("alpha {C}v_j {W_0}v_j w", real=True)
END = sp.Symbol(r"{W_\infty}v_j")
STEPS = 1500
"""Enough for the slowest of an instance's modes to reach round-off."""


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


def descended(case: Instance, strength: float = 0.0, metric: np.ndarray | None = None, rate: float = 0.0) -> np.ndarray:
    """Where descent ends, with a teacher that stands still (rate 0) or moves."""
    return descend(case, [rate] * STEPS, stable_learning_rate(case, strength, metric), strength, metric)[0]


def _fine_tuning_check(rng: np.random.Generator) -> Check:
    case = random_instance(rng)
    shortest = (case.texts - case.texts.mean(axis=0)).T / case.embedding_penalty @ np.linalg.pinv(case.images.T)
    return compare(limit(case.problem, FineTuning()), descended(case), EXACT, shortest, case.initial_weights)


def _weight_decay_check(rng: np.random.Generator) -> Check:
    decay = rng.uniform(0.1, 0.5)
    case = random_instance(rng)
    measured = descended(case._replace(weight_decay=decay))
    return compare(limit(case.problem, WeightDecay(decay)), measured, EXACT, limit(case.problem, FineTuning()))


def _held_check(strategy: Callable[[float], Strategy], exponent: float | None, *nulls: Callable[[float], Strategy]):
    """A check of a static teacher: its strategy by strength, the power of Sigma that it is held by (None: the identity)."""

    def check(rng: np.random.Generator) -> Check:
        case, teacher_curvature = random_instance(rng, rng.uniform(0.1, 0.5)), rng.uniform(0.5, 2.0)
        metric = None if exponent is None else case.power(exponent)
        measured = descended(case, teacher_curvature, metric)
        others = [limit(case.problem, null(teacher_curvature)) for null in nulls]
        return compare(
            limit(case.problem, strategy(teacher_curvature)), measured, EXACT, limit(case.problem, FineTuning()), *others
        )

    return check


def static(strength: float, alpha: float = 0.0) -> Distillation:
    """Distillation from the pretrained model, in the data's metric for alpha = 0."""
    return Distillation(strength, Static(), Spectral(alpha))


def _wise_ft_check(rng: np.random.Generator) -> Check:
    case, share = random_instance(rng), rng.uniform(0.2, 0.8)
    measured = (1 - share) * case.initial_weights + share * descended(case)
    nulls = (limit(case.problem, WiSEFT(other)) for other in (0.0, 0.9 * share, 1.0))
    return compare(limit(case.problem, WiSEFT(share)), measured, EXACT, *nulls)


def moving_teacher_residues(value: sp.Expr) -> list[sp.Expr]:
    """At a fixed point of student and teacher (rate r > 0) both stand at the optimum, and no other point is fixed."""
    r, teacher_curvature, teacher = sp.symbols("r ell wbar", positive=True)
    slope = (rho * s + mu) * w - cross + teacher_curvature * (w - teacher)
    steps = sp.Matrix([w - eta * slope, teacher + r * (w - eta * slope - teacher)])
    still = (steps - sp.Matrix([w, teacher])).subs({w: value, teacher: value})
    apart = (sp.eye(2) - steps.jacobian([w, teacher])).det()
    return [*still, apart - r * eta * (rho * s + mu)]


def _moving_teacher_check(rng: np.random.Generator) -> Check:
    case, teacher_curvature, momentum = random_instance(rng), rng.uniform(0.5, 1.5), rng.uniform(0.2, 0.7)
    measured = descended(case, teacher_curvature, case.second_moment, 1 - momentum)
    predicted = limit(case.problem, Distillation(teacher_curvature, Exponential(momentum)))
    return compare(predicted, measured, EXACT, limit(case.problem, static(teacher_curvature)), case.initial_weights)


def anchor_bias_residues(teacher_curvature: sp.Expr, factor: sp.Expr) -> list[sp.Expr]:
    """(W_inf - W*) v_j less the factor times (W_0 - W*) v_j, for a pull in one mode, without weight decay."""
    optimum = cross / (rho * s)
    return [held(teacher_curvature).subs(mu, 0) - optimum - factor * (start - optimum)]


def _bias_check(strategy: Callable[[float], Strategy], exponent: float | None):
    """Shares left by descent, by eigendirection of the images; the nulls are no bias and another metric's."""

    def check(rng: np.random.Generator) -> Check:
        case, teacher_curvature = random_instance(rng), rng.uniform(0.5, 2.0)
        metric = None if exponent is None else case.power(exponent)
        problem, kept = case.problem, slice(0, 4)
        optimum, directions = descended(case), problem.eigenvectors[:, kept]
        left, initial = (
            weights @ directions
            for weights in (descended(case, teacher_curvature, metric) - optimum, case.initial_weights - optimum)
        )
        measured = np.sum(left * initial, axis=0) / np.sum(initial**2, axis=0)
        other = static(teacher_curvature) if exponent is None else L2SP(teacher_curvature)
        nulls = np.zeros(4), np.ones(4), anchor_bias(problem, other)[kept]
        return compare(anchor_bias(problem, strategy(teacher_curvature))[kept], measured, EXACT, *nulls)

    return check


def decomposition_residues() -> list[sp.Expr]:
    """|D|^2 less its two parts, where the projector is on a line, or off it, in any direction of three dimensions."""
    direction = sp.Matrix(sp.symbols("v_1:4", real=True))
    moved = sp.Matrix(1, 3, sp.symbols("d_1:4", real=True))
    task = moved * direction * direction.T / direction.dot(direction)
    return [moved.dot(moved) - task.dot(task) - (moved - task).dot(moved - task), *((moved - task) * direction)]


def _decomposition_check(rng: np.random.Generator) -> Check:
    case = random_instance(rng)
    weights = rng.standard_normal(case.initial_weights.shape)
    found = describe(case.problem, weights)
    measured = np.sum((weights - case.initial_weights) ** 2)
    plain = (found.task_displacement + found.orthogonal_displacement) ** 2
    return compare(
        found.task_displacement**2 + found.orthogonal_displacement**2, measured, EXACT, plain, found.task_displacement**2
    )


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


CLAIMS = (
    Claim(
        "orthogonal-decomposition",
        "Squared displacements in the task subspace and in its orthogonal complement add up to that of the weights.",
        TRACER,
        _decomposition,
        _decomposition_check,
        decomposition_residues,
        paper=("Section C.4",),
    ),
    Claim(
        "fine-tuning-limit",
        "Fine-tuning ends at the least-squares solution in the task subspace and leaves the orthogonal part as it was.",
        TRACER,
        lambda: ends_at(cross / (rho * s)),
        _fine_tuning_check,
        lambda: limit_residues(cross / (rho * s), sp.Integer(0)),
        paper=("Theorem 3.2", "Theorem C.2"),
    ),
    Claim(
        "weight-decay-limit",
        "Weight decay shrinks the solution in every mode of the task subspace and forgets all that is orthogonal to it.",
        TRACER,
        lambda: ends_at(cross / (rho * s + mu)),
        _weight_decay_check,
        lambda: limit_residues(cross / (rho * s + mu), mu * w**2 / 2),
    ),
    Claim(
        "l2-sp-limit",
        "L2-SP ends at the mean of solution and pretrained weights, weighed by curvature and strength.",
        "L2-SP, arXiv 1802.01483",
        lambda: ends_at(held(strength)),
        _held_check(L2SP, None, static),
        lambda: limit_residues(held(strength), held_penalty(strength)),
        paper=("Theorem 3.2", "Theorem C.2"),
    ),
    Claim(
        "static-distillation-limit",
        "Distillation from the pretrained model on the data ends where L2-SP would, had it the strength lambda s_j in mode j.",
        TRACER,
        lambda: ends_at(held(strength * s)),
        _held_check(static, 1.0, L2SP),
        lambda: limit_residues(held(strength * s), held_penalty(strength * s)),
        paper=("Theorem 3.2", "Theorem C.2"),
    ),
    Claim(
        "spectral-limit",
        "A metric that is the second moment to the power 1 - alpha leads from distillation (alpha = 0) to L2-SP (alpha = 1).",
        TRACER,
        lambda: ends_at(held(SPECTRAL_PULL)),
        _held_check(lambda teacher_curvature: static(teacher_curvature, 0.4), 0.6, L2SP, static),
        lambda: [
            *limit_residues(held(SPECTRAL_PULL), held_penalty(SPECTRAL_PULL)),
            held(SPECTRAL_PULL).subs(alpha, 0) - held(strength * s),
            held(SPECTRAL_PULL).subs(alpha, 1) - held(strength),
        ],
    ),
    Claim(
        "wise-ft-limit",
        "WiSE-FT goes the same share of the way to the fine-tuned weights in all modes.",
        "WiSE-FT, arXiv 2109.01903",
        lambda: ends_at((1 - a) * start + a * cross / (rho * s)),
        _wise_ft_check,
    ),
    Claim(
        "moving-teacher-limit",
        "A teacher that keeps moving towards its student leaves no anchor bias: both end at the undistilled optimum.",
        TRACER,
        lambda: ends_at(cross / (rho * s + mu)),
        _moving_teacher_check,
        lambda: moving_teacher_residues(cross / (rho * s + mu)),
        paper=("Theorem 3.4", "Theorem C.8"),
    ),
    Claim(
        "anchor-bias-l2-sp",
        "L2-SP leaves the share lambda/(rho s_j + lambda) of the initial error: most where the data say least.",
        TRACER,
        lambda: _bias(strength, L2_SP_BIAS),
        _bias_check(L2SP, None),
        lambda: anchor_bias_residues(strength, L2_SP_BIAS),
        paper=("Section C.4",),
    ),
    Claim(
        "anchor-bias-distillation",
        "Distillation from the pretrained model on the data leaves the same share of the initial error in every mode.",
        TRACER,
        lambda: _bias(strength * s, DISTILLATION_BIAS),
        _bias_check(static, 1.0),
        lambda: anchor_bias_residues(strength * s, DISTILLATION_BIAS),
        paper=("Section 3.4",),
    ),
    Claim(
        "anchor-bias-spectral",
        "Under a metric that is the second moment to the power 1 - alpha, alpha decides in which modes the initial error stays.",
        TRACER,
        lambda: _bias(SPECTRAL_PULL, SPECTRAL_BIAS),
        _bias_check(lambda teacher_curvature: static(teacher_curvature, 0.4), 0.6),
        lambda: anchor_bias_residues(SPECTRAL_PULL, SPECTRAL_BIAS),
    ),
)
