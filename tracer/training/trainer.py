"""The one training loop. What it trains, on what, by which objective and under which teacher is chosen by its parts."""

import math
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn
from torch.utils.data import Dataset

from tracer.errors import Stopped, UserError
from tracer.models.dual_encoder import DualEncoder, Features
from tracer.schedules import Schedule, constant
from tracer.tracking import Tracker
from tracer.training import confidence, distances, distributed
from tracer.training.batches import Batch, load, shared
from tracer.training.checkpoints import Checkpoints, Progress
from tracer.training.corrupt_samples import CorruptSamples
from tracer.training.follower import Follower
from tracer.training.gradient_cache import GradientCache, concatenate
from tracer.training.interruption import Interruption
from tracer.training.objective import Objective, Pairing
from tracer.training.teacher import Teacher
from tracer.training.throughput import Throughput

Precision = Literal["bf16", "fp32", "fp64"]
FIRST_CHECKPOINT = 50  # steps: what would break a save shows soon, and a run killed early loses little
_MILDER = "lower optimization.learning_rate or raise optimization.warmup_steps (what broke was not saved)"


@dataclass(frozen=True)
class Loop:
    """How a run is stepped.

    Attributes:
        total_steps: optimiser steps.
        schedule: multiplier of the learning rate by step.
        precision: "bf16" autocasts the towers and keeps weights and losses in float32; "fp64" does all in float64.
        micro_batch_size: pairs that pass the towers of a process at once; None is all its pairs. Gradients stay those of the
            whole batch, with all its negatives (exactly, for models whose samples do not interact, so batch-norm statistics must
            be frozen).
            Replay images and texts are spread evenly over the passes.
        max_gradient_norm: gradients are scaled down to this norm; None leaves them.
        max_logit_scale: upper bound on the logit scale of a CLIP (not its logarithm).
        log_every_steps: steps between two lines of metrics; no other step waits for the device.
        checkpoint_every_steps: steps between two checkpoints; step 50 and the last one always have one.
        workers: background processes that prepare batches.
    """

    total_steps: int
    schedule: Schedule = constant
    precision: Precision = "fp32"
    micro_batch_size: int | None = None
    max_gradient_norm: float | None = None
    max_logit_scale: float = 100.0
    log_every_steps: int = 10
    checkpoint_every_steps: int = 1000
    workers: int = 0


