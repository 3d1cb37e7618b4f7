"""What the theory and the kernels have computed once, and share, nobody may change under them."""

import dataclasses
import importlib
import inspect
import pkgutil

import pytest

from tracer import averaging, schedules, theory

MODULES = [
    importlib.import_module(found.name)
    for found in pkgutil.walk_packages(theory.__path__, "tracer.theory.")
    if ".claims" not in found.name
]
CLASSES = {
    found
    for module in [*MODULES, averaging, schedules]
    for _, found in inspect.getmembers(module, inspect.isclass)
    if found.__module__ == module.__name__ and dataclasses.is_dataclass(found)
}


@pytest.mark.parametrize("found", sorted(CLASSES, key=lambda found: found.__qualname__), ids=lambda found: found.__name__)
def test_fields_cannot_be_set(found):
    blank = object.__new__(found)
    for name in ("another", *(field.name for field in dataclasses.fields(found))):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(blank, name, None)


def test_there_are_such_classes():
    assert {averaging.Beta, schedules.Cosine, theory.Problem, theory.WeightPath, theory.Distillation} <= CLASSES


BY_IDENTITY = {
    "Inputs",
    "Linearisation",
    "Population",
    "Problem",
    "ProximalPath",
    "Subspace",
    "TowerMaps",
    "TwoTowers",
    "WeightPath",
}


def test_what_holds_arrays_is_itself_alone():
    """Arrays are not equal or unequal as a whole; everything else is what its fields are."""
    assert {found.__name__ for found in CLASSES if found.__eq__ is object.__eq__} == BY_IDENTITY


def test_strategies_are_what_their_settings_are():
    distillation = theory.Distillation(0.5, averaging.Beta(), "data")
    assert distillation == theory.Distillation(0.5)
    assert hash(distillation) == hash(theory.Distillation(0.5))
    assert distillation != theory.Distillation(0.9)
    assert distillation != theory.Distillation(0.5, averaging.Static())
    assert distillation != theory.Distillation(0.5, metric="parameter")
    assert theory.L2SP(0.5) != theory.L2SP(0.9)
