"""Mistakes of users of the theory: each answered with one sentence that names what is wrong and says what would be right."""

import doctest
import importlib
import pkgutil
import re

import numpy as np
import pytest

from tests.theory.cases import random_moment, random_problem
from tracer import theory
from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static, Uniform
from tracer.errors import UserError
from tracer.theory import (
    L2SP,
    Distillation,
    FineTuning,
    Inputs,
    Moments,
    Population,
    Problem,
    Spectral,
    Subspace,
    WeightDecay,
    WiSEFT,
    anchor_bias,
    describe,
    design_rules,
    forgetting,
    gradient_descent,
    gradient_flow,
    limit,
    max_learning_rate,
    ood_risk,
    proximal,
)

RNG = np.random.default_rng(0)
IMAGES, TEXTS, START = RNG.standard_normal((10, 4)), RNG.standard_normal((10, 3)), RNG.standard_normal((3, 4))
PROBLEM = Problem.from_pairs(IMAGES, TEXTS, START)
FLAT = random_problem(0, "rank-deficient", d=4)
MOMENTS_ONLY = Problem(PROBLEM.second_moment, PROBLEM.cross_covariance, START)
MIXED = Inputs(random_moment(0, 4))
WITH_NAN = np.where(np.arange(40).reshape(10, 4) == 17, np.nan, IMAGES)
INFINITE = np.where(np.arange(30).reshape(10, 3) == 17, np.inf, TEXTS)
LOPSIDED = np.triu(np.ones((4, 4)))
INDEFINITE = np.diag([1.0, 1.0, 1.0, -1.0])
RUN = {"learning_rate": 0.1, "steps": 5}


def descent(strategy=None, **changes):
    return gradient_descent(PROBLEM, strategy or FineTuning(), **(RUN | changes))


def solved(**changes):
    return proximal(PROBLEM, Distillation(1, Beta(), MIXED), **({"steps": 5} | changes))


def chunks(*shapes):
    return [(np.ones((n, d)), np.ones((n, k))) for n, d, k in shapes]


