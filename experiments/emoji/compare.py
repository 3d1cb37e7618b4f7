"""Every strategy in the world of drawings, with the settings that tuning.py chose. Writes PART.json beside this file.

Parts: *strategies*, all of them on the first task; *tasks*, the leading ones on the other tasks, with the same settings. Each from
every pretrained model, judged on the test suite.
"""

from itertools import product
from typing import Any

import cells
import tuning
from cells import Cell, Start
from world import TASKS

PRETRAINED = (0, 1, 2)
LEADING = ("zero_shot", "flyp", "static_distillation", "ema_distillation, 0.99", "tracer", "replay, photographs", "tracer + replay")
CAROT = {"name": "carot", "strength": 1.5, "terms": {"crd": 2.0}, "update_every_steps": 6, "cross_projection_norm": 0.05}
"""CaRot's published settings: strength 1.5 on both directions of the KL, a teacher that moves every 2 % of the run."""


def main() -> None:
    options = tuning.options(__doc__)
    options.add_argument("parts", nargs="*", default=[*PARTS], help=f"of {', '.join(PARTS)}")
    options.add_argument("--pretrained", type=int, nargs="+", default=PRETRAINED, help="seeds of the pretrained models")
    options.add_argument("--seeds", type=int, nargs="+", default=[0], help="fine-tuning seeds")
    arguments = options.parse_args()
    choices = tuning.choices()
    for part in arguments.parts:
        lines = []
        for architecture in arguments.architectures:
            planned, tasks = PARTS[part](choices[architecture])
            starts = [Start(task, architecture, seed) for task, seed in product(tasks, arguments.pretrained)]
            lines += cells.run(planned, starts, arguments.seeds, "test", arguments)
        cells.write(cells.HERE / f"{part}.json", lines)


def strategies(chosen: dict[str, Any]) -> tuple[list[Cell], list[str]]:
    """Every strategy on the first task."""
    rates = {what: {"optimization": {"learning_rate": line["learning_rate"]}} for what, line in chosen.items()}
    share = chosen["wise_ft"]["interpolation"]
    planned = [
        Cell("zero_shot", "zero_shot"),
        Cell("linear_probe", "linear_probe", rates["linear_probe"]),
        Cell("ft", "ft", rates["ft"]),
        Cell("lp_ft", "lp_ft", rates["ft"]),
        Cell("flyp", "flyp", rates["flyp"]),
        Cell("wise_ft", "flyp", rates["wise_ft"], (share,)),
        Cell("averaged", "averaged", rates["averaged"]),
        Cell("model_stock", "model_stock", rates["flyp"]),
        Cell("carot", "carot", {**rates["tracer"], "strategy": CAROT}),
    ]
    return planned + [tuned(what, chosen) for what in tuning.TRIED], [next(iter(TASKS))]


def on_other_tasks(chosen: dict[str, Any]) -> tuple[list[Cell], list[str]]:
    """The leading strategies on the tasks that nothing was chosen on."""
    known, (first,) = strategies(chosen)
    return [cell for cell in known if cell.name in LEADING], [task for task in TASKS if task != first]


def tuned(what: str, chosen: dict[str, Any]) -> Cell:
    line = chosen[what]
    return Cell(what, tuning.TRIED[what][0], tuning.changes(what, line["learning_rate"], line["strength"]))


PARTS = {"strategies": strategies, "tasks": on_other_tasks}


if __name__ == "__main__":
    main()
