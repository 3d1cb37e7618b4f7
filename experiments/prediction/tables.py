"""Tables of how far predictions reach, from the lines of run.py. Writes tables.md and a figure beside this file."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau, rankdata, spearmanr

from tracer import plotting
from tracer.averaging import Clock
from tracer.evaluation.across_runs import MEASURES
from tracer.evaluation.intervals import Interval, interval
from tracer.looks import LOOKS
from tracer.plotting.style import PAGE_WIDTH
from tracer.storage import write_text
from tracer.strategies import PRESETS

HERE = Path(__file__).parent
TOLERATED_LOSS = 0.01
ROUND_OFF = 1e-9  # of ranks
Line = dict[str, Any]
Correlation = Callable[[Sequence[float], Sequence[float]], Any]


def main() -> None:
    lines = joined()
    write_text(HERE / "tables.md", "\n".join(text(lines)) + "\n")
    plotting.save(figure(lines), HERE / "reach")


def text(lines: Sequence[Line]) -> list[str]:
    """All tables, a line each; of the parts that were predicted."""
    parts = {part: [line for line in lines if line["part"] == part] for part in dict.fromkeys(line["part"] for line in lines)}
    told = ladder() + (expanded(parts["strategies"]) if "strategies" in parts else [])
    for part, own in parts.items():
        told += correlations(own, part.capitalize())
    return [*told, *choices(parts["frontiers"])] if "frontiers" in parts else told


def joined() -> list[Line]:
    """Predicted settings with what experiments/replay measured of them, those that it did."""
    lines = json.loads((HERE / "predictions.json").read_text(encoding="utf-8"))
    found = {}
    for part in {line["part"] for line in lines}:
        file = HERE.parent / "replay" / f"{part}.json"
        measured = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
        found |= {(part, line["name"], line["model"]): {key: line[key] for key in MEASURES} for line in measured}
    keys = [(line["part"], line["name"], line["model"]) for line in lines]
    return [{**line, "measured": found[key]} for line, key in zip(lines, keys, strict=True) if key in found]


def ladder() -> list[str]:
    """Relative errors of displacements by steps, means and ranges over pretrained models."""
    lines = json.loads((HERE / "ladder.json").read_text(encoding="utf-8"))
    names = ("logit_change", "small logits", "expanded at the pretrained")
    rows = ["## The ladder", "", f"| steps | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for steps in dict.fromkeys(line["steps"] for line in lines):
        own = [[line[name] for line in lines if line["steps"] == steps] for name in names]
        cells = [f"{np.mean(values):.2g} ({min(values):.2g} to {max(values):.2g})" for values in own]
        rows.append(f"| {steps} | {' | '.join(cells)} |")
    return [*rows, ""]


def expanded(lines: Sequence[Line]) -> list[str]:
    """How near the whole network expanded in its weights comes, beside what is predicted, in the models that it was run for."""
    kept = json.loads((HERE / "tangent.json").read_text(encoding="utf-8"))
    found = {(line["name"], line["model"]): {key: line[key] for key in MEASURES} for line in kept}
    own = [{**line, "expanded": found[line["name"], line["model"]]} for line in lines if (line["name"], line["model"]) in found]
    rows = [
        f"## The whole network, {len({line['model'] for line in own})} models",
        "",
        f"| Spearman (points off) | {' | '.join(MEASURES)} |",
        f"|---|{'---|' * len(MEASURES)}",
    ]
    for name, how in (("whole network, expanded", "expanded"), ("paced", "paced, test"), ("last maps", "last maps, test")):
        cells = []
        for measure in MEASURES:
            spearman = over_models(own, measure, lambda line, m, how=how: line[how][m], spearmanr)
            off = np.mean([abs(line[how][measure] - line["measured"][measure]) for line in own])
            cells.append(f"{shown(spearman)} ({100 * off:.1f})")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return [*rows, ""]


def correlations(lines: Sequence[Line], title: str) -> list[str]:
    """Rank correlations of predictors with what was measured, means and intervals over pretrained models."""
    settings = len({line["name"] for line in lines})
    heading = f"| Spearman (Kendall) | {' | '.join(MEASURES)} |"
    rows = [f"## {title}, {settings} settings", "", heading, f"|---|{'---|' * len(MEASURES)}"]
    for name, predictor in predictors(lines).items():
        cells = []
        for measure in MEASURES:
            spearman, kendall = (over_models(lines, measure, predictor, each) for each in (spearmanr, kendalltau))
            cells.append(f"{shown(spearman)} ({kendall.mean:.2f})" if np.isfinite(kendall.mean) else "—")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    for how in ("paced", "last maps"):
        cells = [shown(partial(lines, measure, f"{how}, test")) for measure in MEASURES]
        rows.append(f"| {how}, beyond rate and hold | {' | '.join(cells)} |")
    return [*rows, ""]


def predictors(lines: Sequence[Line]) -> dict[str, Callable[[Line, str], float]]:
    """What is known of a line before it is run, by the name of the predictor; larger for more forgotten means a negative sign."""
    found: dict[str, Callable[[Line, str], float]] = {
        "paced": lambda line, measure: line["paced, test"][measure],
        "last maps": lambda line, measure: line["last maps, test"][measure],
        "rate x steps": lambda line, measure: travelled(line) * sign(measure),
        "hold": lambda line, measure: -held(line) * sign(measure),
        "paced ID alone": lambda line, measure: line["paced, test"]["ID"],
    }
    tenths = HERE / "tenths.json"
    if tenths.exists():
        short = {(line["name"], line["model"]): line for line in json.loads(tenths.read_text(encoding="utf-8"))}
        if all((line["name"], line["model"]) in short for line in lines):
            found["a tenth of the run"] = lambda line, measure: short[line["name"], line["model"]][measure]
    return found


def sign(measure: str) -> float:
    """Whether a longer way raises a measure: it does that of the task's accuracy and of the error under shift."""
    return 1.0 if measure in ("ID", "OOD ECE") else -1.0


