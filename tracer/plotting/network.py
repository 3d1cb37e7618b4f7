"""Where in a network the change went."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from tracer.plotting.style import LOOKS, canvas


def displacement(by_strategy: Mapping[str, Mapping[str, float]]) -> Figure:
    """Relative displacement of each block, in percent of its pretrained norm, a marker a strategy; the network's input on top.

    Args:
        by_strategy: for each strategy what `relative_displacement` found, all of one architecture.
    """
    blocks = list(next(iter(by_strategy.values())))
    with canvas(8, 1 + 0.26 * len(blocks)) as (figure, axis):
        for strategy, moved in by_strategy.items():
            look = LOOKS[strategy]
            percent = [100 * moved[block] for block in blocks]
            axis.plot(percent, range(len(blocks)), look.marker, color=look.color, label=LOOKS[strategy].label, markersize=6)
        axis.set(xscale="log", xlabel="distance from the pretrained weights (% of their norm)")
        axis.set_yticks(range(len(blocks)), blocks)
        axis.invert_yaxis()
        axis.legend()
    return figure
