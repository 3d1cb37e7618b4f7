"""Runs that take more than one: what is fine-tuned before a run's own steps, and how many steps that makes."""

from tracer.config.schema import RunConfig
from tracer.strategies import PRESETS


def earlier(run: RunConfig) -> list[RunConfig]:
    """The runs that a run begins with, each whole and resumable in a folder of its own below the run's.

    LP-FT begins with its linear probe; Model Stock with the runs that it merges, whose seeds no other run seed's share.
    """
    preset = PRESETS[run.strategy.name]
    if preset.goes_on_from:
        changes = {"total_steps": run.strategy.probe_steps, "learning_rate": run.strategy.probe_learning_rate}
        optimization = run.optimization.model_copy(update={key: value for key, value in changes.items() if value is not None})
        return [_part(run, preset.goes_on_from, "first").model_copy(update={"optimization": optimization})]
    if preset.merges:
        seeds = [run.seed * run.strategy.models + number for number in range(run.strategy.models)]
        return [_part(run, preset.merges, f"seed-{seed}").model_copy(update={"seed": seed}) for seed in seeds]
    return []


def steps(run: RunConfig) -> int:
    """Optimiser steps of a run, with those of the runs that it begins with."""
    own = run.optimization.total_steps if PRESETS[run.strategy.name].trained else 0
    return own + sum(steps(part) for part in earlier(run))


def _part(run: RunConfig, strategy: str, folder: str) -> RunConfig:
    section = run.strategy.model_copy(update={"name": strategy})
    return run.model_copy(update={"output": run.output / folder, "strategy": section, "evaluation": None})
