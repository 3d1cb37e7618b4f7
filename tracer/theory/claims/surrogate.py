"""The contrastive loss as TRACER's paper writes it: its surrogate, the scale of its target, and what its regulariser forgets."""

from collections.abc import Callable

import numpy as np
import sympy as sp

from tracer.averaging import Static
from tracer.theory.claims.claim import PROJECT, TRACER, Check, Claim, compare
from tracer.theory.claims.instances import Instance, random_instance
from tracer.theory.claims.matrices import H, Z, centring, entries, n, rho, squared
from tracer.theory.claims.tolerances import EXACT
from tracer.theory.limits import limit
from tracer.theory.strategies import L2SP, Distillation, FineTuning

eta, strength = sp.symbols("eta lambda", positive=True)
kappa = sp.Symbol("kappa_i", nonnegative=True)
m = sp.Symbol("m", positive=True, integer=True)
t = sp.Symbol("t", nonnegative=True, integer=True)


def published_target(texts: sp.Matrix) -> sp.Matrix:
    """Y = Z (n I - J), J all ones."""
    return texts * (texts.cols * sp.eye(texts.cols) - sp.ones(texts.cols, texts.cols))


def pairwise_loss(similarities: sp.Matrix) -> sp.Expr:
    """Equation (1) without its regulariser: similarities of those who are no pair, less n - 1 times those of pairs."""
    pairs = similarities.rows
    return (sum(similarities) - pairs * similarities.trace()) / (pairs * (pairs - 1))


def surrogate_residues(factor: Callable[[int], int], added: Callable[[sp.Matrix], sp.Expr]) -> list[sp.Expr]:
    """Equation (2) less `factor` times equation (1) without its regulariser, what is added, and |Y|^2 / 2.

    For all entries of 2 x 2 weights with 2 and 3 pairs: a pair, and a combination of two, has terms of the same form in any number.
    """
    steps = []
    for pairs in (2, 3):
        weights, images, texts = entries("w", 2, 2), entries("x", 2, pairs), entries("z", 2, pairs)
        embedded, target = weights * images, published_target(texts)
        surrogate = squared(embedded - target) / 2
        linear = factor(pairs) * pairwise_loss(embedded.T * texts)
        steps.append(surrogate - linear - added(embedded) - squared(target) / 2)
    return steps


def half_square(embedded: sp.Matrix) -> sp.Expr:
    """|W X|^2 / 2."""
    return squared(embedded) / 2


def _pairwise(case: Instance, weights: np.ndarray) -> float:
    """Equation (1) without its regulariser, term by term."""
    similarities = [[(weights @ image) @ text for text in case.texts] for image in case.images]
    total, pairs = 0.0, len(case.images)
    for i, row in enumerate(similarities):
        total += sum(s for j, s in enumerate(row) if j != i) - (pairs - 1) * row[i]
    return total / (pairs * (pairs - 1))


def _surrogate_check(rng: np.random.Generator) -> Check:
    """The library's loss at rho = 1/n is equation (2) over n^2; the nulls take it for equation (1), or forget the factor."""
    case = random_instance(rng)
    pairs = len(case.images)
    problem = case._replace(embedding_penalty=1 / pairs).problem
    draws = rng.standard_normal((6, *case.initial_weights.shape))
    surrogates = pairs**2 * np.array([problem.loss(weights) for weights in draws])
    squares = np.array([np.sum((case.images @ weights.T) ** 2) / 2 for weights in draws])
    measured = np.array([_pairwise(case, weights) for weights in draws])
    factor = pairs * (pairs - 1)
    return compare((surrogates - squares) / factor, measured, EXACT, surrogates / factor, surrogates - squares)


