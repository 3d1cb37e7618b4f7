"""The trainer on a problem of the theory, and what is measured of its runs."""

import numpy as np
import pytest

from tests.tolerances import FLOAT64, POWER
from tracer import theory
from tracer.averaging import Beta, Exponential, PowerLaw, Static, Uniform
from tracer.crosscheck.agreement import compare
from tracer.crosscheck.gaps import exponents, modal_shares, rates, share_travelled, summed_gaps
from tracer.crosscheck.history import Agreement, WeightHistory, deviation, fitted_order
from tracer.crosscheck.training import Draws, PairBatches, train
from tracer.errors import UserError

STEPPING = {"learning_rate": 0.2, "steps": 12}
MEASURED_RATE = 1e-4  # by then the faster factor has shrunk to less than that of the slower one
MEASURED_EXPONENT = 0.02  # a power law of late times is off by about 1 / (x t), with x t of 40


@pytest.fixture
def problem():
    rng = np.random.default_rng(3)
    return theory.Problem.from_pairs(rng.standard_normal((10, 4)), rng.standard_normal((10, 2)), rng.standard_normal((2, 4)))


def test_a_run_holds_every_step(problem):
    run = train(problem, theory.WiSEFT(0.25), **STEPPING)
    assert run.student.shape == run.teacher.shape == (13, 2, 4)
    np.testing.assert_array_equal(run.student[0], problem.initial_weights)
    halfway = problem.initial_weights + 0.25 * (run.student[-1] - problem.initial_weights)
    assert deviation(run.final, halfway) <= FLOAT64
    assert deviation(run.final, run.student[-1]) >= POWER * FLOAT64


def test_zero_shot_stays(problem):
    run = train(problem, theory.ZeroShot(), **STEPPING)
    assert run.student.shape == (13, 2, 4)
    assert (run.student == problem.initial_weights).all()


def test_compare_says_how_far_theory_is(problem, monkeypatch):
    right = compare(problem, theory.Distillation(0.9), **STEPPING)
    assert isinstance(right, Agreement)
    assert right.error <= FLOAT64
    assert right.nothing_moves >= POWER * FLOAT64
    monkeypatch.setattr(
        "tracer.crosscheck.agreement.gradient_descent",
        lambda problem, strategy, **stepping: theory.gradient_descent(problem, theory.FineTuning(), **stepping),
    )
    assert compare(problem, theory.Distillation(0.9), **STEPPING).error >= POWER * FLOAT64


def test_draws_are_a_function_of_seed_and_step(problem):
    batches = PairBatches(problem, 5, Draws(4, seed=1))
    assert len(batches) == 5
    assert batches[2].images.equal(PairBatches(problem, 5, Draws(4, seed=1))[2].images)
    assert not batches[2].images.equal(batches[3].images)
    assert not batches[2].images.equal(PairBatches(problem, 5, Draws(4, seed=2))[2].images)
    rows = [Draws(10).rows(step, 10) for step in range(20)]
    assert all(len(set(row)) == 10 for row in rows)
    assert any(len(set(Draws(10, replacement=True).rows(step, 10))) < 10 for step in range(20))


def test_a_batch_of_all_pairs_is_the_full_batch(problem):
    full = train(problem, theory.Distillation(0.9), **STEPPING)
    drawn = train(problem, theory.Distillation(0.9), **STEPPING, draws=Draws(10))
    assert deviation(drawn.student, full.student) <= FLOAT64
    fewer = train(problem, theory.Distillation(0.9), **STEPPING, draws=Draws(5))
    assert deviation(fewer.student, full.student) >= POWER * FLOAT64


def test_small_logits_approach_the_linearised_loss(problem):
    linearised = train(problem, theory.FineTuning(), **STEPPING).student
    far, near = (deviation(train(problem, theory.FineTuning(), **STEPPING, logit_scale=s).student, linearised) for s in (0.1, 0.01))
    assert 8 <= far / near <= 12


def test_share_travelled():
    predicted = np.array([[3.0, 4.0]])
    moved = np.array([[[3.0, 4.0]], [[1.5, 2.0]], [[-4.0, 3.0]]])
    np.testing.assert_allclose(share_travelled(moved, predicted), [1, 0.5, 0])


