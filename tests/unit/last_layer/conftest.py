"""Runs on the embedded world whose last maps are trained alone, small enough to train whole."""

import pytest

from tracer.config import loading
from tracer.last_layer.features import Listed
from tracer.models import clip
from tracer.models.last_maps import last_map_names
from tracer.runs.sources import suite_of

STEPS = 12


def run_of(folder, strategy="flyp", **values):
    """A run whose optimiser moves the last maps and the logit scale alone."""
    model = clip.create("glyphs", None).model
    trained = {"logit_scale", *last_map_names(model), *last_map_names(model, "text")}
    trained = {name.removeprefix("clip.") for name in trained}
    frozen = [name for name in clip.weights(model) if name in dict(model.clip.named_parameters()) and name not in trained]
    return loading.validate(
        {
            "output": str(folder),
            "model": {"architecture": "glyphs", "pretrained": "0", "freeze": frozen},
            "optimization": {"total_steps": STEPS, "batch_size": 16},
            "evaluation": {"split": "validation"},
            "strategy": {"name": strategy},
            **values,
        },
        "the test",
    )


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Where features are kept for all tests."""
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="session")
def frozen(folder):
    run = run_of(folder, "replay_distillation")
    return Listed.of(run, {"validation": suite_of(run)}, most_pairs=10**6).gather()
