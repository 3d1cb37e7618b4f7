"""Tables (tables.md) and figures of what tuning.py and run.py wrote.

Percent, means with 95 % t intervals over pretrained models.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import coverage
import figures
import numpy as np
import pools
import tuning
from cells import HERE, MODELS, Line, grouped

from tracer.evaluation.across_runs import MEASURES
from tracer.evaluation.intervals import Interval, interval

TITLES = {
    "strategies": "Strategies, 300 steps",
    "pools": "Pools",
    "texts": "What holds the text tower",
    "amounts": "How much is replayed",
    "horizons": "Horizons",
    "frontiers": "Against strength",
}
RIVALS = {"TRACER": "tracer", "the EMA": "ema_distillation"}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=Path, default=Path("runs/replay"), help="folder of the single runs, with the pools")
    folder = options.parse_args().runs / pools.PLACE
    lines = {name: read(name) for name in ("tuning", *TITLES) if (HERE / f"{name}.json").exists()}
    parts = [_tuning(lines["tuning"])] if "tuning" in lines else []
    parts += [_measured(title, lines[name]) for name, title in TITLES.items() if name in lines]
    if "strategies" in lines:
        parts.append(_less(lines["strategies"]))
    if "horizons" in lines:
        figures.horizons(lines["horizons"])
    if "frontiers" in lines:
        figures.frontiers(lines["frontiers"])
        parts.append(_reaching(lines["frontiers"]))
    if "pools" in lines:
        by_model = {Path(model).stem.removeprefix("glyphs-"): coverage.predicted(model, folder) for model in MODELS}
        figures.pools(by_model, lines["pools"])
        parts += _covered(by_model, lines["pools"])
    (HERE / "tables.md").write_text("\n\n".join(["# Tables", *parts]) + "\n", encoding="utf-8")


LEAST_ID = 0.97


def _reaching(lines: Sequence[Line]) -> str:
    """What each strategy keeps at most with `LEAST_ID` on the task, chosen for each pretrained model by these lines themselves."""
    kept = ("OOD", "knowledge")
    best: dict[str, dict[str, dict[str, float]]] = {}
    for line in lines:
        if line["ID"] >= LEAST_ID:
            for measure in kept:
                models = best.setdefault(line["what"], {}).setdefault(measure, {})
                models[line["model"]] = max(line[measure], models.get(line["model"], 0.0))
    rows = []
    for what, found in best.items():
        row = [what, str(len({line["name"] for line in lines if line["what"] == what}))]
        row += [_percent(interval([*found[measure].values()], [*found[measure]])) for measure in kept]
        for measure in kept:
            ahead = {model: best["replay, photographs"][measure][model] - value for model, value in found[measure].items()}
            row.append(_percent(interval([*ahead.values()], [*ahead])) if any(ahead.values()) else "")
        rows.append(row)
    head = ["strategy", "settings", *kept, *(f"replay's {measure} less it" for measure in kept)]
    return _table(f"Of the settings with {100 * LEAST_ID:g} % of ID accuracy", head, rows)


def read(name: str) -> list[Line]:
    lines: list[Line] = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    return lines


def over_models(lines: Iterable[Line], measure: str) -> Interval:
    """Mean and interval of a measure over pretrained models; runs of one are averaged first."""
    lines = list(lines)
    return interval([line[measure] for line in lines], [line["model"] for line in lines])


def _tuning(lines: Sequence[Line]) -> str:
    taken = {(what, c["learning_rate"], c["strength"]) for what, c in tuning.chosen(list(lines)).items()}
    rows = []
    for group in grouped(lines).values():
        setting = tuple(group[0][key] for key in ("what", "learning_rate", "strength"))
        means = [f"{100 * value:.1f}" for value in tuning.means(group).values()]
        rows.append([*map(str, setting), *means, "chosen" if setting in taken else ""])
    return _table("Tuning, on validation, three models", ("what", "learning rate", "strength", *MEASURES, ""), rows)


def _measured(title: str, lines: Sequence[Line]) -> str:
    rows = [[name, *(_percent(over_models(group, m)) for m in MEASURES)] for name, group in grouped(lines).items()]
    return _table(title, ("what", *MEASURES), rows)


def _less(lines: Sequence[Line]) -> str:
    """Each strategy less TRACER and less the EMA, paired by pretrained model; the errors of calibration as ratios."""
    groups, rows = grouped(lines), []
    for name, group in groups.items():
        for told, rival in RIVALS.items():
            if name not in ("zero_shot", *RIVALS.values()):
                rows.append([name, told, *_compared(group, groups[rival])])
    return _table("Paired with the rivals: differences, ECEs as ratios", ("what", "less", *MEASURES), rows)


def _compared(lines: Sequence[Line], others: Sequence[Line]) -> Iterator[str]:
    for measure in MEASURES:
        pairs = [(mine[measure], theirs[measure]) for mine, theirs in zip(lines, others, strict=True)]
        if "ECE" in measure:
            ratio = interval([mine / theirs for mine, theirs in pairs], [line["model"] for line in lines])
            yield f"x {ratio.mean:.2f} ± {ratio.half_width:.2f}"
        else:
            yield _percent(interval([mine - theirs for mine, theirs in pairs], [line["model"] for line in lines]), "+")


def _covered(by_model: coverage.Predictions, lines: Sequence[Line]) -> list[str]:
    """What was known of each pool before training, and how its order agrees with what was measured."""
    rows = []
    for pool in next(iter(by_model.values())):
        covered = interval([found[pool]["coverage"] for found in by_model.values()])
        kappa = float(np.median([found[pool]["kappa"] for found in by_model.values()]))
        rows.append([pool, f"{covered.mean:.4f} ± {covered.half_width:.4f}", f"{kappa:.3g}" if np.isfinite(kappa) else "infinite"])
    agreed = []
    for what in ("coverage", "kappa"):
        found = (coverage.agreement(by_model, lines, what, measure) for measure in figures.DRAWN)
        agreed.append([what, *(f"{each.mean:.2f} ± {each.half_width:.2f}" for each in found)])
    return [
        _table(f"Known before training (delta {coverage.DELTA:g})", ("pool", "coverage", "kappa (median)"), rows),
        _table("Spearman's correlation over pools with what was kept", ("of", *figures.DRAWN), agreed),
    ]


def _percent(value: Interval, sign: str = "") -> str:
    return f"{100 * value.mean:{sign}.1f} ± {100 * value.half_width:.1f}"


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return f"## {title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
