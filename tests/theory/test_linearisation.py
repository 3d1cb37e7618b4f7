"""The true loss at the pretrained model: derivatives against autograd, trajectories against recursions and true descent."""

from dataclasses import replace
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.theory.tolerances import FLOW
from tests.tolerances import FLOAT64, POWER
from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static, Uniform
from tracer.errors import UserError
from tracer.schedules import cosine
from tracer.theory import (
    L2SP,
    LPFT,
    Distillation,
    FineTuning,
    Linearisation,
    WeightDecay,
    WiSEFT,
    ZeroShot,
    gradient_descent,
    gradient_flow,
    limit,
    linearisation,
    max_learning_rate,
    proximal,
)
from tracer.theory.recursion import Stepping
from tracer.training import losses

# Sums of some hundred float64 products of size up to logit_scale^2 = 100, in another order.
DERIVATIVES = 1e-10

# Central differences with steps of 1e-4: 1e-8 times third derivatives of size logit_scale^3 / 10, relative to the product.
FINITE_DIFFERENCES = 1e-5

# 200 steps of a linear recursion in another basis, errors relative to the largest displacement: round-off, 3e-15 here.
FULL_BASIS = 1e-12

# The Krylov space of 20 vectors holds 100 steps at a tenth of 1 / curvature to round-off.
TWENTY_VECTORS = 1e-12

# A gap of 1e-20 hangs on modes of curvature 0.05 known to 1e-15: 1e-13 x 2000 steps of exponent.
LATE_GAP = 1e-9

# Relative displacements of 1e-4 to 1e-3 leave third-order terms of that size in a slope of 2.
SLOPE = 2e-3

# Ten steps at a tenth of the largest stable step size move logits by 0.5 rms; the quadratic model misses by 0.0053 there.
TEN_STEPS = 0.02

# Gradients at a minimum end at 1e-10 of their natural size (10 x norms of 1), times what conjugate gradients leave.
STATIONARY = 1e-8

# Curvatures relative to the largest, and what Newton's method leaves of a gradient over the smallest curvature, 0.1.
UNITS = 1e-7

KERNELS = [Static(), Exponential(0.9), Uniform(), PowerLaw(0.5), Beta(0.5, 0.5)]


def unit_rows(rng, *shape):
    rows = rng.standard_normal(shape)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def random_case(seed, logit_scale=8.0, n=14, d=5, k=4, **penalties):
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((k, d)) / np.sqrt(k)
    return Linearisation(unit_rows(rng, n, d), unit_rows(rng, n, k), weights, logit_scale, **penalties)


@pytest.fixture(scope="module")
def pretrained():
    """96 pairs whose image side has changed since the model was trained on others: its gradient is nowhere near -C."""
    rng = np.random.default_rng(0)
    to_images, to_texts = rng.standard_normal((6, 12)), rng.standard_normal((6, 6))

    def pairs(to_images):
        latent = rng.standard_normal((96, 6))
        images = latent @ to_images + 0.3 * rng.standard_normal((96, 12))
        texts = latent @ to_texts + 0.3 * rng.standard_normal((96, 6))
        return tuple(rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (images, texts))

    source = Linearisation(*pairs(to_images), 0.3 * rng.standard_normal((6, 12)), 10.0)
    weights = source.initial_weights
    learning_rate = 1 / source.curvatures[-1]
    for _ in range(300):
        weights = weights - learning_rate * source.gradient(weights)
    return Linearisation(*pairs(to_images + 0.1 * rng.standard_normal((6, 12))), weights, 10.0)


class Prediction(NamedTuple):
    """Of student, teacher and their gap after m numbers of steps, (m, k, d) each."""

    student: np.ndarray
    teacher: np.ndarray
    gap: np.ndarray


def predict(case, stepping, steps, strength=0.0, vectors=20):
    path = gradient_descent(
        replace(case, vectors=vectors),
        Distillation(strength, stepping.kernel, "parameter"),
        learning_rate=stepping.learning_rate,
        steps=stepping.clock.total_steps,
        update_every=stepping.clock.update_every,
        schedule=stepping.schedule,
        heavy_ball=stepping.heavy_ball,
    )
    return Prediction(path.student(steps), path.teacher(steps), path.gap(steps))


