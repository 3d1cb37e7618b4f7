"""What every test runs under: one thread, no network, and hypothesis profiles (dev, ci, deep, mutants)."""

import os
import signal
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

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
