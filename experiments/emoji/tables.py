"""Tables of the JSON files beside this file. Writes tables.md there."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import calibration
import foresight
import frontiers
import numpy as np
import orderings
import tuning
import worlds
from cells import HERE, Line, read
from compare import PARTS, PROLONGED
from rows import heading, row

from tracer.evaluation.across_runs import MEASURES
from tracer.evaluation.intervals import interval
from tracer.storage import write_text

SHOWN = ("ID", "OOD", "unseen", "knowledge", "ID ECE", "OOD ECE")


def main() -> None:
    write_text(HERE / "tables.md", "\n".join(text()) + "\n")


def text() -> list[str]:
    """All tables, a line each, of the files that there are."""
    found: list[str] = []
    for (name, title), table in TABLES.items():
        if lines := read(HERE / f"{name}.json"):
            found += [f"## {title}", "", *table(lines), ""]
    places = worlds.everywhere()
    found += ["## Two worlds", "", *worlds.table(places), ""]
    for measures in (("OOD", "knowledge"), ("ID", "ID ECE", "OOD ECE")):
        found += [f"## {', '.join(measures)}, in short", "", *worlds.summary(places, measures), ""]
    return found


def pretrained(lines: list[Line]) -> Iterator[str]:
    """Zero-shot accuracy of every pretrained model on validation, percent."""
    sets = [*lines[0]["sets"]]
    yield from heading("model", sets)
    for line in lines:
        yield row(f"{line['architecture']}, {line['seed']}", [f"{100 * line['sets'][name]:.1f}" for name in sets])


def tuned(lines: list[Line]) -> Iterator[str]:
    """What was chosen on validation, and what it measures there, percent; a star, where the rule takes the best ID accuracy."""
    yield from heading("architecture, strategy", ("rate", "strength", *SHOWN))
    for architecture in dict.fromkeys(line["architecture"] for line in lines):
        own = [line for line in lines if line["architecture"] == architecture]
        chosen = tuning.chosen(own)
        for what, line in chosen.items():
            star = "" if tuning.is_fit(line, chosen["flyp"]) else " *"
            strength = line.get("strength", line.get("interpolation", ""))
            cells = [
                f"{line['learning_rate']:g}",
                f"{strength:g}" if strength else "",
                *(f"{100 * line[name]:.1f}" if name in line else "" for name in SHOWN),
            ]
            yield row(f"{architecture}, {what}{star}", cells)


def compared(lines: list[Line]) -> Iterator[str]:
    """Means over pretrained models, with 95 % t intervals, percent on the test suite."""
    yield from heading("architecture, task, strategy", SHOWN)
    for key in dict.fromkeys((line["architecture"], line["task"], line["name"]) for line in lines):
        own = [line for line in lines if (line["architecture"], line["task"], line["name"]) == key]
        yield row(", ".join(key), [mean(own, name) if name in own[0] else "" for name in SHOWN])


def aside(lines: list[Line]) -> Iterator[str]:
    """The same, a column a strategy."""
    names = [*dict.fromkeys(line["name"] for line in lines)]
    yield from heading("measure, architecture, task", names)
    for measure in ("ID", "OOD", "knowledge", "OOD ECE"):
        for architecture, task in dict.fromkeys((line["architecture"], line["task"]) for line in lines):
            own = [line for line in lines if (line["architecture"], line["task"]) == (architecture, task)]
            cells = [mean([line for line in own if line["name"] == name], measure) for name in names]
            yield row(f"{measure}, {architecture}, {task}", cells)


def mean(lines: Sequence[Line], measure: str) -> str:
    found = interval([100 * line[measure] for line in lines], [line["pretrained"] for line in lines])
    return f"{found.mean:.1f} ± {found.half_width:.1f}"


def longer(lines: list[Line]) -> Iterator[str]:
    """Points by which a longer run of a strategy is above its own of 300 steps, and TRACER's above the others' of its length."""
    yield from heading("architecture, strategies", worlds.MEASURED)
    for architecture in dict.fromkeys(line["architecture"] for line in lines):
        own = [line for line in [*lines, *read(HERE / "strategies.json")] if line["architecture"] == architecture]
        for steps in dict.fromkeys(line["steps"] for line in lines if line["architecture"] == architecture):
            pairs = [(f"{name}, {steps}", name) for name in PROLONGED]
            pairs += [(f"tracer, {steps}", f"{name}, {steps}") for name in PROLONGED if name != "tracer"]
            for pair in pairs:
                found = [orderings.difference(own, measure, pair) for measure in worlds.MEASURED]
                yield row(f"{architecture}, {orderings.named(pair)}", [*map(orderings.shown, found)])


def calibrated(lines: list[Line]) -> Iterator[str]:
    """Calibration errors before and after a temperature was fitted on the task, percent, with 95 % t intervals."""
    errors = [f"{name} {moment}" for name, moment in product(calibration.KINDS, calibration.MOMENTS)]
    yield from heading("architecture, strategy", ["temperature (median)", *errors])
    for architecture, name in dict.fromkeys((line["architecture"], line["name"]) for line in lines):
        own = [line for line in lines if (line["architecture"], line["name"]) == (architecture, name)]
        middle = np.median([line["temperature"] for line in own])
        yield row(f"{architecture}, {name}", [f"{middle:.2f}", *(mean(own, error) for error in errors)])


def foretold(lines: Sequence[Line]) -> Iterator[str]:
    """How well settings were ordered before they were trained, and what would have been taken."""
    found = foresight.joined(lines, read(HERE / "tuning.json"))
    yield from foresight.correlations(found)
    yield ""
    yield from foresight.choices(found)


def covered(lines: Sequence[Line]) -> Iterator[str]:
    """How much each pool and each bank holds, before training: means with 95 % t intervals over pretrained models."""
    yield from heading("architecture, pool or bank, of", ("coverage", "kappa (median)"))
    told = [(line["architecture"], line.get("pool") or line["bank"], line["of"]) for line in lines]
    for key in dict.fromkeys(told):
        own = [line for line, each in zip(lines, told, strict=True) if each == key]
        share = interval([line["coverage"] for line in own], [line["pretrained"] for line in own])
        middle = float(np.median([line["kappa"] for line in own]))
        cells = [f"{share.mean:.3f} ± {share.half_width:.3f}", f"{middle:.3g}" if np.isfinite(middle) else "infinite"]
        yield row(", ".join(key), cells)


assert set(MEASURES) <= set(SHOWN)
TABLES: dict[tuple[str, str], Callable[[list[Line]], Iterator[str]]] = {
    ("pretraining", "Pretraining"): pretrained,
    ("tuning", "Tuning"): tuned,
    ("tuning", "Frontiers"): frontiers.table,
    ("predictions", "Foretold"): foretold,
    **{(part, part.capitalize()): compared for part in PARTS},
    ("tasks", "Tasks, side by side"): aside,
    ("horizons", "Longer"): longer,
    ("solved", "Solved"): compared,
    ("calibrated", "A temperature"): calibrated,
    ("coverage", "Coverage"): covered,
    ("strategies", "Beside the paper"): orderings.table,
}
"""By file and title."""


if __name__ == "__main__":
    main()