def torch_loss(case, weights):
    """The loss as the trainer computes it."""
    images, texts = torch.from_numpy(case.images), torch.from_numpy(case.texts)
    embedded = images @ weights.T
    value = losses.contrastive(case.logit_scale * embedded @ texts.T)
    return value + case.embedding_penalty * losses.embedding_norm(embedded) + case.weight_decay / 2 * weights.square().sum()


def hessian(case):
    """The whole Hessian at the pretrained weights, (k d, k d)."""
    shape = case.initial_weights.shape
    basis = np.eye(case.initial_weights.size)
    return np.stack([case.hessian_product(direction.reshape(shape)).ravel() for direction in basis])


def relative(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def one_direction(case, weights):
    logits = case.logit_scale * torch.from_numpy(case.images) @ torch.from_numpy(weights.T) @ torch.from_numpy(case.texts.T)
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(logits))).item()


@given(st.integers(0, 2**32), st.floats(0.1, 30), st.floats(0, 2), st.floats(0, 2))
def test_loss_gradient_and_hessian_equal_autograd(seed, logit_scale, embedding_penalty, weight_decay):
    case = random_case(seed, logit_scale, embedding_penalty=embedding_penalty, weight_decay=weight_decay)
    rng = np.random.default_rng(seed + 1)
    elsewhere, direction = rng.standard_normal((2, 4, 5))
    loss = partial(torch_loss, case)
    for weights, asked in ((case.initial_weights, {}), (elsewhere, {"weights": elsewhere})):
        at = torch.from_numpy(weights).requires_grad_()
        gradient = torch.autograd.grad(loss(at), at)[0].numpy()
        product = torch.autograd.functional.hvp(loss, at, torch.from_numpy(direction))[1].numpy()
        size = 1 + logit_scale**2
        assert abs(case.loss(weights) - loss(at).item()) < DERIVATIVES * size
        assert np.abs(case.gradient(**asked) - gradient).max() < DERIVATIVES * size
        assert np.abs(case.hessian_product(direction, **asked) - product).max() < DERIVATIVES * size


def test_derivatives_by_nearly_right_formulas_are_told_apart():
    case = random_case(3)
    size = POWER * DERIVATIVES * (1 + case.logit_scale**2)
    assert abs(one_direction(case, case.initial_weights) - case.loss(case.initial_weights)) > size
    elsewhere = case.initial_weights + 0.1
    assert np.abs(case.gradient(elsewhere) - case.gradient()).max() > size
    direction = np.ones((4, 5))
    assert np.abs(case.hessian_product(direction, elsewhere) - case.hessian_product(direction)).max() > size


def test_products_equal_finite_differences():
    case, step = random_case(4), 1e-4
    direction = np.random.default_rng(5).standard_normal((4, 5))
    forward, backward = (case.initial_weights + sign * step * direction for sign in (1, -1))
    product = case.hessian_product(direction)
    assert relative((case.gradient(forward) - case.gradient(backward)) / (2 * step), product) < FINITE_DIFFERENCES
    slope = (case.loss(forward) - case.loss(backward)) / (2 * step)
    assert slope == pytest.approx(np.sum(case.gradient() * direction), rel=FINITE_DIFFERENCES)
    diagonal = case.logit_scale**2 * direction @ case.images.T @ case.images / len(case.images)
    assert relative(diagonal, product) > POWER * FINITE_DIFFERENCES


def written_out(case):
    """P, R, the gradient's and the Hessian's matrices by their definitions: logits are J vec(W), and Hessian = J^T K J."""
    n = len(case.images)
    jacobian = case.logit_scale * np.einsum("ia,jb->ijba", case.images, case.texts).reshape(n, n, -1)
    exponentials = np.exp(jacobian @ case.initial_weights.ravel())
    over_texts, over_images = exponentials / exponentials.sum(1, keepdims=True), exponentials / exponentials.sum(0)
    curvature = np.zeros((jacobian.shape[2],) * 2)
    for i in range(n):
        for p, rows in ((over_texts[i], jacobian[i]), (over_images[:, i], jacobian[:, i])):
            curvature += rows.T @ (np.diag(p) - np.outer(p, p)) @ rows / (2 * n)
    residual = np.eye(n) - (over_texts + over_images).T / 2
    gradient = -case.logit_scale * case.texts.T @ residual @ case.images / n
    return gradient, curvature


