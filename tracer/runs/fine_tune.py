"""A run from its configuration: build the parts, fine-tune, judge, and write it all down."""

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from tracer.config import loading as configuration
from tracer.config.schema import RunConfig
from tracer.data.datasets import Suite
from tracer.models import clip
from tracer.models.dual_encoder import DualEncoder, Encoder
from tracer.models.merging import interpolate, model_stock
from tracer.runs import build, lock, run_folder, run_identity, training_data
from tracer.runs.build import Learner, load_encoder
from tracer.runs.judging import judge
from tracer.runs.model_card import ModelCard
from tracer.runs.result import Result
from tracer.runs.sources import suite_of
from tracer.runs.training_data import TrainingData
from tracer.storage import write_text
from tracer.strategies import PRESETS, AsTrained, Averaged, Interpolated, Merged
from tracer.tracking import JsonLines, Tracker, require_installed, services
from tracer.training import distributed
from tracer.training.batches import require_a_batch
from tracer.training.checkpoints import Checkpoints
from tracer.training.teacher import Teacher
from tracer.training.trainer import Trainer


def fine_tune(
    run: RunConfig,
    on_step: Callable[[int], None] = lambda step: None,
    stage: Callable[[str], None] = lambda what: None,
    trackers: Sequence[Tracker] = (),
) -> Result:
    """Fine-tune as configured, going on from the newest checkpoint in `run.output` if there is one, and judge the result.

    Writes config.yaml, metrics.jsonl, checkpoints, student.safetensors, with a head head.safetensors, with a suite evaluation.json,
    and a model card, README.md, into `run.output`; skipped.jsonl lists corrupt pairs and replay images, if there are any. What
    else it leaves (see `Result`) is saved likewise, a teacher as teacher.safetensors, with a head teacher-head.safetensors, say.
    The runs that it begins with (`RunConfig.earlier`) have folders below, and `on_step` is given the steps done in all of them.
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
    suite = suite_of(run)
    data = training_data.of_run(run, suite)
    if data:
        require_a_batch(data.pairs, run.optimization.batch_size)
    identity = run_identity.of_run(run, data.listed if data else None, data.pool if data else ())
    checkpoints = Checkpoints(run.output / "checkpoints", identity, run.keep_checkpoints)
    distributed.by_first(checkpoints.step)  # refuses a folder that holds another run
    require_installed(run.trackers)
    earlier, done = _earlier(run, on_step, stage, trackers)
    stage(f"loading {run.model.architecture}")
    torch.manual_seed(run.seed)
    encoder = load_encoder(run)
    anchor = copy.deepcopy(encoder.model).eval().requires_grad_(False)
    checkpoints.identity = run_identity.with_weights(identity, run.model.pretrained, anchor, clip.configuration(anchor))
    resumed_at = checkpoints.step()  # now that the weights are known
    clip.freeze(encoder.model, run.model.freeze)
    if run.model.gradient_checkpointing:
        clip.checkpoint_gradients(encoder.model)
    learner = Learner.of(run, _set_off(run, encoder, earlier, data), anchor)
    trained = data is not None and PRESETS[run.strategy.name].trained
    trainer = _trainer(run, learner, data, checkpoints, _following(on_step, done)) if data and trained else None
    distributed.by_first(lambda: _begin(run, checkpoints))
    if trainer:
        stage(_training(run, resumed_at))
        with _trackers(run, resumed_at) as own:
            trainer.trackers = [*own, *trackers]
            trainer.fit()
    averaged = averages(trainer) if trainer else {}
    made = made_of(run, learner, averaged.get("average"), earlier)
    student = learner.encoder_of(made)
    kept = {**averaged, "trained": learner.student} if run.average.is_result(run.strategy.name) else averaged
    others = {name: learner.encoder_of(model) for name, model in kept.items() if model is not made}
    if suite:
        stage("judging the student")
    card = ModelCard.of(run, data)
    report = _finish(card, student, others, suite) if distributed.is_first() else None
    skipped = trainer.corrupt_samples.samples if trainer and trainer.corrupt_samples else ()
    return Result(student, anchor, others, suite, report, card, skipped)


def _earlier(
    run: RunConfig, on_step: Callable[[int], None], stage: Callable[[str], None], trackers: Sequence[Tracker]
) -> tuple[list[Encoder], int]:
    """Results of the runs that a run begins with, and the steps that they took."""
    results, done = [], 0
    for part in run.earlier():
        stage(f"first {part.strategy.name}, in {part.output}")
        results.append(fine_tune(part, _following(on_step, done), stage, trackers).student)
        done += part.all_steps
    return results, done


def _set_off(run: RunConfig, encoder: Encoder, earlier: Sequence[Encoder], data: TrainingData | None) -> Encoder:
    """The pretrained model with the weights and the head that the run's own steps begin with."""
    preset, head = PRESETS[run.strategy.name], None
    if preset.first:
        encoder.model.load_state_dict(earlier[0].model.state_dict())
        head = earlier[0].head
    if preset.has_head and data:
        return dataclasses.replace(encoder, head=head or data.zero_shot_head(encoder))
    return encoder


def _trainer(
    run: RunConfig, learner: Learner, data: TrainingData, checkpoints: Checkpoints, on_step: Callable[[int], None]
) -> Trainer:
    build.require_penalised_maps(run, learner.encoder, data.pairs)
    corrupt = build.corrupt_samples(run, data, checkpoints.step())
    return build.trainer(run, learner, build.batches(run, learner, data), on_step, checkpoints, corrupt)


def averages(trainer: Trainer) -> dict[str, DualEncoder]:
    """The teacher and the passive average at the end, where there are such."""
    followers = {"teacher": trainer.teacher, **trainer.progress.followers}
    return {name: each.module for name, each in followers.items() if isinstance(each, Teacher)}


def made_of(run: RunConfig, learner: Learner, average: DualEncoder | None, earlier: Sequence[Encoder]) -> DualEncoder:
    """What the strategy makes of what was trained, or of its average."""
    trained = average if average is not None and run.average.is_result(run.strategy.name) else learner.student
    match PRESETS[run.strategy.name].result:
        case Interpolated():
            return interpolate(learner.start, trained, run.strategy.interpolation)
        case Merged():
            return model_stock(learner.start, [learner.like_student(each) for each in earlier])
        case AsTrained() | Averaged():
            return trained


def _begin(run: RunConfig, checkpoints: Checkpoints) -> None:
    """Write down what the run is."""
    write_text(run.output / run_folder.CONFIGURATION, configuration.dump(run))
    checkpoints.begin()


def _finish(card: ModelCard, student: Encoder, others: Mapping[str, Encoder], suite: Suite | None) -> dict[str, Any] | None:
    """Save what was trained, judge it, and say what it is."""
    run = card.run
    clip.save_folder(student.model, run.output)
    if student.head is not None:
        student.head.save(run.output / "head.safetensors")
    for name, other in others.items():
        clip.save(other.model, run.output / f"{name}.safetensors")
        if other.head is not None:
            other.head.save(run.output / f"{name}-head.safetensors")
    report = judge(student, suite, run.output, workers=run.workers) if suite else None
    card.write(report)
    return report


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
