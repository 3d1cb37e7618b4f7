"""What fine-tuning changed: a student's report beside those of the pretrained model and the teacher, and a sentence on it."""

from collections.abc import Mapping
from typing import Any

from tracer.evaluation.metrics import METRICS

Report = dict[str, Any]
MEANS = {"id": "the task", "ood": "mean OOD", "knowledge": "mean knowledge"}
NOT_JUDGED = {"ood": "shifted images (evaluation has no OOD sets)", "knowledge": "other things it knew (no knowledge sets)"}
ONE_RUN = "how much another seed would change this"


def compared(student: Report, pretrained: Report | None = None, **others: Report) -> Report:
    """The student's report with, where there are such models, those of `pretrained`, of others by name, and the `change`.

    All are reports of `evaluate` on one suite; `change` holds `sets`, `id`, `ood` and `knowledge` as they do, each measure as the
    student's less the pretrained model's.
    """
    if pretrained is None:
        return {**student, **others}
    return {**student, "pretrained": pretrained, **others, "change": change(pretrained, student)}


def change(before: Report, after: Report) -> Report:
    """Signed differences of two reports on the same sets, `after` less `before`, measure by measure."""
    sets = {name: _differences(row, after["sets"][name]) for name, row in before["sets"].items()}
    return {"sets": sets, **{name: _differences(before[name], after[name]) for name in MEANS}}


def verdict(report: Report) -> str:
    """What was gained and what was lost, in percentage points, and what was not measured, for a `compared` report."""
    if "change" not in report:
        return "There is no pretrained model to compare with: what was gained and lost was not measured."
    parts = [_moved(report["change"][name]["accuracy"], words) for name, words in MEANS.items() if report["change"][name]]
    calibration = 100 * report["change"]["id"]["ece"]
    worse = "rose" if calibration > 0 else "fell"
    told = f"the calibration error on the task {worse} by {abs(calibration):.1f}" if _shows(calibration) else "calibration stayed"
    unknown = [words for name, words in NOT_JUDGED.items() if not report[name]] + [ONE_RUN]
    return f"Against the pretrained model, in points of accuracy: {', '.join(parts)}; {told}. Not measured: {'; '.join(unknown)}."


def _differences(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: after[name] - before[name] for name in METRICS if name in before}


def _moved(difference: float, where: str) -> str:
    points = 100 * difference
    if not _shows(points):
        return f"nothing changed on {where}"
    return f"{'gained' if points > 0 else 'lost'} {abs(points):.1f} on {where}"


def _shows(points: float) -> bool:
    """Whether a difference is more than nothing at the precision of the table."""
    return abs(points) >= 0.05
