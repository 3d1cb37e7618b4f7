"""What every test runs under: one thread, no network, and hypothesis profiles (dev, ci, deep, mutants); and in which order."""

import multiprocessing
import os
import re
import signal
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start, too

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings

SLOW_ON_A_BUSY_CORE = [HealthCheck.too_slow]
settings.register_profile("dev", max_examples=25, deadline=None, suppress_health_check=SLOW_ON_A_BUSY_CORE)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True, suppress_health_check=SLOW_ON_A_BUSY_CORE)
settings.register_profile("deep", max_examples=2000, deadline=None, suppress_health_check=SLOW_ON_A_BUSY_CORE)
settings.register_profile(
    "mutants",
    max_examples=10,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=SLOW_ON_A_BUSY_CORE,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))
torch.set_num_threads(1)
multiprocessing.set_forkserver_preload(["tracer.runs.fine_tune"])  # the processes of all studies and sweeps come from one server

LONGEST_FIRST = (
    "tests/test_notebooks.py",
    "tests/crosscheck/test_limits_of_the_theory.py",
    "tests/crosscheck/test_gradient_descent.py",
    "tests/recipes/test_experiments.py",
    "tests/unit/demo/test_demo.py",
    "tests/test_docs.py",
    "tests/unit/runs/test_sweep.py",
)
"""Files that several processes should not come to last, when the others are done."""
ADDRESS = re.compile(r"0x[0-9a-f]{6,}")


def pytest_collection_modifyitems(items):
    """Put the longest first, and refuse names that are others in each process: nobody could run such a test by its name."""
    addresses = [item.nodeid for item in items if ADDRESS.search(item.nodeid)]
    if addresses:
        raise pytest.UsageError("\n".join(["names of tests hold addresses: give their parameters ids", *addresses]))
    place = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.nodeid.split("::")[0], len(place)))


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in what a shell starts in the background; tests of Ctrl-C need it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """Forget Accelerate's process-wide state, so that each test may choose its own precision."""
    yield
    state = sys.modules.get("accelerate.state")
    if state is not None:
        state.AcceleratorState._reset_state(reset_partial_state=True)
        state.GradientState._reset_state()


@pytest.fixture(autouse=True)
def same_random_numbers():
    """Each test starts from the same state of torch's generator, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def architectures(monkeypatch):
    """Make the tiny architectures known to open_clip for the time of a test."""
    from open_clip import factory

    from tests.models import TINY_ARCHITECTURES

    for name, configuration in TINY_ARCHITECTURES.items():
        monkeypatch.setitem(factory._MODEL_CONFIGS, name, configuration)
