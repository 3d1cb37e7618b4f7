"""The section `strategy` of a configuration: which of its settings a strategy uses, and what they make of the objective."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticKnownError

from tracer.averaging import Beta, Exponential, PowerLaw, Static, Uniform
from tracer.config.fields import Count, FiniteValues, Positive, Section, Share, Weight, Whole
from tracer.messages import shown
from tracer.strategies import PRESETS, PUBLISHED_DISTILLATION

NAMED = 3  # strategies in a message


def _known(name: Any) -> Any:
    """The name, if a strategy is called so; asked of `PRESETS` as it is now, so that strategies can be added to it."""
    if not isinstance(name, str) or name not in PRESETS:
        raise PydanticKnownError("literal_error", {"expected": ", ".join(map(repr, PRESETS))})
    return name


StrategyName = Annotated[str, BeforeValidator(_known), WithJsonSchema({"enum": [*PRESETS], "type": "string"})]
AnyKernel = Annotated[Static | Exponential | Uniform | PowerLaw | Beta, Field(discriminator="kind"), FiniteValues]


class Terms(Section):
    """Weights of the distillation terms, before they are scaled by `strength`."""

    crd: Weight = Field(PUBLISHED_DISTILLATION["crd"], description="KL from the teacher's softmax over the batch to the student's")
    fd: Weight = Field(PUBLISHED_DISTILLATION["fd"], description="a mean over embedding dimensions: it grows with the width")
    icl: Weight = Field(
        PUBLISHED_DISTILLATION["icl"], description="contrastive loss of the student's against the teacher's embeddings"
    )
    cross_kd: Weight = Field(
        PUBLISHED_DISTILLATION["cross_kd"],
        description="as crd, with the student's embeddings against the teacher's of the other tower",
    )
    lipsum: Weight = Field(
        1.0, description="half the mean squared difference of the images' logits against replay.texts from the teacher's"
    )


class StrategySection(Section):
    """How knowledge is kept."""

    name: StrategyName = Field("tracer", description="what is trained, and held by what")
    strength: Weight = Field(0.9, description="lambda: scales all distillation terms, or is the weight of L2-SP")
    terms: Terms = Field(Terms(), description="weights of the distillation terms; terms that the strategy lacks stay out")
    cross_projection_norm: Weight | None = Field(
        None, description="weight of |W_I^T W_T|, published as 0.05; default: that for carot, else 0"
    )
    orthogonality: Weight | None = Field(None, description="weight of |W_I W_I^T - I|; default: 0.2 for carot, else 0")
    kernel: AnyKernel | None = Field(None, description="the teacher's averaging kernel; default: the strategy's own")
    update_every_steps: Count = Field(1, description="optimiser steps between two updates of the teacher")
    buffers: Literal["average", "copy"] = Field("average", description="what the teacher does with batch-norm statistics")
    interpolation: Share = Field(0.5, description="wise_ft: share of the fine-tuned weights")
    probe_steps: Count | None = Field(None, description="lp_ft: steps of its linear probe; default: optimization.total_steps")
    probe_learning_rate: Positive | None = Field(
        None, description="lp_ft: of its probe; default: optimization.learning_rate, with open_clip's models 1e-3"
    )
    models: Annotated[Whole, Field(ge=2, le=100)] = Field(2, description="model_stock: how many models are fine-tuned and merged")

    def unused(self) -> list[str]:
        """Its keys that the strategy does not use, those of `terms` as "terms.NAME"."""
        return sorted({*self.by_key()} - PRESETS[self.name].settings)

    def in_vain(self) -> dict[str, Any]:
        """What was set, and that to something else than the default, though the strategy does not use it."""
        values, defaults = self.by_key(), StrategySection().by_key()
        return {key: values[key] for key in self.unused() if values[key] != defaults[key]}

    def require_use(self) -> None:
        """Raises ValueError for a setting that does nothing: a comparison over it would be one of equal runs."""
        for key, value in self.in_vain().items():
            others = [name for name, preset in PRESETS.items() if key in preset.settings]
            raise ValueError(
                f"strategy.{key} is {shown(value)}, but {self.name} does not use it: remove it, or choose a strategy that does"
                f" ({', '.join(others[:NAMED])}{', ...' if len(others) > NAMED else ''})"
            )

    def in_force(self) -> dict[str, Any]:
        """What its used keys come to: the kernel and the weights of the objective instead of the keys that they are made of."""
        preset, made_of = PRESETS[self.name], ("kernel", "strength", "cross_projection_norm", "orthogonality")
        used = {key: value for key, value in self.by_key().items() if key in preset.settings}
        others = {key: value for key, value in used.items() if key not in made_of and "." not in key}
        names = {each.strategy for each in preset.earlier(0, self.by_key())}
        earlier = {name: self.model_copy(update={"name": name}).in_force() for name in names}
        return others | {"kernel": repr(self.kernel or preset.kernel), "weights": self.objective_weights(), "earlier": earlier}

    def objective_weights(self) -> dict[str, float]:
        """Weight of each term of the objective; none where the strategy takes no steps of its own."""
        return PRESETS[self.name].weights(self.by_key())

    def by_key(self) -> dict[str, Any]:
        """Its values by key, those of `terms` by "terms.NAME"."""
        return {key: value for key, value in self if key != "terms"} | {f"terms.{name}": weight for name, weight in self.terms}
