"""Models that are judged as a configuration says: on which suite, by which weights, beside which others."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracer.config.schema import RunConfig
from tracer.data.datasets import Suite
from tracer.errors import UserError
from tracer.evaluation import change
from tracer.evaluation.report import evaluate
from tracer.evaluation.report_cache import kept_report
from tracer.models.dual_encoder import Encoder
from tracer.runs import temperatures
from tracer.runs.build import load_encoder
from tracer.runs.sources import suite_of
from tracer.storage import json_text, name_for, write_text

if TYPE_CHECKING:
    from tracer.runs.result import Result


def suite_to_judge_on(run: RunConfig) -> Suite:
    """The suite of a run that is to be judged.

    Raises:
        UserError: if there is none, or as `sources.suite_of` does.
    """
    suite = suite_of(run)
    if suite is None:
        raise UserError("evaluation is null, so there is nothing to judge the model on: name a suite")
    return suite


def judge_saved(
    run: RunConfig, suite: Suite, weights: Path | None, head: Path | None, stage: Callable[[str], None] = lambda what: None
) -> dict[str, Any]:
    """Judge a run's model, with other weights on top and a head if given, beside the pretrained model, if that is another.

    A temperature that was kept for these files (see `temperatures`) is applied to them, and the report has it as `temperature`.

    The report is written to evaluation-NAME-NAME.json in the run's folder (for NAME see `storage.content_name`) or, without such
    files, to evaluation-pretrained.json: evaluation.json there is the run's own.

    Args:
        run: names the model and the output folder.
        suite: what to judge on.
        weights: the fine-tuned weights, if there are any.
        head: the linear head to classify by, if there is one.
        stage: told what begins.

    Raises:
        UserError: if files are absent, damaged or of another model, or images cannot be read.
    """
    stage(f"judging {weights or run.model.pretrained or 'random weights'} on {len(suite.sets())} sets")
    encoder = load_encoder(run, weights, head)
    name = name_for("evaluation", weights, head) if weights or head else "evaluation-pretrained"
    told: dict[str, Any] = {}
    if weights and (kept := temperatures.place(weights, head)).exists():
        told = {"temperature": temperatures.load(kept)}
        encoder = dataclasses.replace(encoder, **told)
        stage(f"its logits are divided by the temperature {encoder.temperature:.4g} of {kept}")
    report = told | evaluate(encoder, suite, run.workers)
    if (weights or head) and run.model.pretrained is not None:
        return compare(run, report, suite, load_encoder(run), name=name, stage=stage)
    write_json(report, run.output / f"{name}.json")
    return report


def judge(encoder: Encoder, suite: Suite, output: Path, name: str = "evaluation", workers: int = 0) -> dict[str, Any]:
    """The report of a model on a suite (see `evaluate`), also written to NAME.json in `output`."""
    report = evaluate(encoder, suite, workers)
    write_json(report, output / f"{name}.json")
    return report


def verdict(run: RunConfig, result: "Result", stage: Callable[[str], None] = lambda what: None) -> dict[str, Any] | None:
    """The student's report beside those of the pretrained model, the teacher and so on (see `compare`), told in the model card too.

    None if it was not judged.
    """
    if result.report is None or result.suite is None:
        return None
    anchor = dataclasses.replace(result.student, model=result.anchor, head=None) if run.model.pretrained is not None else None
    whole = compare(run, result.report, result.suite, anchor, result.others, stage=stage)
    result.card.write(whole)
    return whole


def compare(
    run: RunConfig,
    report: dict[str, Any],
    suite: Suite,
    pretrained: Encoder | None,
    others: Mapping[str, Encoder] | None = None,
    name: str = "evaluation",
    stage: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """A student's report with those of the models that it is compared with (see `change.compared`), also written to NAME.json.

    The pretrained model's is kept in pretrained.json in the run's folder, and taken from there by whoever asks again.
    """
    before, reports = None, {}
    if pretrained is not None:
        stage("judging the pretrained model")
        before = kept_report(pretrained, suite, run.output / "pretrained.json", run.workers)
    for other, encoder in (others or {}).items():
        stage(f"judging the {other}")
        reports[other] = evaluate(encoder, suite, run.workers)
    whole = change.compared(report, before, **reports)
    write_json(whole, run.output / f"{name}.json")
    return whole


def write_json(values: Any, path: Path) -> None:
    """Write a report, in a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json_text(values))
