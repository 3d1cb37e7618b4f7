"""A run on the last linear maps alone: the trainer itself, on features in the place of images."""

import copy
import dataclasses

import torch

from tracer.config.schema import RunConfig
from tracer.errors import UserError
from tracer.last_layer.features import Frozen
from tracer.last_layer.pace import Paced, Paces
from tracer.models.dual_encoder import Encoder
from tracer.runs import build
from tracer.runs.build import Learner
from tracer.runs.fine_tune import averages, made_of
from tracer.strategies import PRESETS
from tracer.training.batches import Batches
from tracer.training.replay import Replay

LAST_MAPS = Paces()


def simulate(run: RunConfig, frozen: Frozen, paces: Paces = LAST_MAPS) -> Encoder:
    """The result of a run that trains its last linear maps and the logit scale alone, as a model of features.

    Exactly what `fine_tune` gives if all else is frozen and images are not augmented, where the run's pairs are the frozen ones.

    Args:
        run: what is trained, and how; its model and data are those of `frozen`.
        frozen: the features.
        paces: those of a run that trains whole towers, which is approximated so; without them the run trains its last maps alone.

    Raises:
        UserError: if the strategy begins with other runs or learns a head, or training fails.
    """
    preset = PRESETS[run.strategy.name]
    if preset.has_head or run.earlier():
        raise UserError(f"strategy.name = {run.strategy.name} trains more than the last maps of image and text: choose another")
    if preset.anchoring:
        run = run.model_copy(
            update={"strategy": run.strategy.model_copy(update={"strength": paces.parameters * run.strategy.strength})}
        )
    torch.manual_seed(run.seed)
    student = dataclasses.replace(frozen.encoder, model=Paced(copy.deepcopy(frozen.maps), paces))
    anchor = copy.deepcopy(student.model).eval().requires_grad_(False)
    learner = Learner(student.model, anchor, student)
    if not preset.trained:
        return student
    optimization = run.optimization
    replay = Replay(frozen.data.pool if run.images_replayed else (), run.images_replayed, frozen.bank, run.texts_replayed, run.seed)
    batches = Batches(
        frozen.data.pairs,
        student,
        optimization.batch_size,
        optimization.total_steps,
        run.seed,
        replay=replay if run.replay else None,
    )
    trainer = build.trainer(run, learner, batches)
    trainer.fit()
    return learner.encoder_of(made_of(run, learner, averages(trainer).get("average"), ()))
