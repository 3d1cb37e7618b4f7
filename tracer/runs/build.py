"""The parts of a run from its configuration: the encoder, what is trained, its batches, teacher and trainer."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from tracer import schedules
from tracer.averaging import Clock
from tracer.config.data import ReadData
from tracer.config.fields import Section
from tracer.config.schema import RunConfig
from tracer.data.datasets import CaptionedImages
from tracer.models import clip
from tracer.models.classifier import Classifier, read_labels
from tracer.models.dual_encoder import DualEncoder, Encoder
from tracer.models.head import Head
from tracer.models.last_maps import require_last_maps
from tracer.runs import disk_space, sources
from tracer.runs.training_data import TrainingData
from tracer.strategies import PRESETS
from tracer.training import distributed
from tracer.training.batches import Batches
from tracer.training.checkpoints import Checkpoints
from tracer.training.corrupt_samples import MAX_CORRUPT_SHARE, CorruptSamples
from tracer.training.follower import Follower
from tracer.training.objective import PROJECTION_TERMS, Objective
from tracer.training.optimizer import parameter_groups
from tracer.training.replay import Replay
from tracer.training.snapshots import Snapshots
from tracer.training.teacher import Teacher
from tracer.training.trainer import Loop, Trainer

AVERAGES = "averages"  # the folder of snapshots in a run's own


@dataclasses.dataclass(frozen=True)
class Learner:
    """What a run trains: its model or, with a head, both as a classifier.

    Attributes:
        student: what is trained, in place.
        start: the pretrained model likewise, with the head that the student starts with; it is not changed.
        encoder: the model with what makes inputs for it.
    """

    student: DualEncoder
    start: DualEncoder
    encoder: Encoder

    @classmethod
    def of(cls, run: RunConfig, encoder: Encoder, anchor: DualEncoder) -> Self:
        """The learner of a run, whose strategy has a head if the encoder has one.

        Args:
            run: its configuration.
            encoder: the model to train, as its steps find it.
            anchor: the pretrained model.
        """
        if encoder.head is None:
            return cls(encoder.model, anchor, encoder)
        trains_tower = not PRESETS[run.strategy.name].trains_head_alone
        start = Classifier(anchor, copy.deepcopy(encoder.head), trains_tower)
        return cls(Classifier(encoder.model, encoder.head, trains_tower), start, encoder)

    def encoder_of(self, module: DualEncoder) -> Encoder:
        """A module that is built like the student as an encoder."""
        if isinstance(module, Classifier):
            return dataclasses.replace(self.encoder, model=module.encoder, head=module.head)
        return dataclasses.replace(self.encoder, model=module, head=None)

    def like_student(self, encoder: Encoder) -> DualEncoder:
        """Another run's result, built like the student."""
        return Classifier(encoder.model, encoder.head, trains_tower=True) if encoder.head else encoder.model


def trainer(
    run: RunConfig,
    learner: Learner,
    batches: Batches,
    on_step: Callable[[int], None] = lambda step: None,
    checkpoints: Checkpoints | None = None,
    corrupt_samples: CorruptSamples | None = None,
) -> Trainer:
    """The trainer of a run; without checkpoints nothing is written.

    Raises:
        UserError: if the disk has no room for what it will keep, or as `Trainer` does.
    """
    torch.manual_seed(run.seed)
    teacher = _teacher(run, learner.student)
    followers = _followers(run, learner.student, keeps=checkpoints is not None)
    if checkpoints:
        _require_space(run, learner.student, teacher, followers)
    if run.model.compile:
        learner.student.compile()  # in place: the class and the names of the weights stay
        if teacher:
            teacher.module.compile()
    optimization = run.optimization
    optimizer = torch.optim.AdamW(
        parameter_groups(learner.student, optimization.weight_decay),
        lr=optimization.learning_rate,
        betas=optimization.betas,
        fused=True,
    )
    return Trainer(
        learner.student,
        batches,
        Objective(run.objective_weights(), "anchor" if run.replay and run.replay.teacher == "pretrained" else "teacher"),
        optimizer,
        _loop(run, learner.start),
        teacher=teacher,
        followers=followers,
        anchor=learner.start,
        checkpoints=checkpoints,
        corrupt_samples=corrupt_samples,
        on_step=on_step,
    )


def batches(run: RunConfig, learner: Learner, data: TrainingData) -> Batches:
    """What the trainer of a run is shown.

    Raises:
        UserError: if texts to replay are missing or unfit, or as `Batches` does.
    """
    encoder = learner.encoder
    if encoder.head:
        encoder = dataclasses.replace(encoder, tokenize=read_labels)
    share, optimization = corrupt_share(run.data), run.optimization
    replay = _replay(run, learner.encoder, data)
    return Batches(data.pairs, encoder, optimization.batch_size, optimization.total_steps, run.seed, share, replay)


def a_few(run: RunConfig, encoder: Encoder, pairs: CaptionedImages) -> tuple[Tensor, Tensor]:
    """Two readable pairs of a run as its model takes them, images and tokens; raises as `Batches` does."""
    parameter = next(encoder.model.parameters())
    batch = Batches(pairs, encoder, 2, 1, run.seed, corrupt_share(run.data))[0].to(parameter.device, parameter.dtype)
    return batch.images, batch.tokens


