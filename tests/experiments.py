"""The modules of an experiment's folder, as its script imports them."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest


@contextmanager
def imported(experiment: str, *names: str) -> Iterator[dict[str, ModuleType]]:
    """Modules by name; they are forgotten afterwards, since experiments share names such as `run`."""
    folder = Path(__file__).parents[1] / "experiments" / experiment
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield {name: importlib.import_module(name) for name in names}
    for name in [name for name, module in sys.modules.items() if str(getattr(module, "__file__", "")).startswith(f"{folder}/")]:
        del sys.modules[name]
