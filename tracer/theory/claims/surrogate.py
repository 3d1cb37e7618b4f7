"""The contrastive loss as TRACER's paper writes it: its surrogate, the scale of its target, and what its regulariser forgets."""

import numpy as np

from tracer import theory
from tracer.averaging import Static
from tracer.theory.claims.claim import PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.instances import Instance, random_instance


@theorem(f"{TRACER} (both losses); {PROJECT} (what they differ by)", "Definition 3.1", "Equation (1)", "Equation (2)")
def surrogate_loss(rng: np.random.Generator) -> Check:
    """The published surrogate (1/2)|WX - Y|^2, Y = Z(nI - J), is n(n-1) times the published contrastive loss without its
    regulariser, plus |WX|^2/2 and a constant: it puts one regulariser in the place of another.
    """
    # The library's loss at rho = 1/n is the surrogate over n^2; the nulls take it for the contrastive loss, or forget the factor.
    case, pairs = random_instance(rng), 8
    weights = rng.standard_normal(case.initial_weights.shape)
    surrogate = pairs**2 * case._replace(embedding_penalty=1 / pairs).problem.loss(weights)
    embedded, factor = case.images @ weights.T, pairs * (pairs - 1)
    similarities, square = embedded @ case.texts.T, np.sum(embedded**2) / 2
    contrastive = (similarities.sum() - pairs * np.trace(similarities)) / factor
    return compare((surrogate - square) / factor, contrastive, surrogate / factor, surrogate - square)


def _published_optimum(case: Instance, pulled: np.ndarray) -> np.ndarray:
    """Least squares in the published scale on the images and on rows (m, d) that W_0 maps to their targets, nearest to W_0."""
    rows, initial = np.vstack([case.images, pulled]), case.initial_weights
    target = np.vstack([len(case.texts) * case.centred_texts, pulled @ initial.T])
    return np.asarray(initial + (np.linalg.pinv(rows) @ (target - rows @ initial.T)).T)


@theorem(PROJECT, "Definition 3.1", "Equation (2)")
def published_scale(rng: np.random.Generator) -> Check:
    """The published surrogate and its penalties are n^2 times the loss here at rho = 1/n, distillation having the strength lambda/n
    and L2-SP lambda/n^2.
    """
    # The nulls keep the strengths, or keep rho.
    case, strength = random_instance(rng), rng.uniform(0.5, 2.0)
    pairs, features = case.images.shape
    measured = [_published_optimum(case, np.sqrt(strength) * inputs) for inputs in (case.images, np.eye(features))]

    def ends(embedding_penalty: float, distillation: float, l2_sp: float) -> np.ndarray:
        problem = case._replace(embedding_penalty=embedding_penalty).problem
        strategies = theory.Distillation(distillation, Static()), theory.L2SP(l2_sp)
        return np.stack([theory.limit(problem, strategy) for strategy in strategies])

    nulls = ends(1 / pairs, strength, strength), ends(1.0, strength, strength / pairs)
    return compare(ends(1 / pairs, strength / pairs, strength / pairs**2), np.stack(measured), *nulls)


@theorem(PROJECT, "Definition 3.1")
def published_target_growth(rng: np.random.Generator) -> Check:
    """The published target grows with the number of pairs: presenting each pair m times multiplies it and its optimum by m, while
    at any fixed rho neither changes.
    """
    # Optima in the published scale and at a fixed rho; the nulls let the one stand still or the other grow.
    case, times = random_instance(rng), int(rng.integers(2, 6))
    many = case._replace(images=np.tile(case.images, (times, 1)), texts=np.tile(case.texts, (times, 1)))
    published = case.on_task(_published_optimum(many, np.zeros((0, case.images.shape[1]))))
    fixed = case.cross_covariance @ case.power(-1) / case.embedding_penalty
    problems = case._replace(embedding_penalty=1 / len(case.images)).problem, many.problem
    once, same = (case.on_task(theory.limit(problem, theory.FineTuning())) for problem in problems)
    nulls = np.stack([once, same]), np.stack([times * once, times * same])
    return compare(np.stack([times * once, same]), np.stack([published, fixed]), *nulls)


@theorem(PROJECT, "Theorem 3.2", "Theorem C.2", "Equation (1)")
def cross_regulariser_forgets(rng: np.random.Generator) -> Check:
    """The published regulariser (rho/2)|W^T W_T|^2 pulls on all input directions, so that under it what the data do not see decays
    to 0 wherever W_T reaches, and all of it if W_T has full rank: only the surrogate keeps it.
    """
    # Descent with a text map that lacks a direction; the nulls keep the orthogonal part, or let all of it decay alike.
    case, texts = random_instance(rng), rng.standard_normal((8, 5))
    turn, other = (np.linalg.qr(rng.standard_normal((size, 3)))[0] for size in (3, 5))
    values, steps = np.array([*rng.uniform(0.7, 1.3, 2), 0.0]), 20
    text_map = (turn * values) @ other.T
    case, weights, eta = case._replace(texts=texts @ text_map.T), case.initial_weights, 0.5 / case.embedding_penalty
    for _ in range(steps):
        slope = case.embedding_penalty * text_map @ text_map.T @ weights - 8 / 7 * case.cross_covariance
        weights = weights - eta * slope
    start, shares = case.off_task(case.initial_weights), (1 - values**2 / 2) ** steps
    return compare((turn * shares) @ turn.T @ start, case.off_task(weights), start, shares.mean() * start)
