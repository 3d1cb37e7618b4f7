"""Cells of a comparison: each a strategy with its settings, run from several pretrained models and kept as one line a run."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from tracer.demo import settings
from tracer.demo.settings import REPLAY
from tracer.evaluation import across_runs
from tracer.runs.jobs import Job, run_all
from tracer.terminal import console
from tracer.toy.small_clip import shipped

HERE = Path(__file__).parent
FURTHER = [str(HERE.parent / "ablations" / f"glyphs-{seed}.safetensors") for seed in (3, 4)]
MODELS = [*shipped(), *FURTHER]
"""Five pretrained models: those that are shipped and two further ones."""
TUNING_SEED = 100  # of fine-tuning, which no test result uses
PUBLISHED = {"cross_projection_norm": 0.05}

Line = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One strategy with its settings.

    Attributes:
        name: what tables call it, unique among the cells of a folder.
        method: its strategy.
        steps: optimiser steps.
        changes: sections that replace what was chosen for the strategy: optimization, strategy, replay, freeze.
        interpolations: coefficients of WiSE-FT at which the result is judged too.
        told: what the cell varies, for tables and figures.
    """

    name: str
    method: str
    steps: int = 300
    changes: Mapping[str, Any] = field(default_factory=dict)
    interpolations: tuple[float, ...] = ()
    told: Mapping[str, Any] = field(default_factory=dict)

    def job(self, pretrained: str, seed: int, folder: Path, split: str) -> Job:
        changes = dict(self.changes)
        optimization = {"total_steps": self.steps, **changes.pop("optimization", {})}
        place = folder / self.name
        return Job(
            settings.configuration(self.method, pretrained, seed, place, split=split, optimization=optimization, **changes),
            self.interpolations,
        )


def replayed(strength: float = 1.0, **changes: Any) -> dict[str, Any]:
    """A section `replay` of the embedded world's terms, of those whose images and texts are there."""
    absent = {{"images": "fd", "texts": "text_fd"}[name] for name in ("images", "texts") if changes.get(name, name) is None}
    terms = {term: weight for term, weight in REPLAY["terms"].items() if term not in absent}
    return {"strength": strength, "terms": terms, **changes}


def run(cells: Iterable[Cell], models: Sequence[str], seeds: Sequence[int], split: str, folder: Path, processes: int) -> list[Line]:
    """The cells' runs from all models, each with all seeds, a line each: what the cell is, what was run, and how it was judged."""
    planned = [(cell, model, seed) for cell in cells for model, seed in product(models, seeds)]
    jobs = [cell.job(model, seed, folder / split, split) for cell, model, seed in planned]
    with console.progress(f"{len(jobs)} runs", sum(job.steps for job in jobs)) as advance:
        rows = iter(run_all(jobs, processes, advance))
    lines = []
    for cell, model, seed in planned:
        lines.append(_line(cell, cell.name, model, seed, next(rows)))
        for share in cell.interpolations:
            told = {"what": f"wise_ft of {cell.method}", "interpolation": share}
            lines.append(_line(cell, f"wise_ft {share:g} of {cell.name}", model, seed, next(rows)) | told)
    return lines


def grouped(lines: Iterable[Line]) -> dict[str, list[Line]]:
    """Lines by the name of their cell, in its order."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(line["name"], []).append(line)
    return groups


def _line(cell: Cell, name: str, model: str, seed: int, row: across_runs.Row) -> Line:
    measured = {measure: round(across_runs.measure(row, measure), 5) for measure in across_runs.MEASURES}
    what = {"name": name, "method": cell.method, "steps": cell.steps, **cell.told}
    return {**what, "model": Path(model).stem.removeprefix("glyphs-"), "seed": seed, **measured}


def write(name: str, lines: Sequence[Line]) -> None:
    """Keep lines as NAME.json beside this file, one a line."""
    text = ",\n ".join(json.dumps(line) for line in lines)
    (HERE / f"{name}.json").write_text(f"[\n {text}\n]\n", encoding="utf-8")
