"""The explorer's page: a template, a style sheet and scripts, joined into one file that needs nothing else."""

import json
from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from tracer.errors import UserError
from tracer.explorer.settings import CASES, CHOICES, SLIDERS, START, Slider
from tracer.looks import LOOKS, POWER_LAW_LABEL
from tracer.storage import write_text

SCRIPTS = ("special.js", "kernels.js", "dynamics.js", "run.js", "charts.js", "controls.js", "main.js")
POWER_LAW = {"label": POWER_LAW_LABEL, "color": LOOKS["tracer"].color, "dash": "6 4"}
"""The second WMA teacher is no strategy of its own: it has TRACER's colour, dashed."""


def write(output: Path) -> None:
    """Write the page to a file, whose folder is made if need be.

    Raises:
        UserError: if the file's name does not end in .html.
    """
    if output.suffix != ".html":
        raise UserError(f"--output is {str(output)!r}, and a page's name ends in .html: choose one such as explorer.html")
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, render())


def render() -> str:
    """The page as HTML. A template of the standard library is enough, so that the theory's page needs no more than the theory."""
    shown = looks()
    data = {
        "sliders": [slider._asdict() for slider in SLIDERS],
        "choices": {key: list(values) for key, values in CHOICES.items()},
        "cases": {key: case._asdict() for key, case in CASES.items()},
        "start": START,
        "looks": shown,
    }
    return Template(_joined("page.html")).substitute(
        style=_joined("style.css"),
        script=_joined(*SCRIPTS),
        data=_as_script(data),
        cases="".join(map(_case, CASES)),
        sliders="".join(map(_slider, SLIDERS)),
        shown="".join(_labelled(f'type="checkbox" value="{name}"', look["label"]) for name, look in shown.items()),
        **{name: _radios(name, values) for name, values in CHOICES.items()},
    )


def looks() -> dict[str, dict[str, str]]:
    """Label, colour and dash of each curve by the name it has in the page's scripts."""
    compared = ("flyp", "static_distillation", "ema_distillation", "tracer")
    return {name: {"label": LOOKS[name].label, "color": LOOKS[name].color, "dash": ""} for name in compared} | {
        "power_law": POWER_LAW
    }


def _joined(*names: str) -> str:
    """Files of this package, one after the other."""
    folder = resources.files("tracer.explorer")
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


def _as_script(data: object) -> str:
    """Data as JavaScript inside HTML, which a "<" must not end."""
    return json.dumps(data).replace("<", r"\u003c")


def _case(key: str) -> str:
    return f'<button type="button" data-case="{key}" aria-pressed="false">{escape(CASES[key].title)}</button>\n'


def _slider(slider: Slider) -> str:
    key, label = slider.key, escape(slider.label)
    symbol = f" <i>{slider.symbol}</i>" if slider.symbol else ""
    return f"""
<div class="slider">
<label for="{key}">{label}{symbol}</label>
<span class="value"><input type="text" inputmode="decimal" id="{key}-value" autocomplete="off"
  aria-label="{label}, {slider.smallest} to {slider.largest}"> {slider.unit}</span>
<input type="range" id="{key}" min="0" max="200" step="1" aria-describedby="{key}-hint">
<small id="{key}-hint">{escape(slider.hint)}</small>
</div>
"""


def _radios(name: str, values: Mapping[str, str]) -> str:
    return "".join(_labelled(f'type="radio" name="{name}" value="{value}"', label) for value, label in values.items())


def _labelled(attributes: str, label: str) -> str:
    return f"<label><input {attributes}> {escape(label)}</label>\n"
