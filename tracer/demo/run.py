"""The demonstration: every strategy on the embedded world, from several pretrained models, with a page of pictures."""

from pathlib import Path
from typing import Any

from tracer import plotting
from tracer.demo import report, settings
from tracer.demo.pretrain import RECIPES, pretrain
from tracer.demo.settings import CHOSEN
from tracer.errors import UserError
from tracer.evaluation import across_runs
from tracer.evaluation.across_runs import Row
from tracer.runs import lock
from tracer.runs.jobs import Job, run_all
from tracer.storage import json_text, write_text
from tracer.terminal.console import console, progress, say
from tracer.toy import world
from tracer.toy.small_clip import ARCHITECTURE, shipped

PROCESSES = 2


def demo(output: Path, seeds: int, steps: int | None, pretrained_anew: bool) -> None:
    """Fine-tune with every strategy, print the comparison and write results.json, figures and report.html into `output`.

    Args:
        output: the folder; runs are kept in it too, and a second call goes on from them.
        seeds: pairs of a pretrained model and a fine-tuning seed.
        steps: optimiser steps a run; None takes the comparison's own.
        pretrained_anew: pretrain the models here instead of using the shipped ones.

    Raises:
        UserError: if more seeds are asked for than models are shipped, for fewer steps than one, or if runs fail.
    """
    if steps is not None and steps < 1:
        raise UserError(f"--steps is {steps}: choose at least 1, or leave it out")
    available = len(shipped())
    if seeds < 1 or (seeds > available and not pretrained_anew):
        raise UserError(
            f"--seeds is {seeds}, but {available} pretrained models are shipped: choose 1 to {available}, or --pretrain"
        )
    with lock.held(output):
        _demo(output, seeds, steps, pretrained_anew)


def _demo(output: Path, seeds: int, steps: int | None, pretrained_anew: bool) -> None:
    models = _pretrained(output, seeds) if pretrained_anew else shipped()[:seeds]
    steps = settings.COMMON["optimization"]["total_steps"] if steps is None else steps
    jobs = _jobs(output / "runs" / f"{steps}-steps", models, {"total_steps": steps})
    with progress(f"{len(jobs)} fine-tuning runs", sum(job.steps for job in jobs)) as advance:
        rows = run_all(jobs, PROCESSES, advance)
    figures = {
        "trade_off": plotting.trade_off(rows),
        "reliability": plotting.reliability(_at_chosen(rows)),
        "gaps": plotting.gaps(rows),
        "samples": plotting.samples(world.suite("test")),
    }
    paths = {name: plotting.save(figure, output / name) for name, figure in figures.items()}
    summary = across_runs.summary(_at_chosen(rows))
    results = {"table": {m: {n: i._asdict() for n, i in values.items()} for m, values in summary.items()}, "rows": rows}
    write_text(output / "results.json", json_text(results))
    cells = report.cells(summary)
    write_text(output / "report.html", report.page(cells, paths, len(models), jobs))
    console.print(report.printed(cells))
    spread = f"mean ± 95 % interval over {len(models)} pretrained models" if len(models) > 1 else "of one pretrained model"
    say(f"Percent, {spread}; kept: of FLYP's loss.")
    say(f"Pictures: {output / 'report.html'}")


def _pretrained(output: Path, seeds: int) -> list[str]:
    """Paths of freshly pretrained models."""
    paths = [output / f"glyphs-{seed}.safetensors" for seed in range(seeds)]
    for seed, path in enumerate(paths):
        if not path.exists():
            with progress(f"pretraining, seed {seed}", RECIPES[ARCHITECTURE].steps) as advance:
                pretrain(seed, path, on_step=advance)
    return [str(path) for path in paths]


def _jobs(folder: Path, models: list[str], optimization: dict[str, Any]) -> list[Job]:
    coefficients = tuple(sorted({*settings.WISE_FT_CURVE, CHOSEN["wise_ft"]["strategy"]["interpolation"]}))
    jobs = []
    for seed, pretrained in enumerate(models):
        for method in CHOSEN:
            if method != "wise_ft":  # it is FLYP's run, interpolated
                run = settings.configuration(method, pretrained, seed, folder, optimization=optimization)
                jobs.append(Job(run, coefficients if method == "flyp" else ()))
    return jobs


def _at_chosen(rows: list[Row]) -> list[Row]:
    """The rows without WiSE-FT's curve, of which only the chosen coefficient stays."""
    return [row for row in rows if row["method"] != "wise_ft" or row["strength"] == CHOSEN["wise_ft"]["strategy"]["interpolation"]]
