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
        if "pretrained" in judged or "teacher" in judged:
            _changed(judged)
    say(f"written to {output}")


def _changed(judged: dict[str, Any]) -> None:
    """Accuracy and calibration before and after, and the verdict."""
    columns = _compared_columns(judged)
    reports: dict[str, Any] = {"student": judged}
    reports |= {model: judged[model] for model in ("pretrained", "teacher", "change") if model in judged}
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
        for model, title in (("pretrained", "before"), ("student", "after"), ("change", "change"), ("teacher", "teacher")):
            if model == "student" or model in judged:
                columns[f"{heading}\n{title}"] = model, measure, "{:+.1f}" if model == "change" else "{:.1f}"
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


def merges(table: Mapping[str, Any], output: Path) -> None:
    """The table of merged models, in percent, of what it was chosen from, and where it was written."""
    shown = _table("percent", "model", "ID", "OOD", "knowledge", "ID ECE", "OOD ECE", "tried")
    shown.add_column("chosen", overflow="fold")
    for row in table["rows"]:
        judged = row["report"]
        cells = [(kind, "accuracy") for kind in ("id", *KINDS)] + [("id", "ece"), ("ood", "ece")]
        figures = [f"{100 * judged[kind][measure]:.1f}" if judged[kind] else "" for kind, measure in cells]
        chosen = ", ".join(f"{name} {_plainly(value)}" for name, value in row.get("parameters", {}).items())
        shown.add_row(Text(row["name"]), *figures, str(row.get("candidates", "")), Text(chosen))
    console.print(shown)
    say(
        "OOD and knowledge are means over their sets. Each method took, on the validation suite, what has there the largest mean of"
        " ID, mean OOD and, where it was judged, mean knowledge accuracy; this table is of the suite in evaluation"
    )
    say(f"written to {output}")


def _plainly(value: Any) -> str:
    """A parameter of a merging method, in words."""
    if isinstance(value, list):
        return " + ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def calibration(told: Mapping[str, Any], verdict: str, output: Path) -> None:
    """A temperature, calibration before and after it, where it hurts, and where all was written."""
    say(f"temperature {told['temperature']:.4g}, fitted on {told['images']} images of {told['section']}")
    table = _table("ECE in percent, NLL in nats", "set", "ECE\nbefore", "ECE\nafter", "NLL\nbefore", "NLL\nafter")
    for name, (before, after) in _pairs(told["before"], told["after"]).items():
        errors, losses = ([f"{scale * row[key]:.{digits}f}" for row in (before, after)] for key, scale, digits in _CALIBRATION)
        table.add_row(Text(name), *errors, *losses, style="bold" if name.startswith("mean of ") else "")
    console.print(table)
    say(f"{verdict} Accuracy stays as it is; evaluate applies the temperature, open_clip does not")
    say(f"written to {told['kept']} and {output}")


_CALIBRATION = (("ece", 100, 1), ("nll", 1, 3))


def _pairs(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Mapping[str, float], Mapping[str, float]]]:
    """The rows of two reports for each set and each mean."""
    rows = {name: (row, after["sets"][name]) for name, row in before["sets"].items()}
    return rows | {f"mean of {kind}": (before[kind], after[kind]) for kind in KINDS if before[kind]}


def prediction(rows: Sequence[Mapping[str, Any]], recommended: int, reason: str, output: Path) -> None:
    """The settings that were predicted, which of them to take and why, and where it was written."""
    table = _table("predicted, percent", "strategy", "strength", "rate", "ID", "OOD", "knowledge", "ID ECE", "OOD ECE")
    for position, row in enumerate(rows):
        cells = [(kind, "accuracy") for kind in ("id", *KINDS)] + [("id", "ece"), ("ood", "ece")]
        figures = [f"{100 * row[kind][measure]:.1f}" if row[kind] else "" for kind, measure in cells]
        strength = "" if row["strength"] is None else f"{row['strength']:g}"
        star = " *" if position == recommended else ""
        table.add_row(Text(row["strategy"]), f"{strength}{star}", f"{row['learning_rate']:g}", *figures)
    console.print(table)
    say(f"* {reason}")
    say(f"written to {output}: tracer train takes recommended.yaml")