def test_gauss_newton_is_the_whole_hessian_and_the_gradient_needs_the_softmaxes():
    case = random_case(6)
    gradient, curvature = written_out(case)
    computed = hessian(case)
    assert relative(case.gradient(), gradient) < DERIVATIVES
    assert relative(computed, curvature) < DERIVATIVES
    assert np.linalg.eigvalsh(computed)[0] > -DERIVATIVES * np.linalg.norm(computed)
    at_zero_logits = Linearisation(case.images, case.texts, np.zeros((4, 5)), case.logit_scale)
    assert relative(at_zero_logits.gradient(), gradient) > POWER * DERIVATIVES
    assert relative(hessian(at_zero_logits), curvature) > POWER * DERIVATIVES


def test_nothing_pulls_in_the_orthogonal_complement():
    case = random_case(7, n=6, d=9)
    complement = np.eye(9) - np.linalg.pinv(case.images) @ case.images
    assert np.abs(case.gradient() @ complement).max() < FLOAT64
    assert np.abs(case.gradient()).max() > POWER * FLOAT64
    assert np.abs(hessian(case) @ np.kron(np.eye(4), complement)).max() < 100 * FLOAT64


@given(st.integers(0, 2**32), st.floats(0.1, 20), st.floats(0, 2), st.floats(0, 2))
def test_at_zero_logits_centred_pairs_decouple(seed, logit_scale, rho, mu):
    """Curvatures (rho + omega_i logit_scale^2) s_j + mu, omega and s being the spectra of the second moments."""
    rng = np.random.default_rng(seed)
    images, texts = rng.standard_normal((14, 5)), rng.standard_normal((14, 4))
    images, texts = images - images.mean(0), texts - texts.mean(0)
    case = Linearisation(images, texts, np.zeros((4, 5)), logit_scale, rho, mu)
    s, omega = (np.linalg.eigvalsh(rows.T @ rows / 14) for rows in (images, texts))
    expected = np.sort(np.add.outer(logit_scale**2 * omega, np.full(5, rho)).ravel() * np.tile(s, 4) + mu)
    size = DERIVATIVES * expected[-1]
    found = np.linalg.eigvalsh(hessian(case))
    assert np.abs(found - expected).max() < size
    assert relative(case.gradient(), -logit_scale * texts.T @ images / 14) < DERIVATIVES
    swapped = np.sort((rho + logit_scale**2 * np.repeat(s, 4)) * np.tile(omega, 5) + mu)
    once = np.sort(np.add.outer(logit_scale**2 * omega / 2, np.full(5, rho)).ravel() * np.tile(s, 4) + mu)
    assert np.abs(found - once).max() > POWER * size
    if rho > 0.1:
        assert np.abs(found - swapped).max() > POWER * size


def descend(gradient, start, stepping, strength, steps):
    """Student and teacher of plain gradient descent with a moving teacher, at the given steps."""
    student, teacher, velocity = start.copy(), start.copy(), np.zeros_like(start)
    rates, learning_rates = stepping.rates(max(steps)), stepping.learning_rates(max(steps))
    kept = {0: (student, teacher)}
    for step in range(max(steps)):
        velocity = stepping.heavy_ball * velocity + gradient(student) + strength * (student - teacher)
        student = student - learning_rates[step] * velocity
        teacher = teacher + rates[step] * (student - teacher)
        kept[step + 1] = student, teacher
    return np.array([kept[step] for step in steps]).transpose(1, 0, 2, 3)


def quadratic_gradient(case):
    matrix = hessian(case)

    def gradient(weights):
        moved = (weights - case.initial_weights).ravel()
        return case.gradient() + (matrix @ moved).reshape(weights.shape)

    return gradient


def misses(predicted, student, teacher, start):
    """Largest error of a prediction in any weight of student, teacher or gap, relative to the largest displacement."""
    expected = student, teacher, student - teacher
    return max(np.abs(a - b).max() for a, b in zip(predicted, expected, strict=True)) / np.abs(student - start).max()


@pytest.mark.parametrize("heavy_ball", [0.0, 0.5])
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_with_a_full_basis_the_trajectory_is_the_recursion(kernel, heavy_ball):
    case = random_case(8, weight_decay=0.01)
    stepping = Stepping(0.5 / case.curvatures[-1], Clock(200, 3), kernel, cosine(200, 20), heavy_ball)
    steps = [0, 1, 50, 200]
    student, teacher = descend(quadratic_gradient(case), case.initial_weights, stepping, 0.3, steps)
    miss = partial(misses, student=student, teacher=teacher, start=case.initial_weights)
    assert miss(predict(case, stepping, steps, strength=0.3)) < FULL_BASIS
    still = Stepping(stepping.learning_rate, stepping.clock, kernel, stepping.schedule, 0.2)
    others = [predict(case, stepping, steps, strength=0.4), predict(case, still, steps, strength=0.3)]
    assert min(miss(other) for other in others) > POWER * FULL_BASIS


