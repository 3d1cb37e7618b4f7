"""A run from its configuration: build the parts, fine-tune, judge, and write it all down."""

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from tracer.config import loading as configuration
from tracer.config.schema import RunConfig
from tracer.data.datasets import CaptionedImages, LabelledImages, Suite
from tracer.errors import UserError, nearest
from tracer.evaluation.zero_shot import classifier
from tracer.models import clip
from tracer.models.dual_encoder import DualEncoder, Encoder
from tracer.models.head import Head
from tracer.models.merging import interpolate, model_stock
from tracer.runs import lock, run_identity, sources, stages
from tracer.runs.build import _trainer, load_encoder
from tracer.runs.judging import judge
from tracer.runs.result import Result
from tracer.runs.sources import require_toy_is_meant, suite_of
from tracer.storage import write_text
from tracer.strategies import PRESETS
from tracer.tracking import JsonLines, Tracker, require_installed, services
from tracer.training import distributed
from tracer.training.batches import require_a_batch
from tracer.training.checkpoints import Checkpoints


def fine_tune(
    run: RunConfig,
    on_step: Callable[[int], None] = lambda step: None,
    stage: Callable[[str], None] = lambda what: None,
    trackers: Sequence[Tracker] = (),
) -> Result:
    """Fine-tune as configured, going on from the newest checkpoint in `run.output` if there is one, and judge the result.

    Writes config.yaml, metrics.jsonl, checkpoints, student.safetensors, with a teacher teacher.safetensors, with a head
    head.safetensors and with a suite evaluation.json into `run.output`; skipped.jsonl lists corrupt training pairs, if there are
    any. The runs that it begins with (`stages.earlier`) have folders below, and `on_step` is given the steps done in all of them.
    `stage` is told what begins, and `trackers` get the metrics too.
    All data are listed, and what can be checked without the model is, before it is loaded. The folder is this run's alone
    meanwhile. Of several processes (see `Trainer`) the first alone writes and judges; the others return without a report as soon
    as the training is over.

    Raises:
        UserError: for bad input, or if the folder is in use or holds another run (of other settings, data or weights).
        Stopped: if Ctrl-C or SIGTERM stopped the training; the next call goes on from there.
    """
    with lock.held(run.output):
        clip.require_room(run.output)
        return _fine_tune(run, on_step, stage, trackers)


def _fine_tune(run: RunConfig, on_step: Callable[[int], None], stage: Callable[[str], None], trackers: Sequence[Tracker]) -> Result:
    preset = PRESETS[run.strategy.name]
    suite = suite_of(run)
    pairs, labelled = _training_data(run) if preset.trained else (None, None)
    if labelled and suite and preset.has_head:
        _require_label_space(labelled.class_names, suite)
    checkpoints = Checkpoints(run.output / "checkpoints", run_identity.of_run(run, labelled or pairs), run.keep_checkpoints)
    checkpoints.step()  # refuses a folder that holds another run
    require_installed(run.trackers)
    earlier, done = [], 0
    for part in stages.earlier(run):
        stage(f"first {part.strategy.name}, in {part.output}")
        earlier.append(fine_tune(part, _following(on_step, done), stage, trackers).student)
        done += stages.steps(part)
    stage(f"loading {run.model.architecture}")
    torch.manual_seed(run.seed)
    encoder = load_encoder(run)
    anchor = copy.deepcopy(encoder.model).eval().requires_grad_(False)
    checkpoints.identity = run_identity.with_weights(checkpoints.identity, run.model.pretrained, anchor, clip.configuration(anchor))
    resumed_at = checkpoints.step()  # now that the weights are known
    clip.freeze(encoder.model, run.model.freeze)
    if run.model.gradient_checkpointing:
        clip.checkpoint_gradients(encoder.model)
    if labelled and preset.has_head:
        encoder = dataclasses.replace(encoder, head=earlier[0].head if earlier else _zero_shot_head(encoder, labelled))
    trainer = _trainer(run, encoder, anchor, pairs, checkpoints, _following(on_step, done)) if pairs is not None else None
    distributed.by_first(lambda: _begin(run, checkpoints))
    if trainer:
        stage(_training(run, resumed_at))
        with _trackers(run, resumed_at) as own:
            trainer.trackers = [*own, *trackers]
            trainer.fit()
    if preset.interpolated:
        encoder = dataclasses.replace(encoder, model=interpolate(anchor, encoder.model, run.strategy.interpolation))
    if preset.merges:
        encoder = dataclasses.replace(encoder, model=model_stock(anchor, [student.model for student in earlier]))
    teacher = trainer.teacher.module if trainer and trainer.teacher else None
    if suite:
        stage("judging the student")
    report = _finish(run, encoder, teacher, suite) if distributed.is_first() else None
    skipped = trainer.skips.samples if trainer and trainer.skips else ()
    return Result(encoder, anchor, teacher, suite, report, skipped)


