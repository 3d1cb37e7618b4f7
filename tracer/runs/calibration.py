"""Calibration of a fine-tuned model: a temperature fitted on one suite's task, what it does shown on another suite."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from tracer import paths
from tracer.config.schema import RunConfig
from tracer.data.datasets import Suite
from tracer.evaluation import report, temperature
from tracer.evaluation.zero_shot import logits
from tracer.runs import temperatures, validation
from tracer.runs.build import load_encoder
from tracer.runs.judging import write_json
from tracer.storage import name_for

TOLD = 5e-4  # of ECE: what a table in tenths of a percent shows


def calibrate(
    run: RunConfig,
    weights: Path,
    head: Path | None = None,
    same_images: bool = False,
    stage: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """Fit a temperature (see `temperature.fit`) on the task's images of the suite to choose on, and judge it on the other suite.

    The temperature is kept beside the weights (see `temperatures`), and what is returned is written to calibration-NAME.json in the
    run's folder (see `storage.name_for`).

    Args:
        run: names the model, the suites (see `validation.suites`) and the output folder.
        weights: the fine-tuned weights.
        head: the linear head to classify by, if there is one.
        same_images: as in `validation.suites`.
        stage: told what begins.

    Returns:
        `temperature`; `kept`, where; `images`, how many it was fitted on, and of which `section`; `before` and `after`, reports of
        `evaluate`.

    Raises:
        UserError: if the weights' folder cannot be written to, or as `validation.suites`, `load_encoder` and `temperature.fit` do.
    """
    paths.require_folder(weights.parent, "the folder of --weights")
    chosen_on, reported = validation.suites(run, same_images)
    encoder = load_encoder(run, weights, head)
    task = chosen_on.in_distribution
    section = "evaluation" if chosen_on is reported else "validation"
    stage(f"fitting a temperature on {len(task)} images of {section}")
    fitted = temperature.fit(logits(encoder, task, workers=run.workers), torch.as_tensor(task.labels))
    stage(f"judging {weights} on {len(reported.sets())} sets")
    before, after = before_and_after(report.answers(encoder, reported, run.workers), reported, fitted)
    kept = temperatures.place(weights, head)
    temperatures.save(kept, fitted)
    told = {"temperature": fitted, "kept": str(kept), "images": len(task), "section": section, "before": before, "after": after}
    write_json(told, run.output / f"{name_for('calibration', weights, head)}.json")
    return told


def before_and_after(answers: Mapping[str, torch.Tensor], suite: Suite, fitted: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reports of the logits of every set of a suite as they are, and divided by a temperature."""
    return report.judged(answers, suite), report.judged({name: each / fitted for name, each in answers.items()}, suite)


def verdict(told: Mapping[str, Any]) -> str:
    """Where the temperature hurts: the sets whose calibration error rose, in points."""
    changes = {name: row["ece"] - told["before"]["sets"][name]["ece"] for name, row in told["after"]["sets"].items()}
    worse = [f"{name} (by {100 * change:.1f})" for name, change in changes.items() if change >= TOLD]
    if not worse:
        return "The calibration error rose on no set."
    return f"It hurts on {len(worse)} of {len(changes)} sets, where the calibration error rose, in points: {', '.join(worse)}."
