"""The choice of a passive average of a finished run: by accuracy on a validation suite, over a range of mean ages."""

from collections.abc import Callable, Sequence
from typing import Any

from tracer import plotting
from tracer.averaging import Kernel
from tracer.config.loading import load
from tracer.config.schema import EmbeddedSuite, RunConfig
from tracer.data.datasets import Suite
from tracer.errors import UserError
from tracer.evaluation import choice
from tracer.evaluation.report import evaluate
from tracer.runs.averages import CANDIDATES, KeptAverages, Made, kernel_of
from tracer.runs.build import AVERAGES, load_encoder
from tracer.runs.judging import compare, suite_to_judge_on, write_json
from tracer.synthesis import STUDENT


def validation(run: RunConfig, overrides: Sequence[str] = ()) -> Suite:
    """The suite to choose on.

    Args:
        run: a finished run, whose own suite judges what was chosen.
        overrides: keys of its section `evaluation`, which name other images; the embedded world has a validation split.

    Raises:
        UserError: if they do not, or name other settings.
    """
    if others := [text for text in overrides if not text.startswith(("evaluation=", "evaluation."))]:
        raise UserError(f"--choose takes keys of the section evaluation alone, and not {others[0]!r}: leave it out")
    if not overrides and isinstance(run.evaluation, EmbeddedSuite):
        overrides = ["evaluation.split=validation"]
    other = load(run.output / "config.yaml", overrides)
    if other.evaluation == run.evaluation:
        raise UserError(
            "--choose would choose on the images that judge the result, which makes it look better than it is: name others, such as"
            " evaluation.id=photos/validation"
        )
    return suite_to_judge_on(other)


def judge(kept: KeptAverages, suite: Suite, on_judged: Callable[[int], None] = lambda judged: None) -> list[dict[str, Any]]:
    """Judge every candidate (see `averages.CANDIDATES`) that the snapshots can express on a suite.

    Args:
        kept: snapshots of a run, in whose folder of averages choice.json and its figure, .png and .svg, are written.
        suite: what to judge on.
        on_judged: called with the number of averages judged.

    Returns:
        For each average, by falling mean age, the report of `evaluate` with what is told of the average (see `averages.Made`), and
        as `taken` whether it is the one to take on this suite (see `choice.best`).
    """
    kernels = sorted(kept.expressible(CANDIDATES), key=lambda kernel: -kernel.mean_age(kept.clock))
    reports = []
    for judged, kernel in enumerate(kernels, 1):
        made = kept.make(kernel)
        reports.append({**made.told, **evaluate(made.encoder, suite, kept.run.workers)})
        on_judged(judged)
    best = choice.best(reports)
    reports = [{**report, "taken": position == best} for position, report in enumerate(reports)]
    path = kept.folder / "choice"
    write_json(reports, path.with_suffix(".json"))
    plotting.save(plotting.averages(reports), path)
    return reports


def taken(reports: Sequence[dict[str, Any]]) -> Kernel:
    """The kernel of the average to take, of the reports of `judge`."""
    return next(kernel_of(report["kernel"]) for report in reports if report["taken"])


def report(kept: KeptAverages, made: Made, suite: Suite, stage: Callable[[str], None] = lambda what: None) -> dict[str, Any]:
    """The report of an average beside those of the pretrained model and of the last student, `trained` (see `judging.compare`)."""
    run = kept.run
    stage("judging the average")
    pretrained = load_encoder(run) if run.model.pretrained is not None else None
    others = {"trained": kept.make(STUDENT).encoder}
    return compare(run, evaluate(made.encoder, suite, run.workers), suite, pretrained, others, f"{AVERAGES}/evaluation", stage)
