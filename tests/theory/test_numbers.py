"""Nonsense in place of any number or array that the theory and the averaging kernels take: a sentence, never a number.

Functions, classes and their methods are found, not listed, and each of their arguments by its name: an argument that is new fails
here until it has a sound value, beside which everything else must be refused.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from tests.theory.cases import random_moment
from tracer import schedules, theory
from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static, Uniform
from tracer.schedules import cosine
from tracer.theory import Distillation, Linearisation, Moments, Population, Problem, TwoTowers, recursion, update_indexed
from tracer.theory.recursion import Stepping

RNG = np.random.default_rng(0)
IMAGES, TEXTS, START = RNG.standard_normal((10, 4)), RNG.standard_normal((10, 3)), RNG.standard_normal((3, 4))
PROBLEM = Problem.from_pairs(IMAGES, TEXTS, START)
TOWERS = TwoTowers.from_pairs(IMAGES, TEXTS, START, RNG.standard_normal((3, 3)))
BALANCED = TwoTowers.balanced(TOWERS.cross_covariance, np.array([0.1, 0.1]))
POPULATION = Population.named("decades", 4, 3)
MOMENTS = Moments.of([(IMAGES, TEXTS)])
RUN = {"learning_rate": 0.1, "steps": 5}
EMA = Distillation(0.5, Exponential(0.9), theory.Inputs(random_moment(0, 4)))

SOUND: dict[str, Any] = {
    "allow_unstable": False,
    "a": 0.5,
    "alpha": 0.5,
    "b": 0.5,
    "basis": np.eye(4)[:, :2],
    "batch_size": 4,
    "beta": 0.5,
    "chunks": None,
    "clock": Clock(5),
    "coefficient": 0.5,
    "cross_covariance": PROBLEM.cross_covariance,
    "curvature": 1.0,
    "curvatures": np.array([1.0, 0.1]),
    "decay": 0.1,
    "direction": START,
    "duration": 1.0,
    "eigenvalues": POPULATION.eigenvalues,
    "eigenvectors": POPULATION.eigenvectors,
    "embedding": 3,
    "embedding_penalty": 1.0,
    "energy": 0.9,
    "features": 4,
    "heavy_ball": 0.5,
    "ideal": START,
    "image_weights": START,
    "images": IMAGES,
    "initial_momentum": 0.1,
    "initial_weights": START,
    "kernel": PowerLaw(1.0),
    "kernels": [PowerLaw(1.0)],
    "learning_rate": 0.1,
    "loadings": POPULATION.loadings,
    "logit_scale": 1.0,
    "metric": "data",
    "momentum": 0.9,
    "noise": 0.5,
    "pairs": 10,
    "problem": PROBLEM,
    "product": TOWERS.cross_covariance,
    "teacher_curvature": 0.9,
    "teacher_curvatures": np.array([0.5, 0.5]),
    "rank": 1,
    "replacement": False,
    "samples": 10,
    "schedule": cosine(5),
    "second_moment": PROBLEM.second_moment,
    "seed": 0,
    "share": 0.5,
    "singular_value": 1.0,
    "sizes": np.array([0.1, 0.1]),
    "spectrum": "decades",
    "start": 0.1,
    "step": 2,
    "steps": 3,
    "stepping": Stepping(0.1, Clock(5), Uniform()),
    "strategy": Distillation(0.5),
    "strength": 0.5,
    "subspace": PROBLEM.task_subspace,
    "t": 3,
    "target": TOWERS.cross_covariance,
    "teacher_rate": 1.0,
    "text_weights": RNG.standard_normal((3, 3)),
    "texts": TEXTS,
    "time": 1.0,
    "times": np.array([0.0, 1.0]),
    "tolerated": 0.5,
    "total_steps": 5,
    "update": 2,
    "update_every": 2,
    "updates": np.array([1, 2]),
    "vectors": 3,
    "warmup_progress": 0.1,
    "warmup_steps": 1,
    "weight_decay": 0.1,
    "weighting": "pdf",
    "weights": START,
    "x": 0.5,
    "y": 1.0,
}
ELSEWHERE: dict[str, dict[str, Any]] = {
    "Exponential": {"time_constant_progress": None, "momentum": 0.9},
    "Linearisation.logit_change": {"weights": 2 * START},
    "Linearisation.true_optimum": {"strength": 0.5},
    "Problem": {"pairs": None},
    "TwoTowers": {"cross_covariance": TOWERS.cross_covariance},
    "TwoTowers.loss": {"weights": TOWERS.cross_covariance},
    "design_rules.largest_strength": {"tolerated": 0.85},
    "design_rules.measure": {"distillation": Distillation(0.5), "schedule": schedules.constant},
    "design_rules.momentum_of_equal_residual": {"distillation": Distillation(0.5), "steps": 30},
    "design_rules.smallest_exponent": {"tolerated": 0.2, "learning_rate": 0.5, "steps": 30},
    "gradient_descent.gradient_descent": {"steps": 5},
    "limits.limit": {"strategy": EMA},
    "modes.teacher_spectrum": {"distillation": Distillation(0.5)},
    "stability.max_learning_rate": {"strategy": Distillation(0.5, Exponential(time_constant_progress=0.5))},
    "stability.resonates": {"clock": Clock(4, 2), "strategy": Distillation(0.5, Exponential(0.9))},
}
"""Arguments whose sound values are others than `SOUND` has."""
KERNELS = {
    "Static": Static(),
    "Exponential": Exponential(0.9),
    "warmed Exponential": Exponential(0.9, warmup_progress=0.5),
    "PowerLaw": PowerLaw(0.5),
    "Uniform": Uniform(),
    "Beta": Beta(),
    "Beta by density": Beta(weighting="pdf"),
    "IndexedByUpdates": update_indexed.UpdateIndexed(Beta()),
}
ASKS_FOR_A_DEFAULT = {
    ("Exponential", "momentum"),
    ("Problem", "samples"),
    ("limits.limit", "learning_rate"),
    ("stability.max_learning_rate", "total_steps"),
    *((f"{name}.{method}", "update") for name in KERNELS for method in ("weights", "anchor_weight", "mean_age")),
}
OF_NO_TIMES = {("recursion.propagate", "steps")}
"""Of no times there are no weights, which is an answer; so it is for every `t` of a path."""
ANY_SHAPE = {("Subspace.task", "weights"), ("Subspace.orthogonal", "weights")} | {(f"{name}.rates", "updates") for name in KERNELS}
MODULES = (
    *(f"closed_forms.{name}" for name in ("beta_means", "ema", "ema_roots", "stiffness", "wma")),
    *("design_rules", "geometry", "gradient_descent", "gradient_flow", "limits", "modes", "proximal", "stability", "two_towers"),
)
CLASSES = [*(getattr(theory, name) for name in theory.__all__), Stepping, Clock, Exponential, PowerLaw, Beta, schedules.Cosine]
NOT_CONSTRUCTED = {"Geometry", "Metric", "ProximalPath", "Risk", "Strategy", "Moments", "Parameter", "WeightPath"}
"""Of these a user constructs none, or without a number."""
OBJECTS = KERNELS | {
    "Clock": Clock(4, 2),
    "Cosine": cosine(5, 1),
    "Problem": PROBLEM,
    "Population": POPULATION,
    "Moments": MOMENTS,
    "TwoTowers": TOWERS,
    "Linearisation": Linearisation(IMAGES, TEXTS, START, 1.0, 0.5),
    "Subspace": PROBLEM.task_subspace,
    "Stepping": SOUND["stepping"],
    "gradient_descent": theory.gradient_descent(PROBLEM, Distillation(0.5), **RUN),
    "coupled": theory.gradient_descent(PROBLEM, EMA, **RUN),
    "flow": theory.gradient_flow(PROBLEM, Distillation(0.5), duration=5.0),
    "quadratic": theory.gradient_descent(Linearisation(IMAGES, TEXTS, START, 1.0), theory.L2SP(0.5), **RUN),
    "logistic": theory.gradient_flow(
        TwoTowers.balanced(TOWERS.cross_covariance, np.array([0.1, 0.1])), theory.L2SP(0.5), duration=5.0
    ),
    "proximal": theory.proximal(PROBLEM, Distillation(0.5), steps=5),
}
WITHOUT_NUMBERS = {
    "TowerMaps",
    "geometry.error_left",
    "geometry.error_share",
    "geometry.fitting",
    "geometry.share_beyond_round_off",
    "gradient_descent.descent_of",
    "gradient_flow.flow_of",
    "gradient_flow.hazard",
    "limits.end_of",
    "modes.modes_of",
    "Problem.from_chunks",
    "Moments.of",
    "Stepping.rates",
    "Stepping.learning_rates",
    "Stepping.schedule",
    *(f"{path}.{told}" for path in ("quadratic", "logistic") for told in ("geometry", "forgetting", "ood_risk")),
}
"""Those that take chunks, which `add` checks one by one, those whose arguments others have checked (`propagate`, paths),
and what is told of a `Problem` alone."""
NONSENSE = {
    "nan": np.nan,
    "infinity": np.inf,
    "minus infinity": -np.inf,
    "complex": 1j,
    "text": "1",
    "true": True,
    "none": None,
    "object": object(),
    "array of objects": np.array([object()]),
    "nothing": [],
    "ragged": [[1.0], [1.0, 2.0]],
    "array of nan": np.array([np.nan]),
}
DAMAGES: dict[str, Callable[[np.ndarray], Any]] = {
    "one nan": lambda array: np.where(np.arange(array.size).reshape(array.shape) == 1, np.nan, array),
    "one infinity": lambda array: np.where(np.arange(array.size).reshape(array.shape) == 1, np.inf, array),
    "complex": lambda array: array + 0j,
    "objects": lambda array: array.astype(object),
    "texts": lambda array: array.astype(str),
    "one axis more": lambda array: array[None],
}


def functions() -> Iterator[tuple[str, Callable]]:
    """Public functions by the names of module and function."""
    for module in map(import_module, (f"tracer.theory.{name}" for name in MODULES)):
        for name, found in vars(module).items():
            if inspect.isfunction(found) and not name.startswith("_") and found.__module__ == module.__name__:
                yield f"{module.__name__.rpartition('.')[2]}.{name}", found


def methods() -> Iterator[tuple[str, Callable]]:
    """Public methods by the names of object and method."""
    for name, instance in OBJECTS.items():
        for method, found in inspect.getmembers(instance, callable):
            if not method.startswith("_") or (name, method) == ("Cosine", "__call__"):
                yield f"{name}.{method}", found


def arguments(name: str, function: Callable) -> dict[str, Any]:
    """Sound values of the arguments that are called by their names."""
    parameters = [p for p in inspect.signature(function).parameters if p != "kind"]
    return {parameter: ELSEWHERE.get(name, {}).get(parameter, SOUND.get(parameter)) for parameter in parameters}


CONSTRUCTORS = {found.__name__: found for found in CLASSES if inspect.isclass(found) and found.__name__ not in NOT_CONSTRUCTED}
OTHERS = {"recursion.propagate": recursion.propagate}
FOUND = {**dict(functions()), **CONSTRUCTORS, **dict(methods()), **OTHERS}
ALL = {name: found for name, found in FOUND.items() if name not in WITHOUT_NUMBERS and arguments(name, found)}


def nonsense(name: str, argument: str, sound: Any) -> dict[str, Any]:
    """What to try in place of a sound value, by what is wrong with it; nothing for what is no number."""
    place = (name, argument)
    if isinstance(sound, np.ndarray):
        tried = {kind: damage(sound) for kind, damage in DAMAGES.items()} | {"nothing": np.zeros((0,) * sound.ndim)}
        return {kind: value for kind, value in tried.items() if kind != "one axis more" or place not in ANY_SHAPE}
    if not isinstance(sound, int | float) or isinstance(sound, bool):
        return {}
    meant = {"none"} if place in ASKS_FOR_A_DEFAULT else {"nothing"} if place in OF_NO_TIMES or argument == "t" else set()
    return {kind: value for kind, value in NONSENSE.items() if kind not in meant}


def told(function: Callable, given: dict[str, Any]) -> str:
    """How a call is refused."""
    try:
        function(**given)
    except ValueError as error:
        return str(error)
    return ""


PLACES = [
    (name, argument)
    for name, function in ALL.items()
    for argument, sound in arguments(name, function).items()
    if nonsense(name, argument, sound)
]


@pytest.mark.parametrize("name", ALL)
def test_sound_numbers_are_accepted(name):
    """Without this, the test below would pass on functions that refuse everything."""
    given = arguments(name, ALL[name])
    assert given.keys() <= SOUND.keys() | ELSEWHERE.get(name, {}).keys()
    ALL[name](**given)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("name", "argument"), PLACES)
def test_nonsense_is_refused_with_a_sentence(name, argument):
    given = arguments(name, ALL[name])
    answers = {
        kind: told(ALL[name], given | {argument: value}) for kind, value in nonsense(name, argument, given[argument]).items()
    }
    assert [kind for kind, answer in answers.items() if not re.fullmatch(r"[^\n]{15,400}", answer)] == []


def test_there_is_something_to_try():
    assert len(PLACES) > 300
    assert {
        "ema.gap",
        "wma.student",
        "Clock",
        "Beta",
        "gradient_descent.gap",
        "Problem.from_pairs",
        "Cosine.__call__",
    } <= ALL.keys()