def test_lanczos_ends_when_the_space_is_complete():
    """Three distinct pairs, four times each: the gradient is an eigenvector. And fewer pairs than dimensions: rank 24 of 36."""
    case = Linearisation(*np.tile(np.eye(3), (2, 4, 1)), np.zeros((3, 3)), 5.0)
    assert replace(case, vectors=9).curvatures == pytest.approx([25 / 9], rel=FLOAT64)
    case = random_case(7, n=6, d=9)
    stepping = Stepping(1.0 / case.curvatures[-1], Clock(500), Exponential(0.9))
    student, teacher = descend(quadratic_gradient(case), case.initial_weights, stepping, 0.3, [500])
    miss = partial(misses, student=student, teacher=teacher, start=case.initial_weights)
    assert miss(predict(case, stepping, [500], strength=0.3, vectors=36)) < FULL_BASIS
    assert miss(predict(case, stepping, [500], strength=0.29, vectors=36)) > POWER * FULL_BASIS


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_results_do_not_depend_on_the_unit(unit):
    """Images in another unit with weights that undo it, and texts in another with logits that do, leave every logit as it is."""
    case = random_case(3, 5.0, weight_decay=0.1)
    images = Linearisation(unit * case.images, case.texts, case.initial_weights / unit, case.logit_scale)
    plain = Linearisation(case.images, case.texts, case.initial_weights, case.logit_scale)
    np.testing.assert_allclose(images.curvatures / unit**2, plain.curvatures, rtol=UNITS, atol=UNITS * plain.curvatures[-1])
    texts = Linearisation(case.images, unit * case.texts, case.initial_weights, case.logit_scale / unit, weight_decay=0.1)
    moved = case.true_optimum() - case.initial_weights
    assert relative(texts.true_optimum() - case.initial_weights, moved) < UNITS


def test_gap_is_accurate_long_after_the_collapse():
    """Against the recursion of error and gap, neither of which is a difference of larger numbers."""
    case = random_case(8, weight_decay=0.05)
    stepping = Stepping(1.0 / case.curvatures[-1], Clock(4000), Exponential(0.9))
    matrix = hessian(case)
    error, gap = np.linalg.solve(matrix, case.gradient().ravel()), np.zeros(20)
    for _ in range(4000):
        step = -stepping.learning_rate * (matrix @ error + 0.3 * gap)
        error, gap = error + step, 0.9 * (gap + step)
    predicted = predict(case, stepping, [4000], strength=0.3)
    assert np.linalg.norm(gap) < 1e-17
    assert relative(predicted.gap.ravel(), gap) < LATE_GAP
    assert relative((predicted.student - predicted.teacher).ravel(), gap) > POWER * LATE_GAP


def test_twenty_vectors_carry_a_hundred_steps(pretrained):
    stepping = Stepping(0.1 / pretrained.curvatures[-1], Clock(100), Beta(0.5, 0.5))
    full, twenty, ten = (predict(pretrained, stepping, [100], strength=1.0, vectors=v) for v in (72, 20, 10))
    miss = partial(misses, student=full.student, teacher=full.teacher, start=pretrained.initial_weights)
    assert miss(twenty) < TWENTY_VECTORS
    assert miss(ten) > POWER * TWENTY_VECTORS


@pytest.mark.parametrize("strength", [0.0, 0.05])
@pytest.mark.parametrize("kernel", [Static(), Beta(0.5, 0.5)], ids=repr)
def test_paths_are_refused_before_their_basis_is_too_small(pretrained, kernel, strength, monkeypatch):
    """Among bases of 3 to 30 vectors and 10 to 3000 steps: errors that were let through, and those that were not."""
    passed, refused = [], []
    for steps, vectors in product((10, 100, 1000, 3000), (3, 6, 12, 30)):
        stepping = Stepping(0.5 / pretrained.curvatures[-1], Clock(steps), kernel)
        follow = partial(predict, pretrained, stepping, [steps], strength=strength)
        full = follow(vectors=72)
        try:
            kept = passed
            follow(vectors=vectors)
        except UserError:
            kept = refused
        with monkeypatch.context() as patch:
            patch.setattr(linearisation, "LARGEST_SHARE_OUTSIDE", np.inf)
            moved = follow(vectors=vectors).student - pretrained.initial_weights
        kept.append(relative(moved, full.student - pretrained.initial_weights))
    assert max(passed) < linearisation.LARGEST_SHARE_OUTSIDE
    assert max(refused) > POWER * linearisation.LARGEST_SHARE_OUTSIDE
    assert min(len(passed), len(refused)) > 2


