"""What commands show on a terminal: progress bars and tables."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tracer.data.images import CorruptSample

SHOWN = 3  # corrupt pairs named on the terminal

console = Console()
MEASURES = ("accuracy", "macro F1", "ECE", "NLL (nats)", "Brier")


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar; it gives a function that takes the number of steps done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def report(judged: dict[str, Any] | None, output: Path) -> None:
    """The table of an evaluation, in percent, and where it was written."""
    if judged is not None:
        table = _table("set", "images", *MEASURES)
        for name, row in judged["sets"].items():
            few = row["classes"] < row["label_space"]
            classes = f" ({row['classes']} of {row['label_space']} classes)" if few else ""
            table.add_row(f"{name}{classes}", str(row["count"]), *_cells(row))
        for name in ("ood", "knowledge"):
            if judged[name]:
                table.add_row(f"mean of {name}", "", *_cells(judged[name]), style="bold")
        console.print(table)
    console.print(f"written to {output}")


def interpolations(reports: Sequence[dict[str, Any]], output: Path) -> None:
    """The table of interpolated weights, in percent, and where it was written."""
    table = _table("fine-tuned share", "set", *MEASURES)
    for report in reports:
        table.add_row(f"{report['interpolation']:g}", "id", *_cells(report["id"]))
        table.add_row("", "mean of ood", *_cells(report["ood"]), style="bold")
    console.print(table)
    console.print(f"written to {output}")


def _table(first: str, *others: str) -> Table:
    table = Table(title="percent", title_justify="left")
    table.add_column(first)
    for heading in others:
        table.add_column(heading, justify="right")
    return table


def skipped(corrupt: Sequence[CorruptSample], path: Path) -> None:
    """The first corrupt training pairs that were passed over, if there were any, and the file that lists all."""
    if corrupt:
        first = "; ".join(f"{error.sample} ({error.reason})" for error in corrupt[:SHOWN])
        further = f" and {len(corrupt) - SHOWN} more" if len(corrupt) > SHOWN else ""
        console.print(
            f"passed over {len(corrupt)} corrupt training pairs: {first}{further}; {path} lists them", markup=False, soft_wrap=True
        )


def _cells(row: dict[str, float]) -> list[str]:
    percents = [f"{100 * row[name]:.1f}" for name in ("accuracy", "macro_f1", "ece")]
    return [*percents, f"{row['nll']:.3f}", f"{row['brier']:.3f}"]
