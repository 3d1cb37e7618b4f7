"""The theory, its page and the list of strategies need numpy and scipy alone; every other command says what to install."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import tracer
from tracer.errors import DISTRIBUTION

ROOT = Path(tracer.__file__).parents[1]
COMPUTES = """
import numpy as np
from tracer import theory
from tracer.theory.closed_forms import ema, wma
problem = theory.Problem.from_pairs(np.eye(4, 3), np.eye(4, 2), initial_weights=np.ones((2, 3)))
path = theory.gradient_descent(problem, theory.Distillation(0.9), learning_rate=0.1, steps=20)
print(np.isfinite(path.weights(20)).all())
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Python with no packages but numpy, scipy and this one."""
    folder = tmp_path_factory.mktemp("packages")
    for file in {each.parts[0] for name in ("numpy", "scipy") for each in metadata.files(name) if each.parts[0] != ".."}:
        (folder / file).symlink_to(metadata.distribution("numpy").locate_file(file))

    def python(*arguments):
        command = [sys.executable, "-S", *arguments]  # -S leaves out site-packages
        environment = {"PYTHONPATH": f"{ROOT}:{folder}"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder.parent, timeout=300)

    return python


@pytest.mark.parametrize(
    "statement",
    [
        COMPUTES,
        "import tracer.averaging, tracer.schedules, tracer.synthesis, tracer.theory.design_rules; print(tracer.__version__ > '')",
    ],
    ids=["theory", "averages"],
)
def test_computes(run, statement):
    done = run("-c", statement)
    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["strategies"], ["explore", "--output", "page.html"]], ids=" ".join
)
def test_commands_of_the_theory_work(run, arguments):
    done = run("-m", "tracer", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize(
    "command",
    [["demo"], ["pretrain"], ["train"], ["evaluate"], ["average", "run", "--kernel", "uniform"], ["sweep", "grid.yaml"]],
    ids=" ".join,
)
def test_other_commands_say_what_to_install(run, command):
    done = run("-m", "tracer", *command)
    assert done.returncode == 2
    assert done.stderr.startswith("tracer: the package ")
    assert done.stderr.endswith(f" is not installed: pip install {DISTRIBUTION} brings all that the commands need\n")
