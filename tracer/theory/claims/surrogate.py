"""The contrastive loss as TRACER's paper writes it: its surrogate, the scale of its target, and what its regulariser forgets."""

import numpy as np

from tracer.averaging import Static
from tracer.theory.claims.claim import PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.instances import Instance, random_instance
from tracer.theory.limits import limit
from tracer.theory.strategies import L2SP, Distillation, FineTuning


def _pairwise(case: Instance, weights: np.ndarray) -> float:
    """Equation (1) without its regulariser, term by term."""
    similarities = [[(weights @ image) @ text for text in case.texts] for image in case.images]
    total, pairs = 0.0, len(case.images)
    for i, row in enumerate(similarities):
        total += sum(s for j, s in enumerate(row) if j != i) - (pairs - 1) * row[i]
    return total / (pairs * (pairs - 1))


def _published_optimum(case: Instance, pulled: np.ndarray) -> np.ndarray:
    """Least squares in the published scale on the images and on further rows (m, d), at which W_0's embeddings are the target.

    The solution nearest to the pretrained weights.
    """
    rows, initial = np.vstack([case.images, pulled]), case.initial_weights
    target = len(case.texts) * (case.texts - case.texts.mean(axis=0))
    return initial + (np.linalg.pinv(rows) @ (np.vstack([target, pulled @ initial.T]) - rows @ initial.T)).T


def _regularised(case: Instance, text_map: np.ndarray, eta: float, steps: int) -> np.ndarray:
    """Weights by gradient descent on equation (1)."""
    pairs, weights = len(case.images), case.initial_weights
    for _ in range(steps):
        slope = case.embedding_penalty * text_map @ (text_map.T @ weights) - pairs / (pairs - 1) * case.cross_covariance
        weights = weights - eta * slope
    return weights


@theorem(f"{TRACER} (both losses); {PROJECT} (what they differ by)", "Definition 3.1", "Equation (1)", "Equation (2)")
def surrogate_loss(rng: np.random.Generator) -> Check:
    """The published surrogate (1/2)|WX - Y|^2, Y = Z(nI - J), is n(n-1) times the published contrastive loss without its
    regulariser, plus |WX|^2/2 and a constant: it puts one regulariser in the place of another.
    """
    # The library's loss at rho = 1/n is equation (2) over n^2; the nulls take it for equation (1), or forget the factor.
    case = random_instance(rng)
    pairs = len(case.images)
    problem = case._replace(embedding_penalty=1 / pairs).problem
    draws = rng.standard_normal((6, *case.initial_weights.shape))
    surrogates = pairs**2 * np.array([problem.loss(weights) for weights in draws])
    squares = np.array([np.sum((case.images @ weights.T) ** 2) / 2 for weights in draws])
    measured = np.array([_pairwise(case, weights) for weights in draws])
    factor = pairs * (pairs - 1)
    return compare((surrogates - squares) / factor, measured, surrogates / factor, surrogates - squares)


@theorem(PROJECT, "Definition 3.1", "Equation (2)")
def published_scale(rng: np.random.Generator) -> Check:
    """The published surrogate and its penalties are n^2 times the loss here at rho = 1/n, distillation having the strength lambda/n
    and L2-SP lambda/n^2.
    """
    # By least squares in the published scale; the nulls keep the strength, and keep rho.
    case, teacher_curvature = random_instance(rng), rng.uniform(0.5, 2.0)
    pairs, features = case.images.shape
    measured = [_published_optimum(case, np.sqrt(teacher_curvature) * inputs) for inputs in (case.images, np.eye(features))]

    def ends(embedding_penalty: float, distillation: float, l2_sp: float) -> np.ndarray:
        problem = case._replace(embedding_penalty=embedding_penalty).problem
        return np.stack([limit(problem, Distillation(distillation, Static())), limit(problem, L2SP(l2_sp))])

    nulls = (
        ends(1 / pairs, teacher_curvature, teacher_curvature),
        ends(1 / pairs, teacher_curvature / pairs, teacher_curvature / pairs),
        ends(1.0, teacher_curvature, teacher_curvature / pairs),
    )
    return compare(ends(1 / pairs, teacher_curvature / pairs, teacher_curvature / pairs**2), np.stack(measured), *nulls)


@theorem(PROJECT, "Definition 3.1")
def published_target_growth(rng: np.random.Generator) -> Check:
    """The published target grows with the number of pairs: presenting each pair m times multiplies it and its optimum by m, while
    at any fixed rho neither changes.
    """
    # Optima in the published scale and at a fixed rho; the nulls let the one stand still or the other grow.
    case, times = random_instance(rng), int(rng.integers(2, 6))
    many = case._replace(images=np.tile(case.images, (times, 1)), texts=np.tile(case.texts, (times, 1)))
    measured = case.on_task(_published_optimum(many, np.zeros((0, case.images.shape[1]))))
    once, fixed = (
        case.on_task(limit(each.problem, FineTuning())) for each in (case._replace(embedding_penalty=1 / len(case.images)), many)
    )
    plain = case.cross_covariance @ case.power(-1) / case.embedding_penalty
    nulls = np.stack([once, fixed]), np.stack([times * once, times * fixed])
    return compare(np.stack([times * once, fixed]), np.stack([measured, plain]), *nulls)


@theorem(PROJECT, "Theorem 3.2", "Theorem C.2", "Equation (1)")
def cross_regulariser_forgets(rng: np.random.Generator) -> Check:
    """The published regulariser (rho/2)|W^T W_T|^2 pulls on all input directions, so that under it what the data do not see decays
    to 0 wherever W_T reaches, and all of it if W_T has full rank: only the surrogate keeps it.
    """
    # After 20 steps and after 800, with a text map that has full rank and one that lacks a direction.
    #
    # The nulls keep the orthogonal part, as the surrogate does, or let it decay as under weight decay.
    case, texts = random_instance(rng), rng.standard_normal((8, 5))
    turn, other = (np.linalg.qr(rng.standard_normal((size, 3)))[0] for size in (3, 5))
    start, measured, predicted, decayed = case.off_task(case.initial_weights), [], [], []
    for values in (rng.uniform(0.7, 1.3, 3), np.array([*rng.uniform(0.7, 1.3, 2), 0.0])):
        text_map = (turn * values) @ other.T
        posed, eta = case._replace(texts=texts @ text_map.T), 1 / (case.embedding_penalty * np.max(values) ** 2)
        shares = 1 - eta * case.embedding_penalty * values**2
        for steps in (20, 800):
            measured.append(case.off_task(_regularised(posed, text_map, eta, steps)))
            predicted.append((turn * shares**steps) @ turn.T @ start)
            decayed.append(np.mean(shares) ** steps * start)
    return compare(np.stack(predicted), np.stack(measured), start, np.stack(decayed), scale=np.abs(start).max())
