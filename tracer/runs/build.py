"""The parts of a run from its configuration: the encoder, what is trained, its batches, teacher and trainer."""

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch

from tracer import schedules
from tracer.averaging import Clock
from tracer.config.schema import ReadData, RunConfig
from tracer.data.datasets import CaptionedImages
from tracer.models import clip
from tracer.models.classifier import Classifier, read_labels
from tracer.models.dual_encoder import DualEncoder, Encoder
from tracer.models.head import Head
from tracer.runs import disk_space
from tracer.strategies import PRESETS
from tracer.training import distributed
from tracer.training.batches import Batches
from tracer.training.checkpoints import Checkpoints
from tracer.training.corrupt_samples import MAX_CORRUPT_SHARE, CorruptSamples
from tracer.training.objective import Objective
from tracer.training.optimizer import parameter_groups
from tracer.training.teacher import Teacher
from tracer.training.trainer import Loop, Trainer


def _trainer(
    run: RunConfig,
    encoder: Encoder,
    anchor: DualEncoder,
    pairs: CaptionedImages,
    checkpoints: Checkpoints,
    on_step: Callable[[int], None],
) -> Trainer:
    steps, optimization, strategy = run.optimization.total_steps, run.optimization, run.strategy
    student, reference, batches = _learning(run, encoder, anchor, pairs)
    torch.manual_seed(run.seed)
    teacher = None
    kernel = PRESETS[strategy.name].kernel
    if kernel is not None:
        clock = Clock(steps, strategy.update_every_steps)
        teacher = Teacher(student, strategy.kernel or kernel, clock, strategy.buffers)
    _require_space(run, student, teacher)
    if run.model.compile:
        student.compile()  # in place: the class and the names of the weights stay
        if teacher:
            teacher.module.compile()
    optimizer = torch.optim.AdamW(
        parameter_groups(student, optimization.weight_decay),
        lr=optimization.learning_rate,
        betas=optimization.betas,
        fused=True,
    )
    cosine = optimization.schedule == "cosine"
    return Trainer(
        student,
        batches,
        Objective(strategy.objective_weights()),
        optimizer,
        Loop(
            total_steps=steps,
            precision=optimization.precision,
            micro_batch_size=optimization.micro_batch_size,
            max_gradient_norm=optimization.max_gradient_norm,
            max_logit_scale=optimization.max_logit_scale,
            log_every_steps=run.log_every_steps,
            checkpoint_every_steps=run.checkpoint_every_steps,
            workers=run.workers,
        ),
        teacher=teacher,
        anchor=reference,
        schedule=schedules.cosine(steps, optimization.warmup_steps) if cosine else schedules.constant,
        checkpoints=checkpoints,
        skips=CorruptSamples(run.output / _own("skipped.jsonl"), batches.max_corrupt_share, len(batches.pairs), checkpoints.step())
        if isinstance(run.data, ReadData)
        else None,
        on_step=on_step,
    )


def _require_space(run: RunConfig, student: DualEncoder, teacher: Teacher | None) -> None:
    """Checkpoints hold student, teacher and AdamW's two moments of what is trained; student and teacher are written at the end."""
    wider = 2 if run.optimization.precision == "fp64" else 1
    weights = wider * (disk_space.size(student) + (disk_space.size(teacher.module) if teacher else 0))
    moments = wider * 2 * sum(parameter.nbytes for parameter in student.parameters() if parameter.requires_grad)
    distributed.by_first(lambda: disk_space.require(run.output, weights + moments, run.keep_checkpoints, weights))


def _learning(
    run: RunConfig, encoder: Encoder, anchor: DualEncoder, pairs: CaptionedImages
) -> tuple[DualEncoder, DualEncoder, Batches]:
    """What is trained, what it started as, and its batches: the model on captions or, with a head, on class labels."""
    student, reference, head = encoder.model, anchor, encoder.head
    if head:
        trains_tower = PRESETS[run.strategy.name].trains == "image_tower_and_head"
        student, reference = Classifier(student, head, trains_tower), Classifier(anchor, copy.deepcopy(head), trains_tower)
        encoder = dataclasses.replace(encoder, tokenize=read_labels)
    share = run.data.max_corrupt_share if isinstance(run.data, ReadData) else MAX_CORRUPT_SHARE
    steps, size = run.optimization.total_steps, run.optimization.batch_size
    return student, reference, Batches(pairs, encoder, size, steps, run.seed, share)


def _own(name: str) -> str:
    """A file's name for this process, where each writes its own."""
    stem, _, suffix = name.partition(".")
    return name if distributed.is_first() else f"{stem}-{distributed.index()}.{suffix}"


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
