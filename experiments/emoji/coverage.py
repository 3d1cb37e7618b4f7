"""How much of what is to be kept each pool of images and each bank of texts holds, told before training. Writes coverage.json.

Of every pretrained model, from features of the first task's test suite, whose labels are not used: images of its shifted and
knowledge sets, none of which is in a pool, and the names of its own classes and of the other categories' in templates.
"""

from collections.abc import Iterator
from typing import Any

import cells
import torch
import tuning
from cells import Cell, Line, Start
from compare import options_of_models, pools_of, starts_on_first_task

from tracer.last_layer import held
from tracer.last_layer.features import Frozen
from tracer.last_layer.prediction import JUDGED_ON, listed
from tracer.last_layer.regression import Regression

BANKS: dict[str, dict[str, Any]] = {"random words": {}, "captions and random words": tuning.CAPTIONS}


def main() -> None:
    arguments = options_of_models(__doc__).parse_args()
    torch.set_num_threads(1)
    for architecture in arguments.architectures:
        starts = starts_on_first_task(architecture, arguments)
        lines = [line for start in starts for held_by in (of_pools, of_banks) for line in held_by(start, arguments)]
        cells.write(cells.HERE / "coverage.json", lines)
        print(f"{architecture}: {len(lines)} lines")


def of_pools(start: Start, arguments: Any) -> Iterator[Line]:
    """A line for each pool of images."""
    for name, images in pools_of(start.task, arguments.world).items():
        frozen = features(start, {"images": images}, arguments)
        found = held.by_images(frozen, frozen.suites[JUDGED_ON], Regression(frozen))[held.REPLAYED]
        yield {**cells.begun(start, 0), "pool": name, "of": "shifted and knowledge sets", **found}


def of_banks(start: Start, arguments: Any) -> Iterator[Line]:
    """Two lines for each bank of texts: of the task's own names, and of the others."""
    for name, texts in BANKS.items():
        frozen = features(start, texts, arguments)
        for what, found in held.by_texts(frozen, frozen.suites[JUDGED_ON])[held.REPLAYED].items():
            yield {**cells.begun(start, 0), "bank": name, "of": what, **found}


def features(start: Start, replay: dict[str, Any], arguments: Any) -> Frozen:
    run = cells.configuration(Cell("features", "replay_distillation", {"replay": replay}), start, 0, "test", arguments)
    return listed(run.model_copy(update={"output": arguments.runs / "features"}), 10**6).gather()


if __name__ == "__main__":
    main()
