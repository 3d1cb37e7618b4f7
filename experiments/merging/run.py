"""Which way of merging keeps most, and what does a temperature do? Writes results.json and figures beside this file.

From every shipped checkpoint three fine-tuning seeds of FLYP and of TRACER, each at its chosen setting, are merged by every method.
Each method's parameters are chosen on the validation suite, and the merged models judged once on the test suite. Likewise a
temperature is fitted on the task's validation images to single models of four strategies, and judged on the test suite.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tracer import plotting
from tracer.config.schema import RunConfig
from tracer.data.datasets import Suite
from tracer.demo import settings
from tracer.evaluation import choice, report, temperature
from tracer.evaluation.across_runs import MEASURES, measure
from tracer.evaluation.intervals import Interval, interval
from tracer.evaluation.merges import METHODS
from tracer.evaluation.zero_shot import logits
from tracer.models.dual_encoder import Encoder
from tracer.plotting.style import LOOKS
from tracer.runs import merge, validation
from tracer.runs.build import load_encoder
from tracer.runs.calibration import before_and_after
from tracer.runs.jobs import Job, run_all
from tracer.terminal import console
from tracer.toy.small_clip import shipped

HERE = Path(__file__).parent
SEEDS = (0, 1, 2)
MERGED = ("flyp", "tracer")
CALIBRATED = ("zero_shot", "flyp", "static_distillation", "tracer")
KINDS = {"id": "ID", "ood": "OOD", "knowledge": "knowledge"}
SINGLE = "single models, mean"
PAIRS = (
    (("flyp", "lines"), ("flyp", "task_vector")),
    (("flyp", "lines"), ("flyp", "wise_ft")),
    (("tracer", SINGLE), ("flyp", "lines")),
)
"""Strategies and methods whose difference is told."""
Rows = list[dict[str, Any]]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=Path, default=Path("runs/merging"), help="folder of the single runs")
    options.add_argument("--processes", type=int, default=2)
    arguments = options.parse_args()
    runs = {
        (strategy, pretrained, seed): settings.configuration(strategy, pretrained, seed, arguments.runs)
        for strategy in dict.fromkeys((*MERGED, *CALIBRATED))
        for pretrained in shipped()
        for seed in (SEEDS if strategy in MERGED else SEEDS[:1])
    }
    jobs = [Job(run) for run in runs.values()]
    with console.progress("fine-tuning", sum(job.steps for job in jobs)) as advance:
        run_all(jobs, arguments.processes, advance)
    torch.set_num_threads(1)
    suites = validation.suites(next(iter(runs.values())))
    merged, calibrated = [], []
    for pretrained in shipped():
        for strategy in MERGED:
            group = {f"seed {seed}": runs[strategy, pretrained, seed] for seed in SEEDS}
            merged += [{"strategy": strategy, "pretrained": pretrained, **row} for row in merge_all(group, suites)]
        for strategy in CALIBRATED:
            found = calibrate(_trained(runs[strategy, pretrained, SEEDS[0]]), suites)
            calibrated.append({"strategy": strategy, "pretrained": pretrained, **found})
    tables = {
        "merging": {strategy: summarise([row for row in merged if row["strategy"] == strategy]) for strategy in MERGED},
        "temperature": {
            strategy: calibration([row for row in calibrated if row["strategy"] == strategy]) for strategy in CALIBRATED
        },
    }
    results = {**tables, "differences": differences(merged), "merged": merged, "calibrated": calibrated}
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    plotting.save(draw(tables["merging"]), HERE / "merging")
    plotting.save(draw_calibration(tables["temperature"]), HERE / "temperature")


def _trained(run: RunConfig) -> Encoder:
    return load_encoder(run, run.output / "student.safetensors")


def merge_all(runs: Mapping[str, RunConfig], suites: tuple[Suite, Suite]) -> Rows:
    """A row for the pretrained model, for the mean of the single ones, for the best of them on validation, and for each method."""
    anchor = load_encoder(next(iter(runs.values())))
    students = {name: _trained(run).model for name, run in runs.items()}
    compared = merge.compare(anchor, students, list(METHODS), *suites)
    single = [_measures(compared.models[name]) for name in students]
    best = max(students, key=lambda name: choice.score(compared.chosen_on[name]))
    return [
        {"name": merge.PRETRAINED, **_measures(compared.models[merge.PRETRAINED])},
        {"name": SINGLE, **{key: float(np.mean([each[key] for each in single])) for key in MEASURES}},
        {"name": "best single model", **_measures(compared.models[best])},
        *(
            {
                "name": name,
                **_measures(compared.reports[name]),
                "parameters": outcome.chosen.parameters,
                "candidates": len(outcome.candidates),
            }
            for name, outcome in compared.outcomes.items()
        ),
    ]


def calibrate(encoder: Encoder, suites: tuple[Suite, Suite]) -> dict[str, Any]:
    """The temperature fitted on the task's validation images, and mean ECE and NLL of each kind of set before and after."""
    task = suites[0].in_distribution
    fitted = temperature.fit(logits(encoder, task), torch.as_tensor(task.labels))
    before, after = before_and_after(report.answers(encoder, suites[1]), suites[1], fitted)
    return {
        "temperature": fitted,
        **{
            f"{name} {key}": {"before": before[kind][key], "after": after[kind][key]}
            for kind, name in KINDS.items()
            for key in ("ece", "nll")
        },
    }


