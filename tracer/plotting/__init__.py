"""Figures in one style; `style` has the looks of the strategies, `training` what runs measured.

Figures of the theory are in modules of their own, which only those import who draw them: `forces` has the regularising force,
`plane` what is learned and forgotten, `agreement` theory against trainer.
"""

from tracer.plotting.style import COLORS, LABELS, LOOKS, STYLE, Look, canvas, save
from tracer.plotting.training import gaps, horizons, interpolations, reliability, samples, sweep, trade_off

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
    "sweep",
    "trade_off",
]
