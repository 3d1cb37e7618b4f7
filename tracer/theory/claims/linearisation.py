"""From the contrastive loss to matrix least squares."""

from itertools import product

import numpy as np

from tracer.theory.claims.claim import NAKADA, PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.instances import Instance, random_instance
from tracer.theory.claims.tolerances import DIFFERENCES, THIRD_ORDER
from tracer.theory.linearisation import Linearisation


def _linearised_loss(case: Instance, weights: np.ndarray) -> float:
    """Pair by pair: minus the similarities of pairs, plus their mean over all combinations, plus the penalties."""
    embedded = [weights @ image for image in case.images]
    pairs = np.mean([e @ text for e, text in zip(embedded, case.texts, strict=True)])
    everything = np.mean([e @ text for e, text in product(embedded, case.texts)])
    norms = np.mean([e @ e for e in embedded])
    return everything - pairs + (case.embedding_penalty * norms + case.weight_decay * np.sum(weights**2)) / 2


@theorem(TRACER, "Definition 3.1")
def target_matrix(rng: np.random.Generator) -> Check:
    """The linearised contrastive loss is, up to a constant, matrix least squares against the contrastive target matrix ZH/rho."""
    case = random_instance(rng, weight_decay=0.3)
    penalty, weights = case.embedding_penalty, rng.standard_normal((6, *case.initial_weights.shape))

    def squares(target):
        return np.array(
            [
                penalty * np.mean(np.sum((case.images @ w.T - target) ** 2 - target**2, axis=1)) / 2 + 0.15 * np.sum(w**2)
                for w in weights
            ]
        )

    measured = [_linearised_loss(case, w) for w in weights]
    return compare(squares(case.problem.target_matrix), measured, squares(case.texts / penalty))


@theorem(NAKADA)
def linearised_gradient(rng: np.random.Generator) -> Check:
    """The linearised loss has the gradient W(rho Sigma + mu I) - C, of which C has no part off the task subspace."""
    case = random_instance(rng, weight_decay=0.3)
    weights = rng.standard_normal(case.initial_weights.shape)
    measured = np.zeros_like(weights)
    for index in np.ndindex(weights.shape):
        step = np.zeros_like(weights)
        step[index] = 1.0
        measured[index] = (_linearised_loss(case, weights + step) - _linearised_loss(case, weights - step)) / 2
    uncentred = case.texts.T @ case.images / len(case.images)
    null = case.problem.gradient(weights) + case.cross_covariance - uncentred
    return compare(case.problem.gradient(weights), measured, null, np.zeros_like(weights), tolerance=DIFFERENCES)


@theorem(f"{NAKADA} (linear term); {PROJECT} (quadratic term)")
def clip_expansion(rng: np.random.Generator) -> Check:
    """At small logits the symmetric contrastive loss is linear in the centred similarities, plus a quarter of the squared norms of
    the similarities centred by rows and by columns over n^2, plus third order.
    """
    case, scale, pairs = random_instance(rng), 1e-4, 8
    logits = case.images @ case.initial_weights.T @ case.texts.T
    h = np.eye(pairs) - 1 / pairs
    loss = Linearisation(case.images, case.texts, case.initial_weights, scale / np.std(logits)).loss(case.initial_weights)
    logits /= np.std(logits)
    beyond_linear = loss - np.log(pairs) + scale * np.trace(h @ logits) / pairs
    quadratic = (np.sum((logits @ h) ** 2) + np.sum((h @ logits) ** 2)) / (4 * pairs**2)
    only_rows = np.sum((logits @ h) ** 2) / (4 * pairs**2)
    return compare(beyond_linear / scale**2, quadratic, 0.0, only_rows, tolerance=THIRD_ORDER)


@theorem(NAKADA)
def clip_gradient_at_zero(rng: np.random.Generator) -> Check:
    """At vanishing logits the gradient of the symmetric contrastive loss in W is exactly -C/tau."""
    case, scale = random_instance(rng), rng.uniform(1, 30)
    zero = np.zeros_like(case.initial_weights)
    gradient = Linearisation(case.images, case.texts, zero, scale).gradient()
    uncentred = case.texts.T @ case.images / len(case.images)
    return compare(gradient, -scale * case.cross_covariance, -scale * uncentred, zero)


@theorem(TRACER, "Section C.6")
def no_orthogonal_gradient(rng: np.random.Generator) -> Check:
    """Whatever the loss of the embeddings and whatever the logit scale, its gradient has no part off the task subspace."""
    case = random_instance(rng)
    gradient = Linearisation(case.images, case.texts, case.initial_weights, rng.uniform(1, 30)).gradient()
    other = np.linalg.qr(rng.standard_normal((case.images.shape[1], 4)))[0]
    off_another = gradient - gradient @ other @ other.T
    return compare(case.off_task(gradient), np.zeros_like(gradient), off_another, scale=np.abs(gradient).max())