def require_penalised_maps(run: RunConfig, encoder: Encoder, pairs: CaptionedImages) -> None:
    """Refuse penalties on the last linear maps of a model that ends otherwise: they would hold a layer within a tower.

    Raises:
        UserError: that names tower and penalties.
    """
    keys = [f"strategy.{name}" for name in PROJECTION_TERMS if run.objective_weights().get(name)]
    if keys:
        why = f"which {' and '.join(keys)} would penalise: set {'it' if len(keys) == 1 else 'both'} to 0, or choose another model"
        require_last_maps(clip.require_clip(encoder.model), *a_few(run, encoder, pairs), why)


def _replay(run: RunConfig, encoder: Encoder, data: TrainingData) -> Replay | None:
    section, images, texts = run.replay, run.images_replayed, run.texts_replayed
    if section is None:
        return None
    bank = sources.bank(section.texts, encoder, run.seed, texts, lambda: data.captions) if section.texts else ()
    return Replay(data.pool, images, bank, texts, run.seed, corrupt_share(section.images))


def corrupt_share(source: Section | None) -> float:
    """The share of corrupt images that a section of data or of further images bears."""
    return source.max_corrupt_share if isinstance(source, ReadData) else MAX_CORRUPT_SHARE


def _teacher(run: RunConfig, student: DualEncoder) -> Teacher | None:
    kernel = PRESETS[run.strategy.name].kernel
    if kernel is None:
        return None
    clock = Clock(run.optimization.total_steps, run.strategy.update_every_steps)
    return Teacher(student, run.strategy.kernel or kernel, clock, run.strategy.buffers)


def _followers(run: RunConfig, student: DualEncoder, keeps: bool) -> dict[str, Follower]:
    average, kernel = run.average, run.average.kernel_of(run.strategy.name)
    clock = Clock(run.optimization.total_steps, average.update_every_steps)
    followers: dict[str, Follower] = {"average": Teacher(student, kernel, clock, average.buffers)} if kernel else {}
    if average.snapshots and keeps:
        followers["snapshots"] = Snapshots(student, clock, run.output / AVERAGES, average.snapshots, average.buffers)
    return followers


def _loop(run: RunConfig, start: DualEncoder) -> Loop:
    optimization = run.optimization
    cosine = optimization.schedule == "cosine"
    return Loop(
        total_steps=optimization.total_steps,
        schedule=schedules.cosine(optimization.total_steps, optimization.warmup_steps) if cosine else schedules.constant,
        precision=optimization.precision,
        micro_batch_size=optimization.micro_batch_size,
        max_gradient_norm=optimization.max_gradient_norm,
        # the default is not to change a pretrained model at its first step
        max_logit_scale=optimization.max_logit_scale or max(Loop.max_logit_scale, start.logit_scale.item()),
        log_every_steps=run.log_every_steps,
        checkpoint_every_steps=run.checkpoint_every_steps,
        workers=run.workers,
    )


def corrupt_samples(run: RunConfig, data: TrainingData, step: int) -> CorruptSamples | None:
    """Where this process writes down the corrupt pairs and replay images that it meets from a step on."""
    pool = run.replay.images if run.replay else None
    if not isinstance(run.data, ReadData) and not isinstance(pool, ReadData):
        return None
    name = "skipped.jsonl" if distributed.is_first() else f"skipped-{distributed.index()}.jsonl"
    replay = corrupt_share(pool), len(data.pool)
    return CorruptSamples(run.output / name, corrupt_share(run.data), len(data.pairs), step, replay)


def _require_space(run: RunConfig, student: DualEncoder, teacher: Teacher | None, followers: Mapping[str, Follower]) -> None:
    """Checkpoints hold student, teacher, followers and AdamW's two moments of what is trained; models are written at the end."""
    wider = 2 if run.optimization.precision == "fp64" else 1
    model = wider * disk_space.size(student)
    following = wider * sum(tensor.nbytes for each in followers.values() for tensor in each.state_dict().values())
    moments = wider * 2 * sum(parameter.nbytes for parameter in student.parameters() if parameter.requires_grad)
    models = model * (1 + (teacher is not None))
    written = models + model * ("average" in followers)
    written += wider * sum(each.nbytes() for each in followers.values() if isinstance(each, Snapshots))
    distributed.by_first(lambda: disk_space.require(run.output, models + following + moments, run.keep_checkpoints, written))


def load_encoder(run: RunConfig, weights: Path | None = None, head: Path | None = None) -> Encoder:
    """The model of a run on the device that this machine has, with other weights on top and a head if given."""
    model, device = run.model, distributed.device()
    encoder = clip.create(
        model.architecture,
        model.pretrained,
        model.batch_norm,
        weights,
        trust_archive=model.trust_archive,
        trust_remote_code=model.trust_remote_code,
    )
    encoder.model.to(device)
    if head is None:
        return encoder
    return dataclasses.replace(encoder, head=Head.load(head, len(encoder.model.projections()[0])).to(device))
