"""Strategies in the world of drawings, with the settings that tuning.py chose. Writes PART.json beside this file.

Parts: *strategies*, all of them on the first task; *tasks*, the leading ones on the other tasks, with the same settings; *pools*,
replay on one pool of images after another; *horizons*, longer runs. Each from every pretrained model, judged on the test suite.
"""

from itertools import product
from pathlib import Path
from typing import Any

import cells
import tuning
from cells import Cell, Start
from world import TASKS

from tracer.strategies import PRESETS

Planned = tuple[list[Cell], list[str]]
"""Cells, and the tasks that they are run on."""
PRETRAINED = (0, 1, 2)
LONGER = (1000, 3000)  # steps
DISTILLED = ("static_distillation", "ema_distillation, 0.99", "tracer")
LEADING = ("zero_shot", "flyp", *DISTILLED, "replay, photographs", "replay, captions", "tracer + replay")
CAROT = {"name": "carot", "strength": 1.5, "terms": {"crd": 2.0}, "update_every_steps": 6, "cross_projection_norm": 0.05}
"""CaRot's published settings: strength 1.5 on both directions of the KL, a teacher that moves every 2 % of the run."""


def main() -> None:
    options = tuning.options(__doc__)
    options.add_argument("parts", nargs="*", default=[*PARTS], help=f"of {', '.join(PARTS)}")
    options.add_argument("--pretrained", type=int, nargs="+", default=PRETRAINED, help="seeds of the pretrained models")
    options.add_argument("--seeds", type=int, nargs="+", default=[0], help="fine-tuning seeds")
    arguments = options.parse_args()
    chosen = {architecture: tuning.choices(architecture) for architecture in arguments.architectures}
    for part, architecture in product(arguments.parts, chosen):
        planned, tasks = PARTS[part](chosen[architecture], arguments)
        starts = [Start(task, architecture, seed) for task, seed in product(tasks, arguments.pretrained)]
        cells.write(cells.HERE / f"{part}.json", cells.run(planned, starts, arguments.seeds, "test", arguments))


def strategies(chosen: dict[str, Any], _: Any) -> Planned:
    """Every strategy on the first task."""
    rates = {what: {"optimization": {"learning_rate": line["learning_rate"]}} for what, line in chosen.items()}
    share = {"strategy": {"interpolation": chosen["wise_ft"]["interpolation"]}}
    planned = [
        Cell("zero_shot", "zero_shot"),
        Cell("linear_probe", "linear_probe", rates["linear_probe"]),
        Cell("ft", "ft", rates["ft"]),
        Cell("lp_ft", "lp_ft", rates["ft"]),
        Cell("flyp", "flyp", rates["flyp"]),
        Cell("wise_ft", "wise_ft", {**rates["wise_ft"], **share}),
        Cell("averaged", "averaged", rates["averaged"]),
        Cell("model_stock", "model_stock", rates["flyp"]),
        Cell("carot", "carot", {**rates["tracer"], "strategy": CAROT}),
    ]
    return planned + [tuned(what, chosen) for what in tuning.TRIED], [next(iter(TASKS))]


def on_other_tasks(chosen: dict[str, Any], arguments: Any) -> Planned:
    """The leading strategies on the tasks that nothing was chosen on."""
    known, (first,) = strategies(chosen, arguments)
    return [cell for cell in known if cell.name in LEADING], [task for task in TASKS if task != first]


def tuned(what: str, chosen: dict[str, Any]) -> Cell:
    line = chosen[what]
    return Cell(what, tuning.TRIED[what][0], tuning.changes(what, line["learning_rate"], line["strength"]))


def pools(chosen: dict[str, Any], arguments: Any) -> Planned:
    """Replay alone on one pool of images after another, as it was chosen for photographs."""
    line = chosen["replay, photographs"]
    planned = []
    for name, images in pools_of(next(iter(TASKS)), arguments.world).items():
        sections = tuning.changes("replay, photographs", line["learning_rate"], line["strength"])
        sections["replay"] = {**sections["replay"], "images": images}
        planned.append(Cell(f"pool, {name}", "replay_distillation", sections, told={"pool": name}))
    return planned, [next(iter(TASKS))]


def pools_of(task: str, world: Path) -> dict[str, dict[str, Any]]:
    """Sections `replay.images`, by the pool's name; the drawings are of no concept that the test suite shows."""
    folders = {"other drawings": world / "knowledge" / "validation", "the task's own images": world / "tasks" / task / "train"}
    drawn = {kind: {"kind": kind} for kind in ("photographs", "noise")}
    return drawn | {name: {"kind": "images", "path": str(folder.absolute())} for name, folder in folders.items()}


def horizons(chosen: dict[str, Any], arguments: Any) -> Planned:
    """Longer runs of the leading strategies, beside those of the length that settings were chosen at."""
    known, tasks = strategies(chosen, arguments)
    leading = [cell for cell in known if cell.name in LEADING and PRESETS[cell.method].trained]
    longer = [(cell, steps) for steps in LONGER for cell in leading]
    return [*leading, *(lengthened(cell, steps) for cell, steps in longer)], tasks


def lengthened(cell: Cell, steps: int) -> Cell:
    optimization = {**cell.changes["optimization"], "total_steps": steps}
    return Cell(f"{cell.name}, {steps}", cell.method, {**cell.changes, "optimization": optimization}, told={"steps": steps})


PARTS = {"strategies": strategies, "tasks": on_other_tasks, "pools": pools, "horizons": horizons}


if __name__ == "__main__":
    main()