class Trainer:
    """Fine-tunes a dual encoder.

    In several processes (started by `torchrun`, say) each embeds an equal share of every batch, and the run is that of one
    process on the whole batch, up to rounding: objective, gradients, weights, teacher and what is logged. All construct the same
    trainer, seeded alike; the first writes checkpoints and logs, which any number of processes can go on from.

    Args:
        model: the student; a `DualEncoder` module. It is moved to the device and trained in place.
        batches: a dataset whose item t is the `Batch` of step t, the same in every process.
        objective: what is minimised.
        optimizer: over the model's parameters; each group's `lr` at this point is the peak that the loop's schedule multiplies.
        loop: how the run is stepped.
        teacher: required if the objective has a distillation term; built from `model` before this call.
        followers: what follows the student without being seen by it, by its name in checkpoints; built from `model` before this
            call.
        anchor: the pretrained model, for L2-SP, replay, and the distances in the log; it is not changed.
        checkpoints: where the run is saved and resumed from; None saves nothing.
        trackers: where scalars go.
        corrupt_samples: where corrupt pairs and replay images are written down, counted as `data.skipped`. None: by no one.
        on_step: called after each step with the number of steps done (progress bars, snapshots).

    Raises:
        UserError: if a term lacks its teacher or anchor, teacher, schedule or batches are of another number of steps than the
            loop, or the processes cannot share a batch equally.
    """

    def __init__(
        self,
        model: DualEncoder,
        batches: Dataset[Batch],
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        loop: Loop,
        *,
        teacher: Teacher | None = None,
        followers: Mapping[str, Follower] | None = None,
        anchor: DualEncoder | None = None,
        checkpoints: Checkpoints | None = None,
        trackers: Sequence[Tracker] = (),
        corrupt_samples: CorruptSamples | None = None,
        on_step: Callable[[int], None] = lambda step: None,
    ):
        if objective.needs_teacher and teacher is None:
            raise UserError("the objective distils from a teacher but the run has none: give it a teacher, or drop those terms")
        if objective.needs_anchor and anchor is None:
            raise UserError("the objective holds to the pretrained model and there is none: give the trainer an anchor")
        followers = followers or {}
        _require_one_horizon(loop, {"teacher": teacher, **followers}, batches)
        self.batches, self.objective, self.loop = shared(batches), objective, loop
        self.teacher, self.anchor = teacher, anchor
        self.checkpoints, self.trackers, self.corrupt_samples, self.on_step = checkpoints, trackers, corrupt_samples, on_step
        self._dtype = torch.float64 if loop.precision == "fp64" else torch.float32
        for part in (model, anchor, teacher, *followers.values()):
            if part is not None:
                part.to(distributed.device(), self._dtype)
        self.model, self.optimizer = model, optimizer
        self.student: DualEncoder = extract_model_from_parallel(model, keep_torch_compile=True)
        self._parameters = [parameter for parameter in self.student.parameters() if parameter.requires_grad]
        self._peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.progress = Progress(self.student, self.optimizer, teacher, followers=followers)
        self._pace = Throughput()

    def fit(self) -> None:
        """Train to the last step, from the newest checkpoint if there is one.

        With checkpoints, Ctrl-C or SIGTERM (to any of several processes) saves one after the step at hand, in all of them.

        Raises:
            Stopped: if a signal stopped it; the next call goes on from there.
            UserError: if the loss stops being finite, too many training pairs are corrupt, a batch lacks the replay images that a
                term compares, a checkpoint cannot be read or written, or several processes differ in what they start from.
        """
        if self.checkpoints:
            self.checkpoints.restore(self.progress)
        self.model.train()
        try:
            self._require_one_run()
            if self.checkpoints and distributed.is_first():
                self.checkpoints.begin()
            with Interruption() if self.checkpoints else nullcontext() as interruption:
                self._pace.restart()
                for batch in self._remaining():
                    self._advance(batch, interruption)
        except UserError:
            if self.checkpoints and distributed.is_first():
                self.checkpoints.abandon()
            raise
        self.model.eval()

    def _advance(self, batch: Batch, interruption: Interruption | None) -> None:
        """A step with what follows it: metrics, a checkpoint, the end of a run that is to stop."""
        step = self.progress.step + 1
        logged, saved = step % self.loop.log_every_steps == 0, self._saves_after(step)
        report = self._step(batch, reported=logged or saved)
        self.progress.step = step
        stopped = interruption is not None and distributed.any_of(interruption.signal is not None)
        if report:
            self._require_finite(report)
        if logged and distributed.is_first():
            report |= self._pace.read()
            for tracker in self.trackers:
                tracker.log(report, step=step)
        if self.checkpoints and (saved or stopped):
            self._save(self.checkpoints)
        self.on_step(step)
        if interruption and stopped:
            told = f"stopped at step {step}, which is saved: the same command goes on from there"
            # others than the first say nothing, and those that heard of it from another take it for SIGTERM
            raise Stopped(told if distributed.is_first() else "", 128 + (interruption.signal or signal.SIGTERM))

    def _save(self, checkpoints: Checkpoints) -> None:
        self._require_sound_weights()
        if distributed.is_first():
            checkpoints.save(self.progress)
        self._pace.restart()

    def _remaining(self) -> Iterator[Batch]:
        for batch in load(self.batches, self.progress.step, self.loop.total_steps, self.loop.workers, self.corrupt_samples):
            yield batch.to(distributed.device(), self._dtype)

    def _saves_after(self, step: int) -> bool:
        regular = step % self.loop.checkpoint_every_steps == 0 or step == self.loop.total_steps
        return self.checkpoints is not None and (regular or step == FIRST_CHECKPOINT)

    def _step(self, batch: Batch, reported: bool) -> dict[str, float]:
        """One optimiser step; a report of it on the steps that ask for one."""
        multiplier = self.loop.schedule(self.progress.step)
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * multiplier
        self.optimizer.zero_grad(set_to_none=True)
        with distributed.own_randomness(self.progress.step):
            pairing, terms = self._backward(batch, reported)
        distributed.average_gradients(self._parameters)
        norm = nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        if self.loop.max_gradient_norm:
            nn.utils.clip_grads_with_norm_(self._parameters, self.loop.max_gradient_norm, norm)
        report = self._report(pairing, terms, norm) if reported else {}
        self.optimizer.step()
        self.student.clamp_logit_scale(self.loop.max_logit_scale)
        for follower in (self.teacher, *self.progress.followers.values()):
            if follower:
                follower.update()
        self._pace.add(len(pairing.student.image))
        return report

    def _backward(self, batch: Batch, reported: bool) -> tuple[Pairing, dict[str, Tensor]]:
        """Gradients of the objective, left on the parameters; their mean over processes is that of the global batch."""
        chunks = self._chunks(batch)
        cache = GradientCache(partial(self._features, self.model), chunks) if len(chunks) > 1 else None
        student = cache.features if cache else self._features(self.model, batch)
        pairing = Pairing(distributed.gathered(student), self._target(chunks, reported), self._replayed(chunks))
        teacher = self.teacher.module if self.teacher else None
        terms = {**self.objective.of_features(pairing), **self.objective.of_weights(self.student, self.anchor, teacher)}
        self.objective.total(terms).backward()
        if cache:
            cache.backward()
        return pairing, terms

    def _target(self, chunks: list[Batch], reported: bool) -> Features | None:
        """The teacher's features, where a term or the report compares with them."""
        if self.teacher is None or not (reported or self.objective.compares_features):
            return None
        shown = [chunk.pairs_alone() for chunk in chunks] if self.objective.replays_anchor else chunks
        return distributed.gathered(concatenate([self._features(self.teacher, chunk) for chunk in shown]))

    @torch.no_grad()
    def _replayed(self, chunks: list[Batch]) -> Features | None:
        """The anchor's features of replay images and texts, where a term compares with them."""
        if self.anchor is None or not self.objective.replays_anchor:
            return None
        return distributed.gathered(concatenate([self._features(self.anchor, chunk.replay_alone()) for chunk in chunks]))

    def _features(self, towers: DualEncoder | Teacher, batch: Batch) -> Features:
        """Features in float32 or wider: only the towers are autocast, losses in bfloat16 logits would err by percents.

        Replay images and texts follow the others through one forward, which is all that a wrapper sees of the model.
        """
        images = batch.images if batch.replay is None else torch.cat([batch.images, batch.replay])
        tokens = batch.tokens if batch.replay_tokens is None else torch.cat([batch.tokens, batch.replay_tokens])
        bf16 = self.loop.precision == "bf16"
        with torch.autocast(distributed.device().type, dtype=torch.bfloat16, enabled=bf16):
            embedded: Features = towers(images, tokens)
        wide = embedded.each(lambda part: part.to(torch.promote_types(part.dtype, torch.float32)))
        return wide.parted(len(batch.images), len(batch.tokens))

    def _chunks(self, batch: Batch) -> list[Batch]:
        size = self.loop.micro_batch_size or len(batch.images)
        images, tokens = batch.images.split(size), batch.tokens.split(size)
        replay, replay_tokens = (
            [None] * len(images) if part is None else part.tensor_split(len(images)) for part in (batch.replay, batch.replay_tokens)
        )
        return [Batch(*parts) for parts in zip(images, tokens, replay, replay_tokens, strict=True)]

    def _report(self, pairing: Pairing, terms: dict[str, Tensor], gradient_norm: Tensor) -> dict[str, float]:
        """Scalars of the step, taken before the weights change; this is where the host waits for the device."""
        values = {
            "loss": self.objective.total(terms),
            **{f"terms.{name}": value for name, value in terms.items()},
            "logit_scale": pairing.student.logit_scale,
            "gradient_norm": gradient_norm,
        }
        if self.anchor:
            values["gap.student_anchor"] = distances.distance(self.student, self.anchor)
        if self.teacher:
            values["gap.student_teacher"] = distances.distance(self.student, self.teacher.module)
            values["gap.batch_kl"] = distances.batch_kl(pairing)
            for name, logits in (("teacher", pairing.teacher_logits), ("student", pairing.logits)):
                values |= {f"{name}.entropy": confidence.entropy(logits), f"{name}.confidence": confidence.confidence(logits)}
        names, scalars = list(values), torch.stack([value.detach().double() for value in values.values()]).tolist()
        report = {**dict(zip(names, scalars, strict=True)), "learning_rate": self.optimizer.param_groups[0]["lr"]}
        return report if self.corrupt_samples is None else {**report, "data.skipped": len(self.corrupt_samples)}

    def _require_finite(self, report: dict[str, float]) -> None:
        for name in ("loss", "gradient_norm"):
            if not math.isfinite(report[name]):
                raise UserError(f"the {name} is {report[name]} at step {self.progress.step}: {_MILDER}")

    def _require_one_run(self) -> None:
        """Several processes: they must start from the same step and weights, and batch norm see the whole batch."""
        if distributed.count() == 1:
            return
        norms = (module for module in self.model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
        if any(norm.training for norm in norms):
            raise UserError("each process would see the batch-norm statistics of its own share: freeze them, or start one process")
        if not self._agree():
            raise UserError("the processes start from different weights or steps: give them one seed and one output folder")

    def _agree(self) -> bool:
        averaged = [*self.teacher.module.parameters()] if self.teacher else []
        return distributed.agree([*self.model.parameters(), *averaged], self.progress.step)

    def _require_sound_weights(self) -> None:
        if not torch.stack(torch._foreach_norm(self._parameters)).isfinite().all():
            raise UserError(f"the weights are no longer finite at step {self.progress.step}: {_MILDER}")
        if not self._agree():
            raise UserError(f"the processes no longer have the same weights at step {self.progress.step}: use devices of one kind")


def _require_one_horizon(loop: Loop, averages: Mapping[str, Follower | None], batches: Dataset[Batch]) -> None:
    """Everything that knows its own number of steps has to know the loop's."""
    known: dict[str, Any] = {f"{name}'s clock": average and average.clock for name, average in averages.items()}
    known |= {"schedule": loop.schedule, "set of batches": batches}
    for name, part in known.items():
        own = getattr(part, "total_steps", loop.total_steps)
        if own != loop.total_steps:
            raise UserError(f"the {name} is made for {own} steps and the loop takes {loop.total_steps}: give both the same")
