"""The choice of a passive average of a finished run: by accuracy on a validation suite, over a range of mean ages."""

from collections.abc import Callable, Sequence
from typing import Any

from tracer import plotting
from tracer.averaging import Kernel
from tracer.config.loading import load
from tracer.data.datasets import Suite
from tracer.errors import UserError
from tracer.evaluation import choice
from tracer.evaluation.report import evaluate
from tracer.runs import run_folder, validation
from tracer.runs.averages import CANDIDATES, KeptAverages, Made, kernel_of
from tracer.runs.build import AVERAGES, load_encoder
from tracer.runs.judging import compare, write_json
from tracer.synthesis import STUDENT

JUDGED = tuple(f"{section}{sign}" for section in ("validation", "evaluation") for sign in "=.")


def suites(kept: KeptAverages, overrides: Sequence[str] = (), same_images: bool = False) -> tuple[Suite, Suite]:
    """The suite to choose on and the suite to report on, of a run's sections `validation` and `evaluation`.

    Args:
        kept: snapshots of the run.
        overrides: keys of these two sections that the run lacks, or has otherwise.
        same_images: as in `validation.suites`.

    Raises:
        UserError: for keys of others, or as `validation.suites` does.
    """
    if others := [text for text in overrides if not text.startswith(JUDGED)]:
        raise UserError(f"--choose takes keys of validation and evaluation alone, and not {others[0]!r}: leave it out")
    return validation.suites(load(kept.run.output / run_folder.CONFIGURATION, overrides), same_images)


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
