"""What `tracer predict` says of the settings of tuning.py before any is trained. Writes predictions.json beside this file.

Nothing of the predictor was fitted to this world. It judges on the validation suite, as the runs of tuning.py are; what learns a
head (the linear probe and FT) it cannot tell.
"""

from collections.abc import Iterator
from typing import Any

import cells
import settings
import torch
import tuning
from cells import Cell, Line, Start

from tracer.config.replay import ReplaySection
from tracer.config.schema import RunConfig
from tracer.last_layer.prediction import listed, measured_paces, predict
from tracer.strategies import PRESETS
from tracer.terminal import console


def main() -> None:
    arguments = tuning.options(__doc__).parse_args()
    torch.set_num_threads(1)
    for architecture in arguments.architectures:
        cells.write(cells.HERE / "predictions.json", [*predicted(architecture, arguments)])


def predicted(architecture: str, arguments: Any) -> Iterator[Line]:
    """A line for each setting of one architecture."""
    start = Start(settings.tasks(architecture)[0], architecture, 0)
    alike: dict[str, dict[str, RunConfig]] = {}  # by what they replay, which is among the features
    for cell in foretold():
        run = cells.configuration(cell, start, tuning.SEED, "validation", arguments)
        replayed = (run.replay or ReplaySection()).model_dump_json(include={"images", "texts"})
        alike.setdefault(replayed, {})[cell.name] = run.model_copy(update={"output": arguments.runs / "features"})
    for runs in alike.values():
        reads = listed(next(iter(runs.values())), 10**6)
        frozen = reads.gather()
        with console.progress(f"{architecture}, {len(runs)} settings", len(runs)) as advance:
            rows = predict(frozen, [*runs.values()], measured_paces(reads, frozen), advance).rows
        yield from (
            {"name": name, "architecture": architecture, **cells.measured(row)} for name, row in zip(runs, rows, strict=True)
        )


def foretold() -> Iterator[Cell]:
    """The settings of tuning.py that have no head, WiSE-FT's as settings of their own."""
    for cell in tuning.candidates():
        if not PRESETS[cell.method].has_head:
            yield cell
        for share in cell.interpolations:
            yield Cell(f"wise_ft {share:g} of {cell.name}", "wise_ft", {**cell.changes, "strategy": {"interpolation": share}})


if __name__ == "__main__":
    main()
