"""Pretraining of the embedded CLIP: how the shipped checkpoints were made."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from tracer import schedules
from tracer.errors import UserError, nearest
from tracer.evaluation.report import evaluate
from tracer.models import clip
from tracer.models.dual_encoder import Encoder
from tracer.tensor_files import save_tensors
from tracer.toy import small_clip, world
from tracer.training.batches import Batches
from tracer.training.checkpoints import Checkpoints
from tracer.training.objective import Objective
from tracer.training.optimizer import parameter_groups
from tracer.training.trainer import Loop, Trainer


class Recipe(NamedTuple):
    """What pretraining differs in from architecture to architecture."""

    steps: int
    learning_rate: float


RECIPES = {"glyphs": Recipe(2500, 2e-3), "glyphs-vit": Recipe(8000, 1e-3), "glyphs-convnext": Recipe(8000, 2e-3)}
PAIRS = 40_000
BATCH_SIZE = 128
WEIGHT_DECAY = 0.05
WARMUP_STEPS = 50
# set before any checkpoint was made: a model that is not strong everywhere has nothing to lose
LEAST_ACCURACY = {"id": 0.8, "ood": 0.8, "knowledge": 0.8}


def pretrain(
    seed: int,
    output: Path,
    steps: int | None = None,
    on_step: Callable[[int], None] = lambda step: None,
    architecture: str = small_clip.ARCHITECTURE,
) -> dict[str, Any]:
    """Pretrain one model on the embedded world and save it, in float16, if it is good enough zero-shot on the validation suite.

    An interrupted call goes on from its last checkpoint.

    Args:
        seed: of the world's images and captions, of the weights and of the batches.
        output: the safetensors file to write.
        steps: optimiser steps; None for as many as the architecture's recipe has.
        on_step: called with the number of steps done.
        architecture: one of `small_clip.IMAGE_TOWERS`.

    Returns:
        The evaluation of the saved weights on the validation suite.

    Raises:
        UserError: if a mean zero-shot accuracy is below `LEAST_ACCURACY`; nothing is written then.
    """
    require_sense(architecture, seed, output)
    steps = RECIPES[architecture].steps if steps is None else steps
    torch.manual_seed(seed)
    encoder = clip.create(architecture, None, batch_norm="tracked")
    folder, rate = output.with_suffix(""), RECIPES[architecture].learning_rate
    trainer = Trainer(
        encoder.model,
        Batches(world.pretraining_pairs(PAIRS, seed), encoder, BATCH_SIZE, steps, seed),
        Objective({"contrastive": 1.0}),
        torch.optim.AdamW(parameter_groups(encoder.model, WEIGHT_DECAY), lr=rate, betas=(0.9, 0.98), fused=True),
        Loop(steps, schedules.cosine(steps, min(WARMUP_STEPS, steps - 1)), max_gradient_norm=1.0, checkpoint_every_steps=500),
        checkpoints=Checkpoints(folder, {"pretraining_seed": seed, "steps": steps, "architecture": architecture}),
        on_step=on_step,
    )
    trainer.fit()
    report = evaluate(_rounded(encoder), world.suite("validation"))
    weak = [f"{kind} {report[kind]['accuracy']:.1%}" for kind, least in LEAST_ACCURACY.items() if report[kind]["accuracy"] < least]
    if weak:
        raise UserError(f"seed {seed} is too weak zero-shot on validation ({', '.join(weak)}; 80% is asked): try another seed")
    weights = clip.weights(encoder.model)
    save_tensors(
        output,
        {k: v.half() if v.is_floating_point() else v for k, v in weights.items()},
        {"pretraining_seed": seed, "steps": steps},
    )
    return report


def require_sense(architecture: str, seed: int, output: Path) -> None:
    """Refuse an unknown architecture, a seed that torch cannot take, and a file that would not be known as weights."""
    if architecture not in small_clip.IMAGE_TOWERS:
        raise UserError(
            f"--architecture is {architecture}, none of the embedded world's{nearest(architecture, small_clip.IMAGE_TOWERS)}"
        )
    if output.suffix != ".safetensors":
        raise UserError(f"{output} must end in .safetensors, by which weights are told from tags: rename it")
    if not 0 <= seed < 2**63:
        raise UserError(f"the seed is {seed}: choose 0 or more, and less than 2^63")


@torch.no_grad()
def _rounded(encoder: Encoder) -> Encoder:
    """The encoder with its weights rounded to float16, as they are stored."""
    tensors: list[nn.Parameter | torch.Tensor] = [*encoder.model.parameters(), *encoder.model.buffers()]
    for tensor in tensors:
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())
    return encoder