def test_fitted_order():
    sizes = np.array([0.1, 0.2, 0.4])
    assert abs(fitted_order(sizes, 7 * sizes**2) - 2) <= FLOAT64


@pytest.mark.parametrize("kernel", [Exponential(0.8), PowerLaw(0.4), Uniform(), Beta(0.5, 0.5)], ids=repr)
@pytest.mark.parametrize("update_every", [1, 3])
def test_summed_gaps_are_the_teachers_displacement(problem, kernel, update_every):
    """Whatever moves the student: here the contrastive loss at a large scale, by SGD with momentum."""
    stepping = {**STEPPING, "update_every": update_every, "heavy_ball": 0.5, "logit_scale": 3.0}
    run = train(problem, theory.Distillation(0.9, kernel), **stepping)
    moved = run.teacher[-1] - run.teacher[0]
    assert deviation(summed_gaps(run, kernel, update_every), moved) <= FLOAT64
    assert deviation(summed_gaps(run, Beta(0.6, 0.5), update_every), moved) >= POWER * FLOAT64


def test_modal_shares(problem):
    error = problem.initial_weights - theory.optimum(problem)
    np.testing.assert_allclose(modal_shares(problem, np.stack([error, -0.5 * error])), [[1] * 4, [0.5] * 4])


def test_modal_shares_are_zero_off_the_task():
    flat = theory.Problem.from_pairs(np.eye(4)[:, :3] @ np.diag([1, 2, 0]), np.eye(4)[:, :2], np.ones((2, 3)))
    assert modal_shares(flat, np.ones((1, 2, 3)))[0, -1] == 0


def test_rates_and_exponents_of_a_run():
    """A single direction, long enough to settle; the other teacher's law does not fit."""
    problem = theory.Problem.from_pairs(np.array([[1.0], [-1.0]]), np.array([[1.0], [-1.0]]), np.array([[0.0]]))
    stepping = {"learning_rate": 0.5, "steps": 80}
    ema, wma = theory.Distillation(0.9, Exponential(0.8)), theory.Distillation(0.9, PowerLaw(0.5))
    predicted, measured = rates(problem, ema, train(problem, ema, **stepping), 0.5)
    assert abs(measured / predicted - 1) <= MEASURED_RATE
    assert abs(measured / -np.log(0.8) - 1) >= POWER * MEASURED_RATE
    run = train(problem, wma, **stepping)
    predicted, measured = exponents(problem, wma, run)
    assert abs(measured - predicted) <= MEASURED_EXPONENT
    assert abs(measured - 0.5) >= 10 * MEASURED_EXPONENT


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"draws": Draws(1)}, "at least 2"),
        ({"draws": Draws(11)}, "at most 10 pairs, not 11"),
        ({"logit_scale": 0.0}, "logit_scale must be positive"),
        ({"steps": 0}, "total_steps must be at least 1"),
        ({"update_every": 13}, "between 1 and total_steps = 12"),
    ],
)
def test_bad_arguments(problem, arguments, said):
    with pytest.raises(UserError, match=said):
        train(problem, theory.Distillation(0.9), **{**STEPPING, **arguments})


def test_moments_cannot_be_trained_on():
    with pytest.raises(UserError, match=r"make it with Problem\.from_pairs"):
        train(theory.Problem(np.eye(2), np.ones((1, 2)), np.ones((1, 2))), theory.FineTuning(), **STEPPING)


def test_a_teacher_that_is_its_student_has_no_gaps(problem):
    with pytest.raises(UserError, match="no gap to sum"):
        summed_gaps(WeightHistory(np.zeros((3, 1, 1)), np.zeros((3, 1, 1)), np.zeros((1, 1))), Exponential(0.0))


def test_laws_need_their_kernel(problem):
    run = WeightHistory(np.zeros((3, 2, 4)), np.zeros((3, 2, 4)), np.zeros((2, 4)))
    with pytest.raises(UserError, match="Exponential kernel of constant momentum"):
        rates(problem, theory.Distillation(0.9, Static()), run, 0.2)
    with pytest.raises(UserError, match="PowerLaw kernel"):
        exponents(problem, theory.Distillation(0.9, Exponential(0.9)), run)
