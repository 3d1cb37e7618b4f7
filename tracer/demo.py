"""The demonstration: every strategy on the embedded world, from several pretrained models, with a page of pictures."""

import base64
import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from rich import box
from rich.table import Table

from tracer import comparison, lock, plotting
from tracer.comparison import CHOSEN, MEASURES
from tracer.console import console, progress, say
from tracer.data import world
from tracer.errors import UserError
from tracer.evaluation.intervals import Interval
from tracer.models.glyphs import shipped
from tracer.pretrain import STEPS as PRETRAINING_STEPS
from tracer.pretrain import pretrain
from tracer.storage import json_text, write_text
from tracer.strategies import STRATEGIES
from tracer.study import Job, Row, study

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
    steps = comparison.COMMON["optimization"]["total_steps"] if steps is None else steps
    jobs = _jobs(output / "runs" / f"{steps}-steps", models, {"total_steps": steps})
    with progress(f"{len(jobs)} fine-tuning runs", sum(job.steps for job in jobs)) as advance:
        rows = study(jobs, PROCESSES, advance)
    figures = {
        "trade_off": plotting.trade_off(rows),
        "reliability": plotting.reliability(_at_chosen(rows)),
        "gaps": plotting.gaps(rows),
        "samples": plotting.samples(world.suite("test")),
    }
    paths = {name: plotting.save(figure, output / name) for name, figure in figures.items()}
    summary = comparison.table(_at_chosen(rows))
    results = {"table": {m: {n: i._asdict() for n, i in values.items()} for m, values in summary.items()}, "rows": rows}
    write_text(output / "results.json", json_text(results))
    cells = _cells(summary)
    (output / "report.html").write_text(_page(cells, paths, len(models), jobs), encoding="utf-8")
    console.print(_printed(cells))
    spread = f"mean ± 95 % interval over {len(models)} pretrained models" if len(models) > 1 else "of one pretrained model"
    say(f"Percent, {spread}; kept: of FLYP's loss.")
    say(f"Pictures: {output / 'report.html'}")


def _pretrained(output: Path, seeds: int) -> list[str]:
    """Paths of freshly pretrained models."""
    paths = [output / f"glyphs-{seed}.safetensors" for seed in range(seeds)]
    for seed, path in enumerate(paths):
        if not path.exists():
            with progress(f"pretraining, seed {seed}", PRETRAINING_STEPS) as advance:
                pretrain(seed, path, on_step=advance)
    return [str(path) for path in paths]


def _jobs(folder: Path, models: list[str], optimization: dict[str, Any]) -> list[Job]:
    coefficients = tuple(sorted({*comparison.WISE_FT_CURVE, CHOSEN["wise_ft"]["strategy"]["interpolation"]}))
    jobs = []
    for seed, pretrained in enumerate(models):
        for method in CHOSEN:
            if method != "wise_ft":  # it is FLYP's run, interpolated
                run = comparison.configuration(method, pretrained, seed, folder, optimization=optimization)
                jobs.append(Job(run, coefficients if method == "flyp" else ()))
    return jobs


def _at_chosen(rows: list[Row]) -> list[Row]:
    """The rows without WiSE-FT's curve, of which only the chosen coefficient stays."""
    return [row for row in rows if row["method"] != "wise_ft" or row["strength"] == CHOSEN["wise_ft"]["strategy"]["interpolation"]]


def _cells(summary: dict[str, dict[str, Interval]]) -> list[list[str]]:
    """The table in percent: a heading, then a line a strategy."""
    lines = [["strategy", *MEASURES, "kept"]]
    for method in CHOSEN:
        kept = comparison.kept_knowledge(summary, method)
        values = [
            f"{100 * mean:.1f}" if math.isnan(half) else f"{100 * mean:.1f}±{100 * half:.1f}"
            for mean, half in summary[method].values()
        ]
        lines.append([method, *values, "-" if math.isnan(kept) else f"{100 * kept:.0f}"])
    return lines


def _printed(cells: list[list[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, heading in enumerate(cells[0]):
        table.add_column(heading, justify="right" if number else "left", no_wrap=not number)
    for line in cells[1:]:
        table.add_row(*line, style="bold" if line[0] == "tracer" else None)
    return table


def _page(cells: list[list[str]], figures: dict[str, Path], models: int, jobs: list[Job]) -> str:
    pictures = {name: base64.b64encode(path.read_bytes()).decode() for name, path in figures.items()}
    template = Environment(loader=PackageLoader("tracer"), autoescape=True).get_template("report.html")
    optimization, compared = jobs[0].run.optimization, {name: STRATEGIES[name] for name in CHOSEN}
    return template.render(cells=cells, pictures=pictures, models=models, optimization=optimization, strategies=compared)
