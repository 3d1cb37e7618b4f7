"""From the contrastive loss to matrix least squares."""

import numpy as np

from tracer import theory
from tracer.theory.claims.claim import NAKADA, PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.instances import Instance, random_instance
from tracer.theory.claims.tolerances import DIFFERENCES, THIRD_ORDER


def _linearised_loss(case: Instance, weights: np.ndarray) -> float:
    """Minus the mean similarity of pairs, plus that of all combinations, plus the penalties."""
    embedded = case.images @ weights.T
    similarities = embedded @ case.texts.T
    penalties = case.embedding_penalty * np.sum(embedded**2) / len(embedded) + case.weight_decay * np.sum(weights**2)
    return float(similarities.mean() - np.diag(similarities).mean() + penalties / 2)


@theorem(TRACER, "Definition 3.1")
def target_matrix(rng: np.random.Generator) -> Check:
    """The linearised contrastive loss is, up to a constant, matrix least squares against the contrastive target matrix ZH/rho."""
    case = random_instance(rng, weight_decay=0.3)
    weights = rng.standard_normal(case.initial_weights.shape)

    def squares(target: np.ndarray) -> float:
        """Least squares, less what it is at zero weights."""
        fitted = np.sum((case.images @ weights.T - target) ** 2 - target**2) / len(target)
        return float(case.embedding_penalty * fitted + case.weight_decay * np.sum(weights**2)) / 2

    uncentred = case.texts / case.embedding_penalty
    return compare(squares(case.problem.target_matrix), _linearised_loss(case, weights), squares(uncentred))


@theorem(NAKADA)
def linearised_gradient(rng: np.random.Generator) -> Check:
    """The linearised loss has the gradient W(rho Sigma + mu I) - C, of which C has no part off the task subspace."""
    case = random_instance(rng, weight_decay=0.3)
    weights, step = rng.standard_normal((2, *case.initial_weights.shape))
    measured = (_linearised_loss(case, weights + step) - _linearised_loss(case, weights - step)) / 2
    gradient = case.problem.gradient(weights)
    uncentred = gradient + case.cross_covariance - case.texts.T @ case.images / len(case.images)
    return compare(np.sum(gradient * step), measured, np.sum(uncentred * step), tolerance=DIFFERENCES)


@theorem(f"{NAKADA} (linear term); {PROJECT} (quadratic term)")
def clip_expansion(rng: np.random.Generator) -> Check:
    """At small logits the symmetric contrastive loss is linear in the centred similarities, plus a quarter of the squared norms of
    the similarities centred by rows and by columns over n^2, plus third order.
    """
    case, scale, pairs = random_instance(rng), 1e-4, 8
    logits = case.images @ case.initial_weights.T @ case.texts.T
    loss = theory.Linearisation(case.images, case.texts, case.initial_weights, scale / np.std(logits)).loss(case.initial_weights)
    logits /= np.std(logits)
    h = np.eye(pairs) - 1 / pairs
    beyond_linear = loss - np.log(pairs) + scale * np.trace(h @ logits) / pairs
    by_rows, by_columns = (np.sum(centred**2) / (4 * pairs**2) for centred in (logits @ h, h @ logits))
    return compare(beyond_linear / scale**2, by_rows + by_columns, 0.0, by_rows, tolerance=THIRD_ORDER)


@theorem(NAKADA)
def clip_gradient_at_zero(rng: np.random.Generator) -> Check:
    """At vanishing logits the gradient of the symmetric contrastive loss in W is exactly -C/tau."""
    case, scale = random_instance(rng), rng.uniform(1, 30)
    gradient = theory.Linearisation(case.images, case.texts, 0 * case.initial_weights, scale).gradient()
    uncentred = case.texts.T @ case.images / len(case.images)
    return compare(gradient, -scale * case.cross_covariance, -scale * uncentred)


@theorem(TRACER, "Section C.6")
def no_orthogonal_gradient(rng: np.random.Generator) -> Check:
    """Whatever the loss of the embeddings and whatever the logit scale, its gradient has no part off the task subspace."""
    case = random_instance(rng)
    gradient = theory.Linearisation(case.images, case.texts, case.initial_weights, rng.uniform(1, 30)).gradient()
    other = np.linalg.qr(rng.standard_normal((case.images.shape[1], 4)))[0]
    off_another = gradient - gradient @ other @ other.T
    return compare(case.off_task(gradient), 0 * gradient, off_another, scale=np.abs(gradient).max())
