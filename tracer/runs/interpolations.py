"""Interpolations between pretrained and fine-tuned weights (WiSE-FT), judged on a suite."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tracer import plotting
from tracer.config.schema import RunConfig
from tracer.data.datasets import Suite
from tracer.errors import UserError
from tracer.evaluation import choice
from tracer.evaluation.report import evaluate
from tracer.models import clip
from tracer.models.merging import interpolate
from tracer.runs.build import load_encoder
from tracer.runs.judging import write_json
from tracer.storage import name_for


def judge(
    run: RunConfig,
    weights: Path,
    coefficients: Sequence[float],
    suite: Suite,
    on_judged: Callable[[int], None] = lambda judged: None,
) -> list[dict[str, Any]]:
    """Judge every interpolation between the pretrained and fine-tuned weights on a suite (WiSE-FT, arXiv 2109.01903).

    Args:
        run: names the model and the output folder, where interpolations-NAME.json and its figure, .png and .svg, are written (for
            NAME see `storage.content_name`).
        weights: the fine-tuned weights.
        coefficients: shares of the fine-tuned weights, in [0, 1].
        suite: what to judge on.
        on_judged: called with the number of interpolations judged.

    Returns:
        For each coefficient the report of `evaluate`, with the coefficient as `interpolation` and whether it is the one to take
        on this suite (see `choice.best`) as `taken`.

    Raises:
        UserError: as `require_both_ends` does, or if the weights do not fit the model or want images otherwise.
    """
    require_both_ends(run, suite)
    anchor, student = load_encoder(run), load_encoder(run, weights)
    clip.require_same_preprocessing(anchor.model, student.model)
    reports = []
    for judged, coefficient in enumerate(coefficients, 1):
        mixed = dataclasses.replace(student, model=interpolate(anchor.model, student.model, coefficient))
        reports.append({"interpolation": coefficient, **evaluate(mixed, suite, run.workers)})
        on_judged(judged)
    taken = choice.best(reports)
    reports = [{**report, "taken": position == taken} for position, report in enumerate(reports)]
    name = name_for("interpolations", weights)
    write_json(reports, run.output / f"{name}.json")
    plotting.save(plotting.interpolations(reports), run.output / name)
    return reports


def require_both_ends(run: RunConfig, suite: Suite) -> None:
    """What interpolations need: weights at both ends, and shifted sets to weigh against the task.

    Raises:
        UserError: if either is missing.
    """
    if run.model.pretrained is None:
        raise UserError("model.pretrained is null, so there are no pretrained weights to interpolate with: name them")
    if not suite.ood:
        raise UserError("--interpolations compares ID with OOD accuracy, and evaluation has no OOD sets: name some")
