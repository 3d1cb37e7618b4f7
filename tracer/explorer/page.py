"""The explorer's page: a template, a style sheet and scripts, joined into one file that needs nothing else."""

from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from tracer.errors import UserError
from tracer.explorer.settings import CASES, CHOICES, SLIDERS, START
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
    """The page as HTML."""
    environment = Environment(loader=PackageLoader("tracer", "explorer"), autoescape=True)
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}  # settings and strategies have an order
    data = {
        "sliders": [slider._asdict() for slider in SLIDERS],
        "choices": {key: list(values) for key, values in CHOICES.items()},
        "cases": {key: case._asdict() for key, case in CASES.items()},
        "start": START,
        "looks": looks(),
    }
    return environment.get_template("page.html").render(
        style=_inlined("style.css"), script=_inlined(*SCRIPTS), data=data, sliders=SLIDERS, choices=CHOICES, cases=CASES
    )


def looks() -> dict[str, dict[str, str]]:
    """Label, colour and dash of each curve by the name it has in the page's scripts."""
    compared = ("flyp", "static_distillation", "ema_distillation", "tracer")
    return {name: {"label": LOOKS[name].label, "color": LOOKS[name].color, "dash": ""} for name in compared} | {
        "power_law": POWER_LAW
    }


def _inlined(*names: str) -> Markup:
    """Files of this package as they are, one after the other: they are the project's own, and no markup."""
    folder = resources.files("tracer.explorer")
    return Markup("\n".join((folder / name).read_text(encoding="utf-8") for name in names))
