"""What holds in two worlds: points by which one strategy is above another, of glyphs and of drawings. Draws worlds.png.

Glyphs by a ResNet are those of experiments/replay, over five pretrained models; all else is compare.py's. Each strategy has the
setting that the one rule chose for it on its own world and architecture.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from cells import HERE, Line, read
from matplotlib.figure import Figure
from orderings import difference, shown
from settings import AMONG_GLYPHS, ARCHITECTURES

from tracer import plotting
from tracer.plotting.style import PAGE_WIDTH

Where = tuple[str, list[Line]]
"""A world, architecture and task in words, and its lines."""
REPLAY = HERE.parent / "replay"
MEASURED = ("ID", "OOD", "knowledge", "OOD ECE")
COMPARED = (
    ("flyp", "zero_shot"),
    ("wise_ft", "flyp"),
    ("l2_sp", "flyp"),
    ("static_distillation", "l2_sp"),
    ("ema_distillation, 0.9", "static_distillation"),
    ("tracer", "ema_distillation, 0.9"),
    ("tracer", "ema_distillation, 0.99"),
    ("tracer", "static_distillation"),
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
NAMES = {
    "wise_ft 0.4 of flyp": "wise_ft",
    "ema_distillation": "ema_distillation, 0.9",
    "images, captions and words": "replay, captions",
}
"""Names of compare.py, by those that experiments/replay gives the same."""
GLYPHS = "glyphs"
MARKERS = {GLYPHS: "o", "animals-silhouettes": "s", "animals-flat": "^", "food-high-contrast": "X"}
COLORS = {"resnet": "#0072B2", "vit": "#E69F00", "convnext": "#009E73"}


def main() -> None:
    plotting.save(figure(everywhere()), HERE / "worlds")


def everywhere() -> list[Where]:
    """All that was measured, by where."""
    glyphs = [*read(REPLAY / "strategies.json"), *read(REPLAY / "texts.json")]
    renamed = [{**line, "name": NAMES.get(line["name"], line["name"]), "pretrained": line["model"]} for line in glyphs]
    measured = [*read(HERE / "strategies.json"), *read(HERE / "tasks.json")]
    places = dict.fromkeys((line["architecture"], line["task"]) for line in measured)
    return [
        (f"{GLYPHS}, resnet", renamed),
        *(
            (
                architecture.replace("-", ", ") if architecture in AMONG_GLYPHS else f"{task}, {architecture}",
                [line for line in measured if (line["architecture"], line["task"]) == (architecture, task)],
            )
            for architecture, task in sorted(places, key=lambda place: [*AMONG_GLYPHS, *ARCHITECTURES].index(place[0]))
        ),
    ]


def table(places: Sequence[Where]) -> Iterator[str]:
    """Differences in points with 95 % t intervals, paired by pretrained model."""
    yield f"| measure, strategies | {' | '.join(where for where, _ in places)} |"
    yield f"|---|{'---|' * len(places)}"
    for measure in MEASURED:
        for pair in COMPARED:
            cells = [shown(difference(lines, measure, pair)) for _, lines in places]
            yield f"| {measure}, {pair[0]} less {pair[1]} | {' | '.join(cells)} |"


def summary(places: Sequence[Where]) -> Iterator[str]:
    """The least and the most of those differences, and in how many places the interval is above 0 (↑) and below (↓)."""
    yield f"| strategies | {' | '.join(MEASURED)} |"
    yield f"|---|{'---|' * len(MEASURED)}"
    for pair in COMPARED:
        yield f"| {pair[0]} less {pair[1]} | {' | '.join(spread(places, measure, pair) for measure in MEASURED)} |"


def spread(places: Sequence[Where], measure: str, pair: tuple[str, str]) -> str:
    found = [each for _, lines in places if (each := difference(lines, measure, pair))]
    if not found:
        return ""
    means = [each.mean for each in found]
    above, below = (sum(sign * each.mean > each.half_width for each in found) for sign in (1, -1))
    clear = f"({above}↑ {below}↓ of {len(found)})".replace(" ", "\N{NO-BREAK SPACE}")
    return f"{min(means):+.1f} to {max(means):+.1f} {clear}"


def figure(places: Sequence[Where]) -> Figure:
    """The same but what FLYP loses, a column a measure and a row a pair; colours are architectures, shapes are tasks."""
    drawn_pairs = COMPARED[1:]
    with plotting.canvas(PAGE_WIDTH, 12, columns=len(MEASURED), sharey=True) as (drawn, axes):
        for axis, measure in zip(axes, MEASURED, strict=True):
            axis.axvline(0, color="0.6", linewidth=0.8)
            for number, (where, lines) in enumerate(places):
                task, architecture = where.split(", ")
                rows, found = zip(
                    *((row, each) for row, pair in enumerate(drawn_pairs) if (each := difference(lines, measure, pair))),
                    strict=True,
                )
                shifted = np.array(rows) + 0.8 * ((number + 0.5) / len(places) - 0.5)
                axis.errorbar(
                    [each.mean for each in found],
                    shifted,
                    xerr=[each.half_width for each in found],
                    fmt=MARKERS[task],
                    color=COLORS[architecture],
                    markersize=3.5,
                    elinewidth=0.8,
                    label=where,
                )
            axis.set(title=measure, xlabel="points")
        axes[0].set_yticks(range(len(drawn_pairs)), [f"{one}\nless {other}" for one, other in drawn_pairs])
        axes[0].set_ylim(len(drawn_pairs) - 0.4, -0.6)
        drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawn


if __name__ == "__main__":
    main()
