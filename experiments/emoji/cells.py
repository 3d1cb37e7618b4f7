"""Cells of the comparison: each a strategy with its settings, run from pretrained models and kept as one line a run."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import settings

from tracer.config.schema import RunConfig
from tracer.evaluation import across_runs
from tracer.runs.jobs import Job, run_all
from tracer.storage import write_text
from tracer.terminal import console

HERE = Path(__file__).parent
Line = dict[str, Any]
RUN = ("architecture", "task", "name", "pool", "bank", "of", "pretrained", "seed")
"""By what lines are told apart, as far as they have it."""


@dataclass(frozen=True)
class Cell:
    """One strategy with its settings.

    Attributes:
        name: what tables call it, unique among the cells of a folder.
        method: its strategy.
        changes: sections that replace defaults: optimization, strategy, replay.
        interpolations: coefficients of WiSE-FT at which the result is judged too.
        told: what its lines tell besides; `setting`, the name of a line of the tuning, is told where one was chosen.
    """

    name: str
    method: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    interpolations: tuple[float, ...] = ()
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """Where a run begins: a task, and a pretrained model by architecture and seed."""

    task: str
    architecture: str
    pretrained: int


def run(cells: Iterable[Cell], starts: Sequence[Start], seeds: Sequence[int], split: str, arguments: Any) -> list[Line]:
    """The cells' runs from all starts, each with all seeds, a line each: what the cell is, what was run, and how it was judged.

    `arguments` say where the world, the pretrained models and the runs are, and how many processes run at once.
    """
    planned = [(cell, start, seed) for cell in cells for start, seed in product(starts, seeds)]
    jobs = [Job(configuration(*each, split, arguments), each[0].interpolations) for each in planned]
    with console.progress(f"{len(jobs)} runs", sum(job.steps for job in jobs)) as advance:
        rows = iter(run_all(jobs, arguments.processes, advance))
    for job in jobs:  # four times as large as the weights; where the files of the world are touched, the run is made again
        for checkpoints in [*job.run.output.rglob("checkpoints")]:
            shutil.rmtree(checkpoints)
    return [line for each in planned for line in _lines(*each, rows)]


def configuration(cell: Cell, start: Start, seed: int, split: str, arguments: Any) -> RunConfig:
    """The run of a cell from a start, in a folder of its own below `arguments.runs`."""
    called = ", ".join(each for each in (cell.name, cell.told.get("setting")) if each)
    place = arguments.runs / split / start.task / f"{start.architecture}-{start.pretrained}" / f"{called}-{seed}"
    weights = settings.weights(start.architecture, start.pretrained, arguments.models)
    return settings.fine_tuning(
        cell.method, start.task, start.architecture, weights, seed, arguments.world, place, split=split, **cell.changes
    )


def _lines(cell: Cell, start: Start, seed: int, rows: Iterator[across_runs.Row]) -> Iterator[Line]:
    what = begun(start, seed)
    yield {"name": cell.name, "method": cell.method, **cell.told, **what, **measured(next(rows)["report"])}
    for share in cell.interpolations:
        told = {**cell.told, "what": "wise_ft", "interpolation": share}
        report = next(rows)["report"]
        yield {"name": f"wise_ft {share:g} of {cell.name}", "method": "wise_ft", **told, **what, **measured(report)}


def begun(start: Start, seed: int) -> Line:
    """What a line tells of where its run began."""
    return {"task": start.task, "architecture": start.architecture, "pretrained": start.pretrained, "seed": seed}


def measured(report: Mapping[str, Any]) -> dict[str, float]:
    """What a line tells of a report."""
    found = {name: across_runs.measure({"report": report}, name) for name in across_runs.MEASURES}
    unseen = {"unseen": report["sets"]["unseen"]["accuracy"]} if "unseen" in report["sets"] else {}
    return {name: round(each, 5) for name, each in (found | unseen).items()}


def write(path: Path, lines: Sequence[Line]) -> None:
    """Keep lines as JSON, one a line, in the place of those of the same runs; those of others stay."""
    lines = [*{tuple(map(line.get, RUN)): line for line in [*read(path), *lines]}.values()]
    architectures = [*settings.ARCHITECTURES, *settings.AMONG_GLYPHS]
    names = [line.get("name") for line in lines]

    def place(line: Line) -> tuple[Any, ...]:
        which = architectures.index(line["architecture"]), line.get("task", ""), names.index(line.get("name"))
        return *which, line.get("pretrained", 0), line.get("seed", 0)

    text = ",\n ".join(json.dumps(line) for line in sorted(lines, key=place))
    write_text(path, f"[\n {text}\n]\n")


def read(path: Path) -> list[Line]:
    """The lines of a file, none where it is not there."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