def scale_residues(distillation: sp.Expr, l2_sp: sp.Expr) -> list[sp.Expr]:
    """Equation (2) and both penalties of strength lambda, less n^2 times those here at rho = 1/n and the given strengths.

    For 3 pairs and all entries of 2 x 2 weights; then in the number of pairs, for the strengths alone.
    """
    weights, initial, images, texts = entries("w", 2, 2), entries("a", 2, 2), entries("x", 2, 3), entries("z", 2, 3)
    moved, here = weights - initial, {n: 3, rho: sp.Rational(1, 3)}
    published = squared(weights * images - published_target(texts)) / 2
    ours = (rho / (2 * n) * squared(weights * images - texts * centring(3) / rho)).subs(here)
    held = strength * squared(moved * images) / 2 - n**2 * distillation * squared(moved * images) / (2 * n)
    pulled = strength * squared(moved) / 2 - n**2 * l2_sp * squared(moved) / 2
    return [published - 9 * ours, held, pulled]


def _published_optimum(case: Instance, pulled: np.ndarray) -> np.ndarray:
    """Least squares in the published scale on the images and on further rows (m, d), at which W_0's embeddings are the target.

    The solution nearest to the pretrained weights.
    """
    rows, initial = np.vstack([case.images, pulled]), case.initial_weights
    target = len(case.texts) * (case.texts - case.texts.mean(axis=0))
    return initial + (np.linalg.pinv(rows) @ (np.vstack([target, pulled @ initial.T]) - rows @ initial.T)).T


def _scale_check(rng: np.random.Generator) -> Check:
    """By least squares in the published scale; the nulls keep the strength, and keep rho."""
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
    return compare(ends(1 / pairs, teacher_curvature / pairs, teacher_curvature / pairs**2), np.stack(measured), EXACT, *nulls)


def growth_residues(growth: sp.Expr) -> list[sp.Expr]:
    """Two pairs presented two and three times over: their published target, and the normal equations of their optimum, both grown.

    First, that target is Z H / rho at rho = 1/n; last, the target at a fixed rho, which is the same as before.
    """
    images, texts, weights = entries("x", 2, 2), entries("z", 2, 2), entries("w", 2, 2)
    steps = list(published_target(texts) - (texts * centring(2) / rho).subs(rho, sp.Rational(1, 2)))

    def slope(weights, images, texts):
        return (weights * images - published_target(texts)) * images.T

    for times in (2, 3):
        repeat = sp.Matrix.hstack(*[sp.eye(2)] * times)
        many, grown = (images * repeat, texts * repeat), growth.subs(m, times)
        steps += published_target(many[1]) - grown * published_target(texts) * repeat
        steps += slope(grown * weights, *many) - grown * times * slope(weights, images, texts)
        steps += (many[1] * centring(2 * times) - texts * centring(2) * repeat) / rho
    return steps


def _growth_check(rng: np.random.Generator) -> Check:
    """Optima in the published scale and at a fixed rho; the nulls let the one stand still or the other grow."""
    case, times = random_instance(rng), int(rng.integers(2, 6))
    many = case._replace(images=np.tile(case.images, (times, 1)), texts=np.tile(case.texts, (times, 1)))
    measured = case.on_task(_published_optimum(many, np.zeros((0, case.images.shape[1]))))
    once, fixed = (
        case.on_task(limit(each.problem, FineTuning())) for each in (case._replace(embedding_penalty=1 / len(case.images)), many)
    )
    plain = case.cross_covariance @ case.power(-1) / case.embedding_penalty
    nulls = np.stack([once, fixed]), np.stack([times * once, times * fixed])
    return compare(np.stack([times * once, fixed]), np.stack([measured, plain]), EXACT, *nulls)


def regulariser_residues(retained: Callable[[sp.Expr], sp.Expr]) -> list[sp.Expr]:
    """Slopes of R in all entries of 2 x 3 weights; then, off the task subspace, the share retained in a direction of W_T W_T^T.

    There the data exert no force (`no-orthogonal-gradient`), and the slope of R is rho kappa_i times what is there.
    """
    weights, texts = entries("w", 2, 3), entries("v", 2, 2)
    regulariser = rho / 2 * squared(weights.T * texts)
    slopes = rho * texts * texts.T * weights
    return [
        *(regulariser.diff(w) - slope for w, slope in zip(weights, slopes, strict=True)),
        retained(sp.Integer(0)) - 1,
        retained(t + 1) - (1 - eta * rho * kappa) * retained(t),
    ]


