"""What the theory and its figures are computed with: who asks for numbers does not wait for torch, sympy or matplotlib."""

import subprocess
import sys

import pytest

HEAVY = {"accelerate", "matplotlib", "open_clip", "sympy", "torch", "torchvision"}
FIGURES = [f"tracer.plotting.{name}" for name in ("agreement", "forces", "fronts", "persistence", "plane")]


def imported_with(module: str) -> set[str]:
    """The heavy packages that a fresh interpreter has imported once it has imported a module."""
    code = f"import sys, {module}; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return HEAVY & set(printed.split())


@pytest.mark.parametrize(
    "module", ["tracer.theory", "tracer.theory.design_rules", "tracer.averaging", "tracer.schedules", "tracer.crosscheck.gaps"]
)
def test_numbers_need_none_of_them(module):
    assert imported_with(module) == set()


@pytest.mark.parametrize("module", FIGURES)
def test_figures_of_the_theory_need_matplotlib_alone(module):
    assert imported_with(module) == {"matplotlib"}


def test_the_trainer_needs_torch():
    assert "torch" in imported_with("tracer.crosscheck.training")
