"""Choose each strategy's setting on the validation suite of the first task, for each architecture. Writes tuning.json.

FLYP gets the learning rate of the highest ID accuracy. Every other strategy gets, of the settings whose ID accuracy is at most a
point below FLYP's, the one of the highest mean OOD accuracy; where none is, the one of the highest ID accuracy (of equal ones,
that of the higher mean OOD accuracy). The rule knows nothing of the knowledge sets. One pretrained model, and a fine-tuning seed
that no test result uses.
"""

import argparse
from itertools import product
from pathlib import Path
from typing import Any

import cells
import settings
from cells import Cell, Line, Start
from world import PLACE

from tracer.demo.settings import CAROT, PUBLISHED_PENALTY, REPLAY
from tracer.errors import UserError
from tracer.strategies import PRESETS

SEED = 100
RATES = (3e-4, 1e-3)
INTERPOLATIONS = (0.3, 0.5, 0.7, 0.9)
TOLERATED_LOSS = 0.01
EMA = {"kernel": {"kind": "exponential", "momentum": 0.99}}
NOISE = {"images": {"kind": "noise"}}
CAPTIONS = {"texts": {"kind": "captions"}}
CAROTS_OWN = {key: CAROT[key] for key in ("terms", "update_every_steps", *PUBLISHED_PENALTY)}
TRIED: dict[str, tuple[str, tuple[float, ...], dict[str, Any], dict[str, Any] | None]] = {
    "carot": ("carot", (0.05, 0.15, 0.5, 1.5, 5.0), CAROTS_OWN, None),
    "l2_sp": ("l2_sp", (0.003, 0.03, 0.3, 3.0), {}, None),
    "static_distillation": ("static_distillation", (0.03, 0.1, 0.3, 0.9), PUBLISHED_PENALTY, None),
    "ema_distillation, 0.9": ("ema_distillation", (0.3, 0.9, 3.0, 30.0), PUBLISHED_PENALTY, None),
    "ema_distillation, 0.99": ("ema_distillation", (0.1, 0.3, 0.9, 3.0), PUBLISHED_PENALTY | EMA, None),
    "tracer": ("tracer", (0.1, 0.3, 0.9, 3.0), PUBLISHED_PENALTY, None),
    "replay, photographs": ("replay_distillation", (0.3, 1.0, 3.0), {}, {}),
    "replay, noise": ("replay_distillation", (0.3, 1.0, 3.0), {}, NOISE),
    "replay, captions": ("replay_distillation", (0.1, 0.3, 1.0, 3.0), {}, CAPTIONS),
    "tracer + replay": ("tracer", (0.3, 1.0, 3.0), PUBLISHED_PENALTY, {}),
    "tracer + replay, captions": ("tracer", (0.3, 1.0, 3.0), PUBLISHED_PENALTY, CAPTIONS),
}
"""By what is tuned: its strategy, strengths, further keys of the strategy, and of replay, whose strength it is if there is one."""
PLAIN = {"flyp": (1e-4, *RATES), "ft": (1e-4, *RATES), "linear_probe": (1e-3, 1e-2), "averaged": RATES}
"""What has a learning rate alone."""


def candidates() -> list[Cell]:
    """Every setting that is tried; WiSE-FT's are FLYP's runs."""
    planned = [
        Cell(
            f"{method}-{rate:g}",
            method,
            {"optimization": {"learning_rate": rate}},
            INTERPOLATIONS if method == "flyp" else (),
            {"what": method, "learning_rate": rate},
        )
        for method, rates in PLAIN.items()
        for rate in rates
    ]
    for what, (_, strengths, _, _) in TRIED.items():
        for rate, strength in product(RATES, strengths):
            told = {"what": what, "learning_rate": rate, "strength": strength}
            planned.append(Cell(f"{what}-{rate:g}-{strength:g}", TRIED[what][0], changes(what, rate, strength), told=told))
    return planned


def changes(what: str, rate: float, strength: float) -> dict[str, Any]:
    """The sections of one of `TRIED` at a rate and strength."""
    method, _, keys, replay = TRIED[what]
    found: dict[str, Any] = {"optimization": {"learning_rate": rate}}
    if replay is not None:
        found["replay"] = {"strength": strength, **REPLAY, **replay}
    own = {"strength": strength} if replay is None and "strength" in PRESETS[method].settings else {}
    return {**found, "strategy": {**keys, **own}} if keys or own else found


def chosen(lines: list[Line]) -> dict[str, dict[str, Any]]:
    """What the rule takes of one architecture's lines, by what is tuned, with what it scored."""
    flyp = max((line for line in lines if line["what"] == "flyp"), key=lambda line: line["ID"])
    found = {"flyp": flyp}
    for what in dict.fromkeys(line["what"] for line in lines if line["what"] != "flyp"):
        own = [line for line in lines if line["what"] == what]
        fit = [line for line in own if is_fit(line, flyp)]
        found[what] = max(fit, key=lambda line: line["OOD"]) if fit else max(own, key=lambda line: (line["ID"], line["OOD"]))
    return found


def is_fit(line: Line, flyp: Line) -> bool:
    """Whether a setting costs at most what is tolerated on the task."""
    return bool(line["ID"] >= flyp["ID"] - TOLERATED_LOSS)


def choices(architecture: str) -> dict[str, Line]:
    """What tuning.json has chosen for an architecture.

    Raises:
        UserError: if nothing was tried.
    """
    lines = [line for line in cells.read(cells.HERE / "tuning.json") if line["architecture"] == architecture]
    if not lines:
        raise UserError(f"no setting is chosen for the {architecture}: run tuning.py --architectures {architecture} before")
    return chosen(lines)


def options(text: str | None) -> argparse.ArgumentParser:
    """What every comparison asks for."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--world", type=Path, default=PLACE)
    parser.add_argument("--models", type=Path, default=Path("runs/emoji/models"), help="folder of the pretrained models")
    parser.add_argument("--runs", type=Path, default=Path("runs/emoji/runs"), help="folder of the single runs")
    parser.add_argument(
        "--architectures", nargs="+", default=settings.ARCHITECTURES, choices=[*settings.ARCHITECTURES, *settings.AMONG_GLYPHS]
    )
    parser.add_argument("--processes", type=int, default=2)
    return parser


def main() -> None:
    arguments = options(__doc__).parse_args()
    starts = [Start(settings.tasks(architecture)[0], architecture, 0) for architecture in arguments.architectures]
    cells.write(cells.HERE / "tuning.json", cells.run(candidates(), starts, [SEED], "validation", arguments))


if __name__ == "__main__":
    main()
