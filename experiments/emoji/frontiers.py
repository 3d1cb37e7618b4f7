"""What each strategy keeps against what it learns, of all settings of tuning.py. Draws frontiers.png beside this file."""

from collections.abc import Iterator, Sequence
from itertools import product

from cells import HERE, Line, read
from matplotlib.figure import Figure
from settings import ARCHITECTURES

from tracer import plotting
from tracer.looks import LOOKS, Look
from tracer.plotting.style import PAGE_WIDTH

KEPT = ("OOD", "knowledge")
REACHED = (0.75, 0.85, 0.92, 0.97)  # ID accuracies
DRAWN = {
    "flyp": LOOKS["flyp"],
    "wise_ft": LOOKS["wise_ft"],
    "l2_sp": LOOKS["l2_sp"],
    "static_distillation": LOOKS["static_distillation"],
    "ema_distillation, 0.99": LOOKS["ema_distillation"],
    "tracer": LOOKS["tracer"],
    "replay, photographs": LOOKS["replay_distillation"],
    "replay, captions": Look("#117733", "X", "replay, with captions"),
    "tracer + replay": Look("#AA4499", "P", "TRACER + replay"),
    "tracer + replay, captions": Look("#332288", "*", "TRACER + replay, with captions"),
}


def main() -> None:
    plotting.save(figure(read(HERE / "tuning.json")), HERE / "frontiers")


def figure(lines: Sequence[Line]) -> Figure:
    """What is kept against ID accuracy, a column an architecture; lines connect what no setting of a strategy betters in both."""
    architectures = [each for each in ARCHITECTURES if each in {line["architecture"] for line in lines}]
    with plotting.canvas(PAGE_WIDTH, 6.2, rows=len(KEPT), columns=len(architectures), sharex=True, squeeze=False) as (drawn, axes):
        for row, measure in zip(axes, KEPT, strict=True):
            for axis, architecture in zip(row, architectures, strict=True):
                for what, look in DRAWN.items():
                    own = [line for line in lines if (line["architecture"], line["what"]) == (architecture, what)]
                    points = [(100 * line["ID"], 100 * line[measure]) for line in own]
                    axis.plot(*zip(*points, strict=True), look.marker, color=look.color, alpha=0.35, markersize=4)
                    axis.plot(
                        *zip(*undominated(points), strict=True), look.marker, linestyle="-", color=look.color, label=look.label
                    )
                axis.set(title=architecture if measure == KEPT[0] else None, xlim=(60, 100))
            row[0].set_ylabel(f"{measure} (%)")
        for axis in axes[-1]:
            axis.set_xlabel("ID (%)")
        drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return drawn


def undominated(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points to whose right none is as high, from left to right."""
    return [point for point in sorted(points) if not any(x >= point[0] and y > point[1] for x, y in points)]


def table(lines: Sequence[Line]) -> Iterator[str]:
    """The most that a strategy keeps with some ID accuracy or more: OOD / knowledge, percent, each by a setting of its own."""
    yield f"| architecture, strategy | {' | '.join(f'ID of {100 * least:g} or more' for least in REACHED)} |"
    yield f"|---|{'---|' * len(REACHED)}"
    architectures = dict.fromkeys(line["architecture"] for line in lines)
    for architecture, what in product(architectures, DRAWN):
        own = [line for line in lines if (line["architecture"], line["what"]) == (architecture, what)]
        cells = []
        for least in REACHED:
            fit = [line for line in own if line["ID"] >= least]
            cells.append(" / ".join(f"{100 * max(line[measure] for line in fit):.1f}" for measure in KEPT) if fit else "")
        yield f"| {architecture}, {what} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
