"""A run from its configuration: build the parts, fine-tune, judge, and write it all down."""

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tracer import config as configuration
from tracer import identity, lock, processes, schedules, space, stages
from tracer.averaging import Clock
from tracer.config import ReadData, Run
from tracer.data import sources
from tracer.data.batches import Batches, require_a_batch
from tracer.data.images import CorruptSample
from tracer.data.sets import CaptionedImages, LabelledImages, Suite
from tracer.data.skips import MAX_CORRUPT_SHARE, Skips
from tracer.errors import UserError, nearest
from tracer.evaluation.interpolation import interpolate, model_stock
from tracer.evaluation.zero_shot import classifier
from tracer.judging import judge, load_encoder, require_toy_is_meant, suite_of
from tracer.models import clip
from tracer.models.classifier import Classifier, read_labels
from tracer.models.dual_encoder import DualEncoder, Encoder
from tracer.models.head import Head
from tracer.objective import Objective
from tracer.state import Checkpoints
from tracer.storage import write_text
from tracer.strategies import STRATEGIES
from tracer.teacher import Teacher
from tracer.tracking import JsonLines, Tracker, require_installed, services
from tracer.trainer import Loop, Trainer


@dataclass(frozen=True)
class Result:
    """What a run leaves in memory.

    Attributes:
        student: the encoder to use: the fine-tuned model, for wise_ft its interpolation, for model_stock the merged one; with
            its head, if the strategy has one.
        anchor: the pretrained model.
        teacher: the teacher at the end, if there was one.
        suite: what the run is judged on, if it is.
        report: the student's report on it.
        skipped: the corrupt training pairs that were passed over, in the order met.
    """

    student: Encoder
    anchor: DualEncoder
    teacher: DualEncoder | None
    suite: Suite | None
    report: dict[str, Any] | None
    skipped: Sequence[CorruptSample] = ()


def fine_tune(
    run: Run,
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


def _fine_tune(run: Run, on_step: Callable[[int], None], stage: Callable[[str], None], trackers: Sequence[Tracker]) -> Result:
    preset = STRATEGIES[run.strategy.name]
    suite = suite_of(run)
    pairs, labelled = _training_data(run) if preset.trained else (None, None)
    if labelled and suite and preset.has_head:
        _require_label_space(labelled.class_names, suite)
    checkpoints = Checkpoints(run.output / "checkpoints", identity.of_run(run, labelled or pairs), run.keep_checkpoints)
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
    checkpoints.identity = identity.with_weights(checkpoints.identity, run.model.pretrained, anchor, clip.configuration(anchor))
    resumed_at = checkpoints.step()  # now that the weights are known
    clip.freeze(encoder.model, run.model.freeze)
    if run.model.gradient_checkpointing:
        clip.checkpoint_gradients(encoder.model)
    if labelled and preset.has_head:
        encoder = dataclasses.replace(encoder, head=earlier[0].head if earlier else _zero_shot_head(encoder, labelled))
    trainer = _trainer(run, encoder, anchor, pairs, checkpoints, _following(on_step, done)) if pairs is not None else None
    processes.by_first(lambda: _begin(run, checkpoints))
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
    report = _finish(run, encoder, teacher, suite) if processes.is_first() else None
    skipped = trainer.skips.samples if trainer and trainer.skips else ()
    return Result(encoder, anchor, teacher, suite, report, skipped)


def _begin(run: Run, checkpoints: Checkpoints) -> None:
    """Write down what the run is."""
    write_text(run.output / "config.yaml", configuration.dump(run))
    checkpoints.begin()


def _finish(run: Run, encoder: Encoder, teacher: DualEncoder | None, suite: Suite | None) -> dict[str, Any] | None:
    """Save what was trained and judge it."""
    if encoder.head is not None:
        encoder.head.save(run.output / "head.safetensors")
    clip.save_folder(encoder.model, run.output)
    if teacher is not None:
        clip.save(teacher, run.output / "teacher.safetensors")
    return judge(encoder, suite, run.output, workers=run.workers) if suite else None


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trained parameters in two groups: matrices, which decay, and norms, biases and the logit scale, which do not."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def _trainer(
    run: Run,
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
    kernel = STRATEGIES[strategy.name].kernel
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
        skips=Skips(run.output / _own("skipped.jsonl"), batches.max_corrupt_share, len(batches.pairs), checkpoints.step())
        if isinstance(run.data, ReadData)
        else None,
        on_step=on_step,
    )


def _require_space(run: Run, student: DualEncoder, teacher: Teacher | None) -> None:
    """Checkpoints hold student, teacher and AdamW's two moments of what is trained; student and teacher are written at the end."""
    wider = 2 if run.optimization.precision == "fp64" else 1
    weights = wider * (space.size(student) + (space.size(teacher.module) if teacher else 0))
    moments = wider * 2 * sum(parameter.nbytes for parameter in student.parameters() if parameter.requires_grad)
    processes.by_first(lambda: space.require(run.output, weights + moments, run.keep_checkpoints, weights))


def _learning(run: Run, encoder: Encoder, anchor: DualEncoder, pairs: CaptionedImages) -> tuple[DualEncoder, DualEncoder, Batches]:
    """What is trained, what it started as, and its batches: the model on captions or, with a head, on class labels."""
    student, reference, head = encoder.model, anchor, encoder.head
    if head:
        trains_tower = STRATEGIES[run.strategy.name].trains == "image_tower_and_head"
        student, reference = Classifier(student, head, trains_tower), Classifier(anchor, copy.deepcopy(head), trains_tower)
        encoder = dataclasses.replace(encoder, tokenize=read_labels)
    share = run.data.max_corrupt_share if isinstance(run.data, ReadData) else MAX_CORRUPT_SHARE
    steps, size = run.optimization.total_steps, run.optimization.batch_size
    return student, reference, Batches(pairs, encoder, size, steps, run.seed, share)


def _training_data(run: Run) -> tuple[CaptionedImages, LabelledImages | None]:
    """The pairs that a run learns from, whose captions are labels where it learns those; and images with labels, if it has them.

    Raises:
        UserError: if they cannot be listed, lack labels that the strategy learns, or do not fill a batch of every process.
    """
    labelled = sources.labelled_images(run.data)
    if STRATEGIES[run.strategy.name].has_head:
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
    processes.equal_share(run.optimization.batch_size, "optimization.batch_size")
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


def _training(run: Run, step: int) -> str:
    """What `fit` is about to do."""
    total = run.optimization.total_steps
    if step >= total:
        return f"all {total} steps are done already"
    return f"going on from step {step} of {total}" if step else f"training {total} steps"


def _own(name: str) -> str:
    """A file's name for this process, where each writes its own."""
    stem, _, suffix = name.partition(".")
    return name if processes.is_first() else f"{stem}-{processes.index()}.{suffix}"


@contextmanager
def _trackers(run: Run, resumed_at: int) -> Iterator[Sequence[Tracker]]:
    """Where the first process logs."""
    if not processes.is_first():
        yield ()
        return
    with services(run.trackers, run.output, resumed_at) as opened:
        yield [JsonLines(run.output / "metrics.jsonl", resumed_at), *opened]
