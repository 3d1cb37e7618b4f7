"""Figure of what fine-tuning did to a model: block by block on the left, set by set on the right."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tracer.plotting.style import PAGE_WIDTH, canvas, plain

Row = Mapping[str, Any]
TASK, OTHERS, RANDOM = "#0072B2", "#D55E00", "0.45"  # Okabe and Ito's blue and vermilion, and a grey
WIDE, NARROW = 30, 18  # labels that fit below a panel on the left and on the right


def diagnosis(told: Mapping[str, Any]) -> Figure:
    """Displacement, similarity and the share in the task subspace of each block of the image tower, displacement in the text tower,
    and what became of the answers on each set.

    Args:
        told: what `tracer.runs.diagnosis.diagnose` returns.
    """
    image, text = ([row for row in told["blocks"] if row["tower"] == tower] for tower in ("image", "text"))
    sets = told["sets"]
    with canvas(PAGE_WIDTH, 7.5 + 0.3 * max(0, len(sets) - 8), rows=3, columns=2, width_ratios=[3, 2]) as (figure, axes):
        _displacement(axes[0, 0], image, "image tower")
        _similarity(axes[1, 0], image)
        _shares(axes[2, 0], image)
        for axis in axes[:, 0]:
            _name_blocks(axis, image, WIDE, named=axis is axes[2, 0])
        _answers(axes[0, 1], sets)
        _forgotten(axes[1, 1], sets)
        _displacement(axes[2, 1], text, "text tower")
        _name_blocks(axes[2, 1], text, NARROW)
    return figure


def _displacement(axis: Axes, rows: Sequence[Row], tower: str) -> None:
    axis.plot([100 * row["displacement"] for row in rows], "o-", color="black", markersize=4)
    axis.set(title=f"{tower}: how far the weights moved", ylabel="% of their norm")
    axis.set_ylim(bottom=0)


def _similarity(axis: Axes, rows: Sequence[Row]) -> None:
    looks = {("task", "cka"): (TASK, "o-"), ("task", "svcca"): (TASK, "o:"), ("others", "cka"): (OTHERS, "s-")}
    looks["others", "svcca"] = OTHERS, "s:"
    for (where, measure), (color, line) in looks.items():
        points = [(i, row["similarity"][where][measure]) for i, row in enumerate(rows) if row.get("similarity", {}).get(where)]
        if points:
            images = "the task's images" if where == "task" else "other images"
            axis.plot(*zip(*points, strict=True), line, color=color, markersize=4, label=f"{measure.upper()}, {images}")
    axis.set(title="how alike to the pretrained block", ylabel="CKA and SVCCA")
    axis.set_ylim(top=1.01)
    axis.legend()


def _shares(axis: Axes, rows: Sequence[Row]) -> None:
    looks = {"inside": (TASK, "o-", "of the change"), "random": (RANDOM, "--", "of a random change")}
    looks["effect"] = OTHERS, "s-", "of what it does to other images"
    for name, (color, line, label) in looks.items():
        points = [(i, 100 * row[name]) for i, row in enumerate(rows) if row.get(name) is not None]
        if points:
            axis.plot(*zip(*points, strict=True), line, color=color, markersize=4, label=label)
            axis.legend()
    axis.set(title="in the task subspace", ylabel="%")
    axis.set_ylim(0, 102)


def _answers(axis: Axes, sets: Mapping[str, Row]) -> None:
    _bars(axis, sets, [100 * row["agreement"] for row in sets.values()], 0, 0.7, RANDOM)
    axis.set(title="same top answer as pretrained", xlabel="% of images", xlim=(0, 100))


def _forgotten(axis: Axes, sets: Mapping[str, Row]) -> None:
    labelled = {name: row for name, row in sets.items() if "forgotten" in row}
    if not labelled:
        _bars(axis, sets, [row["kl"] for row in sets.values()], 0, 0.7, RANDOM)
        axis.set(title="KL(pretrained || fine-tuned)", xlabel="nats")
        axis.set_xlim(left=0)
        return
    for name, color, offset in (("forgotten", OTHERS, -0.2), ("learnt", TASK, 0.2)):
        shares = [100 * row[name] / row["images"] for row in labelled.values()]
        _bars(axis, labelled, shares, offset, 0.38, color, name)
    axis.set(title="right before, wrong now, and back", xlabel="% of images")
    axis.set_xlim(right=1.5 * axis.get_xlim()[1])  # room for the legend
    axis.legend(loc="center right")


def _bars(
    axis: Axes, sets: Mapping[str, Row], values: Sequence[float], offset: float, height: float, color: str, label: str = ""
) -> None:
    axis.barh(np.arange(len(sets)) + offset, values, height, color=color, label=label)
    axis.set_yticks(range(len(sets)), [plain(name) for name in sets])
    axis.set_ylim(len(sets) - 0.5, -0.5)


def _name_blocks(axis: Axes, rows: Sequence[Row], most: int, named: bool = True) -> None:
    """At most so many blocks below the axis, each by the end of its name."""
    step = -(-len(rows) // most)
    short = [".".join(row["name"].removeprefix("visual.").split(".")[-2:]) for row in rows]
    axis.set_xticks(range(0, len(rows), step), [plain(name) if named else "" for name in short[::step]], rotation=90)
    axis.set_xlim(-0.5, len(rows) - 0.5)
