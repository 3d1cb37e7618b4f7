"""The one module that knows both the theory and the trainer: it runs the trainer on a problem of the theory, and compares.

On a linear dual encoder with the linearised loss, plain SGD, all pairs in every batch and float64, `train` does what
`tracer.theory.discrete` computes, to rounding, and `train_proximal` what `tracer.theory.proximal` does. The contrastive loss
itself and random batches are where the theory is not exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from tracer.averaging import Clock, Exponential, Kernel, PowerLaw
from tracer.data.batches import Batch
from tracer.errors import UserError
from tracer.evaluation.interpolation import interpolate
from tracer.models.linear import LinearDualEncoder
from tracer.objective import Objective
from tracer.schedules import Schedule, constant
from tracer.teacher import Teacher
from tracer.theory import L2SP, LPFT, Distillation, Parameter, Problem, Spectral, Strategy, WiSEFT, ZeroShot, discrete, ema, wma
from tracer.theory.limits import pull_spectrum
from tracer.theory.optima import optimum, task_curvatures
from tracer.theory.problem import RANK_TOLERANCE
from tracer.theory.strategies import probe
from tracer.trainer import Loop, Trainer

ROUND_OFF = 1e-9
"""Share of the initial error at which a measured gap still has some six digits."""


class Run(NamedTuple):
    """What the trainer did.

    Attributes:
        student, teacher: weights after 0 ... T steps, (T + 1, k, d).
        final: the strategy's own weights at the end, (k, d): the student's, or what WiSE-FT makes of them.
    """

    student: np.ndarray
    teacher: np.ndarray
    final: np.ndarray


class Agreement(NamedTuple):
    """Largest relative errors over a run, in the norm of the weights.

    Attributes:
        error: of the theory against the trainer, student or teacher, whichever is worse.
        nothing_moves: of the prediction that student and teacher stay where they start, at the last step.
    """

    error: float
    nothing_moves: float


@dataclass(frozen=True)
class Draws:
    """Batches drawn at random from a problem's pairs, independently at every step.

    Attributes:
        size: pairs in a batch, B.
        replacement: whether a pair may occur twice in one batch.
        seed: of the draws.
    """

    size: int
    replacement: bool = False
    seed: int = 0

    def rows(self, step: int, pairs: int) -> np.ndarray:
        """Rows of the batch of a step, (B,)."""
        return np.random.default_rng([self.seed, step]).choice(pairs, self.size, replace=self.replacement)


class PairBatches(Dataset[Batch]):
    """A problem's pairs as batches: all of them at every step, or draws; replay images are there whole every time."""

    def __init__(self, problem: Problem, steps: int, draws: Draws | None = None, replay: Tensor | None = None):
        if problem.pairs is None:
            raise UserError("the trainer needs pairs and this problem has only moments: make it with Problem.from_pairs")
        images, texts = problem.pairs
        most = np.inf if draws is None or draws.replacement else len(images)
        if draws and not (isinstance(draws.size, Integral) and 2 <= draws.size <= most):
            raise UserError(f"a batch must have at least 2 and, without replacement, at most {len(images)} pairs, not {draws.size}")
        self.images, self.texts = torch.from_numpy(images.copy()), torch.from_numpy(texts.copy())
        self.steps, self.draws, self.replay = steps, draws, replay

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        if self.draws is None:
            return Batch(self.images, self.texts, self.replay)
        rows = self.draws.rows(step, len(self.images))
        return Batch(self.images[rows], self.texts[rows], self.replay)


