"""Figures look alike everywhere, and colour-blind readers can tell the strategies apart."""

import itertools
from pathlib import Path

import matplotlib.style
import numpy as np
import pytest
from colorspacious import cspace_convert, deltaE
from matplotlib.colors import to_rgb
from PIL import Image

from tracer import plotting, theory
from tracer.demo import settings
from tracer.evaluation.merges import METHODS
from tracer.plotting import LOOKS
from tracer.plotting.style import PAGE_WIDTH, STYLE
from tracer.strategies import PRESETS

DEFICIENCIES = ("deuteranomaly", "protanomaly", "tritanomaly")
JUST_NOTICEABLE = 1.0  # in CAM02-UCS
ROOT = Path(__file__).parents[3]
PICTURES = sorted([*ROOT.glob("experiments/**/*.png"), *ROOT.glob("docs/gallery/*.png")])
PAGE_PIXELS = PAGE_WIDTH * STYLE["figure.dpi"]
MARGIN_PIXELS = 30  # around what was drawn, and what stands out of it
SHOWN_PIXELS = 830  # that a page gives to a picture
SMALLEST_PIXELS = 12


def seen(color, deficiency):
    space = {"name": "sRGB1+CVD", "cvd_type": deficiency, "severity": 100}
    return np.clip(cspace_convert(to_rgb(color), space, "sRGB1"), 0, 1)


def test_every_strategy_has_one_look():
    assert set(LOOKS) == {*PRESETS, *theory.STRATEGIES, *METHODS}
    assert len({look.label for look in LOOKS.values()}) == len(LOOKS)


def test_a_strategy_of_ones_own_is_drawn_too():
    look = LOOKS["mine"]
    assert look.label == "mine"
    assert "mine" not in LOOKS, "it is made anew each time"
    assert look.color not in {known.color for known in LOOKS.values()}


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_looks_differ_for_the_colour_blind(deficiency):
    for one, other in itertools.combinations(LOOKS.values(), 2):
        distance = deltaE(seen(one.color, deficiency), seen(other.color, deficiency), input_space="sRGB1")
        assert one.marker != other.marker or distance > 8 * JUST_NOTICEABLE, (one.label, other.label)


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_lines_of_the_compared_strategies_differ_by_colour_alone(deficiency):
    for one, other in itertools.combinations(settings.CHOSEN, 2):
        distance = deltaE(seen(LOOKS[one].color, deficiency), seen(LOOKS[other].color, deficiency), input_space="sRGB1")
        assert distance > 5 * JUST_NOTICEABLE, (one, other)


def test_red_and_green_would_not_do():
    """The same measure finds a palette wrong that is."""
    assert deltaE(seen("#c04000", "deuteranomaly"), seen("#608000", "deuteranomaly"), input_space="sRGB1") < 8 * JUST_NOTICEABLE


def test_a_figure_is_the_same_files_each_time_in_whatever_style_matplotlib_is(tmp_path):
    for name, style in (("one", "default"), ("two", "dark_background")):
        with matplotlib.style.context(style):
            with plotting.canvas(3, 2) as (figure, axis):
                axis.plot([1, 2], [3, 4], color=LOOKS["tracer"].color, label="x")
                axis.legend()
            assert plotting.save(figure, tmp_path / name) == tmp_path / f"{name}.png"
    for suffix in ("png", "svg"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pictures_can_be_read_on_any_page(picture):
    """None is so wide that a page makes its type too small, and none lets a dark page through."""
    with Image.open(picture) as image:
        assert image.width <= PAGE_PIXELS + MARGIN_PIXELS
        assert image.convert("RGBA").getchannel("A").getextrema() == (255, 255)


def test_type_is_large_enough_on_a_page():
    pixels_a_point = SHOWN_PIXELS / PAGE_PIXELS * STYLE["figure.dpi"] / 72
    sizes = {name: size * pixels_a_point for name, size in STYLE.items() if name.endswith(("size", "fontsize"))}
    assert len(sizes) >= 4
    assert {name: size for name, size in sizes.items() if size < SMALLEST_PIXELS} == {}
