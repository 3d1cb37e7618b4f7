"""What a pool of replayed inputs holds: how far keeping the student on them keeps it on others, and what that costs the task."""

import numpy as np
from scipy import linalg

from tracer import theory
from tracer.averaging import Static
from tracer.theory.claims.claim import PROJECT, Check, compare, theorem
from tracer.theory.claims.endpoints import descended
from tracer.theory.claims.instances import Instance, random_instance, random_second_moment
from tracer.theory.claims.tolerances import EXACT, SUMMED


def _pool(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four inputs of seven features, others in their span, and others anywhere."""
    inputs = rng.standard_normal((4, 7))
    return inputs, rng.standard_normal((9, 4)) @ inputs, rng.standard_normal((9, 7))


@theorem(PROJECT)
def coverage_kappa(rng: np.random.Generator) -> Check:
    """Forgetting on the inputs to keep is at most kappa times forgetting on the pool, for all weights, and no smaller number bounds
    it; none does if the inputs to keep leave the span of the pool.
    """
    # The largest ratio of the two quadratic forms on the pool's span; the nulls are the sum of all, and ratios of eigenvalues.
    drawn = _pool(rng)
    pool, within, anywhere = map(theory.second_moment, drawn)
    span = np.linalg.qr(drawn[0].T)[0]
    forms = span.T @ within @ span, span.T @ pool @ span
    ratios, kept, held = linalg.eigh(*forms, eigvals_only=True), *map(np.linalg.eigvalsh, forms)
    found = compare(theory.kappa(pool, within), ratios[-1], ratios.sum(), kept[-1] / held[-1], kept[-1] / held[0])
    return found if theory.kappa(pool, anywhere) == np.inf else found._replace(error=np.inf)


@theorem(PROJECT)
def coverage_falls(rng: np.random.Generator) -> Check:
    """Coverage falls to nothing as delta grows; as delta vanishes it tends to the share of the inputs to keep that lies in the span
    of the pool, which is 1 if and only if all of them lie there.
    """
    # Shares by projection; the nulls are that all is covered, and the share of the directions that the pool has.
    drawn = inputs, _, anywhere = _pool(rng)
    pool, *keep = map(theory.second_moment, drawn)
    near, far = ([float(theory.coverage(pool, each, delta)) for each in keep] for delta in (1e-13, 1e13))
    seen = anywhere @ np.linalg.pinv(inputs) @ inputs
    measured = np.array([1.0, np.sum(seen**2) / np.sum(anywhere**2), 0.0, 0.0])
    found = compare(np.array(near + far), measured, [1.0, 1.0, 0.0, 0.0], [1.0, 4 / 7, 0.0, 0.0])
    rises = np.diff([theory.coverage(pool, each, np.logspace(-6, 6, 50)) for each in keep]).max()
    return found._replace(error=max(found.error, rises))


@theorem(PROJECT)
def coverage_share(rng: np.random.Generator) -> Check:
    """Where the task pulls in all directions alike, static distillation on a pool takes the share coverage(delta) off the change
    that the inputs to keep see, delta being the task's curvature over strength times the pool's mean eigenvalue; of their
    forgetting it leaves between (1 - coverage)^2 and 1 - coverage.
    """
    # By descent with a slope of any rotation; the nulls are a delta without the mean eigenvalue and the share in the pool's span.
    inputs, _, anywhere = _pool(rng)
    pool, keep = theory.second_moment(inputs), theory.second_moment(anywhere)
    curvature, strength = rng.uniform(0.5, 2.0, 2)
    slope, free, held = np.linalg.qr(rng.standard_normal((7, 7)))[0], np.zeros((7, 7)), np.zeros((7, 7))
    step = 1 / (curvature + strength * np.linalg.norm(pool, 2))
    for _ in range(1500):
        free = free - step * (slope + curvature * free)
        held = held - step * (slope + curvature * held + strength * held @ pool)
    before, along, left = (np.sum((a @ keep) * b) for a, b in ((free, free), (held, free), (held, held)))
    delta = curvature / strength
    share, *nulls = (float(theory.coverage(pool, keep, each)) for each in (delta / (np.trace(pool) / 7), delta, 0.0))
    found = compare(share, 1 - along / before, *nulls)
    outside = max(left / before - (1 - share), (1 - share) ** 2 - left / before)
    return found._replace(error=max(found.error, outside))


@theorem(PROJECT)
def uncovered_replay(rng: np.random.Generator) -> Check:
    """A pool that does not cover the inputs to keep can do worse than none: held on inputs at an angle to a task of one direction,
    a student forgets, at right angles to the task, cot^2 of the angle times what the task changes, at any strength, where without
    a pool it forgets nothing.
    """
    # By descent, beside the library's limit; the nulls are that nothing is forgotten, and the other side of the angle.
    angle, strength, size = rng.uniform(0.9, 1.2), rng.uniform(0.5, 2.0), rng.uniform(0.7, 1.3)
    images, pooled = np.array([[size, 0.0], [-size, 0.0]]), np.array([[np.cos(angle), np.sin(angle)]])
    case = Instance(images, rng.standard_normal((2, 3)), rng.standard_normal((3, 2)), 1.0, 0.0)
    pool, start, off = theory.second_moment(pooled), case.initial_weights, np.diag([0.0, 1.0])
    strategy = theory.Distillation(strength, Static(), theory.Inputs(pool))
    ends = (theory.limit(case.problem, strategy), descended(case, strength, pool))
    measured = np.array([theory.forgetting(end, start, off) for end in ends])
    moved = theory.forgetting(theory.limit(case.problem, theory.FineTuning()), start, np.diag([1.0, 0.0]))
    predicted = np.full(2, moved / np.tan(angle) ** 2)
    return compare(predicted, measured, 0 * predicted, predicted * np.tan(angle) ** 4)


@theorem(PROJECT)
def held_error(rng: np.random.Generator) -> Check:
    """Where static distillation on a pool ends, forgetting on the inputs to keep is at most kappa/(4 lambda) times what the loss
    could have fallen in all, with equality where task and pull are equally stiff.
    """
    # The bound is reached under lambda D = K, and kept in another metric; the nulls are half of it and twice.
    case, factor, strength = random_instance(rng), rng.uniform(0.5, 2.0), rng.uniform(0.5, 2.0)
    alike, other, keep = (
        case.embedding_penalty / strength * case.second_moment,
        random_second_moment(rng),
        random_second_moment(rng),
    )
    gain = case.problem.loss(case.initial_weights) - case.problem.loss(case.optimum)

    def forgotten(pool: np.ndarray, keep: np.ndarray) -> float:
        return theory.forgetting(descended(case, strength, pool), case.initial_weights, keep)

    predicted = theory.kappa(alike, factor * alike) * gain / (4 * strength)
    found = compare(predicted, forgotten(alike, factor * alike), predicted / 2, 2 * predicted, tolerance=SUMMED)
    above = forgotten(other, keep) / (theory.kappa(other, keep) * gain / (4 * strength)) - 1
    return found._replace(error=max(found.error, above))


@theorem(PROJECT)
def held_error_of_convex_losses(rng: np.random.Generator) -> Check:
    """For any convex loss, the contrastive one too, static distillation on a pool ends with at most kappa/(2 lambda) times what the
    loss has fallen as forgetting on the inputs to keep, and nears that as the strength grows.
    """
    # The contrastive loss at logits of size 1, by descent, weakly and strongly held; the null is half the bound.
    case, pool = random_instance(rng), random_second_moment(rng)
    loss = theory.Linearisation(case.images, case.texts, case.initial_weights, float(rng.uniform(0.3, 0.6)))
    largest = np.linalg.norm(case.second_moment, 2) * np.linalg.norm(case.texts, 2) ** 2 / len(case.texts)

    def share(strength: float) -> float:
        """Of the bound, in the metric of the pool itself, where kappa is 1."""
        weights, step = case.initial_weights, 1 / (largest + strength * np.linalg.norm(pool, 2))
        for _ in range(2000):
            weights = weights - step * (loss.gradient(weights) + strength * (weights - case.initial_weights) @ pool)
        fallen = loss.loss(case.initial_weights) - loss.loss(weights)
        return 2 * strength * theory.forgetting(weights, case.initial_weights, pool) / fallen

    weak, strong = share(3.0), share(300.0)
    return Check(max(weak - 1, strong - 1, 0.0), EXACT, 2 * strong - 1)
