"""The model card of a run: README.md in its folder, which people read and the Hugging Face hub's front matter describes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from tracer import __version__
from tracer.config.defaults import is_embedded
from tracer.config.fields import OWN_WEIGHTS, Section
from tracer.config.schema import RunConfig
from tracer.evaluation.change import verdict
from tracer.runs.training_data import TrainingData
from tracer.storage import write_text
from tracer.strategies import PRESETS

NAME = "README.md"
MARK = "<!-- tracer writes this file: take this line out, and it stays as you change it -->"
CLASSES_SHOWN = 20
MEANS = {"ood": "mean OOD", "knowledge": "mean knowledge"}
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&$#])")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]+")


@dataclass(frozen=True)
class ModelCard:
    """What a model card says, but for how the model was judged.

    Attributes:
        run: the run.
        pairs: number of training pairs; None where the run itself read none.
        classes: their classes, if they have labels.
        head: whether the model has a linear head.
    """

    run: RunConfig
    pairs: int | None
    classes: tuple[str, ...]
    head: bool

    @classmethod
    def of(cls, run: RunConfig, data: TrainingData | None) -> Self:
        """The card of a run on the data that it learnt from."""
        labelled = data.labelled if data else None
        classes = labelled.class_names if labelled else ()
        return cls(run, len(data.pairs) if data else None, classes, PRESETS[run.strategy.name].has_head)

    def write(self, report: dict[str, Any] | None) -> None:
        """Write it into the run's folder, unless there is a README.md that someone else wrote or took over.

        Args:
            report: how the model was judged, a `compared` report say; None if it was not.
        """
        path = self.run.output / NAME
        if not path.exists() or (path.is_file() and MARK in path.read_text(encoding="utf-8", errors="replace")):
            write_text(path, self.text(report))

    def text(self, report: dict[str, Any] | None) -> str:
        """The card in Markdown."""
        model, strategy = self.run.model, self.run.strategy
        further = len(self.classes) - CLASSES_SHOWN
        return _template().render(
            card=self,
            front_matter=yaml.safe_dump(_front_matter(self.run), sort_keys=False, allow_unicode=True),
            mark=MARK,
            name=self.run.output.name or strategy.name,
            start="from random weights" if model.pretrained is None else f"from the weights {_code(model.pretrained)}",
            weights=_origin(self.run),
            version=__version__,
            preset=PRESETS[strategy.name],
            settings=_settings(self.run),
            classes=", ".join(self.classes[:CLASSES_SHOWN]) + (f" and {further:,} more" if further > 0 else ""),
            report=report,
            columns=_columns(report) if report else (),
            rows=_rows(report) if report else (),
            verdict=verdict(report) if report else "",
            embedded=is_embedded(model.architecture),
            named=not model.architecture.startswith(OWN_WEIGHTS),
        )


def _template() -> Template:
    # Markdown, whose own special characters `plain` and `code` take care of: HTML's escapes would be shown as they are
    environment = Environment(loader=PackageLoader("tracer.runs", ""), undefined=StrictUndefined, autoescape=False)
    environment.filters |= {"plain": _plain, "code": _code}
    return environment.get_template("model_card.md")


def _front_matter(run: RunConfig) -> dict[str, Any]:
    """What the hub reads: its YAML comes first in the file."""
    tags = ["clip", "tracer", run.strategy.name]
    base = run.model.pretrained or ""
    known = {"base_model": base.removeprefix("hf-hub:").split("@")[0]} if base.startswith("hf-hub:") else {}
    return {"library_name": "open_clip", "pipeline_tag": "zero-shot-image-classification", "tags": tags, **known}


def _origin(run: RunConfig) -> str:
    """Where the weights come from, for whoever has to find out their licence."""
    if run.model.pretrained is None:
        return "this training alone"
    return f"{_code(run.model.pretrained)} of {_code(run.model.architecture)}"


def _settings(run: RunConfig) -> dict[str, str]:
    """The settings that make the run, in words."""
    optimization, preset = run.optimization, PRESETS[run.strategy.name]
    strategy = {key: value for key, value in run.strategy.by_key().items() if key in preset.settings - {"name"}}
    if preset.kernel is not None:
        strategy["kernel"] = strategy["kernel"] or preset.kernel
    told = {f"strategy.{key}": str(value) for key, value in strategy.items() if value is not None} | _average(run)
    if run.all_steps:
        told |= {f"optimization.{key}": str(value) for key, value in optimization if value is not None}
    if run.replay:
        told |= {f"replay.{key}": _named(value) for key, value in run.replay if value is not None}
    if run.model.freeze:
        told["model.freeze"] = ", ".join(run.model.freeze)
    return told | {"seed": str(run.seed)}


def _named(value: Any) -> str:
    """A setting, a section of them as KEY VALUE, ..."""
    if not isinstance(value, Section):
        return str(value)
    return ", ".join(f"{key} {part}" for key, part in value.model_dump(mode="json").items())


def _average(run: RunConfig) -> dict[str, str]:
    """The passive average, if the student was followed by one."""
    kernel, name = run.average.kernel_of(run.strategy.name), run.strategy.name
    told = {"kernel": kernel, "update_every_steps": run.average.update_every_steps, "as_result": run.average.is_result(name)}
    return {f"average.{key}": str(value) for key, value in told.items()} if kernel else {}


def _columns(report: dict[str, Any]) -> list[str]:
    compared = ["accuracy before", "ECE before"] if "pretrained" in report else []
    return ["set", "images", "accuracy", "ECE", *compared]


def _rows(report: dict[str, Any]) -> list[list[str]]:
    """A line a set, and a line for the mean of each kind."""
    before = report.get("pretrained")
    lines = [
        [name, f"{row['count']:,}", *_percents(row), *(_percents(before["sets"][name]) if before else [])]
        for name, row in report["sets"].items()
    ]
    means = [
        [title, "", *_percents(report[kind]), *(_percents(before[kind]) if before else [])]
        for kind, title in MEANS.items()
        if report[kind]
    ]
    return lines + means


def _percents(scores: dict[str, float]) -> Sequence[str]:
    return [f"{100 * scores[name]:.1f}" for name in ("accuracy", "ece")]


def _plain(text: object) -> str:
    """Text as Markdown shows it as it is, on one line, in a cell of a table too."""
    return _SPECIAL.sub(r"\\\1", _UNPRINTABLE.sub(" ", str(text)))


def _code(text: object) -> str:
    """Text as Markdown shows it in a code span: between more backticks than it has in a row."""
    line = _UNPRINTABLE.sub(" ", str(text))
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    return f"{fence} {line} {fence}" if "`" in line else f"{fence}{line}{fence}"
