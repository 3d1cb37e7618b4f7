"""What fine-tuning methods are compared by, and their means with intervals over runs."""

from collections.abc import Iterable, Mapping
from typing import Any

from tracer.evaluation.intervals import Interval, interval

Row = dict[str, Any]
"""What is kept of a run that was judged: what it was, its report and its logged scalars."""
MEASURES = {
    "ID": ("id", "accuracy"),
    "OOD": ("ood", "accuracy"),
    "knowledge": ("knowledge", "accuracy"),
    "ID ECE": ("id", "ece"),
    "OOD ECE": ("ood", "ece"),
}


def measure(row: Row, name: str) -> float:
    """One of `MEASURES` of a row, in units of 1."""
    kind, metric = MEASURES[name]
    return float(row["report"][kind][metric])


def summary(rows: Iterable[Row]) -> dict[str, dict[str, Interval]]:
    """For each method the mean and interval of each measure, over pretraining seeds (runs of one are averaged first)."""
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row["method"], []).append(row)
    return {
        method: {name: interval([measure(row, name) for row in runs], [row["pretrained"] for row in runs]) for name in MEASURES}
        for method, runs in grouped.items()
    }


def kept_knowledge(summary: Mapping[str, Mapping[str, Interval]], method: str) -> float:
    """Share of the knowledge that FLYP loses which a method keeps: 0 for FLYP itself, 1 for the pretrained model.

    NaN where FLYP loses none.
    """
    known = {name: summary[name]["knowledge"].mean for name in ("zero_shot", "flyp", method)}
    lost = known["zero_shot"] - known["flyp"]
    return (known[method] - known["flyp"]) / lost if lost else float("nan")
