"""Both towers trained: the loss of their product, its optima, and the growth of its modes."""

import numpy as np
from scipy import integrate

from tracer import theory
from tracer.theory.claims.claim import NAKADA, PROJECT, Check, compare, theorem
from tracer.theory.claims.tolerances import INTEGRATED, SUMMED

RANK = 2


def _towers(rng: np.random.Generator, sizes: np.ndarray | None = None) -> theory.TwoTowers:
    """Singular values 2, 1.4, 0.8, 0.5, in random directions, and a balanced start."""
    left, right = np.linalg.qr(rng.standard_normal((5, 4)))[0], np.linalg.qr(rng.standard_normal((4, 4)))[0]
    sizes = np.ones(RANK) if sizes is None else sizes
    return theory.TwoTowers.balanced((left * [2.0, 1.4, 0.8, 0.5]) @ right.T, sizes, float(rng.uniform(0.7, 1.3)))


def _alternated(towards: np.ndarray, weight: float, rng: np.random.Generator) -> np.ndarray:
    """The product of two maps into RANK dimensions, from random ones, each in turn where the loss's slope in it is 0."""
    text = rng.standard_normal((RANK, towards.shape[1]))
    for _ in range(300):
        image = np.linalg.solve(weight * text @ text.T, text @ towards.T)
        text = np.linalg.solve(weight * image @ image.T, image @ towards)
    return np.asarray(image.T @ text)


@theorem(NAKADA)
def svd_optimum(rng: np.random.Generator) -> Check:
    """The best product of two linear towers into k dimensions is the k leading modes of the cross-covariance, over rho."""
    # The nulls are two other modes, and all modes.
    towers = _towers(rng)
    left, values, right = towers.modes
    others = (left[:, 1:3] * values[1:3]) @ right[:, 1:3].T
    measured = _alternated(towers.cross_covariance, towers.embedding_penalty, rng)
    nulls = (null / towers.embedding_penalty for null in (others, towers.cross_covariance))
    return compare(theory.limit(towers, theory.FineTuning()), measured, *nulls, tolerance=SUMMED)


@theorem(PROJECT)
def distilled_svd_optimum(rng: np.random.Generator) -> Check:
    """Distilled to a pretrained product G_0, the best is the k leading modes of C_2 + lambda G_0, over rho + lambda."""
    # The nulls are the mean of the undistilled optimum and the pretrained product, and these two.
    towers, strength = _towers(rng), float(rng.uniform(0.1, 0.3))
    towers = towers.starting_from(np.linalg.qr(rng.standard_normal((5, RANK)))[0].T, rng.standard_normal((RANK, 4)) / 3)
    anchor, penalty, optimum = towers.initial_weights, towers.embedding_penalty, theory.limit(towers, theory.FineTuning())
    measured = _alternated(towers.cross_covariance + strength * anchor, penalty + strength, rng)
    nulls = (penalty * optimum + strength * anchor) / (penalty + strength), optimum, anchor
    return compare(theory.limit(towers, theory.L2SP(strength)), measured, *nulls, tolerance=SUMMED)


@theorem(PROJECT)
def logistic_growth(rng: np.random.Generator) -> Check:
    """From a balanced, aligned start of two towers each singular value of their product grows logistically, on its own mode."""
    # Gradient flow of both maps, from a balanced start that is rotated; the null is a rate of c instead of 2c.
    towers, times = _towers(rng, rng.uniform(0.01, 1.0, RANK)), np.array([0.3, 1.0, 2.0])
    turn = np.linalg.qr(rng.standard_normal((RANK, RANK)))[0]
    start = np.concatenate([turn @ half for half in (towers.image_weights, towers.text_weights)], axis=1)
    features = len(towers.cross_covariance)

    def slopes(_: float, flat: np.ndarray) -> np.ndarray:
        image, text = np.split(flat.reshape(start.shape), [features], axis=1)
        residual = towers.cross_covariance - towers.embedding_penalty * image.T @ text
        return np.concatenate([text @ residual.T, image @ residual], axis=1).ravel()

    solved = integrate.solve_ivp(slopes, (0, 2), start.ravel(), "DOP853", times, rtol=1e-12, atol=1e-12)
    halves = (np.split(end.reshape(start.shape), [features], axis=1) for end in solved.y.T)
    measured = np.stack([image.T @ text for image, text in halves])
    grown = theory.gradient_flow(towers, theory.FineTuning(), duration=2.0).weights
    return compare(grown(times), measured, grown(times / 2), tolerance=INTEGRATED)
