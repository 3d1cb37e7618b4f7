"""Figures of the theory show the numbers they are given; what they compute on the way is right."""

import base64
import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from tests.tolerances import FLOAT64, POWER
from tracer import theory
from tracer.averaging import Beta, Exponential, PowerLaw, Static
from tracer.crosscheck.history import Agreement
from tracer.crosscheck.training import train
from tracer.errors import UserError
from tracer.evaluation.intervals import Interval
from tracer.plotting import agreement, forces, fronts, persistence, plane
from tracer.plotting.forces import closed_gaps
from tracer.plotting.plane import in_the_plane, in_the_task

LATE = 0.02  # exponents within 80 steps are off by about 1 / (x t)
STEPPING = {"learning_rate": 0.3, "steps": 20}
EMA, WMA = theory.Distillation(0.9, Exponential(0.8), "parameter"), theory.Distillation(0.9, PowerLaw(0.5), "parameter")


@pytest.fixture
def problem():
    """Two directions of the task, and one off it."""
    images = np.array([[1.0, 0.5, 0.0], [-1.0, 0.5, 0.0], [1.0, -0.5, 0.0], [-1.0, -0.5, 0.0]])
    return theory.Problem.from_pairs(images, images @ [[1.0], [-1.0], [0.0]], np.array([[0.2, 0.6, 1.0]]))


def lines(axis, marker):
    """Data of the drawn lines with the marker, those of the legend left out."""
    return [line.get_xydata() for line in axis.lines if line.get_marker() == marker and len(line.get_xydata())]


@pytest.mark.parametrize("distillation", [EMA, WMA], ids=["ema", "wma"])
def test_closed_gaps_are_those_of_descent_and_flow(problem, distillation):
    steps = np.arange(21)
    path = theory.gradient_descent(problem, distillation, **STEPPING)
    initial = (problem.initial_weights - theory.optimum(problem)) @ problem.eigenvectors[:, 0]
    simulated = path.gap(steps) @ problem.eigenvectors[:, 0] / initial
    descended, flowed = closed_gaps(distillation, 1.0, 0.9, 0.3, steps)
    np.testing.assert_allclose(descended, simulated[:, 0], atol=FLOAT64)
    assert np.abs(flowed - simulated[:, 0]).max() >= POWER * FLOAT64  # small steps are another thing


def test_two_forces_draws_simulation_and_trainer_on_the_closed_form(problem):
    runs = [train(problem, distillation, **STEPPING) for distillation in (EMA, WMA)]
    figure = forces.two_forces(problem, (EMA, WMA), **STEPPING, modes=(0, 1), runs=runs)
    for axis in figure.axes:
        simulated, trained = lines(axis, "o"), lines(axis, "+")
        assert len(simulated) == len(trained) == 4
        for one, other in zip(simulated, trained, strict=True):
            np.testing.assert_allclose(one, other, atol=FLOAT64)
    assert len(lines(forces.two_forces(problem, (EMA, WMA), **STEPPING).axes[0], "+")) == 0


def test_two_forces_refuses_what_it_cannot_draw(problem):
    with pytest.raises(UserError, match="need an Exponential kernel"):
        forces.two_forces(problem, (WMA, EMA), **STEPPING)
    with pytest.raises(UserError, match="at most that many modes, not 4"):
        forces.two_forces(problem, (EMA, WMA), **STEPPING, modes=(0, 1, 0, 1))


@pytest.mark.parametrize("spectrum", theory.populations.SPECTRA)
def test_the_explorer_draws_every_spectrum(spectrum):
    figure = forces.explore_forces(steps=50, spectrum=spectrum)
    assert all(np.isfinite(points).all() and (points[:, 1] > 0).all() for axis in figure.axes for points in lines(axis, "o"))


