"""The import contracts hold, and each kind of breach planted in a copy of the package breaks the contract meant for it."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest
from importlinter import configuration
from importlinter.application import use_cases

import tracer

PACKAGE = Path(tracer.__file__).parent
LAYERS, THEORY_LAYERS, CIRCLES = "layers: ", "layers of the theory", "no circles "
PURE_THEORY, PURE_TRAINING, OPEN_CLIP = "the theory computes without torch", "training knows nothing ", "open_clip is known "
# lines to add by file, and the contracts that they break
BREACHES = {
    "a circle of two packages": ({"models/linear.py": "import tracer.training.losses"}, {LAYERS}),
    "a circle inside a package": (
        {"models/linear.py": "import tracer.models.classifier", "models/classifier.py": "import tracer.models.linear"},
        {CIRCLES},
    ),
    "a module in no layer": ({"orphan.py": ""}, {LAYERS}),
    "a module in no layer of the theory": ({"theory/orphan.py": ""}, {THEORY_LAYERS}),
    "a package in no layer": ({"orphans/__init__.py": ""}, {LAYERS}),
    "an import that is put off": ({"models/linear.py": "def late():\n    import tracer.runs.build"}, {LAYERS}),
    "torch in the theory": ({"theory/path.py": "import torch"}, {PURE_THEORY}),
    "torch behind a module of the theory's": ({"averaging.py": "import torch"}, {PURE_THEORY}),
    "the theory in training": ({"training/losses.py": "import tracer.theory"}, {LAYERS, PURE_TRAINING}),
    "open_clip in training": ({"training/losses.py": "import open_clip"}, {OPEN_CLIP}),
}


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the package, which is found in place of the real one."""
    shutil.copytree(PACKAGE, tmp_path / "tracer", ignore=shutil.ignore_patterns("__pycache__", "checkpoints"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tracer")
    importlib.invalidate_caches()
    return tmp_path / "tracer"


def broken() -> set[str]:
    """Names of the contracts that the package, wherever it is found, does not keep."""
    configuration.configure()
    options = use_cases.read_user_options(str(PACKAGE.parent / "pyproject.toml"))
    use_cases._register_contract_types(options)
    report = use_cases.create_report(options, cache_dir=None)
    assert not report.invalid_contract_options
    return {contract.name for contract, check in report.get_contracts_and_checks() if not check.kept}


def test_the_package_keeps_its_contracts(copy):
    assert broken() == set()


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_noticed(copy, breach):
    planted, expected = BREACHES[breach]
    for name, lines in planted.items():
        (copy / name).parent.mkdir(exist_ok=True)
        with (copy / name).open("a") as file:
            file.write(f"\n{lines}\n")
    found = sorted(broken())
    assert len(found) == len(expected)
    assert all(name.startswith(start) for name, start in zip(found, sorted(expected), strict=True))
