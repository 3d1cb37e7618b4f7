"""What is predicted of the settings that experiments/replay trains. Writes predictions.json and tenths.json beside this file.

Every setting of its parts is simulated for each of its five pretrained models, on features of validation and test suite; a full run
of a tenth of the length is made of the frontiers' settings. tables.py compares with what was measured.
"""

import argparse
import dataclasses
import importlib.util
import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch

from tracer.config.schema import RunConfig
from tracer.data.datasets import Suite
from tracer.evaluation import across_runs
from tracer.evaluation.report import evaluate
from tracer.last_layer.features import Frozen, Listed
from tracer.last_layer.pace import Paced, Paces
from tracer.last_layer.prediction import measured_paces
from tracer.last_layer.simulation import LAST_MAPS, simulate
from tracer.models.dual_encoder import Encoder
from tracer.models.merging import interpolate
from tracer.runs.sources import evaluation_suite
from tracer.strategies import PRESETS
from tracer.terminal import console

HERE = Path(__file__).parent
REPLAY = HERE.parent / "replay"
PARTS = ("frontiers", "strategies", "amounts", "horizons")
TENTH = 30  # steps, of 300
Line = dict[str, Any]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("parts", nargs="*", default=[*PARTS], help=f"of {', '.join(PARTS)}")
    options.add_argument("--runs", type=Path, default=Path("runs/prediction"), help="folder of features and single runs")
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("--horizons", type=int, nargs="+", default=(100, 300, 3000), help="for the part horizons")
    options.add_argument("--tenths", action="store_true", help="run the tenths instead")
    arguments = options.parse_args()
    if unknown := {*arguments.parts} - {*PARTS}:
        options.error(f"there is no part {min(unknown)!r}: name some of {', '.join(PARTS)}")
    torch.set_num_threads(1)
    sys.path.insert(0, str(REPLAY))
    if arguments.tenths:
        tenths(arguments)
        return
    kept = HERE / "predictions.json"
    lines = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else []
    for part in arguments.parts:
        lines = [line for line in lines if line["part"] != part]
        found = [*predicted(part, arguments)]
        lines += found
        write(kept, lines)


def predicted(part: str, arguments: argparse.Namespace) -> Iterator[Line]:
    """Lines of a part: what each setting is, and what is predicted of it, with and without the paces of whole towers."""
    cells = [cell for cell in module("run").PARTS[part](arguments) if PRESETS[cell.method].trained]
    planned = [(cell, model) for cell in cells for model in module("cells").MODELS]
    with console.progress(part, len(planned)) as advance:
        for done, (cell, model) in enumerate(planned, start=1):
            run = cell.job(model, 0, arguments.runs, "test").run.model_copy(update={"output": arguments.runs})
            yield from ({"part": part, **line} for line in of_cell(cell, run))
            advance(done)


def of_cell(cell: Any, run: RunConfig) -> Iterator[Line]:
    """The lines of one cell and model, its interpolations among them."""
    frozen, paced = frozen_of(run)
    told = {
        "method": cell.method,
        "model": Path(str(run.model.pretrained)).stem.removeprefix("glyphs-"),
        "steps": cell.steps,
        "learning_rate": run.optimization.learning_rate,
        "strength": strength_of(run),
    }
    students = {"paced": simulate(run, frozen, paced), "last maps": simulate(run, frozen, LAST_MAPS)}
    yield {"name": cell.name, **told, **judged(students, frozen)}
    for share in cell.interpolations:
        between = {how: mixed(each, frozen, share) for how, each in students.items()}
        yield {"name": f"wise_ft {share:g} of {cell.name}", **told, "interpolation": share, **judged(between, frozen)}


def mixed(student: Encoder, frozen: Frozen, share: float) -> Encoder:
    """A share of the way from the start to a simulated student."""
    start = Paced(frozen.maps, student.model.paces)  # type: ignore[arg-type]
    return dataclasses.replace(student, model=interpolate(start, student.model, share))


def judged(students: dict[str, Encoder], frozen: Frozen) -> dict[str, dict[str, float]]:
    """Reports by what was simulated, on the suite that measures the setting and on the one to choose on."""
    return {f"{how}, {name}": judge(student, suite) for how, student in students.items() for name, suite in frozen.suites.items()}


def strength_of(run: RunConfig) -> float:
    """What scales all that holds the model, 0 where nothing does."""
    preset = PRESETS[run.strategy.name]
    own = run.strategy.strength if "strength" in preset.settings else 0.0
    return max(own, run.replay.strength if run.replay else 0.0)


def judge(student: Encoder, suite: Suite) -> dict[str, float]:
    row = {"report": evaluate(student, suite)}
    return {name: round(across_runs.measure(row, name), 5) for name in across_runs.MEASURES}


def frozen_of(run: RunConfig) -> tuple[Frozen, Paces]:
    """Features for a run and its paces, kept for all that share its model, what is frozen, and what is replayed."""
    key = run.model.model_dump_json(), run.replay and run.replay.model_dump_json(include={"images", "texts"})
    if key not in _KEPT:
        suites = {
            split: evaluation_suite(run.evaluation.model_copy(update={"split": split}))  # type: ignore[union-attr]
            for split in ("test", "validation")
        }
        listed = Listed.of(run, suites, 10**6)
        frozen = listed.gather()
        _KEPT[key] = frozen, measured_paces(listed, frozen)
    return _KEPT[key]


_KEPT: dict[tuple[str, str | None], tuple[Frozen, Paces]] = {}


@cache
def module(name: str) -> Any:
    """A module of experiments/replay."""
    if name == "run":
        source = importlib.util.spec_from_file_location("replay_run", REPLAY / "run.py")
        assert source
        assert source.loader
        found = importlib.util.module_from_spec(source)
        source.loader.exec_module(found)
        return found
    return importlib.import_module(name)


def tenths(arguments: argparse.Namespace) -> None:
    """Full runs of a tenth of the frontiers' length, the plainest of predictors that train."""
    cells = module("cells")
    planned = module("run").PARTS["frontiers"](arguments)
    short = [cells.Cell(cell.name, cell.method, TENTH, cell.changes, cell.interpolations, cell.told) for cell in planned]
    found = cells.run(short, cells.MODELS, [0], "test", arguments.runs / "tenths", arguments.processes)
    write(HERE / "tenths.json", found)


def write(path: Path, lines: list[Line]) -> None:
    text = ",\n ".join(json.dumps(line) for line in lines)
    path.write_text(f"[\n {text}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
