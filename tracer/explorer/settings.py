"""What the explorer lets its reader set, and the settings it offers as cases worth seeing."""

from typing import Any, Literal, NamedTuple


class Slider(NamedTuple):
    """One quantity that a slider moves.

    Attributes:
        key: its name in the page's address.
        label, symbol, unit: how the page speaks of it.
        scale: how the slider's way maps to values: evenly ("linear"), evenly in the logarithm ("log"), that with zero at the
            left end ("log_or_zero"), or evenly in the logarithm of 1 - value ("log_below_one").
        smallest, largest: ends of the slider; values typed in or asked for by the address are brought between them, and the page
            says so.
        whole: whether only whole numbers make sense.
        hint: what it does, in a few words.
    """

    key: str
    label: str
    symbol: str
    unit: str
    scale: Literal["linear", "log", "log_or_zero", "log_below_one"]
    smallest: float
    largest: float
    whole: bool
    hint: str


class Case(NamedTuple):
    """Settings that tell something, and what they tell."""

    title: str
    story: str
    settings: dict[str, Any]


SLIDERS = (
    Slider("strength", "Strength", "λ", "", "log_or_zero", 0, 100, False, "weight of the distillation term"),
    Slider("beta", "WMA exponent", "β", "", "log", 0.05, 5, False, "smaller remembers the pretrained model longer"),
    Slider("momentum", "EMA momentum", "m", "", "log_below_one", 0, 0.99999, False, "averages about 1/(1 - m) steps"),
    Slider("horizon", "Horizon", "T", "steps", "log", 10, 10_000, True, "length of the fine-tuning run"),
    Slider("learning_rate", "Learning rate", "η", "", "log", 0.001, 2.5, False, "1 solves the strongest mode in one step"),
    Slider("modes", "Modes", "n", "", "linear", 1, 32, True, "directions that the task's inputs span"),
    Slider("decades", "Spectrum", "", "decades", "linear", 0, 6, False, "from the strongest direction to the weakest"),
)
CHOICES = {
    "metric": {"data": "data (features)", "parameter": "parameters (weights)"},
    "axis": {"log": "logarithmic", "linear": "linear"},
    "memory": {"weights": "weights", "cumulated": "cumulated"},
}
"""Settings with a few values, and how the page calls these; what is compared and how it is drawn."""

_USUAL = {
    "strength": 0.9,
    "beta": 0.5,
    "momentum": 0.9,
    "horizon": 10_000,
    "learning_rate": 0.1,
    "modes": 16,
    "decades": 1,
    "metric": "data",
    "axis": "log",
    "memory": "weights",
    "shown": ("flyp", "static_distillation", "ema_distillation", "tracer", "power_law"),
}
CASES = {
    "collapse": Case(
        "A usual EMA, a long run: collapse",
        "An EMA with momentum 0.9 catches up with its student within some ten steps. From then on the force halves every few dozen "
        "steps: for most of the run nothing regularises, and what is left is plain fine-tuning.",
        {**_USUAL, "shown": ("flyp", "static_distillation", "ema_distillation")},
    ),
    "persistence": Case(
        "A WMA persists",
        "The same run with teachers that weigh the whole past. Their force falls as a power law of time, a straight line here, and "
        "still pulls at the end; the task error falls with it, so that no bias stays, as the static teacher's does.",
        _USUAL,
    ),
    "tuned": Case(
        "An EMA tuned to the horizon",
        "With momentum 0.99964 the EMA ends this run at TRACER's task error, and has pulled twice as hard on the way. But "
        "shorten the run to 1,000 steps, and it is nearly the static teacher: it must be tuned to each horizon, a WMA need not.",
        {**_USUAL, "momentum": 0.99964},
    ),
    "decades": Case(
        "Four decades, parameter metric",
        "The teacher adds the same curvature in every direction, while the data's own spans four decades. Where the teacher's "
        "outweighs the data's, the student hardly moves, under an EMA and a WMA alike: the half-life runs from a thousand steps to "
        "millions, the exponent from 0.26 to nearly 0. Under the data metric one exponent holds for all directions.",
        {**_USUAL, "metric": "parameter", "decades": 4, "momentum": 0.999, "learning_rate": 0.5},
    ),
}
START = "persistence"
"""The case that the page opens with."""
