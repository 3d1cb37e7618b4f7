"""The README's tables from the summary."""

from collections.abc import Iterable, Sequence
from typing import Any

from interventions import FLYP, FROM_FLYP, FROM_LINEAR, TEN_TIMES, TEXT_FROZEN
from parts import PARTS

Summary = dict[str, Any]
KINDS = ("ID", "OOD", "knowledge")
TRAINED = {TEXT_FROZEN: "+ all image layers", FLYP: "+ text tower (FLYP)"}


def tables(summary: Summary) -> str:
    """All tables, in Markdown; accuracies and losses in percent."""
    parts = [_less(summary, rate) for rate in summary["runs"]] + [_ladder(summary)]
    parts += [_mixed(summary, rate) for rate in summary["parts"]] + [_carried(summary), _images(summary)]
    return "\n\n".join([*parts, _subspaces(summary), _last_maps(summary)])


def _less(summary: Summary, rate: str) -> str:
    """FLYP, and FLYP with one freedom less."""
    head, runs = ("OOD lost", "OOD more than FLYP", "knowledge lost", "knowledge more than FLYP"), summary["runs"][rate]
    rows = []
    for name in (name for name in FROM_FLYP if name in runs):
        beside = [_signed(runs[name][f"{kind} more than FLYP"]) if name != FLYP else "" for kind in KINDS[1:]]
        lost = [_percent(runs[name][f"{kind} lost"]) for kind in KINDS[1:]]
        rows.append([name, _percent(runs[name]["ID"]), lost[0], beside[0], lost[1], beside[1]])
    return _table((f"learning rate {rate}", "ID", *head), rows)


def _ladder(summary: Summary) -> str:
    """The last map alone, and what each further freedom adds."""
    runs, rows = next(iter(summary["runs"].values())), []
    for name in (*FROM_LINEAR, TEXT_FROZEN, FLYP, TEN_TIMES):
        added = [_signed(summary["ladder"][name][kind]) if name in summary["ladder"] else "" for kind in KINDS[1:]]
        lost = [_percent(runs[name][f"{kind} lost"]) for kind in KINDS[1:]]
        rows.append([TRAINED.get(name, name), _percent(runs[name]["ID"]), lost[0], added[0], lost[1], added[1]])
    return _table(("trained", "ID", "OOD lost", "added", "knowledge lost", "added"), rows)


def _mixed(summary: Summary, rate: str) -> str:
    mixtures = summary["parts"][rate]["mixtures"]
    rows = [[name or "none", *(_percent(found[kind]) for kind in KINDS)] for name, found in mixtures.items()]
    return _table((f"taken from FLYP's model, rate {rate}", *KINDS), rows)


def _carried(summary: Summary) -> str:
    rows = [
        [rate, part, *(_signed(found["carried"][kind][part]) for kind in KINDS[1:])]
        for rate, found in summary["parts"].items()
        for part in PARTS
    ]
    return _table(("learning rate", "part", "of the OOD loss", "of the knowledge loss"), rows)


def _images(summary: Summary) -> str:
    rows = []
    for rate, found in summary["parts"].items():
        means = found["class_means"]
        rows.append([rate, "class means, pretrained", *(_percent(means["pretrained"][kind]) for kind in KINDS)])
        rows.append([rate, "class means, FLYP", *(_percent(means["fine-tuned"][kind]) for kind in KINDS)])
        rows += [[rate, f"{what} moved", *(_percent(values[kind]) for kind in KINDS)] for what, values in found["moved"].items()]
    return _table(("learning rate", "measure", *KINDS), rows)


def _subspaces(summary: Summary) -> str:
    rows = []
    for energy, found in summary["coverage"].items():
        inside = [_percent(found["inside"][kind]) for kind in KINDS]
        limit = [_percent(summary["limits"][energy][kind]) for kind in KINDS]
        rows.append([f"{100 * float(energy):g} %", _number(found["rank"], 0), *inside, *limit])
    return _table(("energy", "rank", *(f"{k} inside" for k in KINDS), *(f"limit: {k}" for k in KINDS)), rows)


def _last_maps(summary: Summary) -> str:
    splits = [(kind, where) for kind in KINDS[1:] for where in ("inside", "outside")]
    head = ("last map of", "energy", "training loss", "retention", "moved outside", *(f"forgetting: {kind}" for kind in KINDS))
    rows = []
    for name, found in summary["last_maps"].items():
        for energy in summary["coverage"]:
            told = found[energy]
            forgotten = [_percent(told["forgetting"][kind]["total"]) for kind in KINDS]
            alone = [_percent(told[f"{where}_alone"][kind]) for kind, where in splits]
            told_of = [_number(found["training_loss"], 3), _number(told["retention"], 3), _percent(told["displaced_outside"])]
            rows.append([name, f"{100 * float(energy):g} %", *told_of, *forgotten, *alone])
    return _table((*head, *(f"{kind}, {where} alone" for kind, where in splits)), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def _percent(value: dict[str, float]) -> str:
    return f"{100 * value['mean']:.1f} ± {100 * value['half_width']:.1f}"


def _signed(value: dict[str, float]) -> str:
    return f"{100 * value['mean']:+.1f} ± {100 * value['half_width']:.1f}"


def _number(value: dict[str, float], digits: int) -> str:
    return f"{value['mean']:.{digits}f} ± {value['half_width']:.{digits}f}"
