"""Replay beside the other strategies, part by part. Writes PART.json beside this file; tables.py makes tables and figures of them.

Five pretrained models, one fine-tuning seed each unless told otherwise, judged on the test suite; settings as tuning.json and
experiments/tuning chose them on validation.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cells
import pools
import tuning
from cells import MODELS, PUBLISHED, Cell, replayed

from tracer.demo import settings

FROZEN = ["text_tower"]
BEST_MOMENTUM = {100: 0.9, 300: 0.9, 1000: 0.99, 3000: 0.997}  # as experiments/horizons found on validation
WISE_FT = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
HORIZONS = (100, 300, 3000)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("parts", nargs="*", default=[*PARTS], help=f"of {', '.join(PARTS)}")
    options.add_argument("--runs", type=Path, default=Path("runs/replay"), help="folder of the single runs")
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("--seeds", type=int, nargs="+", default=[0], help="fine-tuning seeds")
    options.add_argument("--horizons", type=int, nargs="+", default=HORIZONS, help="for the part horizons")
    arguments = options.parse_args()
    if unknown := {*arguments.parts} - {*PARTS}:
        options.error(f"there is no part {min(unknown)!r}: name some of {', '.join(PARTS)}")
    for part in arguments.parts:
        planned = PARTS[part](arguments)
        cells.write(part, cells.run(planned, MODELS, arguments.seeds, "test", arguments.runs / part, arguments.processes))


def held(what: str = "replay, photographs", strength: float | None = None, **section: Any) -> dict[str, Any]:
    """The sections that tuning chose for one kind of replay."""
    choice = tuning.choices()[what]
    strength = choice["strength"] if strength is None else strength
    return {"optimization": {"learning_rate": choice["learning_rate"]}, "replay": replayed(strength, **section)}


def retuned(steps: int) -> dict[str, Any]:
    """EMA distillation with the momentum that is best at this horizon."""
    return {"strategy": {"kernel": {"kind": "exponential", "momentum": BEST_MOMENTUM[steps]}, **PUBLISHED, "strength": 30.0}}


def strategies(_: argparse.Namespace) -> list[Cell]:
    """Every strategy at 300 steps."""
    zscl, lipsum = tuning.choices()["zscl"], tuning.choices()["lipsum_ft"]
    return [
        Cell("zero_shot", "zero_shot"),
        Cell("flyp", "flyp", interpolations=(settings.CHOSEN["wise_ft"]["strategy"]["interpolation"],)),
        *(Cell(name, name) for name in ("l2_sp", "static_distillation", "ema_distillation", "tracer")),
        Cell("replay, photographs", "replay_distillation", changes=held()),
        Cell("replay, noise", "replay_distillation", changes=held("replay, noise", images={"kind": "noise"})),
        Cell("tracer + replay", "tracer", changes=held("tracer + replay")),
        Cell(
            "zscl",
            "zscl",
            changes={"optimization": {"learning_rate": zscl["learning_rate"]}, "replay": {"strength": zscl["strength"]}},
        ),
        Cell(
            "lipsum_ft",
            "lipsum_ft",
            changes={"optimization": {"learning_rate": lipsum["learning_rate"]}, "strategy": {"strength": lipsum["strength"]}},
        ),
    ]


def horizons(arguments: argparse.Namespace) -> list[Cell]:
    """Runs of several lengths, each with the text tower trained and frozen: what replay does, and what freezing does."""
    planned = [Cell("zero_shot", "zero_shot")]
    for steps in arguments.horizons:
        compared: dict[str, tuple[str, dict[str, Any]]] = {
            "flyp": ("flyp", {}),
            "ema_distillation": ("ema_distillation", retuned(steps)),
            "tracer": ("tracer", {}),
            "replay, photographs": ("replay_distillation", held()),
            "tracer + replay": ("tracer", held("tracer + replay")),
        }
        for name, (method, changes) in compared.items():
            planned.append(Cell(f"{name}, {steps}", method, steps, changes, told={"what": name, "text": "trained"}))
            frozen = {**changes, "freeze": FROZEN}
            if "replay" in changes:
                frozen |= held(name, texts=None)
            planned.append(Cell(f"{name}, frozen, {steps}", method, steps, frozen, told={"what": name, "text": "frozen"}))
    return planned


def of_pools(arguments: argparse.Namespace) -> list[Cell]:
    """Replay alone on one pool of images after another, at one setting."""
    planned = []
    for name in pools.POOLS:
        section = {"kind": "images", "path": str(pools.folder(name, arguments.runs / pools.PLACE).absolute())}
        planned.append(Cell(name, "replay_distillation", changes=held(images=section), told={"pool": name}))
    return planned


def amounts(_: argparse.Namespace) -> list[Cell]:
    """How many images a step, how strongly, and how many different ones there are."""
    numbers = (4, 16, 64, 128)
    shown = [
        Cell(f"{number} images a step", "replay_distillation", changes=held(images_per_step=number), told={"images": number})
        for number in numbers
    ]
    strengths = (0.01, 0.1, 1.0, 10.0, 100.0)
    held_by = [Cell(f"strength {s:g}", "replay_distillation", changes=held(strength=s), told={"strength": s}) for s in strengths]
    return shown + held_by


def texts(_: argparse.Namespace) -> list[Cell]:
    """What holds the text tower: nothing, random words, being frozen; and similarities in place of embeddings."""
    names: dict[str, dict[str, Any]] = {"images alone": {"texts": None}, "images and words": {}, "words alone": {"images": None}}
    names["images, captions and words"] = {"texts": {"kind": "captions"}}
    planned = [Cell(name, "replay_distillation", changes=held(**section)) for name, section in names.items()]
    frozen = {**held(texts=None), "freeze": FROZEN}
    similarities = held(strength=1.0)
    similarities["replay"] = {"terms": {"fd": 0.0, "text_fd": 0.0, "crd": 3.0}}
    return [
        *planned,
        Cell("images, text tower frozen", "replay_distillation", changes=frozen),
        Cell("similarities of images and words", "replay_distillation", changes=similarities),
    ]


def frontiers(_: argparse.Namespace) -> list[Cell]:
    """Every strategy at many strengths and two learning rates."""
    planned = []
    for rate in tuning.RATES:
        optimization = {"learning_rate": rate}

        def add(name: str, method: str, strength: float, optimization=optimization, rate=rate, **changes: Any) -> None:
            told = {"what": name, "learning_rate": rate, "strength": strength}
            planned.append(
                Cell(f"{name}, {rate:g}, {strength:g}", method, changes={"optimization": optimization, **changes}, told=told)
            )

        told = {"what": "flyp", "learning_rate": rate}
        planned.append(Cell(f"flyp, {rate:g}", "flyp", 300, {"optimization": optimization}, WISE_FT, told))
        for strength in (0.1, 0.3, 0.9, 3.0, 10.0):
            add("tracer", "tracer", strength, strategy={"strength": strength})
        for strength in (0.03, 0.1, 0.3, 0.9):
            add("static_distillation", "static_distillation", strength, strategy={"strength": strength})
        for strength in (3.0, 30.0, 300.0):
            add("ema_distillation", "ema_distillation", strength, strategy={"strength": strength})
        for strength in (0.03, 0.3, 3.0):
            add("l2_sp", "l2_sp", strength, strategy={"strength": strength})
        for strength in (0.1, 1.0, 10.0, 100.0):
            add("replay, photographs", "replay_distillation", strength, replay=replayed(strength))
    return planned


PARTS: dict[str, Callable[[argparse.Namespace], list[Cell]]] = {
    "strategies": strategies,
    "pools": of_pools,
    "texts": texts,
    "amounts": amounts,
    "horizons": horizons,
    "frontiers": frontiers,
}


if __name__ == "__main__":
    main()
