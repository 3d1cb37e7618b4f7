"""Figures in one style; `style` has the looks of the strategies, `results` what runs measured, `sweeps` grids of runs, `curves`
panels of any curves.

Figures of the theory are in modules of their own, which only those import who draw them: `forces` has the regularising force,
`plane` what is learned and forgotten, `persistence` the gap beside the bias, `agreement` theory against trainer.
"""

from tracer.looks import LOOKS, Look
from tracer.plotting.curves import Curve, Panel, curves
from tracer.plotting.diagnosis import diagnosis
from tracer.plotting.merges import merges
from tracer.plotting.network import displacement
from tracer.plotting.predictions import predictions
from tracer.plotting.results import averages, gaps, horizons, interpolations, reliability, samples, trade_off
from tracer.plotting.style import STYLE, canvas, save
from tracer.plotting.sweeps import Sweep, settings, sweep

__all__ = [
    "LOOKS",
    "STYLE",
    "Curve",
    "Look",
    "Panel",
    "Sweep",
    "averages",
    "canvas",
    "curves",
    "diagnosis",
    "displacement",
    "gaps",
    "horizons",
    "interpolations",
    "merges",
    "predictions",
    "reliability",
    "samples",
    "save",
    "settings",
    "sweep",
    "trade_off",
]
