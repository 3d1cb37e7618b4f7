"""What the strength of a pull decides, from vanishing to boundless, and what it does not: the orthogonal part."""

from collections.abc import Callable

import numpy as np
import sympy as sp

from tracer.averaging import PowerLaw
from tracer.theory.claims.claim import PROJECT, TRACER, Check, Claim, compare
from tracer.theory.claims.endpoints import cross, descended, held, mu, rho, s, start, static, strength
from tracer.theory.claims.instances import (
    Instance,
    descend,
    power_law_rates,
    random_instance,
    random_second_moment,
    stable_learning_rate,
)
from tracer.theory.claims.matrices import entries
from tracer.theory.claims.tolerances import EXACT
from tracer.theory.gradient_descent import gradient_descent
from tracer.theory.limits import limit
from tracer.theory.strategies import L2SP, Distillation, WiSEFT

OPTIMUM = cross / (rho * s)
SHARE = rho / (rho + strength)
"""Of the way from the pretrained weights to the optimum."""
STRENGTHS = (1e-2, 1.0, 1e2)
WEAK, STRONG = 1e-12, 1e12


def limit_residues(end: sp.Expr, weak: sp.Expr, strong: sp.Expr) -> list[sp.Expr]:
    """Where an end tends as the strength vanishes, and as it grows, in a mode; and off the task subspace, where it stays."""
    unseen = end.subs({cross: 0, s: 0})
    return [sp.limit(end, strength, 0, "+") - weak, sp.limit(end, strength, sp.oo) - strong, unseen - start]


def _l2_sp_limits_check(rng: np.random.Generator) -> Check:
    """The nulls are the limits swapped, and strengths that are merely small and large."""
    case = random_instance(rng)
    weak, strong, small, large = (limit(case.problem, L2SP(teacher_curvature)) for teacher_curvature in (WEAK, STRONG, 1e-3, 1e3))
    measured = np.stack([descended(case), case.initial_weights])
    return compare(np.stack([weak, strong]), measured, EXACT, np.stack([strong, weak]), np.stack([small, large]))


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


def _interpolation_check(rng: np.random.Generator) -> Check:
    """Descent at three strengths; the nulls are the share for rho = 1, and L2-SP."""
    case = random_instance(rng)
    teacher_curvatures = rng.uniform(0.2, 3.0, 3)
    measured = np.stack([descended(case, teacher_curvature, case.second_moment) for teacher_curvature in teacher_curvatures])

    def ends(*strategies) -> np.ndarray:
        return np.stack([limit(case.problem, strategy) for strategy in strategies])

    penalty = case.embedding_penalty
    predicted = ends(*(WiSEFT(penalty / (penalty + teacher_curvature)) for teacher_curvature in teacher_curvatures))
    nulls = (
        ends(*(WiSEFT(1 / (1 + teacher_curvature)) for teacher_curvature in teacher_curvatures)),
        ends(*map(L2SP, teacher_curvatures)),
        ends(*map(static, [*teacher_curvatures[1:], teacher_curvatures[0]])),
    )
    return compare(predicted, measured, EXACT, *nulls)


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


def _kept_by_l2_sp_check(rng: np.random.Generator) -> Check:
    """By the equations for its end and by 50 steps of descent; the nulls keep less the weaker the pull, or nothing."""
    case = random_instance(rng)
    size, begin = case.images.shape[1], case.off_task(case.initial_weights)
    measured, shares = [], []
    for teacher_curvature in STRENGTHS:
        curvature = case.embedding_penalty * case.second_moment + teacher_curvature * np.eye(size)
        solved = np.linalg.solve(curvature, (case.cross_covariance + teacher_curvature * case.initial_weights).T).T
        walked = descend(case, [0.0] * 50, stable_learning_rate(case, teacher_curvature), teacher_curvature)[0]
        measured += [case.off_task(solved), case.off_task(walked)]
        shares += [teacher_curvature / (1 + teacher_curvature)] * 2
    ends = [case.off_task(limit(case.problem, L2SP(teacher_curvature))) for teacher_curvature in np.repeat(STRENGTHS, 2)]
    predicted = np.stack([ends, [begin] * 6])
    weaker = np.multiply.outer(shares, begin)
    return compare(predicted, np.stack([measured] * 2), EXACT, np.stack([weaker] * 2), 0.0)


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


def _feature_distilled(case: Instance, rates: list[float], eta: float, teacher_curvature: float) -> np.ndarray:
    """The student by descent on the loss and the mean squared distance of normalised embeddings to a moving teacher's."""
    student = teacher = case.initial_weights
    for rate in rates:
        embedded, aimed = (case.images @ weights.T for weights in (student, teacher))
        norms = np.linalg.norm(embedded, axis=1, keepdims=True)
        here, there = embedded / norms, aimed / np.linalg.norm(aimed, axis=1, keepdims=True)
        slopes = 2 * (here * np.sum(here * there, axis=1, keepdims=True) - there) / norms
        slope = case.embedding_penalty * student @ case.second_moment - case.cross_covariance
        student = student - eta * (slope + teacher_curvature * slopes.T @ case.images / len(case.images))
        teacher = teacher + rate * (student - teacher)
    return student