def _measures(judged: dict[str, Any]) -> dict[str, float]:
    return {name: measure({"report": judged}, name) for name in MEASURES}


def summarise(rows: Rows) -> dict[str, dict[str, dict[str, float]]]:
    """Means over pretrained models with intervals; beside each accuracy how far it is from the single models' mean."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    single = [row for row in rows if row["name"] == SINGLE]
    table = {}
    for name in names:
        own = [row for row in rows if row["name"] == name]
        table[name] = {
            **{key: _plain(interval([row[key] for row in own])) for key in MEASURES},
            **{
                f"{key} gained": _plain(interval([row[key] - s[key] for row, s in zip(own, single, strict=True)]))
                for key in MEASURES
            },
        }
    return table


def differences(rows: Rows) -> list[dict[str, Any]]:
    """For each of `PAIRS` the first less the second, means over pretrained models with intervals."""

    def values(chosen: tuple[str, str], key: str) -> list[float]:
        return [row[key] for row in rows if (row["strategy"], row["name"]) == chosen]

    def difference(one: tuple[str, str], other: tuple[str, str], key: str) -> dict[str, float]:
        return _plain(interval([a - b for a, b in zip(values(one, key), values(other, key), strict=True)]))

    return [
        {"first": list(one), "second": list(other), **{key: difference(one, other, key) for key in MEASURES}}
        for one, other in PAIRS
    ]


def calibration(rows: Rows) -> dict[str, dict[str, float]]:
    """Means over pretrained models with intervals: the temperature, each measure before and after, and the change."""
    table = {"temperature": _plain(interval([row["temperature"] for row in rows]))}
    for key in rows[0]:
        if isinstance(rows[0][key], dict):
            for moment in ("before", "after"):
                table[f"{key} {moment}"] = _plain(interval([row[key][moment] for row in rows]))
            table[f"{key} change"] = _plain(interval([row[key]["after"] - row[key]["before"] for row in rows]))
    return table


def _plain(found: Interval) -> dict[str, float]:
    return {name: round(value, 5) for name, value in found._asdict().items()}


def draw(tables: Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]) -> Any:
    """OOD and knowledge against ID accuracy on the test suite, a row of panels a strategy, with intervals over models."""
    with plotting.canvas(9, 7.4, rows=len(tables), columns=2) as (figure, axes):
        for line, (strategy, table) in zip(axes, tables.items(), strict=True):
            for axis, kind in zip(line, ("OOD", "knowledge"), strict=True):
                for name, row in table.items():
                    _draw_point(axis, name, row, kind)
                axis.set(xlabel="ID accuracy (%)", ylabel=f"{kind} accuracy (%)", title=f"three runs of {LOOKS[strategy].label}")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def _draw_point(axis: Any, name: str, row: Mapping[str, Mapping[str, float]], kind: str) -> None:
    plain = {merge.PRETRAINED: ("o", "black"), SINGLE: ("x", "0.4"), "best single model": ("+", "0.4")}
    marker, color = plain.get(name) or (LOOKS[name].marker, LOOKS[name].color)
    (x, xerr), (y, yerr) = ((100 * row[key]["mean"], 100 * row[key]["half_width"]) for key in ("ID", kind))
    label = name if name in plain else LOOKS[name].label
    axis.errorbar(x, y, yerr, xerr, fmt=marker, color=color, label=label, markersize=7, elinewidth=0.6, alpha=0.9)


def draw_calibration(table: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Any:
    """ECE of each kind of set before and after the temperature, a pair of bars a strategy, with intervals over models."""
    with plotting.canvas(9, 3.6, columns=len(KINDS), sharey=True) as (figure, axes):
        at = np.arange(len(table))
        for axis, kind in zip(axes, KINDS.values(), strict=True):
            for place, moment, alpha in ((-0.2, "before", 0.45), (0.2, "after", 1.0)):
                found = [row[f"{kind} ece {moment}"] for row in table.values()]
                means, widths = (100 * np.array([each[part] for each in found]) for part in ("mean", "half_width"))
                colors = [LOOKS[strategy].color for strategy in table]
                axis.bar(at + place, means, 0.38, yerr=[np.minimum(widths, means), widths], color=colors, alpha=alpha, capsize=2)
            axis.set_xticks(at, [LOOKS[strategy].label for strategy in table], rotation=30, ha="right")
            axis.set_title(kind)
        axes[0].set_ylabel("ECE (%): pale before, full after")
    return figure


if __name__ == "__main__":
    main()
