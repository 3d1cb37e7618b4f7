"""What is meant where nothing is said: the same everywhere that an argument has its name, and what the papers have."""

import inspect

import pytest

from tests.theory.test_numbers import CLASSES, FOUND
from tracer.averaging import Beta
from tracer.schedules import constant

DEFAULTS = {
    "a": 0.5,
    "allow_unstable": False,
    "alpha": 0.0,
    "b": 0.5,
    "embedding_penalty": 1.0,
    "heavy_ball": 0.0,
    "initial_momentum": 0.0,
    "kernel": Beta(0.5, 0.5),
    "metric": "data",
    "noise": 0.5,
    "replacement": False,
    "schedule": constant,
    "seed": 0,
    "strength": 0.0,
    "update_every": 1,
    "vectors": 20,
    "warmup_progress": 0.0,
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "weighting": "cdf",
}
ELSEWHERE = {("Linearisation", "embedding_penalty"): 0.0}  # the true loss needs none
ALL = FOUND | {found.__name__: found for found in CLASSES if inspect.isclass(found)}
GIVEN = [
    (name, argument.name, argument.default)
    for name, found in ALL.items()
    for argument in inspect.signature(found).parameters.values()
    if argument.default not in (argument.empty, None) and argument.name != "kind"
]


@pytest.mark.parametrize(("name", "argument", "default"), GIVEN, ids=lambda value: value if isinstance(value, str) else "")
def test_is_the_one_of_that_name(name, argument, default):
    expected = ELSEWHERE.get((name, argument), DEFAULTS[argument])
    assert default == expected
    assert type(default) is type(expected)


def test_every_default_is_in_use():
    assert DEFAULTS.keys() == {argument for _, argument, _ in GIVEN}
