"""Both towers trained: the loss of their product, its optima, and the growth of its modes."""

import numpy as np
from scipy import integrate

from tracer.theory.claims.claim import NAKADA, PROJECT, Check, compare, theorem
from tracer.theory.claims.tolerances import INTEGRATED, SUMMED
from tracer.theory.two_towers import TwoTowers

RANK = 2


def _towers(rng: np.random.Generator) -> TwoTowers:
    """Singular values 2, 1.4, 0.8, 0.5, in random directions."""
    left, right = np.linalg.qr(rng.standard_normal((5, 4)))[0], np.linalg.qr(rng.standard_normal((4, 4)))[0]
    return TwoTowers((left * [2.0, 1.4, 0.8, 0.5]) @ right.T, float(rng.uniform(0.7, 1.3)))


def _alternated(
    towers: TwoTowers, rng: np.random.Generator, anchor: np.ndarray | None = None, teacher_curvature: float = 0.0
) -> np.ndarray:
    """The product of two maps into RANK dimensions, from random ones, each in turn where the slope of loss and pull in it is 0."""
    weight, towards = towers.embedding_penalty + teacher_curvature, towers.cross_covariance
    if anchor is not None:
        towards = towards + teacher_curvature * anchor
    text = rng.standard_normal((RANK, towards.shape[1]))
    for _ in range(300):
        image = np.linalg.solve(weight * text @ text.T, text @ towards.T)
        text = np.linalg.solve(weight * image @ image.T, image @ towards)
    return image.T @ text


@theorem(NAKADA)
def svd_optimum(rng: np.random.Generator) -> Check:
    """The best product of two linear towers into k dimensions is the k leading modes of the cross-covariance, over rho."""
    towers = _towers(rng)
    left, values, right = towers.modes
    others = (left[:, 1:3] * values[1:3]) @ right[:, 1:3].T / towers.embedding_penalty
    full = towers.cross_covariance / towers.embedding_penalty
    return compare(towers.optimum(RANK), _alternated(towers, rng), others, full, tolerance=SUMMED)


@theorem(PROJECT)
def distilled_svd_optimum(rng: np.random.Generator) -> Check:
    """Distilled to a pretrained product G_0, the best is the k leading modes of C_2 + lambda G_0, over rho + lambda."""
    # The nulls are the mean of the undistilled optimum and the pretrained product, and these two.
    towers, teacher_curvature = _towers(rng), float(rng.uniform(0.1, 0.3))
    anchor = np.linalg.qr(rng.standard_normal((5, RANK)))[0] @ rng.standard_normal((RANK, 4)) / 3
    optimum = towers.optimum(RANK)
    mean = (towers.embedding_penalty * optimum + teacher_curvature * anchor) / (towers.embedding_penalty + teacher_curvature)
    measured = _alternated(towers, rng, anchor, teacher_curvature)
    return compare(towers.distilled_optimum(RANK, anchor, teacher_curvature), measured, mean, optimum, anchor, tolerance=SUMMED)


@theorem(PROJECT)
def logistic_growth(rng: np.random.Generator) -> Check:
    """From a balanced, aligned start of two towers each singular value of their product grows logistically, on its own mode."""
    # Gradient flow of both maps, from a balanced start that is rotated; the null is a rate of c instead of 2c.
    towers, sizes, times = _towers(rng), rng.uniform(0.01, 1.0, RANK), np.array([0.3, 1.0, 2.0])
    turn = np.linalg.qr(rng.standard_normal((RANK, RANK)))[0]
    maps = [turn @ half for half in towers.balanced_start(sizes)]
    split = maps[0].size

    def slopes(_, flat):
        image, text = flat[:split].reshape(RANK, -1), flat[split:].reshape(RANK, -1)
        residual = towers.cross_covariance - towers.embedding_penalty * image.T @ text
        return np.concatenate([(text @ residual.T).ravel(), (image @ residual).ravel()])

    solved = integrate.solve_ivp(slopes, (0, 2), np.concatenate([m.ravel() for m in maps]), "DOP853", times, rtol=1e-12, atol=1e-12)
    measured = np.stack([end[:split].reshape(RANK, -1).T @ end[split:].reshape(RANK, -1) for end in solved.y.T])
    return compare(
        towers.products(sizes, times), measured, towers.products(sizes, times / 2), towers.optimum(RANK), tolerance=INTEGRATED
    )
