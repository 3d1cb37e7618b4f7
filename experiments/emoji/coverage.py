"""How much of what is to be kept each pool of images and each bank of texts holds, told before training. Writes coverage.json.

Of every pretrained model, from features of the first task's validation suite, whose labels are not used: images of its shifted and
knowledge sets, and the names of its own classes and of the other categories' in templates.
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

from tracer.data.datasets import LabelledImages
from tracer.data.text_banks import filled
from tracer.last_layer.features import Frozen
from tracer.last_layer.prediction import JUDGED_ON, REPLAYED, coverages, listed
from tracer.last_layer.regression import Regression
from tracer.number_checks import Array
from tracer.theory import coverage, kappa, second_moment

BANKS: dict[str, dict[str, Any]] = {"random words": {}, "captions and random words": tuning.CAPTIONS}


def main() -> None:
    options = tuning.options(__doc__)
    options.add_argument("--pretrained", type=int, nargs="+", default=PRETRAINED, help="seeds of the pretrained models")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    lines: list[Line] = []
    for architecture, pretrained in product(arguments.architectures, arguments.pretrained):
        start = Start(next(iter(TASKS)), architecture, pretrained)
        lines += [*of_pools(start, arguments), *of_banks(start, arguments)]
        cells.write(cells.HERE / "coverage.json", lines)
        print(f"{architecture}, {pretrained}: {len(lines)} lines")


def of_pools(start: Start, arguments: Any) -> Iterator[Line]:
    """A line for each pool of images."""
    for name, images in pools_of(start.task, arguments.world).items():
        frozen = features(start, {"images": images}, arguments)
        held = coverages(frozen, Regression(frozen))[REPLAYED]
        yield {**cells.begun(start, 0), "pool": name, "of": "shifted and knowledge sets", **held}


def of_banks(start: Start, arguments: Any) -> Iterator[Line]:
    """Two lines for each bank of texts: of the task's own names, and of the others."""
    for name, texts in BANKS.items():
        frozen = features(start, texts, arguments)
        suite = frozen.suites[JUDGED_ON]
        kept = {"the task's names": [suite.in_distribution], "other names": [*suite.knowledge.values()]}
        bank = moment(frozen, frozen.bank)
        for what, sets in kept.items():
            keep = moment(frozen, [text for images in sets for text in names(images)])
            held = {"coverage": float(coverage(bank, keep)), "kappa": kappa(bank, keep)}
            yield {**cells.begun(start, 0), "bank": name, "of": what, **held}


def features(start: Start, replay: dict[str, Any], arguments: Any) -> Frozen:
    run = cells.configuration(Cell("features", "replay_distillation", {"replay": replay}), start, 0, "validation", arguments)
    return listed(run.model_copy(update={"output": arguments.runs / "features"}), 10**6).gather()


def names(images: LabelledImages) -> list[str]:
    return filled(images.templates, images.class_names)


def moment(frozen: Frozen, texts: Any) -> Array:
    """Second moment of the features that enter the text tower's last map."""
    return second_moment(frozen.encoder.tokenize([*texts]).double().numpy())


if __name__ == "__main__":
    main()