def test_as_many_vectors_as_steps_are_exact(pretrained):
    stepping = Stepping(1.0 / pretrained.curvatures[-1], Clock(8), Uniform())
    full, eight, seven = (predict(pretrained, stepping, [8], strength=1.0, vectors=v) for v in (72, 8, 7))
    miss = partial(misses, student=full.student, teacher=full.teacher, start=pretrained.initial_weights)
    assert miss(eight) < FLOAT64
    assert miss(seven) > POWER * FLOAT64


def small_logit_prediction(case, stepping, steps, strength):
    """The null: what the expansion at zero logits, gradient -C logit_scale, says of the displacement."""
    centred = case.texts - case.texts.mean(axis=0)
    return predict(
        Linearisation(case.images, centred, np.zeros_like(case.initial_weights), case.logit_scale), stepping, steps, strength
    )


def test_error_against_the_true_loss_is_second_order_in_the_displacement(pretrained):
    strength, step = 2.0, [10]
    displacements, errors, nulls = [], [], []
    for share in 1e-4 * 2.0 ** np.arange(4):
        stepping = Stepping(share / pretrained.curvatures[-1], Clock(10), Exponential(0.8))
        student, _ = descend(pretrained.gradient, pretrained.initial_weights, stepping, strength, step)
        moved = student - pretrained.initial_weights
        frozen = pretrained.initial_weights - 10 * stepping.learning_rate * pretrained.gradient()
        displacements.append(np.linalg.norm(moved))
        errors.append(np.linalg.norm(predict(pretrained, stepping, step, strength=strength).student - student) / displacements[-1])
        small = small_logit_prediction(pretrained, stepping, step, strength).student
        nulls.append([relative(frozen - pretrained.initial_weights, moved), relative(small, moved)])
    slope, first, constant = np.polyfit(np.log(displacements), np.log(np.column_stack([errors, nulls])), 1)[0]
    assert abs(slope - 2) < SLOPE
    assert abs(first - 2) > POWER * SLOPE
    assert abs(constant - 2) > POWER * SLOPE


def test_ten_real_steps_are_predicted_and_the_small_logit_model_is_far_off(pretrained):
    stepping = Stepping(0.1 / pretrained.curvatures[-1], Clock(100), Beta(0.5, 0.5))
    student, teacher = descend(pretrained.gradient, pretrained.initial_weights, stepping, 1.0, [10])
    predicted = predict(pretrained, stepping, [10], strength=1.0)
    moved = student - pretrained.initial_weights
    assert relative(predicted.student - pretrained.initial_weights, moved) < TEN_STEPS
    assert relative(predicted.teacher - pretrained.initial_weights, teacher - pretrained.initial_weights) < TEN_STEPS
    small = small_logit_prediction(pretrained, stepping, [10], 1.0)
    assert relative(small.student, moved) > POWER * TEN_STEPS
    assert 0.3 < pretrained.logit_change(student[0]) < 0.7


def test_logit_change_is_the_root_mean_square():
    case = random_case(9)
    moved = np.random.default_rng(1).standard_normal((4, 5))
    logits = case.logit_scale * case.images @ moved.T @ case.texts.T
    assert case.logit_change(case.initial_weights + moved) == pytest.approx(np.sqrt(np.mean(logits**2)), rel=FLOAT64)


@pytest.mark.parametrize("strength", [0.0, 0.05, 3.0])
def test_optimum_of_the_model_is_the_newton_step_and_where_static_teachers_lead(strength):
    case = random_case(10)
    step = np.linalg.pinv(hessian(case) + strength * np.eye(20), rcond=1e-10) @ case.gradient().ravel()
    optimum = limit(case, L2SP(strength))
    assert relative(case.initial_weights - optimum, step.reshape(4, 5)) < STATIONARY
    assert relative(case.initial_weights - limit(case, L2SP(strength + 0.1)), step.reshape(4, 5)) > POWER * STATIONARY
    stepping = Stepping(1.0 / (case.curvatures[-1] + strength), Clock(40_000), Static())
    end = predict(case, stepping, [40_000], strength=strength).student[0]
    assert relative(end - case.initial_weights, optimum - case.initial_weights) < STATIONARY


