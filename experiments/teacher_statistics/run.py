"""What does a teacher say along the run, and how far is it from its student? Writes results.json beside this file.

KL(teacher || student), entropy and confidence of the batch softmax at every step, for WMA and EMA teachers under TRACER's loss, so
that kernel and loss are told apart, and for CaRot, which has both its own. Each with a teacher that moves at every step and at
every 2 % of the run, from every shipped checkpoint.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from tracer import plotting
from tracer.averaging import Beta
from tracer.demo import settings
from tracer.demo.settings import CAROT
from tracer.evaluation import across_runs
from tracer.evaluation.across_runs import Row
from tracer.evaluation.intervals import interval
from tracer.runs.jobs import Job, run_all
from tracer.strategies import WARMED_UP
from tracer.terminal import console
from tracer.toy.renderer import DIGITS
from tracer.toy.small_clip import shipped

HERE = Path(__file__).parent
STEPS = settings.COMMON["optimization"]["total_steps"]
LONG_PERIOD = CAROT["update_every_steps"]
PERIODS = (1, LONG_PERIOD)
STRATEGIES: dict[str, dict[str, Any]] = {
    "WMA, Beta(0.2, 0.2)": {"kernel": asdict(Beta(0.2, 0.2))},
    "WMA, Beta(0.5, 0.5)": {"kernel": asdict(Beta(0.5, 0.5))},
    "WMA, Beta(1.5, 1.5)": {"kernel": asdict(Beta(1.5, 1.5))},
    "EMA, momentum to 0.9": {"kernel": asdict(WARMED_UP)},
    "CaRot": CAROT,
}
LOOKS = {  # whose colour, and line
    "WMA, Beta(0.2, 0.2)": ("tracer", "--"),
    "WMA, Beta(0.5, 0.5)": ("tracer", "-"),
    "WMA, Beta(1.5, 1.5)": ("tracer", ":"),
    "EMA, momentum to 0.9": ("ema_distillation", "-"),
    "CaRot": ("carot", "-"),
}
MEASURES = ("gap.batch_kl", "teacher.entropy", "teacher.confidence", "student.entropy", "student.confidence")
PANELS = {
    "gap.batch_kl": "KL(teacher || student), nats",
    "teacher.entropy": "teacher's entropy, nats",
    "teacher.confidence": "teacher's confidence",
}
PERCENT = (2, 10, 25, 50, 75, 98)
ACCURACIES = ("ID", "OOD", "knowledge")
Measured = dict[str, Any]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=Path, default=Path("runs/teacher_statistics"), help="folder of the single runs")
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("--seed", type=int, default=0, help="of fine-tuning")
    arguments = options.parse_args()
    cells = list(product(STRATEGIES, PERIODS, shipped()))
    jobs = [_job(*cell, arguments) for cell in cells]
    with console.progress("teachers", sum(job.steps for job in jobs)) as advance:
        rows = run_all(jobs, arguments.processes, advance)
    measured = [measure(name, period, row) for (name, period, _), row in zip(cells, rows, strict=True)]
    groups = [(name, period, _of(measured, name, period)) for name, period in product(STRATEGIES, PERIODS)]
    table = [{"strategy": name, "period": period, **summarise(runs)} for name, period, runs in groups]
    (HERE / "results.json").write_text(json.dumps({"table": table, "rows": measured}) + "\n", encoding="utf-8")
    draw(measured)


def _job(name: str, period: int, pretrained: str, arguments: argparse.Namespace) -> Job:
    strategy = {**STRATEGIES[name], "update_every_steps": period}
    output = arguments.runs / f"{name}, every {period}"
    run = settings.configuration("tracer", pretrained, arguments.seed, output, strategy=strategy)
    return Job(run.model_copy(update={"log_every_steps": 1}))


def measure(name: str, period: int, row: Row) -> Measured:
    """A run's measures at some shares of it, and its curves; both are means over LONG_PERIOD steps.

    So batches average out, and so do the jumps of a teacher that moves as rarely.
    """
    lines = {key: np.array([line[key] for line in row["metrics"]]) for key in MEASURES}
    half = LONG_PERIOD // 2
    centres = {str(percent): percent * STEPS // 100 for percent in PERCENT}
    return {
        "strategy": name,
        "period": period,
        "pretrained": row["pretrained"],
        **{kind: round(across_runs.measure(row, kind), 4) for kind in ACCURACIES},
        "at": {k: {p: _short(v[c - half : c + half].mean()) for p, c in centres.items()} for k, v in lines.items()},
        "curves": {k: [_short(x) for x in v.reshape(-1, LONG_PERIOD).mean(axis=1)] for k, v in lines.items()},
    }


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _of(measured: Sequence[Measured], name: str, period: int) -> list[Measured]:
    return [run for run in measured if (run["strategy"], run["period"]) == (name, period)]


def summarise(runs: Sequence[Measured]) -> dict[str, Any]:
    """Means and intervals over pretrained models: of each measure at each share of the run, of the KL's fall, of accuracies."""

    def over_models(values: Sequence[float]) -> dict[str, float]:
        return {key: _short(value) for key, value in interval(values)._asdict().items()}

    first, last = str(PERCENT[0]), str(PERCENT[-1])
    ends = [run["at"]["gap.batch_kl"][last] for run in runs]
    starts = {
        f"fall from {first} %": [run["at"]["gap.batch_kl"][first] for run in runs],
        "fall from its peak": [max(run["curves"]["gap.batch_kl"]) for run in runs],
    }
    return {
        **{key: {str(p): over_models([run["at"][key][str(p)] for run in runs]) for p in PERCENT} for key in MEASURES},
        **{name: over_models([s / e for s, e in zip(values, ends, strict=True)]) for name, values in starts.items()},
        **{kind: over_models([run[kind] for run in runs]) for kind in ACCURACIES},
    }