def _begin(run: RunConfig, checkpoints: Checkpoints) -> None:
    """Write down what the run is."""
    write_text(run.output / "config.yaml", configuration.dump(run))
    checkpoints.begin()


def _finish(run: RunConfig, encoder: Encoder, teacher: DualEncoder | None, suite: Suite | None) -> dict[str, Any] | None:
    """Save what was trained and judge it."""
    if encoder.head is not None:
        encoder.head.save(run.output / "head.safetensors")
    clip.save_folder(encoder.model, run.output)
    if teacher is not None:
        clip.save(teacher, run.output / "teacher.safetensors")
    return judge(encoder, suite, run.output, workers=run.workers) if suite else None


def _training_data(run: RunConfig) -> tuple[CaptionedImages, LabelledImages | None]:
    """The pairs that a run learns from, whose captions are labels where it learns those; and images with labels, if it has them.

    Raises:
        UserError: if they cannot be listed, lack labels that the strategy learns, or do not fill a batch of every process.
    """
    labelled = sources.labelled_images(run.data)
    if PRESETS[run.strategy.name].has_head:
        if labelled is None:
            raise UserError(
                f"strategy.name = {run.strategy.name} learns class labels, which data.kind = {run.data.kind} lacks: "
                "take class folders, or another strategy"
            )
        pairs = CaptionedImages(labelled.images, [(str(label),) for label in labelled.labels])
    else:
        pairs = labelled.captioned() if labelled else sources.training_pairs(run.data)
    require_toy_is_meant(run, "data", labelled or pairs)
    require_a_batch(pairs, run.optimization.batch_size)
    distributed.equal_share(run.optimization.batch_size, "optimization.batch_size")
    return pairs, labelled


def _zero_shot_head(encoder: Encoder, labelled: LabelledImages) -> Head:
    """The zero-shot classifier of the training data's classes and templates as a head."""
    return Head(labelled.class_names, classifier(encoder, labelled.class_names, labelled.templates).clone())


def _require_label_space(known: Sequence[str], suite: Suite) -> None:
    """Task and shifted sets are judged by the head, so it has to know their classes."""
    for name in ("id", *suite.ood):
        unknown = sorted(set(suite.sets()[name].class_names) - set(known))
        if unknown:
            raise UserError(
                f"the set {name} has {len(unknown)} classes that the training data lack, first {unknown[0]!r}"
                f"{nearest(unknown[0], known)}: a head knows its own alone, so give both the same class folders"
            )


def _following(on_step: Callable[[int], None], steps_before: int) -> Callable[[int], None]:
    """`on_step` for a part of a run that other parts came before."""
    return lambda step: on_step(steps_before + step)


def _training(run: RunConfig, step: int) -> str:
    """What `fit` is about to do."""
    total = run.optimization.total_steps
    if step >= total:
        return f"all {total} steps are done already"
    return f"going on from step {step} of {total}" if step else f"training {total} steps"


@contextmanager
def _trackers(run: RunConfig, resumed_at: int) -> Iterator[Sequence[Tracker]]:
    """Where the first process logs."""
    if not distributed.is_first():
        yield ()
        return
    with services(run.trackers, run.output, resumed_at) as opened:
        yield [JsonLines(run.output / "metrics.jsonl", resumed_at), *opened]
