"""What the strength of a pull decides, from vanishing to boundless, and what it does not: the orthogonal part."""

import numpy as np

from tracer.averaging import PowerLaw
from tracer.theory.claims.claim import PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.endpoints import descended, static
from tracer.theory.claims.instances import (
    Instance,
    descend,
    power_law_rates,
    random_instance,
    random_second_moment,
    stable_learning_rate,
)
from tracer.theory.gradient_descent import gradient_descent
from tracer.theory.limits import limit
from tracer.theory.strategies import L2SP, Distillation, WiSEFT

STRENGTHS = (1e-2, 1.0, 1e2)

WEAK, STRONG = 1e-12, 1e12


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


@theorem(TRACER, "Theorem 3.2", "Theorem C.2", "Section C.4")
def l2_sp_strength_limits(rng: np.random.Generator) -> Check:
    """Without weight decay L2-SP ends where direct fine-tuning does as its strength vanishes, and at the pretrained weights as it
    grows.
    """
    # The nulls are the limits swapped, and strengths that are merely small and large.
    case = random_instance(rng)
    weak, strong, small, large = (limit(case.problem, L2SP(teacher_curvature)) for teacher_curvature in (WEAK, STRONG, 1e-3, 1e3))
    measured = np.stack([descended(case), case.initial_weights])
    return compare(np.stack([weak, strong]), measured, np.stack([strong, weak]), np.stack([small, large]))


@theorem(f"{TRACER} (both parts); {PROJECT} (that it is WiSE-FT)", "Theorem 3.2", "Theorem C.2", "Section C.4")
def distillation_interpolates(rng: np.random.Generator) -> Check:
    """Without weight decay static distillation on the data ends where WiSE-FT with the share rho/(rho + lambda) stands, in all
    modes alike: from direct fine-tuning for a vanishing strength to the pretrained weights for a growing one.
    """
    # Descent at three strengths; the nulls are the share for rho = 1, and L2-SP.
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
    return compare(predicted, measured, *nulls)


@theorem(f"{PROJECT} (the paper's own second term says so too)", "Theorem 3.2", "Theorem C.2", "Section C.4")
def l2_sp_keeps_orthogonal_part(rng: np.random.Generator) -> Check:
    """Without weight decay L2-SP keeps what the data do not see exactly, at every strength and step, as distillation does: they
    differ by mode within the task subspace alone, against the paper's text and Figure 2b.
    """
    # By the equations for its end and by 50 steps of descent; the nulls keep less the weaker the pull, or nothing.
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
    return compare(predicted, np.stack([measured] * 2), np.stack([weaker] * 2), 0.0)


@theorem(f"{TRACER} (that the part is kept); {PROJECT} (that no strength weakens it)", "Section 3.4", "Section C.6")
def teachers_exert_no_orthogonal_force(rng: np.random.Generator) -> Check:
    """Distillation on the fine-tuning data exerts no force off the task subspace, whatever teacher, strength and distance of
    embeddings: without weight decay it neither damps drift there nor keeps less as its strength falls, against sections 3.4 and
    C.6.
    """
    # Distances of embeddings and of normalised ones, 30 steps, three strengths, a WMA and a teacher that moves at random.
    #
    # The nulls keep less the weaker the pull, as the published text has it, or what distillation on other inputs keeps.
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
    return compare(np.stack(predicted), case.off_task(np.stack(measured)), np.multiply.outer(shares, begin), np.stack(elsewhere))
