"""The trainer that fine-tunes CLIP, on a linear dual encoder: what the theory is held to."""

from typing import NamedTuple

import numpy as np
import torch

from tests.models import SameBatch
from tracer.averaging import Clock
from tracer.data.batches import Batch
from tracer.evaluation.interpolation import interpolate
from tracer.models.linear import LinearDualEncoder
from tracer.objective import Objective
from tracer.schedules import Schedule, constant
from tracer.teacher import Teacher
from tracer.theory import L2SP, LPFT, Distillation, Parameter, Problem, Spectral, Strategy, WeightDecay, WiSEFT, ZeroShot
from tracer.theory.optima import task_curvatures
from tracer.theory.strategies import probe
from tracer.trainer import Loop, Trainer


class Setting(NamedTuple):
    """How a run is stepped, in the words of `tracer.theory.discrete`."""

    learning_rate: float
    steps: int
    update_every: int = 1
    schedule: Schedule = constant
    heavy_ball: float = 0.0


class Trained(NamedTuple):
    """Weights of student and teacher after 0 ... T steps, (T + 1, k, d), and the strategy's own weights at the end."""

    student: np.ndarray
    teacher: np.ndarray
    final: np.ndarray


def train(problem: Problem, strategy: Strategy, setting: Setting, contrastive: dict[str, float] | None = None, scale: float = 1.0):
    """Train in float64 with plain SGD on all pairs at once; `contrastive` names the loss, by default the linearised one."""
    start = torch.from_numpy(problem.initial_weights.copy())
    if isinstance(strategy, LPFT):
        start = torch.from_numpy(trained_probe(problem)) @ start
    model, anchor = LinearDualEncoder(start, scale), LinearDualEncoder(start, scale)
    if isinstance(strategy, ZeroShot):
        return Trained(start.numpy()[None], start.numpy()[None], start.numpy())
    pull = strategy.distillation
    terms = contrastive or {"linearised_contrastive": 1.0}
    weights = {**terms, "embedding_norm": problem.embedding_penalty, **distillation_terms(problem, strategy)}
    decay = problem.weight_decay + (strategy.decay if isinstance(strategy, WeightDecay) else 0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=setting.learning_rate, momentum=setting.heavy_ball, weight_decay=decay)
    teacher = Teacher(model, pull.kernel, Clock(setting.steps, setting.update_every))
    history = [(snapshot(model), snapshot(teacher.module))]
    Trainer(
        model,
        SameBatch(batch_of(problem, pull), setting.steps),
        Objective(weights),
        optimizer,
        Loop(setting.steps, precision="fp64"),
        teacher=teacher,
        anchor=anchor,
        schedule=setting.schedule,
        on_step=lambda step: history.append((snapshot(model), snapshot(teacher.module))),
    ).fit()
    final = interpolate(anchor, model, strategy.coefficient) if isinstance(strategy, WiSEFT) else model
    students, teachers = zip(*history, strict=True)
    return Trained(np.stack(students), np.stack(teachers), snapshot(final))


def snapshot(model: torch.nn.Module) -> np.ndarray:
    return model.weight.detach().cpu().numpy().copy()


def distillation_terms(problem: Problem, strategy: Strategy) -> dict[str, float]:
    """The trainer's terms for a strategy's pull. FD is a mean over n k elements, so that strength lambda is weight lambda k / 2."""
    pull = strategy.distillation
    if pull.strength == 0:
        return {}
    if isinstance(strategy, L2SP):
        return {"l2_sp": pull.strength}
    if isinstance(pull.measured_by, Parameter):
        return {"l2_teacher": pull.strength}
    on_data = pull.measured_by == Spectral(0.0)
    return {"fd" if on_data else "replay_fd": pull.strength * len(problem.initial_weights) / 2}


def batch_of(problem: Problem, pull: Distillation) -> Batch:
    """All pairs, and replay images whose second moment is the metric where the metric is not the data's."""
    images, texts = (torch.from_numpy(np.array(part)) for part in problem.pairs)
    if pull.measured_by == Spectral(0.0) or isinstance(pull.measured_by, Parameter):
        return Batch(images, texts)
    values, vectors = np.linalg.eigh(pull.measured_by.matrix(problem))
    return Batch(images, texts, torch.from_numpy((vectors * np.sqrt(np.maximum(values, 0) * len(values))).T))


def trained_probe(problem: Problem) -> np.ndarray:
    """The linear probe (k, k), trained to convergence by gradient descent: the same trainer, on the pretrained embeddings."""
    posed = probe(problem)
    curvatures = task_curvatures(posed)
    single = 1 / curvatures[curvatures > 0]  # a step of this size takes off one mode's error, and blows up that of stiffer ones
    rates = np.concatenate([single[:last] for last in range(len(single), 0, -1)])
    model = LinearDualEncoder(torch.eye(len(posed.initial_weights), dtype=torch.float64))
    images, texts = (torch.from_numpy(np.array(part)) for part in posed.pairs)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, weight_decay=posed.weight_decay)
    objective = Objective({"linearised_contrastive": 1.0, "embedding_norm": posed.embedding_penalty})
    Trainer(
        model,
        SameBatch(Batch(images, texts), len(rates)),
        objective,
        optimizer,
        Loop(len(rates), precision="fp64"),
        schedule=lambda step: float(rates[step]),
    ).fit()
    return snapshot(model)
