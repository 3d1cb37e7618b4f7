"""Kinds of values in a configuration: a boolean is no number, and ~ is the home folder wherever a path may stand."""

import math
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tracer.paths import at_home, located

OWN_WEIGHTS = ("hf-hub:", "local-dir:")  # architectures that begin so bring weights
LARGEST = 2**32 - 1  # a larger number is a slip, which would only be noticed after hours; seeds are at most that large


class Section(BaseModel):
    """A part of a configuration: immutable, and without room for a misspelt key."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def _no_boolean(value: Any) -> Any:
    """YAML's booleans are no numbers, though Python's are."""
    if isinstance(value, bool):
        raise ValueError(f"YAML reads {'yes, on and true' if value else 'no, off and false'} so, which is no number: write one")
    return value


def _home(value: Any) -> Any:
    """Text that may be a path, behind a scheme too, with ~ as the home folder."""
    if not isinstance(value, str):
        return value
    scheme = next((scheme for scheme in OWN_WEIGHTS if value.startswith(scheme)), "")
    return scheme + at_home(value.removeprefix(scheme))


def _finite(value: Any) -> Any:
    """The values of a kernel are finite numbers, and no booleans."""
    for key, part in value.items() if isinstance(value, dict) else ():
        _no_boolean(part)
        if isinstance(part, float) and not math.isfinite(part):
            raise ValueError(f"{key} must be a finite number")
    return value


Number = Annotated[float, BeforeValidator(_no_boolean), Field(allow_inf_nan=False)]
Whole = Annotated[int, BeforeValidator(_no_boolean), Field(ge=0, le=LARGEST)]
Weight = Annotated[Number, Field(ge=0)]
Positive = Annotated[Number, Field(gt=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Count = Annotated[Whole, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]
HomeText = Annotated[Text, BeforeValidator(_home)]
Location = Annotated[Path, BeforeValidator(lambda value: located(value) if isinstance(value, str | Path) else value)]
FiniteValues = BeforeValidator(_finite)
