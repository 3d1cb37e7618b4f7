"""A mode with an exponential teacher: the gap collapses at a geometric rate, and its sum over time is set by the momentum alone.

In units of the mode's initial error, u_0 = ubar_0 = 1, with curvature sigma, teacher curvature l, step size eta and momentum m,

    u_{t+1} = (1 - eta sigma - eta l) u_t + eta l ubar_t,    ubar_{t+1} = m ubar_t + (1 - m) u_{t+1},    gap g = u - ubar,

and in the limit of small steps, over time s = eta t with the teacher moving at the rate gamma = (1 - m) / eta,

    u' = -(sigma + l) u + l ubar,    ubar' = gamma (u - ubar).

Weights that the data do not see but weight decay pulls obey the same with sigma = weight decay. All formulas are sums of terms of
one sign wherever the steps do not overshoot, so that slow modes and long runs keep their digits. m = 1 is the static teacher.
Numbers out of their range, NaN and infinity among them, raise a UserError everywhere.

Source: TRACER, arXiv 2605.29380 (that an EMA collapses); this project (the formulas, the budgets, the largest step sizes).
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tracer.number_checks import BELOW_ONE, NOT_NEGATIVE, POSITIVE, SHARE, WHOLE, Array, number, numbers, whole_number
from tracer.theory.closed_forms.ema_roots import factors, rates
from tracer.theory.closed_forms.ratio import ratio
from tracer.theory.closed_forms.stiffness import stiffness


def eigenvalues(
    curvature: ArrayLike, teacher_curvature: ArrayLike, learning_rate: ArrayLike, momentum: ArrayLike
) -> tuple[Array, Array]:
    """The two factors (theta_plus, theta_minus) by which a mode's student and teacher shrink per step; always real.

        theta = (trace +- sqrt(disc)) / 2,   trace = a + m + (1 - m) b,   disc = (a - m)^2 + 2 (a + m)(1 - m) b + (1 - m)^2 b^2,
        a = 1 - eta (sigma + l),   b = eta l

    Source: this project.

    Args:
        curvature: sigma >= 0.
        teacher_curvature: l >= 0.
        learning_rate: eta > 0.
        momentum: m in [0, 1]. All broadcast.
    """
    pair = factors(curvature, teacher_curvature, learning_rate, momentum)
    return pair.plus, pair.minus


def decay_rate(curvature: ArrayLike, teacher_curvature: ArrayLike, learning_rate: ArrayLike, momentum: ArrayLike) -> Array:
    """Share of the error that the slow factor takes off per step, without cancellation.

        1 - theta_plus = (1 - m) eta sigma / (1 - theta_minus)

    Source: this project. Arguments as for `eigenvalues`.
    """
    return factors(curvature, teacher_curvature, learning_rate, momentum).left_plus


def student(
    curvature: ArrayLike, teacher_curvature: ArrayLike, learning_rate: ArrayLike, momentum: ArrayLike, steps: ArrayLike
) -> Array:
    """The student's error after t steps, as a share of the initial one.

        u_t = [(a + b - theta_minus) theta_plus^t + (theta_plus - a - b) theta_minus^t] / (theta_plus - theta_minus)

    Source: this project.

    Args:
        curvature, teacher_curvature, learning_rate, momentum: as for `eigenvalues`.
        steps: t, whole numbers >= 0, broadcast with the others.
    """
    steps = numbers("steps", steps, WHOLE)
    pair = factors(curvature, teacher_curvature, learning_rate, momentum)
    return pair.minus_power(steps) + pair.left_minus * pair.lift * pair.power_difference(steps)


def teacher(
    curvature: ArrayLike, teacher_curvature: ArrayLike, learning_rate: ArrayLike, momentum: ArrayLike, steps: ArrayLike
) -> Array:
    """The teacher's error after t steps, as a share of the initial one.

        ubar_t = [(1 - theta_minus) theta_plus^{t+1} - (1 - theta_plus) theta_minus^{t+1}] / (theta_plus - theta_minus)

    Source: this project. Arguments as for `student`.
    """
    after = numbers("steps", steps, WHOLE) + 1
    pair = factors(curvature, teacher_curvature, learning_rate, momentum)
    return pair.plus_power(after) + pair.left_plus * pair.power_difference(after)


def gap(
    curvature: ArrayLike, teacher_curvature: ArrayLike, learning_rate: ArrayLike, momentum: ArrayLike, steps: ArrayLike
) -> Array:
    """Student minus teacher after t steps, as a share of the initial error.

        g_t = -m eta sigma (theta_plus^t - theta_minus^t) / (theta_plus - theta_minus)

        >>> [f"{gap(1.0, 0.9, 0.1, 0.9, steps):.1e}" for steps in (30, 300)]
        ['-1.3e-01', '-1.2e-06']

    Source: TRACER, arXiv 2605.29380 (that it vanishes exponentially); this project (the formula). Arguments as for `student`.
    """
    pair = factors(curvature, teacher_curvature, learning_rate, momentum)
    drive: Array = np.asarray(momentum, dtype=float) * np.asarray(learning_rate, dtype=float) * np.asarray(curvature, dtype=float)
    return -drive * pair.power_difference(numbers("steps", steps, WHOLE))


def proximal_teacher(curvature: ArrayLike, teacher_curvature: ArrayLike, momentum: ArrayLike, steps: ArrayLike) -> Array:
    """The teacher's error after t steps at each of which the student is solved exactly, as a share of the initial one.

        ubar_t = (1 - q (1 - m))^t = (p + q m)^t

        >>> [f"{proximal_teacher(1.0, 0.9, 0.9, steps):.1e}" for steps in (30, 300)]
        ['2.0e-01', '9.0e-08']

    Source: TRACER, arXiv 2605.29380 (theorem C.8, and corollary C.9 with equality).

    Args:
        curvature, teacher_curvature, momentum, steps: as for `student`.
    """
    _, q, p = stiffness(curvature, teacher_curvature)
    momentum, steps = numbers("momentum", momentum, SHARE), numbers("steps", steps, WHOLE)
    taken = q * (1 - momentum)
    quick = taken > 0.5
    log_kept = np.log1p(-np.where(quick, 0, taken))
    # where most is taken, what is kept is the sum that does not cancel; xlogy makes 0^0 = 1
    return np.where(quick, np.exp(special.xlogy(steps, p + q * momentum)), np.exp(steps * log_kept))[()]


def proximal_student(curvature: ArrayLike, teacher_curvature: ArrayLike, momentum: ArrayLike, steps: ArrayLike) -> Array:
    """The student's error after t steps at each of which it is solved exactly, as a share of the initial one.

        u_t = p (1 - q (1 - m))^(t - 1),   u_0 = 1

    Source: TRACER, arXiv 2605.29380 (theorem C.8). Arguments as for `proximal_teacher`.
    """
    steps = numbers("steps", steps, WHOLE)
    before = proximal_teacher(curvature, teacher_curvature, momentum, np.maximum(steps - 1, 0))
    return np.where(steps > 0, stiffness(curvature, teacher_curvature).teacher_share * before, 1.0)[()]


def proximal_gap(curvature: ArrayLike, teacher_curvature: ArrayLike, momentum: ArrayLike, steps: ArrayLike) -> Array:
    """Student minus teacher after t steps at each of which the student is solved exactly, as a share of the initial error.

        g_t = -q m (1 - q (1 - m))^(t - 1),   g_0 = 0

    Over all steps it adds up to `budget`, as gradient descent's does. Source: this project. Arguments as for `proximal_teacher`.
    """
    steps, momentum = numbers("steps", steps, WHOLE), numbers("momentum", momentum, SHARE)
    before = proximal_teacher(curvature, teacher_curvature, momentum, np.maximum(steps - 1, 0))
    return np.where(steps > 0, -stiffness(curvature, teacher_curvature).data_share * momentum * before, 0.0)[()]


def half_life_steps(curvature: ArrayLike, teacher_curvature: ArrayLike, learning_rate: ArrayLike, momentum: ArrayLike) -> Array:
    """Steps in which errors and gap halve once the faster factor has died out; infinite where they do not decay.

        ln 2 / -ln max(theta_plus, |theta_minus|)

        >>> half_life_steps(1.0, 0.9, 0.1, np.array([0.9, 0.99, 0.999])).round(1)
        array([  16.2,  134.1, 1319.3])

    Source: this project. Arguments as for `eigenvalues`.
    """
    pair = factors(curvature, teacher_curvature, learning_rate, momentum)
    with np.errstate(divide="ignore"):
        smooth = -np.where(pair.left_plus < 0.5, np.log1p(-np.minimum(pair.left_plus, 0.5)), np.log(pair.plus))
        rate = np.minimum(smooth, -np.log(np.abs(pair.minus)))
        return np.where(rate > 0, np.log(2) / np.maximum(rate, 0), np.inf)[()]


def budget(momentum: ArrayLike) -> Array:
    """Sum of the gap over all steps of a stable run, as a share of the initial error, for any curvature above 0.

        sum_t g_t = -m / (1 - m),    whatever sigma, l and eta

        >>> round(float(budget(0.9)), 6)
        -9.0
        >>> [round(float(gap(sigma, 0.9, 0.1, 0.9, np.arange(5000)).sum()), 6) for sigma in (0.1, 1.0)]
        [-9.0, -9.0]

    Source: this project.

    Args:
        momentum: m in [0, 1), any shape.
    """
    momentum = numbers("momentum", momentum, BELOW_ONE)
    return -momentum / (1 - momentum)


def budget_with_period(
    curvature: ArrayLike, teacher_curvature: ArrayLike, learning_rate: ArrayLike, momentum: ArrayLike, update_every: int
) -> Array:
    """Sum of the gap over all steps when the teacher moves only every k steps, as a share of the initial error.

        sum_t g_t = -[k m / (1 - m) + k / (1 - a^k) - 1 / (1 - a)],    a = 1 - eta (sigma + l)

    The last two terms are computed as one, the mean of k - 1 - i over i = 0 ... k - 1 with weights a^i: near (k - 1) / 2 for small
    steps. Without curvature nothing moves, and the sum is 0. Source: this project.

    Args:
        curvature, teacher_curvature, learning_rate: as for `eigenvalues`.
        momentum: m in [0, 1), of each update.
        update_every: k >= 1.
    """
    kept = 1 - numbers("learning_rate", learning_rate, POSITIVE) * stiffness(curvature, teacher_curvature).total
    weight, waited = np.zeros_like(kept), np.zeros_like(kept)
    for _ in range(whole_number("update_every", update_every)):
        waited = waited + weight
        weight = 1 + kept * weight
    return np.where(np.asarray(curvature) > 0, update_every * budget(momentum) - waited / weight, 0.0)[()]


def max_learning_rate(
    curvature: ArrayLike, teacher_curvature: ArrayLike, momentum: ArrayLike, update_every: int = 1, heavy_ball: float = 0.0
) -> Array:
    """Step size above which a mode diverges; infinite where c = sigma + l is 0.

        k = 1:         2 (1 + h) / (sigma + 2 m l / (1 + m))
        k even, h = 0: 2 / c
        k odd, h = 0:  (1 + ((1 + rho p) / (1 - rho p))^(1/k)) / c,   rho = (1 - m) / (1 + m),   p = l / c
        k > 1, h > 0:  2 (1 + h) / c, where the student alone diverges. This is no guarantee: the velocity that is carried from
                       one update to the next can resonate with them far below. `growth` is exact.

    Source: this project.

    Args:
        curvature, teacher_curvature, momentum: as for `eigenvalues`.
        update_every: k >= 1, steps between two teacher updates.
        heavy_ball: h in [0, 1), the student's own momentum.
    """
    number("heavy_ball", heavy_ball, BELOW_ONE)
    curvature, teacher_curvature, momentum = np.broadcast_arrays(curvature, teacher_curvature, numbers("momentum", momentum, SHARE))
    total, _, teacher_share = stiffness(curvature, teacher_curvature)
    largest = np.full(total.shape, 2 * (1 + heavy_ball))
    if whole_number("update_every", update_every) == 1:
        total = curvature + 2 * momentum / (1 + momentum) * teacher_curvature
    elif update_every % 2 and heavy_ball == 0:
        lag = (1 - momentum) / (1 + momentum) * teacher_share
        largest = 1 + ratio(1 + lag, 1 - lag, np.inf) ** (1 / update_every)
    return ratio(largest, total, np.inf)[()]


def growth(
    curvature: ArrayLike,
    teacher_curvature: ArrayLike,
    learning_rate: ArrayLike,
    momentum: ArrayLike,
    update_every: int = 1,
    heavy_ball: float = 0.0,
) -> Array:
    """Factor by which the error that lasts longest grows (above 1) or shrinks per teacher update.

    It is the spectral radius of the map that takes student, teacher and velocity through the k steps of one period. Source: this
    project. Arguments as for `eigenvalues` and `max_learning_rate`.
    """
    total, momentum, rate = (
        stiffness(curvature, teacher_curvature).total,
        numbers("momentum", momentum, SHARE),
        np.asarray(learning_rate),
    )
    step, update = np.zeros((2, *np.broadcast(total, numbers("learning_rate", rate, POSITIVE), momentum).shape, 3, 3))
    step[..., 2, 0] = total
    step[..., 2, 1] = -np.asarray(teacher_curvature, dtype=float)  # whose minus wraps if it is unsigned
    step[..., 2, 2] = number("heavy_ball", heavy_ball, BELOW_ONE)
    step[..., 0, :] = -rate[..., None] * step[..., 2, :]
    step[..., 0, 0] += 1
    step[..., 1, 1] = 1
    update[..., 0, 0] = update[..., 2, 2] = 1
    update[..., 1, 0] = 1 - momentum
    update[..., 1, 1] = momentum
    period = update @ np.linalg.matrix_power(step, whole_number("update_every", update_every))
    largest: Array = np.abs(np.linalg.eigvals(period)).max(axis=-1)
    return largest


def flow_eigenvalues(curvature: ArrayLike, teacher_curvature: ArrayLike, teacher_rate: ArrayLike) -> tuple[Array, Array]:
    """The two rates of change per unit of time, (slow, fast), both real and <= 0.

        lambda = [-(c + gamma) +- sqrt((c - gamma)^2 + 4 gamma l)] / 2,   slow = -gamma sigma / |fast|

    Source: this project.

    Args:
        curvature: sigma >= 0.
        teacher_curvature: l >= 0.
        teacher_rate: gamma >= 0, the teacher's speed per unit of time s = eta t; (1 - m) / eta. All broadcast.
    """
    pair = rates(curvature, teacher_curvature, teacher_rate)
    return -pair.slow, -pair.fast


def flow_student(curvature: ArrayLike, teacher_curvature: ArrayLike, teacher_rate: ArrayLike, time: ArrayLike) -> Array:
    """The student's error at a time, as a share of the initial one.

        u(s) = e^{fast s} + (|fast| - sigma) (e^{slow s} - e^{fast s}) / (slow - fast)

    Source: this project.

    Args:
        curvature, teacher_curvature, teacher_rate: as for `flow_eigenvalues`.
        time: s = eta t >= 0, broadcast with the others.
    """
    pair, time = rates(curvature, teacher_curvature, teacher_rate), numbers("time", time, NOT_NEGATIVE)
    return np.exp(-pair.fast * time) + pair.lift * pair.exponential_difference(time)


def flow_teacher(curvature: ArrayLike, teacher_curvature: ArrayLike, teacher_rate: ArrayLike, time: ArrayLike) -> Array:
    """The teacher's error at a time, as a share of the initial one.

        ubar(s) = e^{slow s} + |slow| (e^{slow s} - e^{fast s}) / (slow - fast)

    Source: this project. Arguments as for `flow_student`.
    """
    pair, time = rates(curvature, teacher_curvature, teacher_rate), numbers("time", time, NOT_NEGATIVE)
    return np.exp(-pair.slow * time) + pair.slow * pair.exponential_difference(time)


def flow_gap(curvature: ArrayLike, teacher_curvature: ArrayLike, teacher_rate: ArrayLike, time: ArrayLike) -> Array:
    """Student minus teacher at a time, as a share of the initial error.

        g(s) = -sigma (e^{slow s} - e^{fast s}) / (slow - fast)

    Source: this project. Arguments as for `flow_student`.
    """
    pair = rates(curvature, teacher_curvature, teacher_rate)
    return -np.asarray(curvature, dtype=float) * pair.exponential_difference(numbers("time", time, NOT_NEGATIVE))
