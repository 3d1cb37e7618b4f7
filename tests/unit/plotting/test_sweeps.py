"""Figures of sweeps say what was measured: whiskers within 0 to 100, published figures at their level, nothing left unnamed."""

import math

import numpy as np
import pytest

from tracer import plotting
from tracer.evaluation.intervals import Interval
from tracer.plotting.sweeps import LINES, OURS, THEIRS

VALUES = [0.1, 0.3, 1.0]
SINGLE = float("nan")


def measured(*means, half=0.02, name="ID"):
    return [{name: Interval(mean, half)} for mean in means]


def shown(points, published=({}, {}, {}), **others):
    return plotting.sweep(plotting.Sweep("strategy.strength", VALUES, points, published, others))


def visible(figure):
    return [axis for axis in figure.axes if axis.axison]


def lines(axis, color):
    return [
        line for line in axis.lines if line.get_color() == color and len(line.get_xdata()) > 1 and line.get_linestyle() != "None"
    ]


def ends(axis):
    """Of the whiskers, (n, 2)."""
    (bars,) = [part for part in axis.collections if len(part.get_segments())]
    return np.array([segment[:, 1] for segment in bars.get_segments()])


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()] + [figure.legends[0].get_title().get_text()]


def test_published_figures_of_the_same_level_share_the_axis():
    figure = shown(measured(0.80, 0.82, 0.84), [{"ID": 81.0}, {"ID": 82.5}, {"ID": 83.0}])
    (axis,) = visible(figure)
    (theirs,) = lines(axis, THEIRS)
    assert theirs.get_ydata() == pytest.approx([81.0, 82.5, 83.0])
    assert "published" in legend(figure)


def test_published_figures_of_another_level_have_a_panel_of_their_own_that_spans_as_much():
    figure = shown(measured(0.95, 0.96, 0.98), [{"ID": 83.0}, {"ID": 82.5}, {"ID": 80.0}])
    ours, theirs = visible(figure)
    assert not lines(ours, THEIRS)
    assert not lines(theirs, OURS)
    low, high = theirs.get_ylim()
    assert low < 80 < 83 < high
    assert high - low == pytest.approx(np.ptp(ours.get_ylim()))
    assert "published" in theirs.get_ylabel()
    assert ours.get_ylim()[0] > high, "no published value lies on a measured one"


def test_one_published_value_stays_at_its_own_level():
    figure = shown(measured(0.95, 0.96, 0.98), [{}, {"ID": 60.0}, {}])
    ours, theirs = visible(figure)
    (point,) = [line for line in theirs.lines if line.get_color() == THEIRS]
    assert list(point.get_ydata()) == [60.0]
    assert not [line for line in ours.lines if line.get_color() == THEIRS]


def test_no_figure_has_a_second_axis_on_the_same_panel():
    figure = shown(measured(0.95, 0.96, 0.98), [{"ID": 83.0}, {}, {"ID": 80.0}])
    places = [tuple(axis.get_subplotspec().get_position(figure).bounds) for axis in figure.axes]
    assert len(set(places)) == len(places)


def test_whiskers_end_where_percentages_do():
    (axis,) = visible(shown(measured(0.99, 0.50, 0.01, half=0.05)))
    assert ends(axis) == pytest.approx(np.array([[94, 100], [45, 55], [0, 6]]))


def test_a_single_run_has_no_whisker():
    (axis,) = visible(shown(measured(0.9, 0.8, 0.7, half=SINGLE)))
    segments = [segment for part in axis.collections for segment in part.get_segments()]
    caps = [line for line in axis.lines if line.get_marker() == "_"]
    drawn = [np.ravel(segment) for segment in segments] + [line.get_ydata() for line in caps]
    assert not np.isfinite(np.concatenate([[np.nan], *drawn])).any()


def test_settings_without_a_value_are_lines_and_the_rest_is_named():
    others = {f"name={number}": measured(0.85)[0] for number in range(len(LINES) + 2)}
    figure = shown(measured(0.95, 0.96, 0.98), **others)
    (axis,) = visible(figure)
    drawn = [line for line in axis.lines if line.get_label() in others]
    assert [list(line.get_ydata()) for line in drawn] == [[85.0, 85.0]] * len(LINES)
    assert axis.get_ylim()[0] < 85
    *_, title = legend(figure)
    assert title == "in the table alone: name=4; name=5"


def test_a_failed_point_is_a_gap():
    (axis,) = visible(shown([*measured(0.9), {}, *measured(0.7)]))
    assert any(math.isnan(value) for line in lines(axis, OURS) for value in line.get_ydata())


def test_names_with_dollars_and_underscores_are_drawn_as_they_are(tmp_path):
    name = "$x_1$ a_b^c"
    figure = plotting.settings([name], measured(0.9, name=name), note=name)
    plotting.save(figure, tmp_path / "figure")
    drawn = (tmp_path / "figure.svg").read_text()
    assert drawn.count(f"<!-- {name}") >= 2


def test_shares_close_to_one_are_spread_within_the_panel():
    at = [0.5, 0.9, 0.99, 0.999]
    others = {"tracer": measured(0.7)[0]}
    figure = plotting.sweep(plotting.Sweep("momentum", at, measured(0.9, 0.8, 0.7, 0.6), [{}] * 4, others))
    (axis,) = visible(figure)
    places = axis.transData.transform([(value, 80) for value in at])[:, 0]
    left, right = axis.get_window_extent().x0, axis.get_window_extent().x1
    assert (np.diff(places) > 0.15 * (right - left)).all()
    assert left < places.min()
    assert places.max() < right
