"""What a file or folder says of how its model wants images, checked."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from tracer.errors import UserError
from tracer.models.loading import failures

Deviation = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Preprocessing(BaseModel):
    """How images become a model's input, as far as it is said; other keys are passed over.

    Attributes:
        size: height and width of what the model sees, in pixels.
        mean, std: of each channel, for pixels in [0, 1].
        interpolation, resize_mode: open_clip's words for how images are resized.
    """

    size: Annotated[int, Field(ge=1)] | tuple[int, int] | None = None
    mean: FiniteFloat | tuple[FiniteFloat, FiniteFloat, FiniteFloat] | None = None
    std: Deviation | tuple[Deviation, Deviation, Deviation] | None = None
    interpolation: Literal["bicubic", "bilinear", "random"] | None = None
    resize_mode: Literal["shortest", "longest", "squash"] | None = None

    def difference(self, other: "Preprocessing") -> str | None:
        """The first thing that both name and that differs, with both values."""
        for name in type(self).model_fields:
            mine, theirs = (_spread(name, getattr(each, name)) for each in (self, other))
            if mine is not None and theirs is not None and mine != theirs:
                return f"{name} {_short(mine)} and {_short(theirs)}"
        return None


def parse(values: Any, origin: str) -> Preprocessing:
    """The preprocessing in nested values; `origin` says in errors where they stand.

    Raises:
        UserError: for values that are none.
    """
    try:
        return Preprocessing.model_validate(values)
    except ValidationError as error:
        raise UserError(
            f"the preprocessing in {origin} is wrong: {failures.invalid(error, Preprocessing)}; mend or replace it"
        ) from None


def _spread(name: str, value: Any) -> Any:
    """One number for all channels, or for both sides, is that many."""
    if isinstance(value, int | float):
        return (value,) * (2 if name == "size" else 3)
    return value


def _short(value: Any) -> Any:
    return tuple(round(part, 4) for part in value) if isinstance(value, tuple) else value