def solved(told: Mapping[str, Any], output: Path) -> None:
    """The accuracies at every strength that was solved, what was taken, how it does, and where it was written."""
    table = _table("percent, on the images that are chosen on", "strength", "ID", "OOD", "knowledge")
    for row in told["candidates"]:
        accuracies = [f"{100 * row[kind]['accuracy']:.1f}" if row[kind] else "" for kind in ("id", *KINDS)]
        table.add_row(f"{row['strength']:g}{' *' if row['strength'] == told['strength'] else ''}", *accuracies)
    console.print(table)
    say(f"* was taken: strength {told['strength']:g} in the metric {told['metric']}")
    report(told.get("report"), output)


def diagnosis(told: Mapping[str, Any], output: Path) -> None:
    """What became of answers on each set and of each block, the verdict, and where all was written."""
    columns = ("images", "same\nanswer", "KL", "cosine", "acc.\nbefore", "acc.\nafter", "forgotten", "learnt")
    answers = _table("percent; KL(before || after) in nats; forgotten of those right before, learnt of the others", "set", *columns)
    for name, row in told["sets"].items():
        answers.add_row(Text(name), str(row["images"]), *_answered(row))
    console.print(answers)
    columns = ("moved", "in task\nspace", "random", "hits\nothers", "CKA\ntask", "CKA\nothers", "SVCCA\ntask", "SVCCA\nothers")
    blocks = _table("percent; CKA and SVCCA to the pretrained block", "block", *columns)
    for tower in ("image", "text"):
        blocks.add_row(f"{tower} tower", style="bold")
        for row in told["blocks"]:
            if row["tower"] == tower:
                name = row["name"].removeprefix("visual.").removeprefix("transformer.")
                blocks.add_row(Text(name), f"{100 * row['displacement']:.1f}", *_of_block(row))
    console.print(blocks)
    say(told["verdict"])
    say(f"written to {output}")


def _of_block(row: Mapping[str, Any]) -> list[str]:
    """The cells of a block, those empty that were not measured."""
    shares = [_optional(row.get(name), "{:.0f}", 100) for name in ("inside", "random", "effect")]
    seen = [(row.get("similarity", {}).get(where) or {}, measure) for measure in ("cka", "svcca") for where in ("task", "others")]
    return [*shares, *(_optional(similarity.get(measure), "{:.3f}") for similarity, measure in seen)]


def _answered(row: Mapping[str, Any]) -> list[str]:
    """The cells of a set; those of accuracy are empty where there are no labels."""
    same = [f"{100 * row['agreement']:.1f}", f"{row['kl']:.3f}", f"{row['cosine']:.3f}"]
    accuracies = [_optional(row.get(name), "{:.1f}", 100) for name in ("accuracy_before", "accuracy_after")]
    if "right_before" not in row:
        return [*same, *accuracies, "", ""]
    right, wrong = row["right_before"], row["images"] - row["right_before"]
    return [*same, *accuracies, f"{row['forgotten']}/{right}", f"{row['learnt']}/{wrong}"]


def _optional(value: float | None, text: str, scale: float = 1) -> str:
    return "" if value is None else text.format(scale * value)


def skipped(corrupt: Sequence[CorruptSample], path: Path) -> None:
    """The first corrupt pairs and replay images that were passed over, if there were any, and the file that lists all."""
    if corrupt:
        first = "; ".join(f"{error.sample} ({error.reason})" for error in corrupt[:SHOWN])
        further = f" and {len(corrupt) - SHOWN} more" if len(corrupt) > SHOWN else ""
        say(f"passed over {len(corrupt)} corrupt training pairs or replay images: {first}{further}; {path} lists them")


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
