"""Both towers trained: the loss of their product, its optima, and the growth of its modes."""

from collections.abc import Callable

import numpy as np
import sympy as sp
from scipy import integrate

from tracer.theory.claims.claim import NAKADA, PROJECT, Check, Claim, compare
from tracer.theory.claims.matrices import entries, inner, rho, squared
from tracer.theory.claims.tolerances import INTEGRATED, SUMMED
from tracer.theory.gradient_flow import gradient_flow
from tracer.theory.limits import limit
from tracer.theory.strategies import L2SP, FineTuning
from tracer.theory.two_towers import TwoTowers

c, start, time = sp.symbols("c s_0 t", positive=True)
strength = sp.Symbol("lambda", nonnegative=True)
RANK = 2


def completed_square_residues(target: Callable[[sp.Matrix, sp.Matrix], sp.Matrix], weight: sp.Expr) -> list[sp.Expr]:
    """Loss and pull less weight/2 |G - target|^2, for all entries of 2 x 2 matrices (others have more terms alike): no G is left.

    The nearest matrix of a given rank is the truncated singular value decomposition (Eckart and Young).
    """
    product, cross, anchor = (entries(name, 2, 2) for name in ("g", "c", "a"))
    loss = rho / 2 * squared(product) - inner(product, cross) + strength / 2 * squared(product - anchor)
    rest = sp.expand(loss - weight / 2 * squared(product - target(cross, anchor)))
    return [rest.diff(g) for g in product]


def optimum_target(cross: sp.Matrix, anchor: sp.Matrix) -> sp.Matrix:
    """What is truncated, with no pull."""
    return cross / rho


def distilled_target(cross: sp.Matrix, anchor: sp.Matrix) -> sp.Matrix:
    """What is truncated, under the pull."""
    return (cross + strength * anchor) / (rho + strength)


def logistic() -> sp.Expr:
    """s(t) of a mode with singular value c."""
    return (c / rho) / (1 + (c / (rho * start) - 1) * sp.exp(-2 * c * time))


def logistic_residues(growth: sp.Expr) -> list[sp.Expr]:
    """From maps diag(a_1, a_2) both slopes are diagonal and alike, so they stay so, with a' = a (c - rho a^2), s = a^2.

    So s' = 2 s (c - rho s), which with s(0) the claimed growth solves.
    """
    sizes, values = sp.symbols("a_1 a_2", positive=True), sp.symbols("c_1 c_2", positive=True)
    maps, cross = entries("a", 4, 2), sp.diag(*values)
    image, text = maps[:2, :], maps[2:, :]
    product = image.T * text
    loss = rho / 2 * squared(product) - inner(product, cross)
    aligned = dict(zip(maps, [sizes[0], 0, 0, sizes[1]] * 2, strict=True))
    slopes = maps.applyfunc(lambda entry: -loss.diff(entry).subs(aligned))
    expected = sp.diag(*(a * (value - rho * a**2) for a, value in zip(sizes, values, strict=True)))
    obeyed = growth.diff(time) - 2 * growth * (c - rho * growth)
    return [*(slopes[:2, :] - expected), *(slopes[2:, :] - expected), growth.subs(time, 0) - start, obeyed]


def _towers(rng: np.random.Generator, sizes: np.ndarray | None = None) -> TwoTowers:
    """Singular values 2, 1.4, 0.8, 0.5, in random directions, and a balanced start."""
    left, right = np.linalg.qr(rng.standard_normal((5, 4)))[0], np.linalg.qr(rng.standard_normal((4, 4)))[0]
    sizes = np.ones(RANK) if sizes is None else sizes
    return TwoTowers.balanced((left * [2.0, 1.4, 0.8, 0.5]) @ right.T, sizes, float(rng.uniform(0.7, 1.3)))


def _alternated(
    towers: TwoTowers, rng: np.random.Generator, anchor: np.ndarray | None = None, teacher_curvature: float = 0.0
) -> np.ndarray:
    """The product of two maps into RANK dimensions, from random ones, each in turn where the slope of loss and pull in it is 0."""
    weight, towards = towers.embedding_penalty + teacher_curvature, towers.cross_covariance
    if anchor is not None:
        towards = towards + teacher_curvature * anchor
    text: np.ndarray = rng.standard_normal((RANK, towards.shape[1]))
    for _ in range(300):
        image = np.linalg.solve(weight * text @ text.T, text @ towards.T)
        text = np.linalg.solve(weight * image @ image.T, image @ towards)
    return image.T @ text