def test_optimum_leaves_the_orthogonal_complement_alone():
    case = random_case(11, n=6, d=9)
    complement = np.eye(9) - np.linalg.pinv(case.images) @ case.images
    moved = limit(case, L2SP(0.1)) - case.initial_weights
    assert np.abs(moved @ complement).max() < FLOAT64
    assert np.abs(moved).max() > POWER * FLOAT64


@pytest.mark.parametrize(
    ("strength", "penalties"),
    [(1.0, {}), (0.01, {}), (0.0, {"embedding_penalty": 1.0}), (0.0, {"weight_decay": 0.1}), (1e6, {"weight_decay": 0.1})],
    ids=str,
)
def test_true_optimum_is_stationary(strength, penalties):
    case = random_case(12, **penalties)
    found = case.true_optimum(strength)

    def left(weights):
        return np.abs(case.gradient(weights) + strength * (weights - case.initial_weights)).max()

    assert left(found) < STATIONARY
    assert left(found + 1e-3) > POWER * STATIONARY
    if strength <= 1:
        assert left(limit(case, L2SP(strength))) > POWER * STATIONARY


def test_true_optimum_is_where_true_descent_ends(pretrained):
    strength = 0.2
    stepping = Stepping(0.5 / (pretrained.curvatures[-1] + strength), Clock(800), Static())
    student, _ = descend(pretrained.gradient, pretrained.initial_weights, stepping, strength, [800])
    found = pretrained.true_optimum(strength)
    assert np.abs(student[0] - found).max() < STATIONARY
    assert np.abs(limit(pretrained, L2SP(strength)) - found).max() > POWER * STATIONARY


def test_without_a_gradient_nothing_moves():
    case = Linearisation(np.ones((1, 2)), np.ones((1, 2)), np.ones((2, 2)), 1.0)
    predicted = predict(case, Stepping(0.1, Clock(5), Uniform()), [0, 5])
    assert np.array_equal(predicted.student, np.ones((2, 2, 2)))
    assert np.array_equal(limit(case, L2SP(1.0)), np.ones((2, 2)))


SHAPES = {"images": (7, 3), "texts": (7, 2), "initial_weights": (2, 3)}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("fault", ["nan", "shape"])
def test_arrays_that_do_not_fit_are_named(name, fault):
    arrays = {each: np.ones(shape) for each, shape in SHAPES.items()}
    arrays[name] = np.full(SHAPES[name], np.nan) if fault == "nan" else np.ones((4, 5))
    blamed = name if name == "initial_weights" or fault == "nan" else "texts|initial_weights"
    with pytest.raises(UserError, match=blamed):
        Linearisation(**arrays, logit_scale=1.0)


