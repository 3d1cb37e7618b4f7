"""The runs: FLYP with one freedom taken away at a time, and the linear theory's setting with one given at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tracer import schedules
from tracer.config.schema import RunConfig
from tracer.demo import settings
from tracer.models import clip
from tracer.models.dual_encoder import Encoder
from tracer.runs.build import load_encoder
from tracer.runs.sources import training_pairs
from tracer.training.batches import Batches
from tracer.training.objective import Objective
from tracer.training.trainer import Loop, Trainer

ABLATIONS = Path("experiments/ablations")
PRETRAINED = ("0", "1", "2", str(ABLATIONS / "glyphs-3.safetensors"), str(ABLATIONS / "glyphs-4.safetensors"))
RATES = (1e-3, 3e-4)

# patterns of open_clip's names
TEXT = ("transformer.*", "token_embedding.*", "positional_embedding", "ln_final.*", "text_projection")
SCALE = ("logit_scale",)
UP_TO_STAGE_3 = ("visual.[cb]*", "visual.layer[123].*")
STAGES = ("visual.[!a]*",)
BELOW_PROJECTION = (*STAGES, "visual.attnpool.[!c]*")


@dataclass(frozen=True)
class Intervention:
    """What differs from FLYP.

    Attributes:
        freeze: patterns of what is not trained.
        optimization, strategy: other settings.
    """

    freeze: tuple[str, ...] = ()
    optimization: Mapping[str, Any] = field(default_factory=dict)
    strategy: Mapping[str, Any] = field(default_factory=dict)


FLYP, PROJECTION = "FLYP", "projection alone"
TEXT_FROZEN, IMAGE_FROZEN = "text tower frozen", "image tower frozen"
TEN_TIMES = "projection alone, ten times the rate"
FROM_FLYP = {
    FLYP: Intervention(),
    TEXT_FROZEN: Intervention(TEXT),
    "image tower frozen below its projection": Intervention(BELOW_PROJECTION),
    IMAGE_FROZEN: Intervention(("visual.*",)),
    "logit scale frozen": Intervention(SCALE),
    "no weight decay": Intervention(optimization={"weight_decay": 0.0}),
    "cross-projection norm 0.05": Intervention(strategy={"cross_projection_norm": 0.05}),
}
LINEAR = TEXT + SCALE + BELOW_PROJECTION
FROM_LINEAR = {
    PROJECTION: Intervention(LINEAR, {"weight_decay": 0.0}),
    "+ weight decay": Intervention(LINEAR),
    "+ logit scale": Intervention(TEXT + BELOW_PROJECTION),
    "+ attention pool": Intervention(TEXT + STAGES),
    "+ last stage": Intervention(TEXT + UP_TO_STAGE_3),
}  # with all image layers it is TEXT_FROZEN, with the text tower FLYP
INTERVENTIONS = FROM_FLYP | FROM_LINEAR | {TEN_TIMES: Intervention(LINEAR, {"weight_decay": 0.0, "learning_rate": 1e-2})}
AT_RATE = {RATES[0]: tuple(INTERVENTIONS), RATES[1]: (FLYP, TEXT_FROZEN)}
DESCENT, DESCENT_RATE = "projection alone, plain gradient descent", 0.6
"""At its rate it leaves about the training loss that AdamW leaves."""


def configuration(name: str, rate: float, pretrained: str, seed: int, runs: Path) -> RunConfig:
    """The run of an intervention from one pretrained model, in a folder of its own below `runs`."""
    change = INTERVENTIONS[name]
    folder = runs / f"{rate:g}" / name.replace(" ", "_").replace(",", "").replace("+", "plus")
    optimization = {"learning_rate": rate, **change.optimization}
    run = settings.configuration("flyp", pretrained, seed, folder, optimization=optimization, strategy=change.strategy)
    return run.model_copy(update={"model": run.model.model_copy(update={"freeze": change.freeze})})


def gradient_descent(run: RunConfig, rate: float) -> Encoder:
    """A run by plain gradient descent at another peak rate, in place of AdamW: same batches, same schedule."""
    torch.manual_seed(run.seed)
    encoder, steps = load_encoder(run), run.optimization.total_steps
    clip.freeze(encoder.model, run.model.freeze)
    trained = [parameter for parameter in encoder.model.parameters() if parameter.requires_grad]
    Trainer(
        encoder.model,
        Batches(training_pairs(run.data), encoder, run.optimization.batch_size, steps, run.seed),
        Objective(run.strategy.objective_weights()),
        torch.optim.SGD(trained, lr=rate),
        Loop(steps, schedules.cosine(steps), max_gradient_norm=run.optimization.max_gradient_norm),
    ).fit()
    return encoder
