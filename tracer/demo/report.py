"""The demo's table, on a terminal and as a page with pictures."""

import base64
import math
from pathlib import Path

from jinja2 import Environment, PackageLoader
from rich import box
from rich.table import Table

from tracer.demo.settings import CHOSEN
from tracer.evaluation import across_runs
from tracer.evaluation.across_runs import MEASURES
from tracer.evaluation.intervals import Interval
from tracer.runs.jobs import Job
from tracer.strategies import PRESETS


def cells(summary: dict[str, dict[str, Interval]]) -> list[list[str]]:
    """The table in percent: a heading, then a line a strategy."""
    lines = [["strategy", *MEASURES, "kept"]]
    for method in CHOSEN:
        kept = across_runs.kept_knowledge(summary, method)
        values = [
            f"{100 * mean:.1f}" if math.isnan(half) else f"{100 * mean:.1f}±{100 * half:.1f}"
            for mean, half in summary[method].values()
        ]
        lines.append([method, *values, "-" if math.isnan(kept) else f"{100 * kept:.0f}"])
    return lines


def printed(cells: list[list[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, heading in enumerate(cells[0]):
        table.add_column(heading, justify="right" if number else "left", no_wrap=not number)
    for line in cells[1:]:
        table.add_row(*line, style="bold" if line[0] == "tracer" else None)
    return table


def page(cells: list[list[str]], figures: dict[str, Path], models: int, jobs: list[Job]) -> str:
    pictures = {name: base64.b64encode(path.read_bytes()).decode() for name, path in figures.items()}
    template = Environment(loader=PackageLoader("tracer.demo", ""), autoescape=True).get_template("report.html")
    optimization, compared = jobs[0].run.optimization, {name: PRESETS[name] for name in CHOSEN}
    return template.render(cells=cells, pictures=pictures, models=models, optimization=optimization, strategies=compared)
