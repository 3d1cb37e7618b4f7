"""Pretrained knowledge that the data do not see, under weight decay: how much of it each strategy retains."""

import numpy as np
import sympy as sp

from tracer.averaging import Exponential, PowerLaw
from tracer.theory.claims import ema as ema_claims
from tracer.theory.claims import persistence
from tracer.theory.claims.claim import PROJECT, TRACER, Check, Claim, compare
from tracer.theory.claims.instances import Instance, descend, extrapolated, power_law_rates, random_instance, stable_learning_rate
from tracer.theory.claims.tolerances import ASYMPTOTIC, EXACT
from tracer.theory.closed_forms import ema, wma
from tracer.theory.gradient_descent import gradient_descent
from tracer.theory.limits import limit
from tracer.theory.strategies import L2SP, Distillation, FineTuning, WeightDecay

mu, strength, eta, beta, m, q = sp.symbols("mu lambda eta beta m q", positive=True)
t = sp.Symbol("t", positive=True, integer=True)
w, start = sp.symbols("w {W_0}Q", real=True)
RETAINED = sp.Symbol(r"{W_t Q / W_0 Q}")


def fine_tuning_residues(retained: sp.Expr) -> list[sp.Expr]:
    """Off the task subspace the loss is mu w^2 / 2: the start and the recursion of what descent retains of it."""
    stepped = (w - eta * (mu * w**2 / 2).diff(w)).subs(w, retained)
    return [retained.subs(t, 0) - 1, retained.subs(t, t + 1) - stepped]


def l2_sp_residues(kept: sp.Expr) -> list[sp.Expr]:
    """Slope there of weight decay and the pull, at the claimed share of the pretrained weights."""
    return [(mu * w**2 / 2 + strength * (w - start) ** 2 / 2).diff(w).subs(w, kept * start)]


def ema_retained(steps: sp.Expr) -> sp.Expr:
    """u_t of a mode of curvature mu."""
    return ema_claims.student(steps).subs(ema_claims.sigma, mu)


def ema_residues(retained) -> list[sp.Expr]:
    """Of a mode of curvature mu, pulled by lambda: the recurrence, and the first two values."""
    plus, minus = ema_claims.plus, ema_claims.minus
    recurrence = retained(t + 2) - (plus + minus) * retained(t + 1) + plus * minus * retained(t)
    return [retained(0) - 1, retained(1) - (1 - eta * mu), recurrence]


def wma_residues(exponent: sp.Expr) -> list[sp.Expr]:
    """The persistence exponent of a mode of curvature mu, pulled by lambda."""
    share = {q: mu / (mu + strength)}
    return [*(step.subs(share) for step in persistence.exponent_residues(beta * q)), (beta * q).subs(share) - exponent]


def _decaying(rng: np.random.Generator) -> tuple[Instance, float, float]:
    """An instance with weight decay, a strength, and a stable learning rate for a pull in the weights."""
    case, teacher_curvature = random_instance(rng, rng.uniform(0.3, 0.6)), float(rng.uniform(0.5, 1.0))
    return case, teacher_curvature, stable_learning_rate(case, teacher_curvature)


def _fine_tuning_check(rng: np.random.Generator) -> Check:
    """Fine-tuning, and an EMA teacher in the data's metric, which does not feel those weights."""
    case, teacher_curvature, eta = _decaying(rng)
    strategies = FineTuning(), Distillation(teacher_curvature, Exponential(0.8))
    alone = descend(case, [0.0] * 20, eta)[0]
    taught = descend(case, [0.2] * 20, eta, teacher_curvature, case.second_moment)[0]
    measured = case.off_task(np.stack([alone, taught]))
    paths = [gradient_descent(case.problem, strategy, learning_rate=eta, steps=20).weights(20) for strategy in strategies]
    formula = (1 - eta * case.weight_decay) ** 20 * case.off_task(case.initial_weights)
    predicted = np.stack([case.off_task(np.stack(paths)), np.stack([formula] * 2)])
    return compare(predicted, np.stack([measured] * 2), EXACT, case.off_task(case.initial_weights), 0.0)