PROBLEMS = {
    "texts of other pairs": (lambda: Problem.from_pairs(IMAGES, TEXTS[:5], START), "texts must have shape (10, any)"),
    "other features": (lambda: Problem.from_pairs(IMAGES, TEXTS, START[:, :2]), "initial_weights must have shape (3, 4)"),
    "other embedding": (lambda: Problem.from_pairs(IMAGES, TEXTS[:, :2], START), "initial_weights must have shape (2, 4)"),
    "one image": (lambda: Problem.from_pairs(IMAGES[0], TEXTS, START), "images must be a matrix"),
    "no images": (lambda: Problem.from_pairs(IMAGES[:0], TEXTS[:0], START), "images must be a matrix"),
    "no numbers": (lambda: Problem.from_pairs([["a"]], TEXTS, START), "images must be a matrix of real numbers"),
    "ragged": (lambda: Problem.from_pairs([[1, 2], [3]], TEXTS, START), "images must be a matrix of real numbers"),
    "complex": (lambda: Problem.from_pairs(1j * IMAGES, TEXTS, START), "images must be a matrix of real numbers"),
    "nan": (lambda: Problem.from_pairs(WITH_NAN, TEXTS, START), "images holds nan at row 4, column 1: remove"),
    "infinity": (lambda: Problem.from_pairs(IMAGES, INFINITE, START), "texts holds inf at row 5, column 2: remove"),
    "nan in weights": (lambda: Problem.from_pairs(IMAGES, TEXTS, START * np.nan), "initial_weights holds nan"),
    "negative penalty": (lambda: Problem.from_pairs(IMAGES, TEXTS, START, embedding_penalty=-1), "embedding_penalty must be"),
    "text as penalty": (lambda: Problem.from_pairs(IMAGES, TEXTS, START, embedding_penalty="1"), "embedding_penalty must be"),
    "infinite decay": (lambda: Problem.from_pairs(IMAGES, TEXTS, START, weight_decay=np.inf), "weight_decay must be"),
    "nan as decay": (lambda: PROBLEM.with_weight_decay(np.nan), "weight_decay must be"),
    "no penalty at all": (
        lambda: Problem.from_pairs(IMAGES, TEXTS, START, embedding_penalty=0),
        "embedding_penalty and weight_decay",
    ),
    "C out of range": (lambda: Problem(FLAT.second_moment, START, START), "cross_covariance has a part of norm"),
    "Sigma with a negative eigenvalue": (lambda: Problem(INDEFINITE, START, START), "second_moment must be positive semidefinite"),
    "asymmetric Sigma": (lambda: Problem(LOPSIDED, START, START), "second_moment must be symmetric"),
    "Sigma not square": (lambda: Problem(IMAGES, START, START), "second_moment must be square"),
    "C of other shape": (lambda: Problem(PROBLEM.second_moment, START.T, START), "cross_covariance must have shape (3, 4)"),
    "no chunks": (lambda: Problem.from_chunks([], START), "no pairs were added: give"),
    "chunks of other features": (
        lambda: Problem.from_chunks(chunks((5, 4, 3), (5, 3, 3)), START),
        "images must have shape (any, 4)",
    ),
    "chunks of other texts": (lambda: Problem.from_chunks(chunks((5, 4, 3), (5, 4, 2)), START), "texts must have shape (5, 3)"),
    "empty moments": (lambda: Moments().second_moment, "no pairs were added: give"),
    "empty moments of texts": (lambda: Moments().cross_covariance, "no pairs were added: give"),
    "target matrix of moments": (lambda: MOMENTS_ONLY.target_matrix, "target matrix"),
    "target matrix of batches": (lambda: PROBLEM.in_batches(4).target_matrix, "target matrix"),
    "target matrix without a penalty": (
        lambda: Problem.from_pairs(IMAGES, TEXTS, START, embedding_penalty=0, weight_decay=1).target_matrix,
        "embedding_penalty",
    ),
    "batch of one": (lambda: PROBLEM.in_batches(1), "batch_size must be a whole number, between 2 and the number of pairs, 10"),
    "batch of more": (lambda: PROBLEM.in_batches(11), "batch_size must be"),
    "batch of half a pair": (lambda: PROBLEM.in_batches(2.5), "batch_size must be a whole number"),
    "batch of one of a population": (lambda: MOMENTS_ONLY.in_batches(1), "batch_size must be a whole number, at least 2"),
    "batch of one with replacement": (lambda: PROBLEM.in_batches(1, replacement=True), "at least 2"),
    "no energy": (lambda: PROBLEM.effective_rank(0), "energy must lie in (0, 1]"),
    "too much energy": (lambda: PROBLEM.effective_task_subspace(1.1), "energy must lie in (0, 1]"),
    "loss of other weights": (lambda: PROBLEM.loss(START[:2]), "weights must have shape (3, 4)"),
    "gradient at nan": (lambda: PROBLEM.gradient(START * np.nan), "weights holds nan"),
    "start of other shape": (lambda: PROBLEM.starting_from(START[:, :2]), "initial_weights must have shape (any, 4)"),
}
STRATEGIES = {
    "negative decay": (lambda: WeightDecay(-1), "decay must be"),
    "negative strength": (lambda: Distillation(-1), "strength must be"),
    "infinite strength": (lambda: Distillation(np.inf), "strength must be"),
    "nan as strength": (lambda: L2SP(np.nan), "strength must be"),
    "unknown metric": (lambda: Distillation(1, metric="dta"), "unknown metric 'dta' (did you mean 'data'?)"),
    "array as metric": (lambda: Distillation(1, metric=np.eye(4)), "metric must be a name or a Metric, not ndarray: wrap"),
    "no metric": (lambda: Distillation(1, metric=None), "metric must be"),
    "text as kernel": (lambda: Distillation(1, "beta"), "kernel must be an averaging kernel"),
    "extrapolation": (lambda: WiSEFT(1.1), "coefficient must lie in [0, 1]"),
    "nan as coefficient": (lambda: WiSEFT(np.nan), "coefficient must lie in [0, 1]"),
    "infinite power": (lambda: Spectral(np.inf), "alpha must be finite"),
    "metric with a negative eigenvalue": (lambda: Inputs(INDEFINITE), "the metric's second_moment must be positive semidefinite"),
    "asymmetric metric": (lambda: Inputs(LOPSIDED), "the metric's second_moment must be symmetric"),
    "metric of other inputs": (lambda: limit(PROBLEM, Distillation(1, Static(), Inputs(np.eye(3)))), "must have shape (4, 4)"),
}
POPULATIONS = {
    "misspelt population": (
        lambda: Population.named("isotropi", 3, 2),
        "unknown population 'isotropi' (did you mean 'isotropic'?)",
    ),
    "unknown population": (lambda: Population.named("zzz", 3, 2), "(valid: decades, isotropic, low_rank, power_law, spiked)"),
    "no features": (lambda: Population.named("isotropic", 0, 2), "features must be at least 1"),
    "half a feature": (lambda: Population.named("isotropic", 2.5, 2), "features must be a whole number"),
    "negative noise": (lambda: Population.named("isotropic", 3, 2, noise=-1), "noise must be"),
    "no pairs": (lambda: Population.named("isotropic", 3, 2).sample(0), "pairs must be"),
    "negative eigenvalue": (lambda: Population(np.array([-1.0]), np.eye(1), np.eye(1)), "eigenvalues must not be negative"),
    "skew eigenvectors": (lambda: Population(np.ones(4), LOPSIDED, np.ones((2, 4))), "orthonormal"),
    "other loadings": (lambda: Population(np.ones(4), np.eye(4), np.ones((2, 3))), "loadings must have shape (any, 4)"),
}
RUNS = {
    "no step": (lambda: descent(learning_rate=0), "learning_rate must be positive"),
    "nan as step": (lambda: descent(learning_rate=np.nan), "learning_rate must be positive"),
    "unstable step": (lambda: descent(learning_rate=9.0), "the largest at which this strategy is stable: lower it"),
    "unstable step in a metric that mixes": (lambda: descent(Distillation(1, Beta(), MIXED), learning_rate=9.0), "lower it"),
    "no steps": (lambda: descent(steps=0), "total_steps must be at least 1"),
    "half a step": (lambda: descent(steps=2.5), "total_steps must be a whole number"),
    "updates beyond the run": (lambda: descent(update_every=6), "update_every must lie between 1 and total_steps = 5"),
    "fractional period": (lambda: descent(update_every=1.5), "update_every must be a whole number"),
    "heavy ball of one": (lambda: descent(heavy_ball=1), "heavy_ball must lie in [0, 1)"),
    "step beyond the run": (lambda: descent().weights(6), "steps must be whole numbers between 0 and the horizon of 5"),
    "step before the run": (lambda: descent().teacher(-1), "steps must be"),
    "between two steps": (lambda: descent().force(0.5), "steps must be whole numbers"),
    "step nan": (lambda: descent().gap(np.nan), "steps must be"),
    "steps in a table": (lambda: descent().weights([[1, 2]]), "times must be a number or an array of one dimension"),
    "step beyond the run of a metric that mixes": (lambda: descent(Distillation(1, Beta(), MIXED)).weights(6), "steps must be"),
    "no steps to solve": (lambda: solved(steps=0), "total_steps must be at least 1"),
    "half a step to solve": (lambda: solved(steps=2.5), "total_steps must be a whole number"),
    "updates beyond the solved run": (lambda: solved(update_every=6), "update_every must lie between 1 and total_steps = 5"),
    "step beyond the solved run": (lambda: solved().weights(6), "steps must be whole numbers between 0 and the horizon of 5"),
    "between two solved steps": (lambda: solved().force(0.5), "steps must be whole numbers"),
    "solved steps in a table": (lambda: solved().gap([[1, 2]]), "times must be a number or an array of one dimension"),
    "solved in a metric of other inputs": (
        lambda: proximal(PROBLEM, Distillation(1, Beta(), Inputs(np.eye(3))), steps=5),
        "must have shape (4, 4)",
    ),
    "no duration": (lambda: gradient_flow(PROBLEM, FineTuning(), duration=0), "duration must be positive"),
    "nan as duration": (lambda: gradient_flow(PROBLEM, FineTuning(), duration=np.nan), "duration must be positive"),
    "momentum in the flow": (
        lambda: gradient_flow(PROBLEM, Distillation(1, Exponential(0.9)), duration=1),
        "give the exponential kernel a time",
    ),
    "warm-up in the flow": (
        lambda: gradient_flow(PROBLEM, Distillation(1, Exponential(time_constant_progress=0.1, warmup_progress=0.1)), duration=1),
        "no warm-up, or use gradient_descent",
    ),
    "metric that does not commute in the flow": (
        lambda: gradient_flow(PROBLEM, Distillation(1, Beta(), MIXED), duration=1),
        "use gradient_descent",
    ),
    "time beyond the flow": (
        lambda: gradient_flow(PROBLEM, FineTuning(), duration=1).weights(2),
        "times must lie between 0 and the duration 1",
    ),
    "time before the flow": (lambda: gradient_flow(PROBLEM, FineTuning(), duration=1).gap(-1), "times must lie between 0"),
    "time nan": (lambda: gradient_flow(PROBLEM, FineTuning(), duration=1).impulse(np.nan), "times must lie between 0"),
}
RESULTS = {
    "limit of a WMA in a metric that mixes": (lambda: limit(FLAT, Distillation(1, Uniform(), MIXED)), "run gradient_descent"),
    "limit of an EMA that needs its step": (
        lambda: limit(FLAT, Distillation(1, Exponential(0.9), MIXED)),
        "give limit a learning_rate",
    ),
    "bias of a metric that does not commute": (lambda: anchor_bias(FLAT, Distillation(1, Static(), MIXED)), "use gradient_descent"),
    "stability without a horizon": (
        lambda: max_learning_rate(PROBLEM, Distillation(1, Exponential(time_constant_progress=0.1))),
        "give total_steps",
    ),
    "stability of no period": (lambda: max_learning_rate(PROBLEM, Distillation(1), update_every=0), "update_every must be"),
    "stability of a heavy ball of one": (lambda: max_learning_rate(PROBLEM, FineTuning(), heavy_ball=1), "heavy_ball must lie"),
    "stability of a run without updates": (
        lambda: max_learning_rate(PROBLEM, Distillation(1, Exponential(time_constant_progress=0.1)), update_every=9, total_steps=5),
        "update_every must lie between 1 and total_steps = 5",
    ),
    "geometry of other weights": (lambda: describe(PROBLEM, START[:2]), "weights must have shape (3, 4)"),
    "geometry in another space": (
        lambda: describe(PROBLEM, START, Subspace(np.eye(3)[:, :1])),
        "subspace must lie in the 4 dimensions",
    ),
    "skew basis": (lambda: Subspace(np.ones((4, 2))), "basis must be a matrix (d, r) of orthonormal columns"),
    "basis of one vector": (lambda: Subspace(np.ones(4)), "basis must be a matrix"),
    "forgetting from another shape": (lambda: forgetting(START, START[:2], np.eye(4)), "weights must have shape (2, 4)"),
    "forgetting on other features": (lambda: forgetting(START, START, np.eye(3)), "second_moment must have shape (4, 4)"),
    "risk on an indefinite moment": (lambda: ood_risk(START, START, INDEFINITE, PROBLEM.task_subspace), "second_moment must be"),
    "risk in another space": (lambda: ood_risk(START, START, np.eye(4), Subspace(np.eye(3))), "subspace must lie in"),
    "age of a teacher that never moves": (lambda: design_rules.momentum_of_equal_mean_age(Static(), Clock(10)), "static teacher"),
    "negative curvature": (
        lambda: design_rules.momentum_of_equal_budget(Beta(), Clock(10), curvature=-1, teacher_curvature=1, learning_rate=0.1),
        "curvature must be",
    ),
    "residual above one": (lambda: design_rules.largest_strength(PROBLEM, Beta(), 1.5, **RUN), "residual must lie between 0 and 1"),
    "residual that no strength leaves": (
        lambda: design_rules.largest_strength(PROBLEM, Static(), 1e-9, **RUN),
        "change the tolerated",
    ),
    "residual that no exponent leaves": (lambda: design_rules.smallest_exponent(PROBLEM, 1.0, 1e-9, **RUN), "change the tolerated"),
    "unstable design": (
        lambda: design_rules.frontier(PROBLEM, [PowerLaw(1.0)], strength=1.0, learning_rate=9.0, steps=5),
        "learning_rate 9 is above",
    ),
    "residual of other weights": (lambda: design_rules.residual(PROBLEM, START[:2]), "weights must have shape (3, 4)"),
}
MISTAKES = PROBLEMS | STRATEGIES | POPULATIONS | RUNS | RESULTS
SAYS_WHAT_TO_DO = re.compile(r"\bmust\b|: \w+|\bgive\b|\bdid you mean\b|\bvalid:")