def floors() -> dict[str, float]:
    """Entropy and confidence of a model that tells the classes of a batch apart, and nothing within a class.

    Its softmax is even over the pairs of an image's class, of which a batch of n has 1 + Binomial(n - 1, 1 / classes).
    """
    others = np.arange(settings.COMMON["optimization"]["batch_size"])
    probability = stats.binom.pmf(others, len(others) - 1, 1 / len(DIGITS))
    return {"teacher.entropy": probability @ np.log(1 + others), "teacher.confidence": probability @ (1 / (1 + others))}


def draw(measured: Sequence[Measured]) -> None:
    """A row an update period, a column a measure: means over pretrained models, for the KL with their intervals."""
    with plotting.canvas(9, 6, rows=len(PERIODS), columns=len(PANELS), sharex=True, sharey="col") as (figure, axes):
        for (row, period), (column, key) in product(enumerate(PERIODS), enumerate(PANELS)):
            axis = axes[row, column]
            for name in STRATEGIES:
                _draw(axis, name, [run["curves"][key] for run in _of(measured, name, period)], banded=column == 0)
            axis.set_ylabel(PANELS[key])
            axis.set_title(f"teacher moves every {f'{period} steps' if period > 1 else 'step'}", fontsize=10)
            if column:
                axis.axhline(floors()[key], color="gray", linestyle="-.", linewidth=1, label="classes told apart, and no more")
        for axis in axes[:, 0]:
            axis.set_yscale("log")
        for axis in axes[-1]:
            axis.set_xlabel("share of the run (%)")
        figure.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    plotting.save(figure, HERE / "teacher_statistics")


def _draw(axis: Any, name: str, curves: Sequence[Sequence[float]], *, banded: bool) -> None:
    strategy, line = LOOKS[name]
    means, widths = np.array([interval(values) for values in zip(*curves, strict=True)]).T
    at = (np.arange(len(means)) + 0.5) * 100 * LONG_PERIOD / STEPS
    axis.plot(at, means, line, color=plotting.LOOKS[strategy].color, label=name, linewidth=1.4)
    if banded:  # on a logarithmic axis, where an interval may reach below 0
        lower = (means - widths).clip(min=means / 3)
        axis.fill_between(at, lower, means + widths, color=plotting.LOOKS[strategy].color, alpha=0.15, linewidth=0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