def test_decays_and_budgets(problem):
    taught = [(distillation, train(problem, distillation, learning_rate=0.5, steps=80)) for distillation in (EMA, WMA)]
    figure = forces.decays(problem, taught[:1], taught[1:], 0.5)
    for axis, marker in zip(figure.axes, "^o", strict=True):
        predicted, measured = lines(axis, marker)[0].T
        np.testing.assert_allclose(predicted, measured, atol=LATE)
        assert np.ptp(predicted) > 3 * LATE
    sums = [line for line in lines(forces.budgets(problem, taught[:1], taught[1:], modes=(0,)).axes[0], "None") if len(line) == 80]
    assert abs(sums[0][-1, 1] - 4.0) <= 1e-3  # m / (1 - m)
    assert sums[1][-1, 1] > 4.0


def test_coordinates_of_start_optimum_and_loss(problem):
    start, end = problem.initial_weights, theory.optimum(problem)
    forgotten = end * [[1, 1, 0.25]]
    np.testing.assert_allclose(in_the_plane(problem, np.stack([start, end, forgotten])), [[0, 1, 1], [1, 1, 0.25]], atol=FLOAT64)
    np.testing.assert_allclose(in_the_task(problem, np.stack([start, end, forgotten])), [[0, 1, 1], [0, 1, 1]], atol=FLOAT64)
    first = np.array([[1.0, 0.6, 1.0]])  # at the optimum in the stiffest direction alone
    np.testing.assert_allclose(in_the_task(problem, first), [1, 0], atol=FLOAT64)


def test_trajectories_end_where_the_runs_do(problem):
    strategies = {"flyp": theory.FineTuning(), "wise_ft": theory.WiSEFT(0.5), "tracer": theory.Distillation(0.9)}
    paths = {name: theory.gradient_descent(problem, strategy, **STEPPING) for name, strategy in strategies.items()}
    runs = {name: train(problem, strategy, **STEPPING) for name, strategy in strategies.items()}
    axis = plane.trajectories(paths, runs).axes[1]
    ends = [*lines(axis, "o"), *lines(axis, "v")]
    for line, name in zip(lines(axis, "None"), strategies, strict=True):
        np.testing.assert_allclose(line[-1], in_the_plane(problem, runs[name].final), atol=FLOAT64)
    np.testing.assert_allclose(
        [end[0] for end in ends], [in_the_plane(problem, runs[n].final) for n in ("flyp", "tracer", "wise_ft")]
    )


def test_the_film_moves(problem):
    element = plane.film({"flyp": theory.gradient_descent(problem, theory.FineTuning(), **STEPPING)}, range(0, 21, 10))
    image = Image.open(io.BytesIO(base64.b64decode(element.split("base64,")[1].rstrip('">'))))
    assert (image.format, image.n_frames, image.info["loop"]) == ("GIF", 3, 0)
    frames = []
    for number in range(3):
        image.seek(number)
        frames.append(np.asarray(image.convert("RGB")))
    assert all((one != other).any() for one, other in pairwise(frames))


def test_anchor_biases_shows_theory_and_end(problem):
    strategies = {"l2_sp": theory.L2SP(0.3), "static_distillation": theory.Distillation(0.3, Static())}
    runs = {name: train(problem, strategy, learning_rate=1.0, steps=60) for name, strategy in strategies.items()}
    axis = plane.anchor_biases(problem, strategies, runs).axes[0]
    for (predicted, measured), shares in zip(
        zip(lines(axis, "None"), [*lines(axis, "s"), *lines(axis, "D")], strict=True),
        ([0.3 / 1.3, 0.3 / 0.55], [0.3 / 1.3] * 2),
        strict=True,
    ):
        np.testing.assert_allclose(predicted[:, 1], shares)
        np.testing.assert_allclose(measured[:, 1], shares, atol=1e-6)


def test_replay_shows_end_limit_and_trainer(problem):
    distillations = {
        name: theory.Distillation(0.6, kernel, "data")
        for name, kernel in (("ema_distillation", Exponential(0.5)), ("tracer", Beta(0.5, 0.5)))
    }
    paths = {
        name: {0.0: theory.gradient_descent(problem, distillation, **STEPPING)} for name, distillation in distillations.items()
    }
    runs = {name: {0.0: train(problem, distillation, **STEPPING)} for name, distillation in distillations.items()}
    axis = plane.replay(paths, runs).axes[0]
    assert [line.get_linestyle() for line in axis.lines if len(line.get_xydata())].count(":") == 1  # a WMA has no closed limit
    assert all(np.abs(line.get_ydata()).max() <= FLOAT64 for line in axis.lines if len(line.get_xydata()))


