"""Why does the real model forget what the linear theory says it keeps? Writes results.json and forgetting.png beside this file.

FLYP from five pretrained models of the embedded world, with one freedom taken away at a time; the linear theory's own setting, the
last map alone, with one freedom given at a time; FLYP's models taken apart and mixed with the pretrained ones; and the theory's own
account of the last map. Prints the tables of the README.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from interventions import (
    AT_RATE,
    DESCENT,
    DESCENT_RATE,
    FLYP,
    FROM_FLYP,
    FROM_LINEAR,
    PRETRAINED,
    PROJECTION,
    RATES,
    TEN_TIMES,
    TEXT_FROZEN,
    configuration,
    gradient_descent,
)
from linear import World, training_loss
from matplotlib.axes import Axes
from parts import accuracies, last_map, mixtures, moved, read_by_class_means, shapley, take_apart
from tables import tables

from tracer import plotting
from tracer.data.datasets import LabelledImages, Suite
from tracer.evaluation import across_runs
from tracer.evaluation.across_runs import Row
from tracer.evaluation.intervals import Interval, interval
from tracer.models import clip
from tracer.models.dual_encoder import Encoder
from tracer.runs.build import load_encoder
from tracer.runs.jobs import Job, run_all
from tracer.terminal import console
from tracer.toy import world

HERE = Path(__file__).parent
KINDS = ("ID", "OOD", "knowledge")
LADDER = (*FROM_LINEAR, TEXT_FROZEN, FLYP)
LAST_MAPS = (PROJECTION, TEN_TIMES, DESCENT, FLYP)
Record = dict[str, Any]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=Path, default=Path("runs/forgetting"), help="folder of the single runs")
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("--models", type=int, default=len(PRETRAINED), help="how many pretrained models")
    arguments = options.parse_args()
    suite, training = world.suite("test"), world.task("train")
    records = []
    for seed, pretrained in enumerate(PRETRAINED[: arguments.models]):
        accurate = of_interventions(pretrained, seed, arguments.runs, arguments.processes)
        records.append(take_stock(pretrained, seed, arguments.runs, suite, training) | {"runs": accurate})
    results = {"summary": summarise(records), "records": records}
    (HERE / "results.json").write_text(json.dumps(results) + "\n", encoding="utf-8")
    print(tables(results["summary"]))
    draw(results)


def of_interventions(pretrained: str, seed: int, runs: Path, processes: int) -> dict[str, dict[str, dict[str, float]]]:
    """Accuracies of every intervention from one pretrained model, by learning rate."""
    cells = [(rate, name) for rate in RATES for name in AT_RATE[rate]]
    jobs = [Job(configuration(name, rate, pretrained, seed, runs)) for rate, name in cells]
    with console.progress(f"pretrained model {seed}", sum(job.steps for job in jobs)) as advance:
        rows = run_all(jobs, processes, advance)
    found: dict[str, dict[str, dict[str, float]]] = {f"{rate:g}": {} for rate in RATES}
    for (rate, name), row in zip(cells, rows, strict=True):
        found[f"{rate:g}"][name] = _measured(row)
    return found


def _measured(row: Row) -> dict[str, float]:
    return {kind: across_runs.measure(row, kind) for kind in KINDS}


def take_stock(pretrained: str, seed: int, runs: Path, suite: Suite, training: LabelledImages) -> Record:
    """What is measured of one pretrained model and of its runs, which must be there, beside their accuracies."""
    anchor = load_encoder(configuration(FLYP, RATES[0], pretrained, seed, runs))
    start = take_apart(anchor, suite)
    space = World.of(anchor, start, training, suite)
    record: Record = {"pretrained": seed, "zero_shot": accuracies(start, suite), "coverage": space.coverage()}
    record |= {"profile": space.profile(), "limits": space.limits(), "parts": {}, "last_maps": {}}
    for rate in RATES:
        tuned = take_apart(_student(FLYP, rate, pretrained, seed, runs), suite)
        mixed = mixtures(start, tuned, suite)
        record["parts"][f"{rate:g}"] = {
            "mixtures": mixed,
            "carried": {kind: shapley(mixed, kind) for kind in KINDS},
            "class_means": {"pretrained": read_by_class_means(start, suite), "fine-tuned": read_by_class_means(tuned, suite)},
            "moved": moved(start, tuned, suite),
        }
    scale = anchor.model.logit_scale.item()
    inputs, _ = space.problem.pairs
    for name in LAST_MAPS:
        weights = last_map(_student(name, RATES[0], pretrained, seed, runs))
        record["last_maps"][name] = space.account(weights) | {
            "accuracies": space.judged(weights),
            "training_loss": training_loss(scale, inputs, weights, start.texts["id"], training.labels),
        }
    return record


def _student(name: str, rate: float, pretrained: str, seed: int, runs: Path) -> Encoder:
    """The fine-tuned model of a run; that of gradient descent is made here where it is not there."""
    if name != DESCENT:
        run = configuration(name, rate, pretrained, seed, runs)
        return load_encoder(run, run.output / "student.safetensors")
    run = configuration(PROJECTION, rate, pretrained, seed, runs)
    kept = run.output / f"descent-{DESCENT_RATE}.safetensors"
    if not kept.exists():
        clip.save(gradient_descent(run, DESCENT_RATE).model, kept)
    return load_encoder(run, kept)


def summarise(records: Sequence[Record]) -> dict[str, Any]:
    """Means and intervals over the pretrained models."""
    return {
        "models": len(records),
        "zero_shot": {kind: _over(records, lambda r, kind=kind: r["zero_shot"][kind]) for kind in KINDS},
        "runs": {f"{rate:g}": _runs(records, f"{rate:g}") for rate in RATES},
        "ladder": {below: _steps(records, above, below) for above, below in pairwise(LADDER)},
        **{name: _nested([record[name] for record in records]) for name in ("coverage", "limits", "parts", "last_maps")},
    }


def _runs(records: Sequence[Record], rate: str) -> dict[str, Any]:
    """For each run its ID accuracy, what it lost against zero-shot, and how much more than FLYP, model by model."""
    found: dict[str, Any] = {}
    for name in records[0]["runs"][rate]:
        found[name] = {"ID": _over(records, lambda r, name=name: r["runs"][rate][name]["ID"])}
        for kind in KINDS[1:]:
            found[name][f"{kind} lost"] = _over(records, lambda r, name=name, kind=kind: _lost(r, rate, name, kind))
            found[name][f"{kind} more than FLYP"] = _over(
                records, lambda r, name=name, kind=kind: _lost(r, rate, name, kind) - _lost(r, rate, FLYP, kind)
            )
    return found


def _steps(records: Sequence[Record], above: str, below: str) -> dict[str, Any]:
    """What a freedom adds to the loss, model by model."""
    rate = f"{RATES[0]:g}"
    return {k: _over(records, lambda r, k=k: _lost(r, rate, below, k) - _lost(r, rate, above, k)) for k in KINDS}


def _lost(record: Record, rate: str, name: str, kind: str) -> float:
    return record["zero_shot"][kind] - record["runs"][rate][name][kind]


def _over(records: Sequence[Record], value: Callable[[Record], float]) -> dict[str, float]:
    return interval([value(record) for record in records])._asdict()


def _nested(values: Sequence[Any]) -> Any:
    """The interval of every number in values of the same shape."""
    if isinstance(values[0], dict):
        return {name: _nested([value[name] for value in values]) for name in values[0]}
    return interval(values)._asdict()


def draw(results: dict[str, Any]) -> None:
    with plotting.canvas(9, 5.4, columns=2) as (figure, (left, right)):
        _draw_losses(left, results["summary"]["runs"][f"{RATES[0]:g}"])
        _draw_profiles(right, results)
    plotting.save(figure, HERE / "forgetting")


def _draw_losses(axis: Axes, runs: dict[str, Any]) -> None:
    names = [*FROM_FLYP, *FROM_LINEAR, TEN_TIMES]
    places = [place + (place >= len(FROM_FLYP)) for place in range(len(names))]
    for kind, look, shift in (("OOD", plotting.LOOKS["flyp"], -0.12), ("knowledge", plotting.LOOKS["tracer"], 0.12)):
        found = [Interval(**runs[name][f"{kind} lost"]) for name in names]
        axis.errorbar(
            [100 * value.mean for value in found],
            [place + shift for place in places],
            xerr=[100 * value.half_width for value in found],
            fmt=look.marker,
            color=look.color,
            label=kind,
            markersize=5,
        )
    axis.set_yticks(places, names)
    axis.invert_yaxis()
    axis.axvline(0, color="gray", linewidth=0.8)
    axis.set(xlabel="accuracy lost against\nzero-shot (points)", title="FLYP less one freedom;\nthe last map plus one")
    axis.legend(loc=(0.5, 0.36))


def _draw_profiles(axis: Axes, results: dict[str, Any]) -> None:
    colors = {"ID": "zero_shot", "OOD": "flyp", "knowledge": "tracer"}
    for kind, strategy in colors.items():
        for record in results["records"]:
            shares = record["profile"][kind]
            label = kind if record is results["records"][0] else None
            axis.plot(range(1, len(shares) + 1), shares, color=plotting.LOOKS[strategy].color, label=label, alpha=0.7, linewidth=1)
    for energy in ("0.99", "0.999"):
        rank = results["summary"]["coverage"][energy]["rank"]["mean"]
        axis.axvline(rank, color="gray", linestyle=":", linewidth=1)
        axis.text(rank, 0.02, f" {100 * float(energy):g} % of the task", rotation=90, fontsize=9, va="bottom", ha="right")
    axis.set(xscale="log", xlabel="leading directions\nof the task's features", ylabel="share of the feature energy inside")
    axis.set(title="What else lies\nin the task subspace")
    axis.legend(loc=(0.62, 0.3))


if __name__ == "__main__":
    main()
