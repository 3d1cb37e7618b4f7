"""Which orderings of the published sweeps hold on the embedded world, and what each kernel and momentum changes.

Reads what `tracer sweep` wrote for the YAML files in this folder and writes orderings.md (`factorial.py` reads the terms'). A
change is measured pretrained model by pretrained model, so that what models differ in does not blur it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

from tracer.evaluation import across_runs
from tracer.evaluation.across_runs import MEASURES
from tracer.evaluation.intervals import Interval, interval
from tracer.runs import sweep

HERE = Path(__file__).parent
PUBLISHED = HERE.parent / "published"
STRENGTH, PERIOD, SHAPE = "strategy.strength", "strategy.update_every_steps", ("strategy.kernel.a", "strategy.kernel.b")
BASELINE = {
    "kernels": {"strategy.kernel": {"kind": "beta", "a": 0.5, "b": 0.5}},
    "momentum": {"strategy.name": "tracer", "strategy.kernel": {"kind": "beta"}},
}


@dataclass(frozen=True)
class Ordering:
    """A published change of a measure from one setting to another, and the settings that it is looked for between here."""

    sweep: str
    measure: str
    published: tuple[dict, dict]
    here: tuple[dict, dict]


def _strength(measure: str, low: float, high: float) -> Ordering:
    ends = {STRENGTH: low}, {STRENGTH: high}
    return Ordering("strength", measure, ends, ends)


def _shape(measure: str) -> Ordering:
    ends = dict.fromkeys(SHAPE, 0.2), dict.fromkeys(SHAPE, 1.5)
    return Ordering("beta", measure, ends, ends)


def _period(measure: str) -> Ordering:
    """From (almost) every step to a tenth of the run."""
    return Ordering("update_period", measure, ({PERIOD: 2}, {PERIOD: 2500}), ({PERIOD: 1}, {PERIOD: 30}))


ORDERINGS = [
    _strength("ID", 0.2, 10.0),
    _strength("OOD", 0.1, 1.0),
    _strength("OOD", 1.0, 10.0),
    _strength("OOD ECE", 0.1, 2.0),
    *map(_shape, ("ID", "OOD", "OOD ECE")),
    *map(_period, ("ID", "OOD", "OOD ECE")),
]


def main() -> None:
    lines = ["| sweep | measure | from | to | published change | change here | here |", "|---|---|---|---|---|---|---|"]
    for ordering in ORDERINGS:
        published = _published(ordering, 1) - _published(ordering, 0)
        change = _change(ordering.sweep, ordering.measure, *ordering.here)
        ends = [", ".join(dict.fromkeys(map(str, setting.values()))) for setting in ordering.here]
        verdict = _verdict(published, change)
        lines.append(
            f"| {ordering.sweep} | {ordering.measure} | {ends[0]} | {ends[1]} | {published:+.2f} | {percent(change)} | {verdict} |"
        )
    for name, baseline in BASELINE.items():
        lines += ["", f"{name}, change from `{sweep.described(baseline)}`:", "", f"| setting | {' | '.join(MEASURES)} |"]
        lines.append(f"|---|{'---|' * len(MEASURES)}")
        for setting in [point["setting"] for point in results(name)["points"] if point["setting"] != baseline]:
            cells = " | ".join(percent(_change(name, measure, baseline, setting)) for measure in MEASURES)
            lines.append(f"| {sweep.described(setting)} | {cells} |")
    (HERE / "orderings.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


@lru_cache
def results(name: str) -> dict:
    """What a sweep of this folder wrote."""
    return json.loads((HERE / name / "results.json").read_text(encoding="utf-8"))


def values(name: str, setting: dict, measure: str) -> Sequence[float]:
    """A measure of a setting, a value a pretrained model, in the order of the seeds."""
    found, first = results(name), 0
    for point in found["points"]:
        rows = found["rows"][first : first + point["runs"]]
        first += point["runs"]
        if point["setting"] == setting:
            return [across_runs.measure(row, measure) for row in rows]
    raise KeyError(f"{name} has not run {setting}")


def _change(name: str, measure: str, start: dict, end: dict) -> Interval:
    pairs = zip(values(name, start, measure), values(name, end, measure), strict=True)
    return interval([after - before for before, after in pairs])


def _published(ordering: Ordering, end: int) -> float:
    listed = yaml.safe_load((PUBLISHED / f"{ordering.sweep}.yaml").read_text(encoding="utf-8"))["published"]
    (found,) = [figures["percent"] for figures in listed if figures["at"] == ordering.published[end]]
    return found[ordering.measure]


def _verdict(published: float, change: Interval) -> str:
    if abs(change.mean) <= change.half_width:
        return "not told from none"
    return "same sign" if published * change.mean > 0 else "reversed"


def percent(of: Interval, signed: bool = True) -> str:
    """An interval in percent, of a change with its sign."""
    return f"{100 * of.mean:{'+' if signed else ''}.1f} ± {100 * of.half_width:.1f}"


if __name__ == "__main__":
    main()
