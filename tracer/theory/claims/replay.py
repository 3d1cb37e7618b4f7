"""Metrics that do not commute with the second moment: replay on other inputs, which moves what fine-tuning alone never touches."""

import numpy as np

from tracer import theory
from tracer.averaging import Exponential, Kernel, Static
from tracer.theory.claims.claim import PROJECT, Check, compare, theorem
from tracer.theory.claims.instances import Instance, descend, random_instance, random_second_moment, stable_learning_rate


def _replayed(rng: np.random.Generator, kernel: Kernel, rate: float = 0.0) -> tuple[Instance, np.ndarray, float, np.ndarray]:
    """An instance, the second moment that is replayed, the strength, and displacements (2, k, d) by the library and by descent."""
    case, strength = random_instance(rng), rng.uniform(0.5, 1.5)
    metric = random_second_moment(rng)
    strategy = theory.Distillation(strength, kernel, theory.Inputs(metric))
    found = theory.limit(case.problem, strategy, stable_learning_rate(case, strength, metric))
    ends = np.stack([found, descend(case, [rate] * 2500, strength, metric)])
    return case, metric, strength, ends - case.initial_weights


@theorem(PROJECT)
def replay_moves_orthogonal_part(rng: np.random.Generator) -> Check:
    """A static teacher on inputs that mix the subspaces moves the orthogonal part of the weights, by as much as undoes what the
    task part does to the replayed embeddings.
    """
    case, metric, _, moved = _replayed(rng, Static())
    off = np.eye(len(metric)) - case.projector
    formula = -case.on_task(moved) @ metric @ np.linalg.pinv(off @ metric @ off)
    return compare(formula, case.off_task(moved), 0.0, -formula)


@theorem(PROJECT)
def replay_schur_complement(rng: np.random.Generator) -> Check:
    """Under a static teacher on inputs that mix the subspaces the task part feels only the Schur complement of their metric."""
    # The nulls are the metric without its complement, and no teacher.
    case, metric, strength, moved = _replayed(rng, Static())
    p, off = case.projector, np.eye(len(metric)) - case.projector
    slope = case.problem.gradient(case.initial_weights)

    def moved_by(felt: np.ndarray) -> np.ndarray:
        curvature = case.embedding_penalty * case.second_moment + strength * felt
        return np.asarray(-slope @ np.linalg.pinv(curvature, rcond=1e-10))

    inner = p @ metric @ p
    complement = inner - p @ metric @ np.linalg.pinv(off @ metric @ off, rcond=1e-10) @ metric @ p
    return compare(np.stack([moved_by(complement)] * 2), case.on_task(moved), moved_by(inner), moved_by(0 * inner))


@theorem(PROJECT)
def ema_replay(rng: np.random.Generator) -> Check:
    """An EMA teacher on inputs that mix the subspaces lets the task part go to its optimum, and moves the orthogonal part by its
    budget.
    """
    # The nulls are no teacher and a static one.
    momentum = rng.uniform(0.3, 0.8)
    case, metric, strength, (predicted, measured) = _replayed(rng, Exponential(momentum), 1 - momentum)
    strategies = theory.FineTuning(), theory.Distillation(strength, Static(), theory.Inputs(metric))
    return compare(predicted, measured, *(theory.limit(case.problem, each) - case.initial_weights for each in strategies))
