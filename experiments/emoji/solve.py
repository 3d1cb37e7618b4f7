"""The last map solved, not trained, from every pretrained model on the first task. Writes solved.json beside this file.

`tracer solve` chooses the strength on the validation suite, by the largest mean of ID, mean OOD and mean knowledge accuracy.
"""

from collections.abc import Iterator
from typing import Any

import cells
import torch
import tuning
from cells import Cell, Line, Start
from compare import options_of_models, starts_on_first_task

from tracer.config.schema import RunConfig
from tracer.last_layer.solve import plan, solve

METRICS = {
    "solve, replay on photographs": ("replay", {}),
    "solve, replay on noise": ("replay", tuning.NOISE),
    "solve, parameters": ("parameter", {}),
}


def main() -> None:
    arguments = options_of_models(__doc__).parse_args()
    torch.set_num_threads(1)
    for architecture in arguments.architectures:
        starts = starts_on_first_task(architecture, arguments)
        cells.write(cells.HERE / "solved.json", [line for start in starts for line in of_start(start, arguments)])
        print(f"{architecture}: {len(starts)} models, {len(METRICS)} metrics")


def of_start(start: Start, arguments: Any) -> Iterator[Line]:
    """A line for each metric."""
    for name, (metric, replay) in METRICS.items():
        told = solve(
            plan(configuration(name, replay, start, arguments), metric, 10**6),
            arguments.runs / "solved" / f"{start.architecture}-{start.pretrained}" / name,
        )
        yield {"name": name, "method": "solve", **cells.begun(start, 0), **cells.measured(told["report"])}


def configuration(name: str, replay: dict[str, Any], start: Start, arguments: Any) -> RunConfig:
    """A run that names what is read, and both suites."""
    cell = Cell(name, "replay_distillation", {"replay": replay})
    chosen_on, run = (cells.configuration(cell, start, 0, split, arguments) for split in ("validation", "test"))
    return run.model_copy(update={"validation": chosen_on.evaluation, "output": arguments.runs / "features"})


if __name__ == "__main__":
    main()
