"""Metrics that do not commute with the second moment: replay on other inputs, which moves what fine-tuning alone never touches."""

import numpy as np

from tracer.averaging import Exponential, Static
from tracer.theory.claims.claim import PROJECT, Check, compare, theorem
from tracer.theory.claims.instances import descend, random_instance, random_second_moment, stable_learning_rate
from tracer.theory.limits import limit
from tracer.theory.metrics import Inputs
from tracer.theory.strategies import Distillation, FineTuning

blocks = r"\Delta_P \Delta_Q D_{PP} D_{PQ} D_{QP} D_{QQ} \Sigma_P G_P"

STEPS = 2500


def _replayed(rng: np.random.Generator, momentum: float):
    """An instance with its replay metric, strength and learning rate, where descent ends, and where fine-tuning does."""
    case = random_instance(rng)
    metric, strength = random_second_moment(rng, case.images.shape[1]), rng.uniform(0.5, 1.5)
    learning_rate = stable_learning_rate(case, strength, metric)
    end = descend(case, [1 - momentum] * STEPS, learning_rate, strength, metric)[0]
    return case, metric, strength, learning_rate, end, limit(case.problem, FineTuning())


@theorem(PROJECT)
def replay_moves_orthogonal_part(rng: np.random.Generator) -> Check:
    """A static teacher on inputs that mix the subspaces moves the orthogonal part of the weights, by as much as undoes what the
    task part does to the replayed embeddings.
    """
    case, metric, strength, _, end, _ = _replayed(rng, 1.0)
    moved, off = end - case.initial_weights, np.eye(len(metric)) - case.projector
    formula = -case.on_task(moved) @ metric @ np.linalg.pinv(off @ metric @ off)
    found = limit(case.problem, Distillation(strength, Static(), Inputs(metric))) - case.initial_weights
    measured = case.off_task(moved)
    return compare(np.stack([case.off_task(found), formula]), np.stack([measured] * 2), 0 * measured, -measured)


@theorem(PROJECT)
def replay_schur_complement(rng: np.random.Generator) -> Check:
    """Under a static teacher on inputs that mix the subspaces the task part feels only the Schur complement of their metric."""
    case, metric, strength, _, end, tuned = _replayed(rng, 1.0)
    p, off = case.projector, np.eye(len(metric)) - case.projector
    slope = case.problem.gradient(case.initial_weights)

    def moved_by(felt):
        return -slope @ np.linalg.pinv(case.embedding_penalty * case.second_moment + strength * felt, rcond=1e-10)

    felt = p @ metric @ p - p @ metric @ np.linalg.pinv(off @ metric @ off, rcond=1e-10) @ metric @ p
    found = limit(case.problem, Distillation(strength, Static(), Inputs(metric))) - case.initial_weights
    measured = case.on_task(end - case.initial_weights)
    nulls = moved_by(p @ metric @ p), case.on_task(tuned - case.initial_weights)
    return compare(np.stack([case.on_task(found), moved_by(felt)]), np.stack([measured] * 2), *nulls)


@theorem(PROJECT)
def ema_replay(rng: np.random.Generator) -> Check:
    """An EMA teacher on inputs that mix the subspaces lets the task part go to its optimum, and moves the orthogonal part by its
    budget.
    """
    momentum = rng.uniform(0.3, 0.8)
    case, metric, strength, learning_rate, end, tuned = _replayed(rng, momentum)
    distillation = Distillation(strength, Exponential(momentum), Inputs(metric))
    found = limit(case.problem, distillation, learning_rate) - case.initial_weights
    static = limit(case.problem, Distillation(strength, Static(), Inputs(metric))) - case.initial_weights
    measured = end - case.initial_weights
    return compare(found, measured, tuned - case.initial_weights, static)
