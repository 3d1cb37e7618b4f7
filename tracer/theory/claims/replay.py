"""Metrics that do not commute with the second moment: replay on other inputs, which moves what fine-tuning alone never touches."""

import numpy as np
import sympy as sp

from tracer.averaging import Exponential, Static
from tracer.theory.claims.claim import PROJECT, Check, Claim, compare
from tracer.theory.claims.instances import descend, random_instance, random_second_moment, stable_learning_rate
from tracer.theory.claims.tolerances import EXACT
from tracer.theory.limits import limit
from tracer.theory.metrics import Inputs
from tracer.theory.strategies import Distillation, FineTuning

rho, eta, strength, force, m = sp.symbols("rho eta lambda {\\kappa'} m", positive=True)
blocks = r"\Delta_P \Delta_Q D_{PP} D_{PQ} D_{QP} D_{QQ} \Sigma_P G_P"
task, outside, inner, mixed, mixed_back, outer, moment, gradient = sp.symbols(blocks, commutative=False)
"""Blocks of displacements, metric, second moment and initial gradient on (P) and off (Q) the task subspace, of any size."""
STEPS = 2500


def static_shift() -> sp.Expr:
    """Displacement off the task subspace under a static teacher, D_QQ having an inverse."""
    return -task * mixed * outer**-1


def schur_complement() -> sp.Expr:
    """The metric that the task part feels."""
    return inner - mixed * outer**-1 * mixed_back


def static_shift_residues(shift: sp.Expr) -> list[sp.Expr]:
    """Slope of the penalty off the task subspace, where the loss has none, at the shifted weights."""
    return [strength * (task * mixed + shift * outer)]


def schur_complement_residues(felt: sp.Expr) -> list[sp.Expr]:
    """Slope in the task subspace with the shift put in, less that of a task that knows the felt metric alone."""
    slope = rho * task * moment + gradient + strength * (task * inner + static_shift() * mixed_back)
    return [slope - (task * (rho * moment + strength * felt) + gradient)]


def ema_shift(system: sp.Expr) -> sp.Expr:
    """The same under an EMA teacher, with kappa' = eta lambda m / (1 - m); the system is I + kappa' D_QQ."""
    return -force * task * mixed * system**-1


def ema_shift_residues(budget: sp.Expr) -> list[sp.Expr]:
    """Off the task subspace the student moves by -eta lambda (sum of gaps) D Q.

    The sum is the budget, m / (1 - m), times the displacement, in which both end at the same place (`teacher-displacement`).
    """
    system = sp.Symbol("K", commutative=False)
    shift, metric = ema_shift(system), (system - 1) / force
    teacher_curvature = eta * strength * budget
    return [(shift + teacher_curvature * (task * mixed + shift * metric)).subs(strength, force * (1 - m) / (eta * m))]


def _replayed(rng: np.random.Generator, momentum: float):
    """An instance with its replay metric, strength and learning rate, where descent ends, and where fine-tuning does."""
    case = random_instance(rng)
    metric, strength = random_second_moment(rng, case.images.shape[1]), rng.uniform(0.5, 1.5)
    learning_rate = stable_learning_rate(case, strength, metric)
    end = descend(case, [1 - momentum] * STEPS, learning_rate, strength, metric)[0]
    return case, metric, strength, learning_rate, end, limit(case.problem, FineTuning())


def _static_shift_check(rng: np.random.Generator) -> Check:
    case, metric, strength, _, end, _ = _replayed(rng, 1.0)
    moved, off = end - case.initial_weights, np.eye(len(metric)) - case.projector
    formula = -case.on_task(moved) @ metric @ np.linalg.pinv(off @ metric @ off)
    found = limit(case.problem, Distillation(strength, Static(), Inputs(metric))) - case.initial_weights
    measured = case.off_task(moved)
    return compare(np.stack([case.off_task(found), formula]), np.stack([measured] * 2), EXACT, 0 * measured, -measured)


def _schur_check(rng: np.random.Generator) -> Check:
    case, metric, strength, _, end, tuned = _replayed(rng, 1.0)
    p, off = case.projector, np.eye(len(metric)) - case.projector
    slope = case.problem.gradient(case.initial_weights)

    def moved_by(felt):
        return -slope @ np.linalg.pinv(case.embedding_penalty * case.second_moment + strength * felt, rcond=1e-10)

    felt = p @ metric @ p - p @ metric @ np.linalg.pinv(off @ metric @ off, rcond=1e-10) @ metric @ p
    found = limit(case.problem, Distillation(strength, Static(), Inputs(metric))) - case.initial_weights
    measured = case.on_task(end - case.initial_weights)
    nulls = moved_by(p @ metric @ p), case.on_task(tuned - case.initial_weights)
    return compare(np.stack([case.on_task(found), moved_by(felt)]), np.stack([measured] * 2), EXACT, *nulls)


def _ema_shift_check(rng: np.random.Generator) -> Check:
    momentum = rng.uniform(0.3, 0.8)
    case, metric, strength, learning_rate, end, tuned = _replayed(rng, momentum)
    distillation = Distillation(strength, Exponential(momentum), Inputs(metric))
    found = limit(case.problem, distillation, learning_rate) - case.initial_weights
    static = limit(case.problem, Distillation(strength, Static(), Inputs(metric))) - case.initial_weights
    measured = end - case.initial_weights
    return compare(found, measured, EXACT, tuned - case.initial_weights, static)


def _ema_shift() -> sp.Rel:
    moved = sp.Symbol("{(W^* - W_0)P}", commutative=False)
    return sp.Eq(outside, ema_shift(1 + force * outer).subs(task, moved), evaluate=False)


CLAIMS = (
    Claim(
        "replay-moves-orthogonal-part",
        "A static teacher on inputs that mix the subspaces moves the orthogonal part of the weights, by as much as undoes what the "
        "task part does to the replayed embeddings.",
        PROJECT,
        lambda: sp.Eq(outside, static_shift(), evaluate=False),
        _static_shift_check,
        lambda: static_shift_residues(static_shift()),
    ),
    Claim(
        "replay-schur-complement",
        "Under a static teacher on inputs that mix the subspaces the task part feels only the Schur complement of their metric.",
        PROJECT,
        lambda: sp.Eq(task * (rho * moment + strength * schur_complement()), -gradient, evaluate=False),
        _schur_check,
        lambda: schur_complement_residues(schur_complement()),
    ),
    Claim(
        "ema-replay",
        "An EMA teacher on inputs that mix the subspaces lets the task part go to its optimum, and moves the orthogonal part by "
        "its budget.",
        PROJECT,
        _ema_shift,
        _ema_shift_check,
        lambda: ema_shift_residues(m / (1 - m)),
    ),
)
