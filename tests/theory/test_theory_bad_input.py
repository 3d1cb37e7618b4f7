"""Bad input to the theory: each kind is answered with one sentence that names what is wrong and says what to do."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

from tracer import theory
from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static
from tracer.errors import UserError
from tracer.theory import design_rules

RNG = np.random.default_rng(0)
IMAGES, TEXTS, START = RNG.standard_normal((9, 4)), RNG.standard_normal((9, 2)), RNG.standard_normal((2, 4))
WITH_NAN = np.where(np.arange(36).reshape(9, 4) == 6, np.nan, IMAGES)
ASYMMETRIC = np.eye(4) + np.eye(4, k=1)
INDEFINITE = np.diag([1.0, 1.0, 1.0, -0.5])
RANK_ONE = np.diag([1.0, 0.0, 0.0, 0.0])


def problem(**changes):
    return theory.Problem.from_pairs(**{"images": IMAGES, "texts": TEXTS, "initial_weights": START} | changes)


def descend(strategy=None, **changes):
    return theory.discrete(problem(), strategy or theory.Distillation(0.5), **{"learning_rate": 0.1, "steps": 10} | changes)


MIXING = theory.Inputs(np.diag([1.0, 0.0, 0.0, 2.0]) + 0.5)
FLAT = problem(images=np.outer(IMAGES[:, 0], [1.0, 0.0, 0.0, 0.0]))
RESONANT = 0.9 * theory.max_learning_rate(problem(), theory.Distillation(50.0, Static()), heavy_ball=0.95)
BAD = {
    "as many texts as images": (lambda: problem(texts=TEXTS[:5]), r"texts .*shape \(9, .*\(5, 2\)"),
    "weights of another width": (lambda: problem(initial_weights=START[:, :3]), "initial_weights .*shape"),
    "weights of another embedding": (lambda: problem(initial_weights=np.ones((3, 4))), "initial_weights .*shape"),
    "a vector": (lambda: problem(images=IMAGES[0]), "images must be a matrix"),
    "words": (lambda: problem(images=[["a", "b"]]), "images must be a matrix of real numbers"),
    "NaN": (lambda: problem(images=WITH_NAN), "images holds nan at row 1, column 2"),
    "negative embedding penalty": (lambda: problem(embedding_penalty=-1.0), "embedding_penalty must be"),
    "negative weight decay": (lambda: problem(weight_decay=-0.1), "weight_decay must be"),
    "infinite penalty": (lambda: problem(weight_decay=np.inf), "weight_decay must be"),
    "no penalty at all": (lambda: problem(embedding_penalty=0.0), "no minimum"),
    "second moment not symmetric": (lambda: theory.Problem(ASYMMETRIC, np.ones((2, 4)), START), "symmetric"),
    "second moment not PSD": (lambda: theory.Problem(INDEFINITE, np.ones((2, 4)), START), "positive semidefinite"),
    "moments of different data": (lambda: theory.Problem(RANK_ONE, np.ones((2, 4)), START), "outside the range"),
    "no chunk": (lambda: theory.Problem.from_chunks([], START), "no pairs were added"),
    "chunks of different widths": (
        lambda: theory.Problem.from_chunks([(IMAGES, TEXTS), (IMAGES[:, :3], TEXTS)], START),
        "images .*shape",
    ),
    "target matrix from moments": (lambda: problem().in_batches(3).target_matrix, "Problem.from_pairs"),
    "batch of one": (lambda: problem().in_batches(1), "batch_size must be .*between 2"),
    "batch of more than all": (lambda: problem().in_batches(10), "batch_size must be .*between 2"),
    "energy of nothing": (lambda: problem().effective_rank(0.0), "energy must lie"),
    "unknown population": (lambda: theory.Population.named("power law", 4, 2), "did you mean 'power_law'"),
    "population of no features": (lambda: theory.Population.named("spiked", 0, 2), "at least 1"),
    "negative strength": (lambda: theory.Distillation(-0.1), "strength must be"),
    "negative decay": (lambda: theory.WeightDecay(-0.1), "decay must be"),
    "negative L2-SP": (lambda: theory.L2SP(-0.1), "strength must be"),
    "unknown metric": (lambda: theory.Distillation(1.0, metric="parameters"), "did you mean 'parameter'"),
    "metric not PSD": (lambda: theory.Inputs(INDEFINITE), "metric's second_moment must be positive semidefinite"),
    "metric not symmetric": (lambda: theory.Inputs(ASYMMETRIC), "metric's second_moment must be symmetric"),
    "metric of another size": (
        lambda: descend(theory.Distillation(1.0, metric=theory.Inputs(np.eye(3)))),
        r"metric's second_moment must have shape \(4, 4\)",
    ),
    "interpolation beyond": (lambda: theory.WiSEFT(1.5), "coefficient must lie"),
    "unstable step size": (lambda: descend(learning_rate=50.0), r"learning_rate 50 is above .*lower it"),
    "resonating heavy ball": (
        lambda: descend(theory.Distillation(50.0, Exponential(0.1)), learning_rate=RESONANT, update_every=3, heavy_ball=0.95),
        "heavy_ball 0.95 resonates .*lower heavy_ball",
    ),
    "step size of zero": (lambda: descend(learning_rate=0.0), "learning_rate must be positive"),
    "heavy ball of one": (lambda: descend(heavy_ball=1.0), "heavy_ball must lie"),
    "no steps": (lambda: descend(steps=0), "total_steps must be at least 1"),
    "updates rarer than the run is long": (lambda: descend(update_every=11), "update_every must lie"),
    "half a step": (lambda: descend().weights(2.5), "whole numbers"),
    "a step beyond the horizon": (lambda: descend().weights(11), "between 0 and the horizon of 10"),
    "flow of no duration": (lambda: theory.flow(problem(), theory.FineTuning(), duration=0.0), "duration must be positive"),
    "flow with a momentum": (
        lambda: theory.flow(problem(), theory.Distillation(1.0, Exponential(0.9)), duration=1.0),
        "time_constant_progress",
    ),
    "flow in a mixing metric": (
        lambda: theory.flow(problem(), theory.Distillation(1.0, metric=MIXING), duration=1.0),
        "use discrete",
    ),
    "flow beyond its duration": (
        lambda: theory.flow(problem(), theory.FineTuning(), duration=1.0).weights(2.0),
        "between 0 and the duration 1",
    ),
    "limit of WMA in a mixing metric": (lambda: theory.limit(FLAT, theory.Distillation(0.1, Beta(), MIXING)), "no closed limit"),
    "limit of EMA without a step size": (
        lambda: theory.limit(
            problem(images=np.outer(np.ones(9), [1.0, 0, 0, 0])), theory.Distillation(0.1, Exponential(0.9), MIXING)
        ),
        "learning_rate",
    ),
    "stability of a time constant without horizon": (
        lambda: theory.max_learning_rate(problem(), theory.Distillation(1.0, Exponential(time_constant_progress=0.1))),
        "give total_steps",
    ),
    "mean age of the static teacher": (
        lambda: design_rules.momentum_of_equal_mean_age(Static(), Clock(10)),
        "static teacher",
    ),
    "tolerated residual of two": (
        lambda: design_rules.largest_strength(problem(), PowerLaw(0.5), 2.0, learning_rate=0.1, steps=10),
        "tolerated residual must lie",
    ),
    "residual out of reach": (
        lambda: design_rules.largest_strength(problem(), PowerLaw(0.5), 1e-9, learning_rate=0.1, steps=2),
        "no strength between .*change the tolerated residual",
    ),
    "logit scale of zero": (lambda: theory.Linearisation(IMAGES, TEXTS, START, 0.0), "logit_scale must be positive"),
}


@pytest.mark.parametrize("case", BAD)
def test_one_sentence(case):
    cause, expected = BAD[case]
    with pytest.raises(UserError, match=expected) as caught:
        cause()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_good_input_is_not_refused():
    """What the cases above are changed from."""
    assert np.isfinite(descend().weights(10)).all()


def test_examples_of_the_docstrings():
    modules = [importlib.import_module(f"tracer.theory.{info.name}") for info in pkgutil.iter_modules(theory.__path__)]
    results = [doctest.testmod(module) for module in modules]
    assert sum(result.attempted for result in results) >= 5
    assert sum(result.failed for result in results) == 0