def _force_check(rng: np.random.Generator) -> Check:
    """Distances of embeddings and of normalised ones, 30 steps, three strengths, a WMA and a teacher that moves at random.

    The nulls keep less the weaker the pull, as the published text has it, or what distillation on other inputs keeps.
    """
    case, exponent = random_instance(rng), rng.uniform(0.3, 1.5)
    begin = case.off_task(case.initial_weights)
    sigma, other = case.second_moment, random_second_moment(rng, case.images.shape[1])
    rates = rng.uniform(0, 1, 30).tolist()
    predicted, measured, shares, elsewhere = [], [], [], []
    for teacher_curvature in STRENGTHS:
        eta = stable_learning_rate(case, teacher_curvature, sigma)
        walked = descend(case, power_law_rates(exponent, 30), eta, teacher_curvature, sigma)[0]
        measured += [
            walked,
            descend(case, rates, eta, teacher_curvature, sigma)[0],
            _feature_distilled(case, rates, eta, teacher_curvature),
        ]
        path = gradient_descent(case.problem, Distillation(teacher_curvature, PowerLaw(exponent)), learning_rate=eta, steps=30)
        predicted += [case.off_task(path.weights(30)), begin, begin]
        shares += [teacher_curvature / (case.embedding_penalty + teacher_curvature)] * 3
        elsewhere += [
            case.off_task(descend(case, rates, stable_learning_rate(case, teacher_curvature, other), teacher_curvature, other)[0])
        ] * 3
    return compare(
        np.stack(predicted), case.off_task(np.stack(measured)), EXACT, np.multiply.outer(shares, begin), np.stack(elsewhere)
    )


def _l2_sp_limits() -> sp.Rel:
    end = held(strength).subs(mu, 0)
    ends = sp.Tuple(sp.Limit(end, strength, 0, "+"), sp.Limit(end, strength, sp.oo))
    return sp.Eq(ends, sp.Tuple(OPTIMUM, start), evaluate=False)


def _interpolation() -> sp.Rel:
    end, first, tuned = sp.symbols(r"W_\infty W_0 W_{\mathrm{FT}}")
    return sp.Eq(end, (strength * first + rho * tuned) / (rho + strength), evaluate=False)


CLAIMS = (
    Claim(
        "l2-sp-strength-limits",
        "Without weight decay L2-SP ends where direct fine-tuning does as its strength vanishes, and at the pretrained weights as "
        "it grows.",
        TRACER,
        _l2_sp_limits,
        _l2_sp_limits_check,
        lambda: limit_residues(held(strength).subs(mu, 0), OPTIMUM, start),
        paper=("Theorem 3.2", "Theorem C.2", "Section C.4"),
    ),
    Claim(
        "distillation-interpolates",
        "Without weight decay static distillation on the data ends where WiSE-FT with the share rho/(rho + lambda) stands, in all "
        "modes alike: from direct fine-tuning for a vanishing strength to the pretrained weights for a growing one.",
        f"{TRACER} (both parts); {PROJECT} (that it is WiSE-FT)",
        _interpolation,
        _interpolation_check,
        lambda: interpolation_residues(SHARE),
        paper=("Theorem 3.2", "Theorem C.2", "Section C.4"),
    ),
    Claim(
        "l2-sp-keeps-orthogonal-part",
        "Without weight decay L2-SP keeps what the data do not see exactly, at every strength and step, as distillation does: "
        "they differ by mode within the task subspace alone, against the paper's text and Figure 2b.",
        f"{PROJECT} (the paper's own second term says so too)",
        lambda: sp.Eq(sp.Symbol(r"{W_\infty Q}"), sp.Symbol("{W_0 Q}"), evaluate=False),
        _kept_by_l2_sp_check,
        lambda: kept_by_l2_sp_residues(sp.Integer(1)),
        paper=("Theorem 3.2", "Theorem C.2", "Section C.4"),
    ),
    Claim(
        "teachers-exert-no-orthogonal-force",
        "Distillation on the fine-tuning data exerts no force off the task subspace, whatever teacher, strength and distance of "
        "embeddings: without weight decay it neither damps drift there nor keeps less as its strength falls, against sections 3.4 "
        "and C.6.",
        f"{TRACER} (that the part is kept); {PROJECT} (that no strength weakens it)",
        lambda: sp.Eq(strength * sp.Symbol(r"{(W_t - \bar W_t)\Sigma Q}"), 0, evaluate=False),
        _force_check,
        lambda: force_residues(second_moment),
        paper=("Section 3.4", "Section C.6"),
    ),
)
