"""How far what predict.py foretold agrees with what the runs of tuning.py measured, both on validation."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from cells import Line
from rows import heading, row
from scipy.stats import kendalltau, spearmanr
from tuning import TOLERATED_LOSS

from tracer.evaluation.across_runs import MEASURES

FORETOLD = "foretold"
RISING = ("ID", "OOD ECE")  # what a larger rate raises; it lowers the rest
SHOWN = ("ID", "OOD", "knowledge")


def joined(predictions: Sequence[Line], measured: Sequence[Line]) -> dict[str, list[Line]]:
    """What was measured, by architecture, of the settings that were foretold, each with the latter under `FORETOLD`."""
    known = {(line["architecture"], line["name"]): line for line in predictions}
    found: dict[str, list[Line]] = {}
    for line in measured:
        if foretold := known.get((line["architecture"], line["name"])):
            found.setdefault(line["architecture"], []).append({**line, FORETOLD: foretold})
    return found


def correlations(lines: Mapping[str, Sequence[Line]]) -> Iterator[str]:
    """Spearman's (Kendall's) rank correlation over settings of two predictors with what was measured."""
    predictors: dict[str, Callable[[Line, str], float]] = {
        "foretold": lambda line, measure: line[FORETOLD][measure],
        "the rate alone": lambda line, measure: line["learning_rate"] * (1 if measure in RISING else -1),
    }
    yield from heading("architecture (settings), predictor", MEASURES)
    for architecture, own in lines.items():
        for name, predictor in predictors.items():
            cells = []
            for measure in MEASURES:
                pair = [predictor(line, measure) for line in own], [line[measure] for line in own]
                cells.append(f"{spearmanr(*pair).statistic:.2f} ({kendalltau(*pair).statistic:.2f})")
            yield row(f"{architecture} ({len(own)}), {name}", cells)


def choices(lines: Mapping[str, Sequence[Line]]) -> Iterator[str]:
    """What is measured of settings that are taken in several ways, percent, and what is given up.

    Regret is the OOD accuracy, in points, that some setting of the grid has above it with the same ID accuracy or more.
    """
    ways: dict[str, Callable[[Sequence[Line]], Line]] = {
        "as foretold": lambda own: chosen(own, [line[FORETOLD] for line in own]),
        "the published default, TRACER 0.9": lambda own: next(line for line in own if line["name"] == "tracer-0.0003-0.9"),
        "as measured": lambda own: chosen(own, own),
    }
    yield from heading("architecture, taken", (*SHOWN, "regret", "setting"))
    for architecture, own in lines.items():
        for name, take in ways.items():
            taken = take(own)
            regret = max(line["OOD"] for line in own if line["ID"] >= taken["ID"]) - taken["OOD"]
            cells = [f"{100 * value:.1f}" for value in [*(taken[measure] for measure in SHOWN), regret]]
            yield row(f"{architecture}, {name}", [*cells, taken["name"]])


def chosen(lines: Sequence[Line], judged: Sequence[Line]) -> Line:
    """By the rule of `tracer predict`: of what is at most `TOLERATED_LOSS` below the best ID accuracy, the best OOD accuracy."""
    least = max(each["ID"] for each in judged) - TOLERATED_LOSS
    fit = [position for position, each in enumerate(judged) if each["ID"] >= least]
    return lines[max(fit, key=lambda position: judged[position]["OOD"])]
