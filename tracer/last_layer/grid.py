"""The settings that a prediction compares: every strategy at several strengths and learning rates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tracer.config import loading
from tracer.config.replay import ReplaySection
from tracer.config.schema import RunConfig
from tracer.errors import UserError
from tracer.runs import sweep
from tracer.strategies import PRESETS

RATES = (1 / 3, 1.0, 3.0)  # of the configuration's learning rate
STRENGTHS: dict[str, tuple[dict[str, Any], ...]] = {
    "flyp": ({},),
    "wise_ft": tuple({"strategy": {"interpolation": share}} for share in (0.3, 0.5, 0.7)),
    "l2_sp": tuple({"strategy": {"strength": strength}} for strength in (0.003, 0.03, 0.3, 3.0)),
    "static_distillation": tuple({"strategy": {"strength": strength}} for strength in (0.03, 0.1, 0.3, 0.9)),
    "ema_distillation": tuple({"strategy": {"strength": strength}} for strength in (0.9, 3.0, 30.0)),
    "tracer": tuple({"strategy": {"strength": strength}} for strength in (0.3, 0.9, 3.0, 10.0)),
    "replay_distillation": tuple({"replay": {"strength": strength}} for strength in (0.1, 1.0, 10.0)),
}
"""What is varied of each strategy, by sections of the configuration."""
SHARED = ("model", "data", "evaluation", "validation")


def settings(run: RunConfig) -> list[RunConfig]:
    """Runs that differ from one in strategy, strength and learning rate alone; what is replayed, in replay's own alone.

    Of the strategy's section, terms and penalties that were written are kept where a strategy uses them.
    """
    return [_with(run, name, changes, rate) for rate in RATES for name, variants in STRENGTHS.items() for changes in variants]


def of_sweep(path: Path) -> tuple[RunConfig, list[RunConfig]]:
    """The run that features are gathered for, and the settings of a sweep's file; of repetitions the first alone.

    Raises:
        UserError: as `sweep.load` does, or if settings differ in model, data, suites, or the images or texts that they replay, of
            which features are gathered once.
    """
    plan, points = sweep.load(path)
    runs = [point.runs[0] for point in points]
    for name in SHARED:
        _require_one(path, name, [getattr(run, name) for run in runs])
    first = next((run for run in runs if run.replay), runs[0])
    return first.model_copy(update={"output": plan.output, "replay": _replayed(path, runs)}), runs


def _replayed(path: Path, runs: Sequence[RunConfig]) -> ReplaySection | None:
    """The images and texts that some of the runs replay, and the others not or the same."""
    sections = [run.replay for run in runs if run.replay]
    if not sections:
        return None
    found: dict[str, Any] = {
        "images_per_step": max(run.images_replayed for run in runs) or None,
        "texts_per_step": max(run.texts_replayed for run in runs) or None,
    }
    for name in ("images", "texts"):
        named = [value for section in sections if (value := getattr(section, name)) is not None]
        _require_one(path, f"replay.{name}", named)
        found[name] = named[0] if named else None
    return sections[0].model_copy(update=found)


def _require_one(path: Path, name: str, values: Sequence[Any]) -> None:
    if any(value != values[0] for value in values):
        raise UserError(f"{path}: a prediction gathers features once, and settings differ in {name}: make a sweep of each")


def _with(run: RunConfig, name: str, changes: dict[str, Any], rate: float) -> RunConfig:
    written = run.model_dump(mode="json", exclude_unset=True, exclude={"average", "replay", "strategy"})
    values = {**written, **_averages(run), "strategy": {**_used(run, name), "name": name, **changes.get("strategy", {})}}
    if "replay" in changes:
        replay = run.replay.model_dump(mode="json", exclude_unset=True) if run.replay else {}
        values["replay"] = {**replay, **changes["replay"]}
    learning_rate = float(f"{rate * run.optimization.learning_rate:.4g}")
    values["optimization"] = {**values.get("optimization", {}), "learning_rate": learning_rate}
    return loading.validate(values, f"{name} in the prediction")


def _averages(run: RunConfig) -> dict[str, Any]:
    """What is written of the section `average` as far as it needs no strategy that averages by itself."""
    average = run.average
    if average.kernel is None and not average.snapshots:
        return {}
    exclude = set() if average.kernel else {"as_result"}
    return {"average": average.model_dump(mode="json", exclude_unset=True, exclude=exclude)}


def _used(run: RunConfig, name: str) -> dict[str, Any]:
    """What is written of the strategy's section that another strategy uses too."""
    used = PRESETS[name].settings
    written = run.strategy.model_dump(mode="json", exclude_unset=True, exclude={"name", "strength", "interpolation", "kernel"})
    terms = {term: weight for term, weight in written.pop("terms", {}).items() if f"terms.{term}" in used}
    return {key: value for key, value in written.items() if key in used} | ({"terms": terms} if terms else {})