def train(
    problem: Problem,
    strategy: Strategy,
    *,
    learning_rate: float,
    steps: int,
    update_every: int = 1,
    schedule: Schedule = constant,
    heavy_ball: float = 0.0,
    logit_scale: float | None = None,
    draws: Draws | None = None,
    preconditioner: np.ndarray | None = None,
) -> Run:
    """Fine-tune a linear dual encoder with plain SGD in float64, as `tracer.theory.discrete` says with the same arguments.

    Args:
        problem: what is learned; made from pairs.
        strategy: how.
        learning_rate: eta, the peak that the schedule multiplies.
        steps: horizon T.
        update_every: steps between two teacher updates.
        schedule: multiplier of the learning rate by step.
        heavy_ball: SGD's momentum.
        logit_scale: train with the contrastive loss at this scale of the logits, over that scale, which the linearised loss
            approximates where the scale is small; None trains with the linearised loss.
        draws: random batches; None takes all pairs in every step.
        preconditioner: (d, d), by which every gradient, that of weight decay with it, is multiplied from the right.

    Raises:
        UserError: if the problem has no pairs, a batch has fewer than 2 pairs or more than there are, a number is out of its
            range, or the loss stops being finite.
    """
    if logit_scale is not None and logit_scale <= 0:
        raise UserError(f"logit_scale must be positive, not {logit_scale:g}")
    pull, decay = strategy.distillation, strategy.prepare(problem).weight_decay
    batches = PairBatches(problem, steps, draws, _replay(problem, pull))
    start = problem.initial_weights
    start = _trained_probe(problem) @ start if isinstance(strategy, LPFT) else start.copy()
    model, anchor = (LinearDualEncoder(torch.from_numpy(start), logit_scale or 1.0) for _ in range(2))
    if isinstance(strategy, ZeroShot):
        still = np.repeat(start[None], steps + 1, axis=0)
        return Run(still, still, start)
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=heavy_ball, weight_decay=decay)
    _precondition(optimizer, preconditioner)
    teacher = Teacher(model, pull.kernel, _clock(steps, update_every))
    history = [(_weights(model), _weights(teacher.module))]
    Trainer(
        model,
        batches,
        Objective({**_contrast(logit_scale), "embedding_norm": problem.embedding_penalty, **_pull(problem, strategy)}),
        optimizer,
        Loop(steps, precision="fp64"),
        teacher=teacher,
        anchor=anchor,
        schedule=schedule,
        on_step=lambda step: history.append((_weights(model), _weights(teacher.module))),
    ).fit()
    final = interpolate(anchor, model, strategy.coefficient) if isinstance(strategy, WiSEFT) else model
    students, teachers = map(np.stack, zip(*history, strict=True))
    return Run(students, teachers, _weights(final))


def train_proximal(problem: Problem, strategy: Strategy, *, steps: int, update_every: int = 1) -> Run:
    """Fine-tune with the student solved exactly at every step, as `tracer.theory.proximal` says with the same arguments.

    It is `train` with steps of size 1 preconditioned by (rho Sigma + mu I + strength D)^+, a Newton step on the distilled loss.

    Raises:
        UserError: as `train` does.
    """
    posed, pull = strategy.prepare(problem), strategy.distillation
    curvature = posed.curvature_matrix + pull.strength * pull.measured_by.matrix(posed)
    inverse = np.linalg.pinv(curvature, rcond=RANK_TOLERANCE, hermitian=True)
    return train(problem, strategy, learning_rate=1.0, steps=steps, update_every=update_every, preconditioner=inverse)


def compare(problem: Problem, strategy: Strategy, *, learning_rate: float, steps: int, **stepping) -> Agreement:
    """How far `tracer.theory.discrete` is from a run of the trainer, at all of its steps.

    Args:
        problem, strategy, learning_rate, steps, stepping: as for `train`.

    Raises:
        UserError: as `train` and `discrete` do.
    """
    path = discrete(problem, strategy, learning_rate=learning_rate, steps=steps, **stepping)
    run = train(problem, strategy, learning_rate=learning_rate, steps=steps, **stepping)
    times = np.arange(steps + 1)
    errors = deviation(path.student(times), run.student), deviation(path.teacher(times), run.teacher)
    return Agreement(max(errors), deviation(run.student[0], run.student[-1]))


def deviation(predicted: np.ndarray, measured: np.ndarray) -> float:
    """Largest relative error of predicted weights (..., k, d), by the norm of the measured ones."""
    size = np.linalg.norm(measured, axis=(-2, -1))
    return float(np.max(np.linalg.norm(predicted - measured, axis=(-2, -1)) / size))