def test_fronts_lead_from_fine_tuning_to_zero_shot(problem):
    """By hand: the task's two directions have eigenvalues 1 and 1/4, and of these the inputs to keep see the second."""
    keep = np.diag([0.0, 2.0, 0.0])
    start, tuned = problem.initial_weights, theory.optimum(problem)
    half = np.array([[1.0, 0.6, 1.0]])  # the first direction learned, the second not
    points = fronts.shares(problem, keep, np.stack([tuned, half, (start + tuned) / 2, start]))
    errors = np.array([0.8**2, 1.6**2 / 4])
    expected = [[0, 1], [errors[1] / errors.sum(), 0], [0.25, 0.25], [1, 0]]
    np.testing.assert_allclose(points, expected, atol=FLOAT64)
    lines = {"way": fronts.Line(np.stack([tuned, (start + tuned) / 2]), "black", "--")}
    figure = fronts.fronts(problem, keep, {"left": lines, "right": lines})
    for axis, title in zip(figure.axes, ("left", "right"), strict=True):
        assert axis.get_title() == title
        assert [text.get_text() for text in axis.get_legend().get_texts()] == ["way"]
        way, first = axis.lines
        np.testing.assert_allclose(way.get_xydata(), [[0, 1], [0.25, 0.25]], atol=FLOAT64)
        np.testing.assert_allclose(first.get_xydata(), [[0, 1]], atol=FLOAT64)
        assert axis.get_ylim() == fronts.SHOWN


def test_exactness_and_orders_and_batches():
    figure = agreement.exactness({"one": Agreement(1e-15, 0.5), "two": Agreement(1e-14, 0.7)}, 1e-11)
    assert lines(figure.axes[0], "o")[0][:, 0].tolist() == [1e-15, 1e-14]
    assert lines(figure.axes[0], "x")[0][:, 0].tolist() == [0.5, 0.7]
    legend = agreement.orders([0.1, 0.2], {"flyp": [0.3, 0.6]}).axes[0].get_legend()
    assert legend.get_texts()[0].get_text() == "FLYP, slope 1.000"
    key = ("flyp", False)
    axis = agreement.in_batches([2, 4], {key: [Interval(0.5, 0.1), Interval(0.8, 0.1)]}, {key: [0.6, 0.9]}).axes[0]
    assert lines(axis, "o")[0][:, 1].tolist() == [0.5, 0.8]


def test_persistence_is_bias_draws_what_it_is_given():
    errors, rates = np.array([0.4, 0.2, 0.1]), np.array([0.5, 0.25, 0.1])
    track = persistence.Track("uniform", 10, errors, (1 - rates) / 0.5 * errors, rates)
    longer = track._replace(horizon=100, errors=errors / 3, gaps=track.gaps / 3)
    bounds = persistence.Bounds(np.array([10, 100]), np.array([0.1, 0.05]), np.array([0.09, 0.04]), np.array([0.02, 0.001]))
    figure = persistence.persistence_is_bias([track, longer], [track], 0.5, {"uniform": bounds})
    left, right = figure.axes
    drawn = lines(left, "o")
    np.testing.assert_array_equal(drawn, [np.stack(each[2:4], axis=1) for each in (track, longer)])
    np.testing.assert_array_equal(lines(left, "+"), drawn[:1])
    identity = [line for line in lines(left, "None") if len(line) == 3]
    np.testing.assert_allclose(identity, drawn, rtol=FLOAT64)
    slope = next(line for line in lines(left, "None") if len(line) == 2)
    np.testing.assert_allclose(slope[:, 1] / slope[:, 0], 2.0)
    for line, expected in zip([*lines(right, "o"), *lines(right, "None")], bounds[1:], strict=True):
        np.testing.assert_array_equal(line, np.stack([bounds.horizons, expected], axis=1))