def _optimum_check(rng: np.random.Generator) -> Check:
    towers = _towers(rng)
    left, values, right = towers.modes
    others = (left[:, 1:3] * values[1:3]) @ right[:, 1:3].T / towers.embedding_penalty
    full = towers.cross_covariance / towers.embedding_penalty
    return compare(limit(towers, FineTuning()), _alternated(towers, rng), SUMMED, others, full)


def _distilled_check(rng: np.random.Generator) -> Check:
    """The nulls are the mean of the undistilled optimum and the pretrained product, and these two."""
    towers, teacher_curvature = _towers(rng), float(rng.uniform(0.1, 0.3))
    towers = towers.starting_from(np.linalg.qr(rng.standard_normal((5, RANK)))[0].T, rng.standard_normal((RANK, 4)) / 3)
    anchor, optimum = towers.initial_weights, limit(towers, FineTuning())
    mean = (towers.embedding_penalty * optimum + teacher_curvature * anchor) / (towers.embedding_penalty + teacher_curvature)
    measured = _alternated(towers, rng, anchor, teacher_curvature)
    return compare(limit(towers, L2SP(teacher_curvature)), measured, SUMMED, mean, optimum, anchor)


def _logistic_check(rng: np.random.Generator) -> Check:
    """Gradient flow of both maps, from a balanced start that is rotated; the null is a rate of c instead of 2c."""
    towers, times = _towers(rng, rng.uniform(0.01, 1.0, RANK)), np.array([0.3, 1.0, 2.0])
    turn = np.linalg.qr(rng.standard_normal((RANK, RANK)))[0]
    maps = [turn @ half for half in (towers.image_weights, towers.text_weights)]
    split = maps[0].size

    def slopes(_, flat):
        image, text = flat[:split].reshape(RANK, -1), flat[split:].reshape(RANK, -1)
        residual = towers.cross_covariance - towers.embedding_penalty * image.T @ text
        return np.concatenate([(text @ residual.T).ravel(), (image @ residual).ravel()])

    solved = integrate.solve_ivp(slopes, (0, 2), np.concatenate([m.ravel() for m in maps]), "DOP853", times, rtol=1e-12, atol=1e-12)
    measured = np.stack([end[:split].reshape(RANK, -1).T @ end[split:].reshape(RANK, -1) for end in solved.y.T])
    grown = gradient_flow(towers, FineTuning(), duration=2.0).weights
    return compare(grown(times), measured, INTEGRATED, grown(times / 2), limit(towers, FineTuning()))


def _truncated(inside: sp.Expr, weight: sp.Expr) -> sp.Rel:
    return sp.Eq(sp.Symbol(r"G_\infty"), sp.Function(r"\mathrm{SVD}_k")(inside) / weight, evaluate=False)


CLAIMS = (
    Claim(
        "svd-optimum",
        "The best product of two linear towers into k dimensions is the k leading modes of the cross-covariance, over rho.",
        NAKADA,
        lambda: _truncated(sp.Symbol("C_2"), rho),
        _optimum_check,
        lambda: [step.subs(strength, 0) for step in completed_square_residues(optimum_target, rho)],
    ),
    Claim(
        "distilled-svd-optimum",
        "Distilled to a pretrained product G_0, the best is the k leading modes of C_2 + lambda G_0, over rho + lambda.",
        PROJECT,
        lambda: _truncated(sp.Symbol("C_2") + strength * sp.Symbol("G_0"), rho + strength),
        _distilled_check,
        lambda: completed_square_residues(distilled_target, rho + strength),
    ),
    Claim(
        "logistic-growth",
        "From a balanced, aligned start of two towers each singular value of their product grows logistically, on its own mode.",
        PROJECT,
        lambda: sp.Eq(sp.Function("s")(time), logistic(), evaluate=False),
        _logistic_check,
        lambda: logistic_residues(logistic()),
    ),
)
