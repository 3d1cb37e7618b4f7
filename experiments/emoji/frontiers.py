"""What each strategy keeps against what it learns, of all settings of tuning.py. Draws frontiers.png beside this file."""

from collections.abc import Iterator, Sequence
from itertools import product

from cells import HERE, Line, read
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rows import heading, row
from settings import ARCHITECTURES
from tuning import TRIED, chosen

from tracer import plotting
from tracer.looks import LOOKS, Look
from tracer.plotting.style import PAGE_WIDTH

KEPT = ("OOD", "knowledge")
LEAST_ID = {"resnet": 75, "vit": 65, "convnext": 75}  # percent: what is worse at the task is left out of the figure
GIVEN_UP = (2, 10)  # points of FLYP's ID accuracy
DRAWN = {
    "flyp": LOOKS["flyp"],
    "wise_ft": LOOKS["wise_ft"],
    "static_distillation": LOOKS["static_distillation"],
    "ema_distillation, 0.99": LOOKS["ema_distillation"],
    "tracer": LOOKS["tracer"],
    "replay, photographs": LOOKS["replay_distillation"],
    "replay, captions": Look("#117733", "X", "replay, with captions"),
    "tracer + replay": Look("#AA4499", "P", "TRACER + replay"),
    "tracer + replay, captions": Look("#332288", "*", "TRACER + replay, with captions"),
}
TABLED = ("flyp", "wise_ft", *TRIED)


def main() -> None:
    plotting.save(figure(read(HERE / "tuning.json"), read(HERE / "pretraining.json")), HERE / "frontiers")


def figure(lines: Sequence[Line], pretrained: Sequence[Line]) -> Figure:
    """What is kept against ID accuracy, a column an architecture; lines connect what no setting of a strategy betters in both.

    Points without a line are bettered. What the rule of tuning.py chose is ringed; dashed is what the pretrained model has.
    """
    architectures = [each for each in ARCHITECTURES if each in {line["architecture"] for line in lines}]
    with plotting.canvas(PAGE_WIDTH, 6.6, rows=len(KEPT), columns=len(architectures), sharex="col", squeeze=False) as (drawn, axes):
        for row, measure in zip(axes, KEPT, strict=True):
            for axis, architecture in zip(row, architectures, strict=True):
                panel(axis, [line for line in lines if line["architecture"] == architecture], measure)
                (start,) = [line for line in pretrained if (line["architecture"], line["seed"]) == (architecture, 0)]
                axis.axhline(100 * start[measure], color="0.4", linestyle="--", linewidth=1, label="zero-shot")
                axis.set(title=architecture if measure == KEPT[0] else None, xlim=(LEAST_ID[architecture], 100))
            row[0].set_ylabel(f"{measure} (%)")
        for axis in axes[-1]:
            axis.set_xlabel("ID (%)")
        drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return drawn


def panel(axis: Axes, lines: Sequence[Line], measure: str) -> None:
    """One measure of one architecture."""
    picked = chosen(lines)
    for what, look in DRAWN.items():
        own = [line for line in lines if line["what"] == what]
        points = [(100 * line["ID"], 100 * line[measure]) for line in own]
        axis.plot(*zip(*points, strict=True), look.marker, color=look.color, alpha=0.35, markersize=4)
        axis.plot(*zip(*undominated(points), strict=True), look.marker, linestyle="-", color=look.color, label=look.label)
        ring = 100 * picked[what]["ID"], 100 * picked[what][measure]
        axis.plot(*ring, "o", markersize=11, markerfacecolor="none", markeredgecolor=look.color)


def undominated(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points to whose right none is higher, from left to right."""
    return [point for point in sorted(points) if not any(x >= point[0] and y > point[1] for x, y in points)]


def table(lines: Sequence[Line]) -> Iterator[str]:
    """Of each strategy's settings that give up at most some points of FLYP's ID accuracy, that of the highest OOD accuracy.

    Empty where every setting gives up more.
    """
    columns = [*product(ARCHITECTURES, GIVEN_UP)]
    yield from heading("strategy", [f"{architecture}, at most {points} given up" for architecture, points in columns])
    for what in TABLED:
        cells = []
        for architecture, points in columns:
            own = [line for line in lines if line["architecture"] == architecture]
            flyp = chosen(own)["flyp"]["ID"]
            fit = [line for line in own if line["what"] == what and line["ID"] >= flyp - points / 100]
            cells.append(kept(max(fit, key=lambda line: line["OOD"]), flyp) if fit else "")
        yield row(what, cells)


def kept(line: Line, flyp: float) -> str:
    """OOD / knowledge, percent, and the points of FLYP's ID accuracy that are given up for that."""
    return " / ".join(f"{100 * line[measure]:.1f}" for measure in KEPT) + f" ({100 * (flyp - line['ID']):.1f})"


if __name__ == "__main__":
    main()