def small_logit_errors(
    problem: Problem, strategy: Strategy, scales: Sequence[float], *, learning_rate: float, steps: int
) -> np.ndarray:
    """How far the contrastive loss, at each logit scale, leads from what the linearised loss predicts, (m,).

    The largest distance over the steps, relative to the predicted displacement at the end; 1 is what predicting that nothing
    moves would miss by. Source: this project.

    Args:
        problem, strategy: what is learned and how.
        scales: logit scales, (m,).
        learning_rate, steps: of the runs.

    Raises:
        UserError: as `train` does.
    """
    path = discrete(problem, strategy, learning_rate=learning_rate, steps=steps)
    predicted = path.weights(np.arange(steps + 1))
    moved = np.linalg.norm(predicted[-1] - problem.initial_weights)
    errors = []
    for scale in scales:
        run = train(problem, strategy, learning_rate=learning_rate, steps=steps, logit_scale=scale)
        errors.append(np.linalg.norm(run.student - predicted, axis=(1, 2)).max() / moved)
    return np.array(errors)


def share_travelled(moved: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """How far displacements (..., k, d) went along the predicted one (k, d): 1 is as far as predicted; (...)."""
    return np.sum(moved * predicted, axis=(-2, -1)) / np.sum(predicted**2)


def fitted_order(sizes: Sequence[float], errors: Sequence[float]) -> float:
    """Slope of log error against log size, by least squares: 1 for an error of first order."""
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


def summed_gaps(run: Run, kernel: Kernel, update_every: int = 1) -> np.ndarray:
    """Sum over a run's teacher updates of r / (1 - r) (student - teacher), (k, d).

    It is the teacher's displacement, whatever loss and optimiser moved the student. Source: this project.

    Args:
        run: of the trainer.
        kernel: the teacher's.
        update_every: steps between two updates.

    Raises:
        UserError: if a rate is 1, which puts the teacher on its student and leaves no gap to sum.
    """
    clock = _clock(len(run.student) - 1, update_every)
    rates = kernel.rates(clock, np.arange(1, clock.updates + 1))
    if np.any(rates == 1):
        raise UserError(f"{kernel!r} puts the teacher on its student, so that no gap tells how far it moved: choose another kernel")
    gaps = (run.student - run.teacher)[update_every::update_every]
    return np.tensordot(rates / (1 - rates), gaps, 1)


def modal_shares(problem: Problem, differences: np.ndarray) -> np.ndarray:
    """Size of weight differences (m, k, d) in each eigendirection over that of the initial error W_0 - W*, (m, d).

    It is 0 off the task subspace.
    """
    initial = np.linalg.norm((problem.initial_weights - optimum(problem)) @ problem.eigenvectors, axis=0)
    sizes = np.linalg.norm(differences @ problem.eigenvectors, axis=1)
    learned = np.arange(len(initial)) < problem.rank
    return np.divide(sizes, initial, out=np.zeros_like(sizes), where=learned & (initial > 0))


def rates(problem: Problem, pull: Distillation, run: Run, learning_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and measured rates of decay of the gap to an EMA, by mode of the task, (r,) each, in 1 / steps.

    Measured over the second half of the steps before the gap is lost in round-off.
    """
    curvatures, spectrum = problem.curvatures[: problem.rank], pull_spectrum(problem, pull)[: problem.rank]
    predicted = -np.log(ema.eigenvalues(curvatures, spectrum, learning_rate, momentum_of(pull))[0])
    shares = modal_shares(problem, run.student - run.teacher)[:, : problem.rank]
    last = len(shares) - 1 - np.argmax(shares[::-1] > ROUND_OFF, axis=0)
    modes = np.arange(problem.rank)
    return predicted, np.log(shares[last // 2, modes] / shares[last, modes]) / (last - last // 2)


def exponents(problem: Problem, pull: Distillation, run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and measured exponents of the gap to a power-law teacher, by mode of the task, (r,) each.

    Measured between the middle and the end of the run.
    """
    curvatures, spectrum = problem.curvatures[: problem.rank], pull_spectrum(problem, pull)[: problem.rank]
    predicted = wma.persistence_exponent(curvatures, spectrum, exponent_of(pull))
    shares = modal_shares(problem, run.student - run.teacher)[:, : problem.rank]
    end = len(shares) - 1
    return predicted, np.log(shares[end // 2] / shares[end]) / np.log(end / (end // 2))


def momentum_of(pull: Distillation) -> float:
    """Momentum of its EMA.

    Raises:
        UserError: if the kernel is no exponential one with a constant momentum.
    """
    kernel = pull.kernel
    if isinstance(kernel, Exponential) and kernel.momentum is not None and kernel.warmup_progress == 0:
        return kernel.momentum
    raise UserError(f"the closed forms of an EMA need an Exponential kernel of constant momentum, not {kernel!r}")


def exponent_of(pull: Distillation) -> float:
    """Exponent beta of its power-law teacher.

    Raises:
        UserError: if the kernel is no power law.
    """
    if isinstance(pull.kernel, PowerLaw):
        return pull.kernel.beta
    raise UserError(f"the closed forms of a WMA need a PowerLaw kernel, not {pull.kernel!r}")


def _precondition(optimizer: torch.optim.SGD, matrix: np.ndarray | None) -> None:
    """Multiply gradients by a matrix before each step; weight decay, which would be added after that, becomes a part of them."""
    if matrix is None:
        return
    (group,), factor = optimizer.param_groups, torch.from_numpy(matrix)
    decay, group["weight_decay"] = group["weight_decay"], 0.0

    def multiply(*_) -> None:
        for weight in group["params"]:
            weight.grad = (weight.grad + decay * weight.detach()) @ factor

    optimizer.register_step_pre_hook(multiply)


def _clock(steps: int, update_every: int) -> Clock:
    try:
        return Clock(steps, update_every)
    except ValueError as error:
        raise UserError(f"{error} (total_steps are the steps of this run)") from None


def _weights(model: nn.Module) -> np.ndarray:
    (weight,) = model.parameters()
    return weight.detach().cpu().numpy().copy()


def _contrast(logit_scale: float | None) -> dict[str, float]:
    """The contrastive term; the linearised loss models it over the logit scale."""
    return {"linearised_contrastive": 1.0} if logit_scale is None else {"contrastive": 1 / logit_scale}


def _pull(problem: Problem, strategy: Strategy) -> dict[str, float]:
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


def _replay(problem: Problem, pull: Distillation) -> Tensor | None:
    """Images (d, d) whose second moment is the metric, where that is neither the data's nor the parameters'."""
    if pull.measured_by == Spectral(0.0) or isinstance(pull.measured_by, Parameter):
        return None
    values, vectors = np.linalg.eigh(pull.measured_by.matrix(problem))
    return torch.from_numpy((vectors * np.sqrt(np.maximum(values, 0) * len(values))).T)


def _trained_probe(problem: Problem) -> np.ndarray:
    """The linear probe (k, k), trained to convergence by gradient descent: the same trainer, on the pretrained embeddings."""
    posed = probe(problem)
    curvatures = task_curvatures(posed)
    single = 1 / curvatures[curvatures > 0]  # a step of this size takes off one mode's error, and blows up that of stiffer ones
    rates = np.concatenate([single[:last] for last in range(len(single), 0, -1)])
    model = LinearDualEncoder(torch.eye(len(posed.initial_weights), dtype=torch.float64))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, weight_decay=posed.weight_decay)
    Trainer(
        model,
        PairBatches(posed, len(rates)),
        Objective({"linearised_contrastive": 1.0, "embedding_norm": posed.embedding_penalty}),
        optimizer,
        Loop(len(rates), precision="fp64"),
        schedule=lambda step: float(rates[step]),
    ).fit()
    return _weights(model)
