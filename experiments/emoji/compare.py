"""Strategies in the world of drawings, with the settings that tuning.py chose. Writes PART.json beside this file.

Parts: *strategies*, all of them on the first task; *tasks*, the leading ones on the other tasks, with the same settings; *pools*,
replay on one pool of images after another; *horizons*, longer runs. Each from every pretrained model, judged on the test suite.
"""

from argparse import ArgumentParser
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import cells
import settings
import tuning
from cells import Cell, Start
from world import TASKS

from tracer.demo.settings import CAROT, PUBLISHED_PENALTY

PRETRAINED = (0, 1, 2)
DISTILLED = ("static_distillation", "ema_distillation, 0.99", "tracer")
LEADING = ("zero_shot", "flyp", *DISTILLED, "replay, photographs", "replay, captions", "tracer + replay")
PROLONGED = ("flyp", *DISTILLED, "replay, photographs")


def main() -> None:
    parser = options()
    arguments = parser.parse_args()
    if unknown := {*arguments.parts} - {*PARTS}:
        parser.error(f"there is no part {min(unknown)!r}: name some of {', '.join(PARTS)}")
    if {"tasks", "pools"} & {*arguments.parts} and {*settings.AMONG_GLYPHS} & {*arguments.architectures}:
        parser.error("glyphs are one task, and have no pools of drawings: name the parts strategies or horizons for them")
    chosen = {architecture: tuning.choices(architecture) for architecture in arguments.architectures}
    for part, architecture in product(arguments.parts, chosen):
        first, *others = settings.tasks(architecture)
        tasks = others if part == "tasks" else [first]
        starts = [Start(task, architecture, seed) for task, seed in product(tasks, arguments.pretrained)]
        planned = PARTS[part](chosen[architecture], arguments)
        cells.write(cells.HERE / f"{part}.json", cells.run(planned, starts, arguments.seeds, "test", arguments))


def options() -> ArgumentParser:
    """Those of the tuning, and what is run."""
    known = options_of_models(__doc__)
    known.add_argument("parts", nargs="*", default=[*PARTS], help=f"of {', '.join(PARTS)}")
    known.add_argument("--seeds", type=int, nargs="+", default=[0], help="fine-tuning seeds")
    known.add_argument("--longer", type=int, nargs="+", default=(1000, 3000), help="steps of the longer runs")
    return known


def options_of_models(text: str | None) -> ArgumentParser:
    """Those of the tuning, and which pretrained models are taken."""
    known = tuning.options(text)
    known.add_argument("--pretrained", type=int, nargs="+", default=PRETRAINED, help="seeds of the pretrained models")
    return known


def starts_on_first_task(architecture: str, arguments: Any) -> list[Start]:
    """One from each pretrained model."""
    return [Start(settings.tasks(architecture)[0], architecture, pretrained) for pretrained in arguments.pretrained]


def strategies(chosen: dict[str, Any], _: Any) -> list[Cell]:
    """Every strategy."""
    share = {"strategy": {"interpolation": chosen["wise_ft"]["interpolation"]}}
    planned = [
        Cell("zero_shot", "zero_shot"),
        paced("linear_probe", chosen["linear_probe"]),
        paced("ft", chosen["ft"]),
        paced("lp_ft", chosen["ft"]),
        paced("flyp", chosen["flyp"]),
        replace(paced("flyp", chosen["flyp"], {"strategy": PUBLISHED_PENALTY}), name="flyp, cross-projection norm"),
        paced("wise_ft", chosen["wise_ft"], share),
        paced("averaged", chosen["averaged"]),
        paced("model_stock", chosen["flyp"]),
        replace(paced("carot", chosen["tracer"], {"strategy": CAROT}), name="carot, published"),
    ]
    return planned + [tuned(what, chosen[what]) for what in tuning.TRIED]


def paced(method: str, line: dict[str, Any], changes: dict[str, Any] | None = None) -> Cell:
    """A strategy at the learning rate of a line of the tuning."""
    rate = {"optimization": {"learning_rate": line["learning_rate"]}}
    return Cell(method, method, {**rate, **(changes or {})}, told={"setting": line["name"]})


def leading(chosen: dict[str, Any], arguments: Any) -> list[Cell]:
    """The leading strategies, for the tasks that nothing was chosen on."""
    return [cell for cell in strategies(chosen, arguments) if cell.name in LEADING]


def tuned(what: str, line: dict[str, Any]) -> Cell:
    """A strategy at the rate and strength of a line of the tuning."""
    sections = tuning.changes(what, line["learning_rate"], line["strength"])
    return Cell(what, tuning.TRIED[what][0], sections, told={"setting": line["name"]})


def pools(chosen: dict[str, Any], arguments: Any) -> list[Cell]:
    """Replay alone on one pool of images after another, as it was chosen for photographs."""
    cell = tuned("replay, photographs", chosen["replay, photographs"])
    return [
        Cell(
            f"pool, {name}",
            cell.method,
            {**cell.changes, "replay": {**cell.changes["replay"], "images": images}},
            told={**cell.told, "pool": name},
        )
        for name, images in pools_of(next(iter(TASKS)), arguments.world).items()
    ]


def pools_of(task: str, world: Path) -> dict[str, dict[str, Any]]:
    """Sections `replay.images`, by the pool's name; no concept among the drawings is in a shifted or knowledge set of test."""
    folders = {"other drawings": world / "knowledge" / "validation", "the task's own images": world / "tasks" / task / "train"}
    drawn = {kind: {"kind": kind} for kind in ("photographs", "noise")}
    return drawn | {name: {"kind": "images", "path": str(folder.absolute())} for name, folder in folders.items()}


def horizons(chosen: dict[str, Any], arguments: Any) -> list[Cell]:
    """Longer runs of some strategies, as they were chosen at 300 steps."""
    kept = [cell for cell in strategies(chosen, arguments) if cell.name in PROLONGED]
    return [lengthened(cell, steps) for steps in arguments.longer for cell in kept]


def lengthened(cell: Cell, steps: int) -> Cell:
    optimization = {**cell.changes["optimization"], "total_steps": steps}
    return Cell(
        f"{cell.name}, {steps}", cell.method, {**cell.changes, "optimization": optimization}, told={**cell.told, "steps": steps}
    )


PARTS = {"strategies": strategies, "tasks": leading, "pools": pools, "horizons": horizons}


if __name__ == "__main__":
    main()
