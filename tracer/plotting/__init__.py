"""Figures in one style; `style` has the looks of the strategies, `training` what runs measured."""

from tracer.plotting.style import COLORS, LABELS, LOOKS, STYLE, Look, canvas, save
from tracer.plotting.training import gaps, horizons, interpolations, reliability, samples, settings, sweep, trade_off

__all__ = [
    "COLORS",
    "LABELS",
    "LOOKS",
    "STYLE",
    "Look",
    "canvas",
    "gaps",
    "horizons",
    "interpolations",
    "reliability",
    "samples",
    "save",
    "settings",
    "sweep",
    "trade_off",
]