def test_sound_input_is_accepted():
    """Without this, every test below would pass on functions that always fail."""
    path = descent(Distillation(0.5, Exponential(0.9), MIXED), update_every=2, heavy_ball=0.5)
    assert np.isfinite(path.weights(5)).all()
    assert np.isfinite(solved(update_every=2).weights(5)).all()
    assert np.isfinite(gradient_flow(PROBLEM, Distillation(0.5), duration=1.0).weights(1.0)).all()
    assert np.isfinite(describe(PROBLEM, path.weights(5), PROBLEM.effective_task_subspace(0.9))).all()
    assert len(MISTAKES) == sum(map(len, (PROBLEMS, STRATEGIES, POPULATIONS, RUNS, RESULTS)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_answered_with_one_sentence(mistake):
    make, words = MISTAKES[mistake]
    with pytest.raises(UserError) as refused:
        make()
    message = str(refused.value)
    assert words in message
    assert re.fullmatch(r"[^\n]{20,300}", message)
    assert not message.endswith(".")
    assert not re.search(r"\. [A-Z]", message)
    assert SAYS_WHAT_TO_DO.search(message)


def modules():
    return [importlib.import_module(found.name) for found in pkgutil.walk_packages(theory.__path__, "tracer.theory.")]


def test_examples_in_docstrings_run():
    found = {module.__name__: doctest.testmod(module) for module in [theory, *modules()]}
    assert {name: result for name, result in found.items() if result.failed} == {}
    assert found["tracer.theory.gradient_descent"].attempted > 0
