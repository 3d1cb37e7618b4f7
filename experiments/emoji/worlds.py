"""What holds in two worlds: points by which one strategy is above another, of glyphs and of drawings. Draws worlds.png.

Glyphs by a ResNet are those of experiments/replay, over five pretrained models; all else is compare.py's. Each strategy has the
setting that one rule chose for it on its own world and architecture, among drawings on the first task. Replay with captions, of
glyphs by a ResNet, has that of replay on photographs.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from cells import HERE, Line, read
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from orderings import difference, named, shown
from rows import heading, row
from settings import AMONG_GLYPHS, ARCHITECTURES

from tracer import plotting
from tracer.plotting.style import PAGE_WIDTH

REPLAY = HERE.parent / "replay"
MEASURED = ("ID", "OOD", "knowledge", "ID ECE", "OOD ECE")
COMPARED = (
    ("flyp", "zero_shot"),
    ("flyp, cross-projection norm", "flyp"),
    ("wise_ft", "flyp"),
    ("l2_sp", "flyp"),
    ("static_distillation", "l2_sp"),
    ("ema_distillation, 0.9", "static_distillation"),
    ("ema_distillation, 0.99", "static_distillation"),
    ("tracer", "ema_distillation, 0.9"),
    ("tracer", "ema_distillation, 0.99"),
    ("tracer", "static_distillation"),
    ("tracer", "carot"),
    ("tracer", "flyp"),
    ("replay, photographs", "static_distillation"),
    ("replay, photographs", "tracer"),
    ("replay, noise", "replay, photographs"),
    ("replay, captions", "replay, photographs"),
    ("replay, captions", "static_distillation"),
    ("tracer + replay", "replay, photographs"),
    ("tracer + replay, captions", "tracer + replay"),
)
"""What is compared, the first less the second."""
DRAWN = COMPARED[1:]
NAMES = {
    "wise_ft 0.4 of flyp": "wise_ft",
    "ema_distillation": "ema_distillation, 0.9",
    "images, captions and words": "replay, captions",
}
"""Names of compare.py, by those that experiments/replay gives the same."""
GLYPHS, DRAWINGS = "glyphs", "drawings"
MARKERS = {"digits": "o", "animals-silhouettes": "s", "animals-flat": "^", "food-high-contrast": "X"}
COLORS = {"resnet": "#0072B2", "vit": "#E69F00", "convnext": "#009E73"}


class Place(NamedTuple):
    """Where strategies were compared: with one architecture on one task, and the lines of its runs."""

    world: str
    task: str
    architecture: str
    lines: list[Line]


def main() -> None:
    plotting.save(figure(everywhere()), HERE / "worlds")


def everywhere() -> list[Place]:
    """All that was measured, by where."""
    glyphs = [*read(REPLAY / "strategies.json"), *read(REPLAY / "texts.json")]
    renamed = [{**line, "name": NAMES.get(line["name"], line["name"]), "pretrained": line["model"]} for line in glyphs]
    by_place: dict[tuple[str, str], list[Line]] = {}
    for line in [*read(HERE / "strategies.json"), *read(HERE / "tasks.json")]:
        by_place.setdefault((line["architecture"], line["task"]), []).append(line)
    order = [*AMONG_GLYPHS, *ARCHITECTURES]
    return [
        Place(GLYPHS, "digits", "resnet", renamed),
        *(
            Place(GLYPHS if architecture in AMONG_GLYPHS else DRAWINGS, task, architecture.removeprefix(f"{GLYPHS}-"), lines)
            for (architecture, task), lines in sorted(by_place.items(), key=lambda each: order.index(each[0][0]))
        ),
    ]


def table(places: Sequence[Place]) -> Iterator[str]:
    """Differences in points with 95 % t intervals, paired by pretrained model."""
    yield from heading("measure, strategies", [f"{place.task}, {place.architecture}" for place in places])
    for measure in MEASURED:
        for pair in COMPARED:
            yield row(f"{measure}, {named(pair)}", [shown(difference(place.lines, measure, pair)) for place in places])


def summary(places: Sequence[Place], measures: Sequence[str]) -> Iterator[str]:
    """The least and the most of those differences in each world, and how many intervals are above 0 (↑) and below (↓)."""
    columns = [*product(measures, dict.fromkeys(place.world for place in places))]
    yield from heading("strategies", [f"{measure}, {world}" for measure, world in columns])
    for pair in COMPARED:
        cells = [spread([place for place in places if place.world == world], measure, pair) for measure, world in columns]
        yield row(named(pair), cells)


def spread(places: Sequence[Place], measure: str, pair: tuple[str, str]) -> str:
    found = [each for place in places if (each := difference(place.lines, measure, pair))]
    if not found:
        return ""
    means = [each.mean for each in found]
    above, below = (sum(sign * each.mean > each.half_width for each in found) for sign in (1, -1))
    clear = f"({above}↑ {below}↓ of {len(found)})".replace(" ", "\N{NO-BREAK SPACE}")
    return f"{min(means):+.1f} to {max(means):+.1f} {clear}"


def figure(places: Sequence[Place]) -> Figure:
    """The same but what FLYP loses, panels by world and measure; colours are architectures, shapes are tasks."""
    with plotting.canvas(PAGE_WIDTH, 15.5, rows=2, columns=len(MEASURED), sharey=True, height_ratios=(9, 7)) as (drawn, axes):
        for panels, world in zip(axes, (DRAWINGS, GLYPHS), strict=True):
            own = [place for place in places if place.world == world]
            for axis, measure in zip(panels, MEASURED, strict=True):
                panel(axis, own, measure)
                axis.set(xlabel=f"points\n({'left' if 'ECE' in measure else 'right'} is better)")
            panels[0].set_ylabel(world)
        for axis, measure in zip(axes[0], MEASURED, strict=True):
            axis.set_title(measure)
        axes[0, 0].set_yticks(range(len(DRAWN)), [f"{one}\n- {other}" for one, other in DRAWN])
        axes[0, 0].set_ylim(len(DRAWN) - 0.5, -0.5)
        drawn.legend(handles=[*keys()], loc="outside lower center", ncols=4)
    return drawn


def panel(axis: Axes, places: Sequence[Place], measure: str) -> None:
    """Differences of one measure, a mark a place from top to bottom of its pair's band; hollow where the interval holds 0."""
    for shaded in range(0, len(DRAWN), 2):
        axis.axhspan(shaded - 0.5, shaded + 0.5, color="0.95", zorder=0)
    axis.axvline(0, color="0.6", linewidth=0.8)
    for (band, pair), (number, place) in product(enumerate(DRAWN), enumerate(places)):
        color = COLORS[place.architecture]
        if found := difference(place.lines, measure, pair):
            axis.errorbar(
                found.mean,
                band + 0.9 * ((number + 0.5) / len(places) - 0.5),
                xerr=found.half_width,
                fmt=MARKERS[place.task],
                color=color,
                markerfacecolor=color if abs(found.mean) > found.half_width else "white",
                markersize=3.5,
                elinewidth=0.8,
            )


def keys() -> Iterator[Line2D]:
    """What colours, shapes and filling mean."""
    for architecture, color in COLORS.items():
        yield Line2D([], [], color=color, linewidth=3, label=architecture)
    for task, marker in MARKERS.items():
        yield Line2D([], [], color="0.3", marker=marker, linestyle="", label=task)
    yield Line2D([], [], color="0.3", marker="o", markerfacecolor="white", linestyle="", label="interval holds 0")


if __name__ == "__main__":
    main()
