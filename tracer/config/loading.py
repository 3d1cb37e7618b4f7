"""A run's configuration from its YAML file and overrides, and back to YAML; every error is reported at once, a sentence each."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tracer.averaging import Kernel
from tracer.config import strict_yaml
from tracer.config.average import AverageSection
from tracer.config.defaults import is_embedded
from tracer.config.fields import Section
from tracer.config.overrides import merged
from tracer.config.schema import AnySection, RunConfig
from tracer.errors import UserError
from tracer.messages import sentences, several, shown


def remarks(run: RunConfig) -> list[str]:
    """What a user should know of a run before it starts: settings that are allowed, and seldom meant."""
    told = []
    own = [name for name, part in (("data", run.data), ("evaluation", run.evaluation)) if part and part.kind != "embedded"]
    if own and "architecture" not in run.model.model_fields_set:
        told.append(f"model.architecture is left out: the embedded toy gets {' and '.join(own)} of your own")
    if run.model.pretrained is None:
        told.append("model.pretrained is null: the model starts from random weights")
    if not is_embedded(run.model.architecture) and "data" not in run.model_fields_set:
        told.append(f"data is left out: {run.model.architecture} is trained on the embedded task, handwritten digits")
    if run.evaluation is None and "evaluation" not in run.model_fields_set:
        told.append(f"evaluation is left out: what is learnt from {run.data.kind} data is not judged")
    return told


def remarks_on_the_suite(run: RunConfig) -> list[str]:
    """What a user should know of the suite that judges a model where none is named."""
    if is_embedded(run.model.architecture) or run.evaluation is None or "evaluation" in run.model_fields_set:
        return []
    return [f"evaluation is left out: {run.model.architecture} is judged on the embedded suite, handwritten digits"]


def load(path: Path | None, overrides: Sequence[str] = ()) -> RunConfig:
    """A run from a YAML file (None: the defaults) and `section.key=value` overrides.

    Raises:
        UserError: with every error of the configuration, a line each.
    """
    return validate(merged(read(path) if path else {}, overrides), str(path or "the command line"))


def validate(values: dict[str, Any], origin: str) -> RunConfig:
    """A run from nested values; `origin` says in error messages where they came from."""
    return parse(RunConfig, values, origin)


def parse(kind: type[AnySection], values: Any, origin: str) -> AnySection:
    """A section of any kind from nested values, with errors as those of `validate`."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UserError(several(origin, sentences(error.errors(), _schema(kind)))) from None


@cache
def _schema(kind: type[Section]) -> dict[str, Any]:
    return kind.model_json_schema()


def dump(run: RunConfig) -> str:
    """The YAML that `load` turns back into this run: everything but what its strategy does not use."""
    values = run.model_dump(mode="json")
    for key in run.strategy.unused():
        *section, last = key.split(".")
        del (values["strategy"]["terms"] if section else values["strategy"])[last]
    if not values["strategy"]["terms"]:
        del values["strategy"]["terms"]
    return strict_yaml.dump(values)


def read(path: Path) -> dict[str, Any]:
    """The nested values of a YAML file.

    Raises:
        UserError: if it cannot be read, is not strict YAML, or holds no keys.
    """
    values = strict_yaml.read(path)
    if not isinstance(values, dict):
        kind = "a list" if isinstance(values, list) else f"the value {shown(values)}"
        raise UserError(f"{path} holds {kind}, not sections with keys: write lines such as 'seed: 0'")
    return values


def kernel(text: str, origin: str) -> Kernel:
    """An averaging kernel as an option has it: the YAML of its section, or its kind alone.

    Raises:
        UserError: if it is none.
    """
    value = strict_yaml.parse(text, origin, "kernel")
    section = parse(AverageSection, {"kernel": {"kind": value} if isinstance(value, str) else value}, origin)
    if section.kernel is None:
        raise UserError(f"{origin} is empty: name a kind, such as uniform")
    return section.kernel
