"""How every figure looks: one colour and one marker per strategy, which colour-blind readers can tell apart."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure


class Look(NamedTuple):
    """How a strategy is drawn and what it is called."""

    color: str
    marker: str
    label: str


# Okabe and Ito's palette for the strategies that are compared most, Paul Tol's muted one for the others
LOOKS = {
    "zero_shot": Look("#000000", "o", "zero-shot"),
    "flyp": Look("#D55E00", "o", "FLYP"),
    "l2_sp": Look("#999999", "s", "L2-SP"),
    "static_distillation": Look("#56B4E9", "D", "static distillation"),
    "ema_distillation": Look("#E69F00", "^", "EMA distillation"),
    "tracer": Look("#0072B2", "o", "TRACER (WMA)"),
    "wise_ft": Look("#009E73", "v", "WiSE-FT"),
    "weight_decay": Look("#CC79A7", "p", "weight decay"),
    "carot": Look("#CC79A7", "^", "CaRot"),
    "linear_probe": Look("#882255", "P", "linear probe"),
    "ft": Look("#AA4499", "X", "FT"),
    "lp_ft": Look("#332288", "P", "LP-FT"),
    "model_stock": Look("#117733", "*", "Model Stock"),
    "tracer_without_crd": Look("#0072B2", "<", "TRACER without CRD"),
    "tracer_without_fd": Look("#0072B2", ">", "TRACER without FD"),
    "tracer_without_icl": Look("#0072B2", "h", "TRACER without ICL"),
    "tracer_without_cross_kd": Look("#0072B2", "d", "TRACER without CrossKD"),
}
COLORS = {strategy: look.color for strategy, look in LOOKS.items()}
LABELS = {strategy: look.label for strategy, look in LOOKS.items()}
STYLE: Any = {
    "figure.dpi": 130,
    "savefig.bbox": "tight",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "tracer",  # the same figure is the same file
}
FORMATS = {"png": {}, "svg": {"Date": None}}


@contextmanager
def canvas(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> Iterator[tuple[Figure, Any]]:
    """A figure of so many inches in this project's style, with its axes as `Figure.subplots` gives them, to be drawn within.

    It belongs to no window and no backend: notebooks show it, `save` writes it.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(rows, columns, **options)


def plain(text: str) -> str:
    """Text that matplotlib draws as it is: a name with dollars is no formula."""
    return text.replace("$", r"\$")


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PATH.png and PATH.svg; the path of the former."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for suffix, metadata in FORMATS.items():
            figure.savefig(f"{path}.{suffix}", metadata=metadata)
    return Path(f"{path}.png")
