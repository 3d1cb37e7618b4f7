"""What commands show on a terminal: where they stand, and tables. Names are printed as they are, never read as markup."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tracer.data.images import CorruptSample
from tracer.evaluation.change import verdict
from tracer.terminal.progress import Standing

SHOWN = 3  # corrupt pairs named on the terminal

console = Console()
COLUMNS = ("accuracy", "macro F1", "ECE", "NLL (nats)", "Brier")
KINDS = ("ood", "knowledge")
BESIDE = ("pretrained", "change", "teacher", "average", "trained")  # what stands beside a student's report
TITLES = {"pretrained": "before", "student": "after"}


def progress(what: str, total: int) -> Standing:
    """Where a command with so many steps stands: to be entered, then called with the number of steps done."""
    return Standing(console, what, total)


def report(judged: dict[str, Any] | None, output: Path) -> None:
    """The table of an evaluation, in percent, what changed if a pretrained model was judged too, and where it was written."""
    if judged is not None:
        table = _table("percent", "set", "images", *COLUMNS)
        for name, row in judged["sets"].items():
            few = row["classes"] < row["label_space"]
            classes = f" ({row['classes']} of {row['label_space']} classes)" if few else ""
            table.add_row(Text(f"{name}{classes}"), str(row["count"]), *_cells(row))
        for name in KINDS:
            if judged[name]:
                table.add_row(f"mean of {name}", "", *_cells(judged[name]), style="bold")
        console.print(table)
        if any(model in judged for model in BESIDE):
            _changed(judged)
    say(f"written to {output}")


def _changed(judged: dict[str, Any]) -> None:
    """Accuracy and calibration before and after, and the verdict."""
    columns = _compared_columns(judged)
    reports: dict[str, Any] = {"student": judged}
    reports |= {model: judged[model] for model in BESIDE if model in judged}
    table = _table("accuracy and ECE in percent, changes in points", "set", *columns)
    for name in judged["sets"]:
        table.add_row(Text(name), *_compared(columns, {model: report["sets"][name] for model, report in reports.items()}))
    for kind in KINDS:
        if judged[kind]:
            row = _compared(columns, {model: report[kind] for model, report in reports.items()})
            table.add_row(f"mean of {kind}", *row, style="bold")
    console.print(table)
    say(verdict(judged))


Column = tuple[str, str, str]  # which report, which measure, how it is written


def _compared_columns(judged: Mapping[str, Any]) -> dict[str, Column]:
    """Headings with what stands below them, of the models that were judged."""
    columns: dict[str, Column] = {}
    for heading, measure in (("acc.", "accuracy"), ("ECE", "ece")):
        for model in ("pretrained", "student", *BESIDE[1:]):
            if model == "student" or model in judged:
                columns[f"{heading}\n{TITLES.get(model, model)}"] = model, measure, "{:+.1f}" if model == "change" else "{:.1f}"
    return columns


def _compared(columns: Mapping[str, Column], rows: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The cells of a set, or of a mean over sets, from each report's row of it."""
    return [text.format(100 * rows[model][measure]) for model, measure, text in columns.values()]


def interpolations(reports: Sequence[dict[str, Any]], output: Path) -> None:
    """The table of interpolated weights, in percent, which of them it would take, and where it was written."""
    table = _table("percent, by the share of the fine-tuned weights", "share", "set", *COLUMNS)
    for report in reports:
        share = f"{report['interpolation']:g}{' *' if report['taken'] else ''}"
        table.add_row(share, "id", *_cells(report["id"]))
        for kind in KINDS:
            if report[kind]:
                table.add_row("", f"mean of {kind}", *_cells(report[kind]), style="bold")
    console.print(table)
    (taken,) = (report["interpolation"] for report in reports if report["taken"])
    say(
        f"* {taken:g} has the largest mean of ID, mean OOD and, where it was judged, mean knowledge accuracy. A share chosen on "
        "the images that then judge it looks better than it is: choose it on a validation suite"
    )
    say(f"written to {output}")


def average(told: Mapping[str, Any], output: Path) -> None:
    """How an average was made from snapshots, how far off it can be, and where it was written."""
    negative = told["most_negative"]
    weights = f"the most negative weight of a student is {negative:.1g}" if negative < 0 else "no student's weight is negative"
    say(
        f"an average of mean age {told['mean_age']:.3f} of the run, off by at most {told['bound']:.1e} of the way that the run went"
        f" (about {told['estimate']:.1e} if moves are uncorrelated), by {told['rounding']:.0e} for rounding; {weights}; made from"
        f" snapshots of {told['snapshots'] / 1e6:.3g} MB"
    )
    say(f"written to {output}")


def averages(reports: Sequence[dict[str, Any]]) -> None:
    """The table of a run's averages that were judged, in percent, and which of them it would take."""
    table = _table("percent; age and error as shares of the run", "kernel", "age", "ID", "OOD", "knowledge", "off by at most")
    for report in reports:
        values = [f"{value:g}" if isinstance(value, float) else value for value in report["kernel"].values() if value]
        accuracies = [f"{100 * report[kind]['accuracy']:.1f}" if report[kind] else "" for kind in ("id", *KINDS)]
        name = " ".join([*values, *("*" if report["taken"] else "")])
        table.add_row(Text(name), f"{report['mean_age']:.2f}", *accuracies, f"{report['bound']:.0e}")
    console.print(table)
    say("* has the largest mean of ID, mean OOD and, where it was judged, mean knowledge accuracy")


def skipped(corrupt: Sequence[CorruptSample], path: Path) -> None:
    """The first corrupt training pairs that were passed over, if there were any, and the file that lists all."""
    if corrupt:
        first = "; ".join(f"{error.sample} ({error.reason})" for error in corrupt[:SHOWN])
        further = f" and {len(corrupt) - SHOWN} more" if len(corrupt) > SHOWN else ""
        say(f"passed over {len(corrupt)} corrupt training pairs: {first}{further}; {path} lists them")


def say(text: str) -> None:
    """A sentence, as it is."""
    console.print(text, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def _table(title: str, first: str, *others: str) -> Table:
    """A table whose first column, of names, gives way where the terminal is narrow."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold")
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _cells(row: Mapping[str, float]) -> list[str]:
    percents = [f"{100 * row[name]:.1f}" for name in ("accuracy", "macro_f1", "ece")]
    return [*percents, f"{row['nll']:.3f}", f"{row['brier']:.3f}"]
