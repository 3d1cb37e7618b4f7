"""Models that are judged as a configuration says: on which suite, by which weights, beside which others."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracer.config.schema import RunConfig
from tracer.data.datasets import Suite
from tracer.errors import UserError
from tracer.evaluation import change, choice
from tracer.evaluation.report import evaluate
from tracer.evaluation.report_cache import kept_report
from tracer.models import clip
from tracer.models.dual_encoder import Encoder
from tracer.models.merging import interpolate
from tracer.runs.build import load_encoder
from tracer.storage import content_name, json_text, write_text

if TYPE_CHECKING:
    from tracer.runs.result import Result


def judge(encoder: Encoder, suite: Suite, output: Path, name: str = "evaluation", workers: int = 0) -> dict[str, Any]:
    """The report of a model on a suite (see `evaluate`), also written to NAME.json in `output`."""
    report = evaluate(encoder, suite, workers)
    _write_json(report, output / f"{name}.json")
    return report


def verdict(run: RunConfig, result: "Result", stage: Callable[[str], None] = lambda what: None) -> dict[str, Any] | None:
    """The student's report beside those of the pretrained model and the teacher (see `compare`), told in the model card too.

    None if it was not judged.
    """
    if result.report is None or result.suite is None:
        return None
    anchor = dataclasses.replace(result.student, model=result.anchor, head=None) if run.model.pretrained is not None else None
    whole = compare(run, result.report, result.suite, anchor, result.teacher, stage=stage)
    result.card.write(whole)
    return whole


def compare(
    run: RunConfig,
    report: dict[str, Any],
    suite: Suite,
    pretrained: Encoder | None,
    teacher: Encoder | None = None,
    name: str = "evaluation",
    stage: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """A student's report with those of the models that it is compared with (see `change.compared`), also written to NAME.json.

    The pretrained model's is kept in pretrained.json in the run's folder, and taken from there by whoever asks again.
    """
    before = after = None
    if pretrained is not None:
        stage("judging the pretrained model")
        before = kept_report(pretrained, suite, run.output / "pretrained.json", run.workers)
    if teacher is not None:
        stage("judging the teacher")
        after = evaluate(teacher, suite, run.workers)
    whole = change.compared(report, before, after)
    _write_json(whole, run.output / f"{name}.json")
    return whole


def judge_interpolations(
    run: RunConfig,
    weights: Path,
    coefficients: Sequence[float],
    suite: Suite,
    on_judged: Callable[[int], None] = lambda judged: None,
) -> list[dict[str, Any]]:
    """Judge every interpolation between the pretrained and fine-tuned weights on a suite (WiSE-FT, arXiv 2109.01903).

    Args:
        run: names the model and the output folder, where interpolations-NAME.json is written (for NAME see `storage.content_name`).
        weights: the fine-tuned weights.
        coefficients: shares of the fine-tuned weights, in [0, 1].
        suite: what to judge on.
        on_judged: called with the number of interpolations judged.

    Returns:
        For each coefficient the report of `evaluate`, with the coefficient as `interpolation` and whether it is the one to take
        on this suite (see `choice.best`) as `taken`.

    Raises:
        UserError: if there are no pretrained weights, or the weights do not fit the model or want images otherwise.
    """
    if run.model.pretrained is None:
        raise UserError("model.pretrained is null, so there are no pretrained weights to interpolate with: name them")
    anchor, student = load_encoder(run), load_encoder(run, weights)
    clip.require_same_preprocessing(anchor.model, student.model)
    reports = []
    for judged, coefficient in enumerate(coefficients, 1):
        mixed = dataclasses.replace(student, model=interpolate(anchor.model, student.model, coefficient))
        reports.append({"interpolation": coefficient, **evaluate(mixed, suite, run.workers)})
        on_judged(judged)
    taken = choice.best(reports)
    reports = [{**report, "taken": position == taken} for position, report in enumerate(reports)]
    _write_json(reports, run.output / f"interpolations-{content_name(weights)}.json")
    return reports


def _write_json(values: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json_text(values))
