"""Theory against trainer: how far predicted weights are from trained ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tracer.crosscheck.history import Agreement, deviation
from tracer.crosscheck.training import train
from tracer.number_checks import Array
from tracer.theory import Problem, Strategy, gradient_descent


def compare(problem: Problem, strategy: Strategy, *, learning_rate: float, steps: int, **stepping: Any) -> Agreement:
    """How far `tracer.theory.gradient_descent` is from a run of the trainer, at all of its steps.

    Args:
        problem, strategy, learning_rate, steps, stepping: as for `train`.

    Raises:
        UserError: as `train` and `gradient_descent` do.
    """
    path = gradient_descent(problem, strategy, learning_rate=learning_rate, steps=steps, **stepping)
    run = train(problem, strategy, learning_rate=learning_rate, steps=steps, **stepping)
    times = np.arange(steps + 1)
    errors = deviation(path.student(times), run.student), deviation(path.teacher(times), run.teacher)
    return Agreement(max(errors), deviation(run.student[0], run.student[-1]))


def small_logit_errors(problem: Problem, strategy: Strategy, scales: Sequence[float], *, learning_rate: float, steps: int) -> Array:
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
    path = gradient_descent(problem, strategy, learning_rate=learning_rate, steps=steps)
    predicted = path.weights(np.arange(steps + 1))
    moved = np.linalg.norm(predicted[-1] - problem.initial_weights)
    errors = []
    for scale in scales:
        run = train(problem, strategy, learning_rate=learning_rate, steps=steps, logit_scale=scale)
        errors.append(np.linalg.norm(run.student - predicted, axis=(1, 2)).max() / moved)
    return np.array(errors)