def travelled(line: Line) -> float:
    return float(line.get("learning_rate") or 0.0) * line["steps"]


def held(line: Line) -> float:
    """How strongly a setting is held to the pretrained model: strength times the teacher's share of it, or WiSE-FT's share."""
    if "interpolation" in line:
        return 1 - float(line["interpolation"])
    kernel = PRESETS[line["method"]].kernel
    share = kernel.anchor_weight(Clock(line["steps"])) if kernel else 1.0
    return float(line.get("strength") or 0.0) * share


def over_models(lines: Sequence[Line], measure: str, predictor: Callable[[Line, str], float], correlation: Correlation) -> Interval:
    """A correlation in each pretrained model, and its mean with interval."""
    found = {}
    for model, own in by_model(lines).items():
        values = [predictor(line, measure) for line in own], [line["measured"][measure] for line in own]
        found[model] = float(correlation(*values)[0]) if all(np.ptp(each) for each in values) else np.nan
    return interval([*found.values()], [*found])


def partial(lines: Sequence[Line], measure: str, how: str) -> Interval:
    """Rank correlation of what is left of prediction and measurement when the ranks of rate x steps and hold are taken out."""
    found = {}
    for model, own in by_model(lines).items():
        known = np.stack(
            [np.ones(len(own)), rankdata([travelled(line) for line in own]), rankdata([held(line) for line in own])], 1
        )
        ranks = [rankdata([line[key][measure] for line in own]) for key in (how, "measured")]
        left = [values - known @ np.linalg.lstsq(known, values, rcond=None)[0] for values in ranks]
        found[model] = float(np.corrcoef(*left)[0, 1]) if all(np.ptp(each) > ROUND_OFF for each in left) else np.nan
    return interval([*found.values()], [*found])


def choices(lines: Sequence[Line]) -> list[str]:
    """What settings chosen in several ways measure on the test suite: of the feasible, those of the largest mean OOD accuracy.

    The regret is the OOD accuracy that some setting of the grid measures above it at the same ID accuracy or a better one.
    """
    ways: Mapping[str, Callable[[Sequence[Line]], Line]] = {
        "by prediction on validation": lambda own: chosen(own, "paced, validation"),
        "by last maps alone": lambda own: chosen(own, "last maps, validation"),
        "the published default, TRACER 0.9": lambda own: named(own, "tracer", 3e-4, 0.9),
        "FLYP at the rate best for ID": lambda own: max(
            (line for line in own if line["method"] == "flyp" and "interpolation" not in line),
            key=lambda line: line["measured"]["ID"],
        ),
        "by the test suite itself": lambda own: chosen(own, "measured"),
    }
    rows = [
        "## What would be chosen",
        "",
        f"| chosen | {' | '.join(MEASURES)} | regret |",
        f"|---|{'---|' * 6}",
    ]
    for name, choose in ways.items():
        taken = {model: choose(own) for model, own in by_model(lines).items()}
        regret = [100 * regretted(taken[model], own) for model, own in by_model(lines).items()]
        cells = [shown(interval([100 * line["measured"][m] for line in taken.values()], [*taken]), 1) for m in MEASURES]
        rows.append(f"| {name} | {' | '.join(cells)} | {shown(interval(regret, [*taken]), 1)} |")
    return [*rows, ""]


def chosen(lines: Sequence[Line], how: str) -> Line:
    least = max(line[how]["ID"] for line in lines) - TOLERATED_LOSS
    return max((line for line in lines if line[how]["ID"] >= least), key=lambda line: line[how]["OOD"])


def regretted(taken: Line, lines: Sequence[Line]) -> float:
    as_good = [line["measured"]["OOD"] for line in lines if line["measured"]["ID"] >= taken["measured"]["ID"]]
    return max(as_good) - float(taken["measured"]["OOD"])


def named(lines: Sequence[Line], method: str, rate: float, strength: float) -> Line:
    (found,) = (
        line for line in lines if (line["method"], line.get("learning_rate"), line.get("strength")) == (method, rate, strength)
    )
    return found


def by_model(lines: Sequence[Line]) -> dict[str, list[Line]]:
    return {model: [line for line in lines if line["model"] == model] for model in dict.fromkeys(line["model"] for line in lines)}


def shown(value: Interval, digits: int = 2) -> str:
    return f"{value.mean:.{digits}f} ± {value.half_width:.{digits}f}" if np.isfinite(value.mean) else "—"


def figure(lines: Sequence[Line]) -> Any:
    """Measured against predicted accuracy, a point a setting and pretrained model."""
    shown_measures = ("ID", "OOD", "knowledge")
    with plotting.canvas(PAGE_WIDTH, 3.8, columns=len(shown_measures)) as (drawn, axes):
        for axis, measure in zip(axes, shown_measures, strict=True):
            for line in lines:
                look = LOOKS["wise_ft" if "interpolation" in line else line["method"]]
                place = [100 * line[how][measure] for how in ("paced, test", "measured")]
                axis.plot(*place, look.marker, color=look.color, label=look.label, markersize=4, mec="white", mew=0.3)
            low, high = axis.get_xlim()
            axis.axline((low, low), slope=1, color="0.7", lw=1, zorder=0)
            axis.set(xlabel=f"predicted {measure} (%)", ylabel=f"measured {measure} (%)", xlim=(low, high))
        handles = {label: handle for handle, label in zip(*axes[0].get_legend_handles_labels(), strict=True)}
        drawn.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=6)
    return drawn


if __name__ == "__main__":
    main()
