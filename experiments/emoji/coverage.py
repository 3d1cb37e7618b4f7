"""How much of the shifted and knowledge sets each pool holds, told before training. Writes coverage.json beside this file.

Of every pretrained model, from features of the first task's validation suite, whose labels are not used.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import cells
import torch
import tuning
from cells import Cell, Line, Start
from compare import PRETRAINED, pools_of
from world import TASKS

from tracer.last_layer.prediction import REPLAYED, coverages, listed
from tracer.last_layer.regression import Regression


def main() -> None:
    options = tuning.options(__doc__)
    options.add_argument("--pretrained", type=int, nargs="+", default=PRETRAINED, help="seeds of the pretrained models")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    lines: list[Line] = []
    for architecture, pretrained in product(arguments.architectures, arguments.pretrained):
        lines += of_start(Start(next(iter(TASKS)), architecture, pretrained), arguments)
        cells.write(cells.HERE / "coverage.json", lines)
        print(f"{architecture}, {pretrained}: {len(lines)} lines")


def of_start(start: Start, arguments: Any) -> Iterator[Line]:
    """A line for each pool."""
    for pool, images in pools_of(start.task, arguments.world).items():
        cell = Cell("features", "replay_distillation", {"replay": {"images": images}})
        run = cells.configuration(cell, start, 0, "validation", arguments)
        frozen = listed(run.model_copy(update={"output": arguments.runs / "features"}), 10**6).gather()
        yield {"pool": pool, **cells.begun(start, 0), **coverages(frozen, Regression(frozen))[REPLAYED]}


if __name__ == "__main__":
    main()