MISTAKES = {
    "scale": (lambda case: Linearisation(case.images, case.texts, case.initial_weights, 0.0), "logit_scale must be positive"),
    "infinite scale": (lambda case: Linearisation(case.images, case.texts, case.initial_weights, np.inf), "logit_scale must be"),
    "penalty": (lambda case: random_case(0, weight_decay=-1.0), "weight_decay must be finite and not negative"),
    "metric": (lambda case: limit(case, Distillation(1.0)), "metric 'parameter' alone"),
    "metric of descent": (
        lambda case: gradient_descent(case, Distillation(1.0), learning_rate=0.1, steps=5),
        "metric 'parameter' alone",
    ),
    "solved student": (lambda case: proximal(case, FineTuning(), steps=5), "of a Problem alone"),
    "probe": (lambda case: limit(case, LPFT()), "linear probe has a closed form for a Problem alone"),
    "step size": (lambda case: gradient_descent(case, FineTuning(), learning_rate=1e3, steps=5), "the largest at which"),
    "unheld": (lambda case: case.true_optimum(), "need not have a minimum"),
    "basis": (
        lambda case: predict(case, Stepping(0.1, Clock(5000), Uniform()), [5, 5000], vectors=4),
        "4 Lanczos vectors do not hold the path up to 5000",
    ),
    "vectors": (lambda case: replace(case, vectors=0), "vectors must be at least 1"),
    "direction": (lambda case: case.hessian_product(np.ones((5, 4))), "direction must have shape"),
    "weights": (lambda case: case.loss(np.full((4, 5), np.nan)), "weights holds nan"),
    "steps": (lambda case: predict(case, Stepping(0.1, Clock(5), Uniform()), [6]), "steps must be whole numbers"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_answered_with_one_sentence(mistake):
    call, sentence = MISTAKES[mistake]
    with pytest.raises(UserError, match=sentence):
        call(random_case(0))


STRATEGIES = {
    "fine-tuning": (FineTuning(), 0.0, 0.0, 1.0),
    "zero-shot": (ZeroShot(), 0.0, 0.0, 0.0),
    "L2-SP": (L2SP(0.3), 0.3, 0.0, 1.0),
    "weight decay": (WeightDecay(0.2), 0.0, 0.2, 1.0),
    "WiSE-FT": (WiSEFT(0.4), 0.0, 0.0, 0.4),
}
"""Each with its strength, weight decay and interpolation."""


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_poses_the_problem_as_it_does_a_linearised_one(name):
    case, (strategy, strength, decay, interpolation) = random_case(13), STRATEGIES[name]
    decayed = random_case(13, weight_decay=decay)
    stepping = Stepping(0.5 / (decayed.curvatures[-1] + strength), Clock(50), Static())
    student, _ = descend(quadratic_gradient(decayed), case.initial_weights, stepping, strength, [50])
    path = gradient_descent(case, strategy, learning_rate=stepping.learning_rate, steps=50)
    moved = student[0] - case.initial_weights
    assert np.abs(path.weights(50) - case.initial_weights - interpolation * moved).max() < FULL_BASIS * np.abs(moved).max()
    assert np.abs(path.weights(50) - case.initial_weights - 0.5 * moved).max() > POWER * FULL_BASIS * np.abs(moved).max()
    assert np.abs(path.force(50) - strength * moved).max() <= FULL_BASIS
    matrix = hessian(decayed) + strength * np.eye(20)
    end = -np.linalg.pinv(matrix, rcond=1e-10) @ decayed.gradient().ravel()
    assert np.abs(path.limit() - case.initial_weights - interpolation * end.reshape(4, 5)).max() < STATIONARY


def test_a_teacher_that_slows_down_with_the_run_has_no_closed_limit():
    with pytest.raises(UserError, match="no closed limit with Exponential"):
        limit(random_case(14), Distillation(0.3, Exponential(time_constant_progress=0.4), "parameter"))


def test_a_moving_teacher_leaves_no_bias():
    case = random_case(14, weight_decay=0.1)
    path = gradient_descent(case, Distillation(0.3, Exponential(0.9), "parameter"), learning_rate=0.2, steps=20_000)
    assert relative(path.weights(20_000) - case.initial_weights, path.limit() - case.initial_weights) < STATIONARY
    assert relative(limit(case, L2SP(0.3)) - case.initial_weights, path.limit() - case.initial_weights) > POWER * STATIONARY


def test_flow_is_the_exponential_of_the_hessian():
    """With a static teacher: W_0 - (1 - exp(-(H + strength) t)) / (H + strength) gradient, in eigenvectors of the whole Hessian."""
    case = replace(random_case(15, weight_decay=0.05), vectors=20)
    values, vectors = np.linalg.eigh(hessian(case))
    values = values + 0.3
    path = gradient_flow(case, L2SP(0.3), duration=4.0)
    expected = -vectors @ (-np.expm1(-values * 4.0) / values * (vectors.T @ case.gradient().ravel()))
    assert relative((path.weights(4.0) - case.initial_weights).ravel(), expected) < FLOW
    assert relative((path.weights(3.9) - case.initial_weights).ravel(), expected) > POWER * FLOW


def test_largest_learning_rate_is_that_of_the_hessian():
    case = random_case(16)
    assert max_learning_rate(case, L2SP(0.3)) == pytest.approx(2 / (np.linalg.eigvalsh(hessian(case))[-1] + 0.3), rel=DERIVATIVES)
    still = Linearisation(np.ones((1, 2)), np.ones((1, 2)), np.ones((2, 2)), 1.0)
    assert max_learning_rate(still, FineTuning()) == np.inf
