"""The comparison that demo and experiments make: every strategy on the embedded world, its settings chosen on validation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer.config.loading import validate
from tracer.config.schema import RunConfig
from tracer.strategies import PRESETS

# Shared by all strategies, the terms by those that have a teacher. The published weight of the feature term, 2000, belongs to 512
# dimensions; here there are 64.
COMMON: dict[str, Any] = {
    "optimization": {"total_steps": 300, "batch_size": 64},
    "strategy": {"terms": {"fd": 250.0}},
    "checkpoint_every_steps": 1000,
    "keep_checkpoints": 1,
}
PUBLISHED_PENALTY = {"cross_projection_norm": 0.05}  # part of the published recipe of distillation
# further images and texts, with terms of the same weight
REPLAY: dict[str, Any] = {"terms": {"fd": 250.0, "text_fd": 250.0}}
# What experiments/tuning chose for each strategy on the validation suite; WiSE-FT interpolates FLYP's run.
CHOSEN: dict[str, dict[str, Any]] = {
    "zero_shot": {},
    "flyp": {"optimization": {"learning_rate": 1e-3}},
    "l2_sp": {"optimization": {"learning_rate": 3e-4}, "strategy": {"strength": 0.3}},
    "static_distillation": {"optimization": {"learning_rate": 3e-4}, "strategy": {"strength": 0.1, **PUBLISHED_PENALTY}},
    "ema_distillation": {"optimization": {"learning_rate": 3e-4}, "strategy": {"strength": 30.0, **PUBLISHED_PENALTY}},
    "tracer": {"optimization": {"learning_rate": 3e-4}, "strategy": {"strength": 0.9, **PUBLISHED_PENALTY}},
    "replay_distillation": {"optimization": {"learning_rate": 1e-3}, "replay": REPLAY},
    "wise_ft": {"optimization": {"learning_rate": 1e-3}, "strategy": {"interpolation": 0.4}},
}
# CaRot's published settings in the place of TRACER's: strength 1.5 on the sum of both directions of the KL, of which crd is the
# mean, and a teacher that moves every 500 of 25,020 steps, 2 % of the run.
CAROT: dict[str, Any] = {
    "name": "carot",
    "strength": 1.5,
    "terms": {"crd": 2.0},
    "update_every_steps": COMMON["optimization"]["total_steps"] // 50,
    **PUBLISHED_PENALTY,
}
WISE_FT_CURVE = (0.2, 0.4, 0.6, 0.8)


def configuration(
    method: str,
    pretrained: str,
    seed: int,
    output: Path,
    *,
    split: str = "test",
    optimization: Mapping[str, Any] | None = None,
    strategy: Mapping[str, Any] | None = None,
    replay: Mapping[str, Any] | None = None,
    freeze: Sequence[str] = (),
) -> RunConfig:
    """The run of a strategy from one pretrained checkpoint and fine-tuning seed, in a folder of its own below `output`.

    `optimization` and `strategy` override what was chosen; `replay` adds a section of that name, and `freeze` is the model's.
    """
    chosen = CHOSEN.get(method, {})
    section = {"name": method} | chosen.get("strategy", {}) | (strategy or {})
    if "fd" in PRESETS[section["name"]].terms:
        section = COMMON["strategy"] | section
    values = {
        **COMMON,
        "output": str(output / f"{method}-{Path(pretrained).stem}-{seed}"),
        "seed": seed,
        "model": {"architecture": "glyphs", "pretrained": pretrained, "freeze": [*freeze]},
        "evaluation": {"split": split},
        "optimization": COMMON["optimization"] | chosen.get("optimization", {}) | (optimization or {}),
        "strategy": section,
        "replay": chosen.get("replay") if replay is None else replay,
    }
    return validate(values, "the comparison")


assert set(CHOSEN) <= set(PRESETS)
