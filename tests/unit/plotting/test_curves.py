"""Panels of curves: everything that is given is drawn, in its strategy's look."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from tracer.errors import UserError
from tracer.plotting import LOOKS, Curve, Panel, curves, displacement

X = np.array([1.0, 10.0, 100.0])


def test_curves_have_the_colour_of_their_strategy_and_its_name():
    drawn = [Curve("tracer", X, X**-0.5), Curve("ema_distillation", X, np.exp(-X), "EMA, 0.9", "--"), Curve("flyp", X, X, "")]
    (axis,) = curves([Panel("title", "step", "gap", drawn, "xy")]).axes
    assert [to_hex(line.get_color()).upper() for line in axis.lines] == [LOOKS[c.strategy].color for c in drawn]
    for line, curve in zip(axis.lines, drawn, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), curve.y)
    assert [text.get_text() for text in axis.get_legend().get_texts()] == [LOOKS["tracer"].label, "EMA, 0.9"]
    assert axis.lines[1].get_linestyle() == "--"
    assert (axis.get_xscale(), axis.get_yscale(), axis.get_xlabel(), axis.get_title()) == ("log", "log", "step", "title")


def test_panels_fill_a_grid_without_empty_axes():
    panel = Panel("", "x", "y", [Curve("tracer", X, X)], legend=False)
    figure = curves([panel] * 3, columns=2)
    assert len(figure.axes) == 3
    assert figure.axes[0].get_legend() is None
    assert figure.axes[0].get_xscale() == "linear"
    assert figure.get_figheight() == pytest.approx(2 * 3.4)


def test_one_legend_below_names_the_first_panels_curves():
    panels = [Panel("", "x", "y", [Curve("tracer", X, X, name)]) for name in ("first", "second")]
    figure = curves(panels, legend_below=True)
    assert [axis.get_legend() for axis in figure.axes] == [None, None]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["first"]


def test_nothing_to_draw_is_refused():
    with pytest.raises(UserError, match="at least one panel"):
        curves([])


def test_displacement_has_a_marker_per_block_in_percent():
    found = {"flyp": {"visual.conv1": 0.04, "text_projection": 0.2}, "tracer": {"visual.conv1": 0.01, "text_projection": 0.1}}
    (axis,) = displacement(found).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["visual.conv1", "text_projection"]
    for line, (strategy, moved) in zip(axis.lines, found.items(), strict=True):
        np.testing.assert_allclose(line.get_xdata(), [100 * share for share in moved.values()])
        assert (line.get_marker(), line.get_label()) == (LOOKS[strategy].marker, LOOKS[strategy].label)