def retained_share(steps: sp.Expr) -> sp.Expr:
    """In an eigendirection of W_T W_T^T with eigenvalue kappa_i."""
    return (1 - eta * rho * kappa) ** steps


def _regularised(case: Instance, text_map: np.ndarray, eta: float, steps: int) -> np.ndarray:
    """Weights by gradient descent on equation (1)."""
    pairs, weights = len(case.images), case.initial_weights
    for _ in range(steps):
        slope = case.embedding_penalty * text_map @ (text_map.T @ weights) - pairs / (pairs - 1) * case.cross_covariance
        weights = weights - eta * slope
    return weights


def _regulariser_check(rng: np.random.Generator) -> Check:
    """After 20 steps and after 800, with a text map that has full rank and one that lacks a direction.

    The nulls keep the orthogonal part, as the surrogate does, or let it decay as under weight decay.
    """
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
    return compare(np.stack(predicted), np.stack(measured), EXACT, start, np.stack(decayed), scale=np.abs(start).max())


def _surrogate() -> sp.Rel:
    loss, regulariser = sp.symbols(r"L_{\mathrm{MMCL}} R")
    embedded, goal = (sp.Symbol(rf"{{\|{name}\|}}", positive=True) for name in ("WX - Y", "Y"))
    square = sp.Symbol(r"{\|WX\|}", positive=True)
    return sp.Eq(embedded**2 / 2, n * (n - 1) * (loss - regulariser) + square**2 / 2 + goal**2 / 2, evaluate=False)


def _scale() -> sp.Rel:
    published, here = sp.Function(r"W^{\mathrm{(2)}}_\infty"), sp.Function(r"W_\infty")
    return sp.Eq(published(strength), here(sp.Eq(rho, 1 / n, evaluate=False), strength / n), evaluate=False)


def _growth() -> sp.Rel:
    ones = sp.MatrixSymbol("J", n, n)
    return sp.Eq(Z * (n * sp.Identity(n) - ones), n * Z * H, evaluate=False)


def _regulariser() -> sp.Rel:
    after, before = (sp.Symbol(rf"{{u_i^\top W_{step} Q}}") for step in "t0")
    return sp.Eq(after, retained_share(t) * before, evaluate=False)


CLAIMS = (
    Claim(
        "surrogate-loss",
        "The published surrogate (1/2)|WX - Y|^2, Y = Z(nI - J), is n(n-1) times the published contrastive loss without its "
        "regulariser, plus |WX|^2/2 and a constant: it puts one regulariser in the place of another.",
        f"{TRACER} (both losses); {PROJECT} (what they differ by)",
        _surrogate,
        _surrogate_check,
        lambda: surrogate_residues(lambda pairs: pairs * (pairs - 1), half_square),
        paper=("Definition 3.1", "Equation (1)", "Equation (2)"),
    ),
    Claim(
        "published-scale",
        "The published surrogate and its penalties are n^2 times the loss here at rho = 1/n, distillation having the strength "
        "lambda/n and L2-SP lambda/n^2.",
        PROJECT,
        _scale,
        _scale_check,
        lambda: scale_residues(strength / n, strength / n**2),
        paper=("Definition 3.1", "Equation (2)"),
    ),
    Claim(
        "published-target-growth",
        "The published target grows with the number of pairs: presenting each pair m times multiplies it and its optimum by m, "
        "while at any fixed rho neither changes.",
        PROJECT,
        _growth,
        _growth_check,
        lambda: growth_residues(m),
        paper=("Definition 3.1",),
    ),
    Claim(
        "cross-regulariser-forgets",
        "The published regulariser (rho/2)|W^T W_T|^2 pulls on all input directions, so that under it what the data do not see "
        "decays to 0 wherever W_T reaches, and all of it if W_T has full rank: only the surrogate keeps it.",
        PROJECT,
        _regulariser,
        _regulariser_check,
        lambda: regulariser_residues(retained_share),
        paper=("Theorem 3.2", "Theorem C.2", "Equation (1)"),
    ),
)