def _l2_sp_check(rng: np.random.Generator) -> Check:
    case, teacher_curvature, eta = _decaying(rng)
    kept, start = case.off_task(descend(case, [0.0] * 600, eta, teacher_curvature)[0]), case.off_task(case.initial_weights)
    forgotten = case.off_task(descend(case, [0.0] * 600, eta)[0])
    share = teacher_curvature / (teacher_curvature + case.weight_decay)
    plain = case.problem.with_weight_decay(0.0)
    limits = limit(case.problem, L2SP(teacher_curvature)), limit(plain, WeightDecay(case.weight_decay))
    predicted = np.stack([case.off_task(limits[0]), share * start, case.off_task(limits[1])])
    return compare(predicted, np.stack([kept, kept, forgotten]), EXACT, start, 0.0, limit(plain, L2SP(teacher_curvature)))


def _ema_check(rng: np.random.Generator) -> Check:
    (case, teacher_curvature, eta), momentum, steps = _decaying(rng), rng.uniform(0.5, 0.9), 20
    measured = case.off_task(descend(case, [1 - momentum] * steps, eta, teacher_curvature)[0])
    path = gradient_descent(
        case.problem, Distillation(teacher_curvature, Exponential(momentum), "parameter"), learning_rate=eta, steps=steps
    )
    start, mode = case.off_task(case.initial_weights), (case.weight_decay, teacher_curvature, eta)
    predicted = np.stack([case.off_task(path.weights(steps)), ema.student(*mode, momentum, steps) * start])
    held = teacher_curvature / (teacher_curvature + case.weight_decay) * start
    return compare(predicted, np.stack([measured] * 2), EXACT, start, held, (1 - eta * case.weight_decay) ** steps * start)


def _wma_check(rng: np.random.Generator) -> Check:
    """Slopes of what is left after 1000, 2000 and 4000 steps, extrapolated; the nulls are a share that stays and no pull."""
    (case, teacher_curvature, eta), exponent = _decaying(rng), rng.uniform(0.5, 1.4)
    times = np.array([1000, 2000, 4000])
    path = gradient_descent(
        case.problem, Distillation(teacher_curvature, PowerLaw(exponent), "parameter"), learning_rate=eta, steps=times[-1]
    )
    ends = [descend(case, power_law_rates(exponent, steps), eta, teacher_curvature)[0] for steps in times]
    left = np.linalg.norm(case.off_task(np.stack([ends, path.weights(times)])), axis=(2, 3))
    measured = extrapolated(*-np.diff(np.log2(left)).T)
    return compare(wma.persistence_exponent(case.weight_decay, teacher_curvature, exponent), measured, ASYMPTOTIC, 0.0, exponent)


def _wma_exponent() -> sp.Rel:
    retained = sp.Function("u")(t) / sp.Symbol("u_0")
    return sp.Eq(sp.Limit(sp.log(retained) / sp.log(t), t, sp.oo), -beta * mu / (mu + strength), evaluate=False)


def _retained(value: sp.Expr) -> sp.Rel:
    return sp.Eq(RETAINED, value, evaluate=False)


CLAIMS = (
    Claim(
        "orthogonal-drift-fine-tuning",
        "What the data do not see decays like (1 - eta mu)^t in fine-tuning, whatever teacher is compared on those data.",
        PROJECT,
        lambda: _retained((1 - eta * mu) ** t),
        _fine_tuning_check,
        lambda: fine_tuning_residues((1 - eta * mu) ** t),
        paper=("Section C.6",),
    ),
    Claim(
        "orthogonal-part-l2-sp",
        "Of what the data do not see L2-SP retains the share lambda/(lambda + mu) for ever, and weight decay alone nothing.",
        TRACER,
        lambda: sp.Eq(sp.Symbol(r"{W_\infty Q}"), strength / (strength + mu) * start, evaluate=False),
        _l2_sp_check,
        lambda: l2_sp_residues(strength / (strength + mu)),
        paper=("Section C.4",),
    ),
    Claim(
        "orthogonal-drift-ema",
        "An EMA teacher compared in the weights lets what the data do not see decay geometrically, like any other mode.",
        PROJECT,
        lambda: _retained(ema_retained(t)),
        _ema_check,
        lambda: ema_residues(ema_retained),
    ),
    Claim(
        "orthogonal-drift-wma",
        "A weighted moving average compared in the weights retains what the data do not see like t^(-beta mu/(mu + lambda)).",
        PROJECT,
        _wma_exponent,
        _wma_check,
        lambda: wma_residues(beta * mu / (mu + strength)),
    ),
)
