"""A mode with a power-law teacher: the gap persists, falling like t^-kappa, kappa = beta sigma / (sigma + l), and leaves no bias.

In units of the mode's initial error, u_0 = ubar_0 = 1, with curvature sigma, teacher curvature l and step size eta,

    u_{t+1} = (1 - eta sigma - eta l) u_t + eta l ubar_t,    ubar_{t+1} = ubar_t + beta / (beta + t + 1) (u_{t+1} - ubar_t).

beta = 1 is the uniform average. With c = sigma + l, q = sigma / c, p = l / c and x = eta c, both errors are means of (1 - x Y)^t
over a Beta distributed Y, and in the limit of small steps, over time s = eta t, of exp(-c s Y). A Beta(a, b) kernel over a horizon
acts as the power law of exponent a until the horizon is felt; for it there are asymptotic forms. Numbers out of their range, NaN
and infinity among them, raise a UserError everywhere.

Source: TRACER, arXiv 2605.29380 (that a weighted moving average persists); this project (the formulas, exponents and constants).
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tracer.number_checks import BELOW_ONE, COUNT, NOT_NEGATIVE, POSITIVE, SHARE, WHOLE, Array, number, numbers
from tracer.theory.closed_forms.beta_means import beta_mean_exponential, beta_mean_power
from tracer.theory.closed_forms.ratio import ratio
from tracer.theory.closed_forms.stiffness import stiffness


def student(
    curvature: ArrayLike, teacher_curvature: ArrayLike, learning_rate: ArrayLike, beta: ArrayLike, steps: ArrayLike
) -> Array:
    """The student's error after t steps, as a share of the initial one.

        u_t = 2F1(-t, beta q; beta; x) = E (1 - x Y)^t,   Y ~ Beta(beta q, beta p)

        >>> student(1.0, 0.9, 0.1, 0.5, np.array([0, 100, 10_000])).round(3)
        array([1.   , 0.215, 0.063])

    Exact at every step size; (1 - eta sigma)^t without a teacher, 1 without curvature. Source: this project.

    Args:
        curvature: sigma >= 0.
        teacher_curvature: l >= 0.
        learning_rate: eta > 0.
        beta: exponent of the kernel's weights, alpha_j = (beta)_j / j!, > 0.
        steps: t, whole numbers >= 0. All broadcast.
    """
    total, q, p = stiffness(curvature, teacher_curvature)
    beta = numbers("beta", beta, POSITIVE)
    return beta_mean_power(beta * q, beta * p, numbers("learning_rate", learning_rate, POSITIVE) * total, steps)


def teacher(
    curvature: ArrayLike, teacher_curvature: ArrayLike, learning_rate: ArrayLike, beta: ArrayLike, steps: ArrayLike
) -> Array:
    """The teacher's error after t steps, as a share of the initial one.

        ubar_t = 2F1(-t, beta q; beta + 1; x) = E (1 - x Y)^t,   Y ~ Beta(beta q, beta p + 1)

    Source: this project. Arguments as for `student`.
    """
    total, q, p = stiffness(curvature, teacher_curvature)
    beta = numbers("beta", beta, POSITIVE)
    return beta_mean_power(beta * q, beta * p + 1, numbers("learning_rate", learning_rate, POSITIVE) * total, steps)


def gap(curvature: ArrayLike, teacher_curvature: ArrayLike, learning_rate: ArrayLike, beta: ArrayLike, steps: ArrayLike) -> Array:
    """Student minus teacher after t steps, as a share of the initial error; never as a difference.

        g_t = -(eta sigma t / (beta + 1)) 2F1(1 - t, beta q + 1; beta + 2; x)

        >>> [f"{gap(1.0, 0.9, 0.1, 0.5, steps):.1e}" for steps in (30, 300)]
        ['-3.0e-01', '-1.8e-01']

    Source: TRACER, arXiv 2605.29380 (that it persists); this project (the formula). Arguments as for `student`.
    """
    total, q, p = stiffness(curvature, teacher_curvature)
    beta, steps = numbers("beta", beta, POSITIVE), numbers("steps", steps, WHOLE)
    x = numbers("learning_rate", learning_rate, POSITIVE) * total
    return -(q * x * steps / (beta + 1)) * beta_mean_power(beta * q + 1, beta * p + 1, x, np.maximum(steps - 1, 0))


def flow_student(curvature: ArrayLike, teacher_curvature: ArrayLike, beta: ArrayLike, time: ArrayLike) -> Array:
    """The student's error at a time in the limit of small steps, as a share of the initial one.

        u(s) = 1F1(beta q; beta; -c s) = E exp(-c s Y),   Y ~ Beta(beta q, beta p)

    Source: this project.

    Args:
        curvature, teacher_curvature, beta: as for `student`.
        time: s = eta t >= 0, broadcast with the others.
    """
    total, q, p = stiffness(curvature, teacher_curvature)
    beta = numbers("beta", beta, POSITIVE)
    return beta_mean_exponential(beta * q, beta * p, total * numbers("time", time, NOT_NEGATIVE))


def flow_teacher(curvature: ArrayLike, teacher_curvature: ArrayLike, beta: ArrayLike, time: ArrayLike) -> Array:
    """The teacher's error at a time in the limit of small steps, as a share of the initial one.

        ubar(s) = 1F1(beta q; beta + 1; -c s),    solving  s ubar'' + (beta + 1 + c s) ubar' + beta sigma ubar = 0

    Source: this project. Arguments as for `flow_student`.
    """
    total, q, p = stiffness(curvature, teacher_curvature)
    beta = numbers("beta", beta, POSITIVE)
    return beta_mean_exponential(beta * q, beta * p + 1, total * numbers("time", time, NOT_NEGATIVE))


def flow_gap(curvature: ArrayLike, teacher_curvature: ArrayLike, beta: ArrayLike, time: ArrayLike) -> Array:
    """Student minus teacher at a time in the limit of small steps, as a share of the initial error.

        g(s) = -(sigma s / (beta + 1)) 1F1(beta q + 1; beta + 2; -c s)

    Source: this project. Arguments as for `flow_student`.
    """
    total, q, p = stiffness(curvature, teacher_curvature)
    beta, scaled_time = numbers("beta", beta, POSITIVE), total * numbers("time", time, NOT_NEGATIVE)
    return -(q * scaled_time / (beta + 1)) * beta_mean_exponential(beta * q + 1, beta * p + 1, scaled_time)


def proximal_teacher(curvature: ArrayLike, teacher_curvature: ArrayLike, beta: ArrayLike, steps: ArrayLike) -> Array:
    """The teacher's error after t steps at each of which the student is solved exactly, as a share of the initial one.

        ubar_t = prod_k (1 - q beta / (beta + k)) = Gamma(beta + 1) Gamma(t + 1 + beta p) / (Gamma(1 + beta p) Gamma(t + 1 + beta))
               ~ Gamma(beta + 1) / Gamma(1 + beta p) t^-kappa

    It is `teacher` at x = 1. Evaluated as a mean over Y there, it keeps its digits where logarithms of Gamma functions cancel.

        >>> proximal_teacher(1.0, 0.9, 0.5, np.array([0, 1, 1000, 1_000_000])).round(4)
        array([1.    , 0.8246, 0.1582, 0.0257])

    Source: TRACER, arXiv 2605.29380 (theorem C.8: the product); this project (its value and exponent).

    Args:
        curvature, teacher_curvature, beta, steps: as for `student`.
    """
    _, q, p = stiffness(curvature, teacher_curvature)
    beta = numbers("beta", beta, POSITIVE)
    return beta_mean_power(beta * q, beta * p + 1, 1.0, steps)


def proximal_student(curvature: ArrayLike, teacher_curvature: ArrayLike, beta: ArrayLike, steps: ArrayLike) -> Array:
    """The student's error after t steps at each of which it is solved exactly, as a share of the initial one.

        u_t = p ubar_{t-1} = (beta p)_t / (beta)_t,   u_0 = 1

    Source: TRACER, arXiv 2605.29380 (theorem C.8); this project (the value). Arguments as for `proximal_teacher`.
    """
    _, q, p = stiffness(curvature, teacher_curvature)
    beta = numbers("beta", beta, POSITIVE)
    return beta_mean_power(beta * q, beta * p, 1.0, steps)


def proximal_gap(curvature: ArrayLike, teacher_curvature: ArrayLike, beta: ArrayLike, steps: ArrayLike) -> Array:
    """Student minus teacher after t steps at each of which the student is solved exactly, as a share of the initial error.

        g_t = -q t / (beta + t) ubar_{t-1}

    It is largest at t = 1, and -(1 - rate) sigma / l times the student's error. Source: this project. Arguments as for
    `proximal_teacher`.
    """
    beta, steps = numbers("beta", beta, POSITIVE), numbers("steps", steps, WHOLE)
    kept = steps / (beta + steps)
    return (
        -stiffness(curvature, teacher_curvature).data_share
        * kept
        * proximal_teacher(curvature, teacher_curvature, beta, np.maximum(steps - 1, 0))
    )


def persistence_exponent(curvature: ArrayLike, teacher_curvature: ArrayLike, beta: ArrayLike) -> Array:
    """Exponent of the power law by which student, teacher and gap fall; 0 where nothing is learned.

        kappa = beta q = beta sigma / (sigma + l)

        >>> round(float(persistence_exponent(1.0, 0.9, 0.5)), 3)
        0.263
        >>> measured = np.log(gap(1.0, 0.9, 0.1, 0.5, 1e4) / gap(1.0, 0.9, 0.1, 0.5, 1e5)) / np.log(10)
        >>> round(float(measured), 3)
        0.263

    For a Beta(a, b) kernel over a horizon it is the exponent in the horizon, with beta = a. Source: this project.

    Args:
        curvature, teacher_curvature, beta: as for `student`.
    """
    return numbers("beta", beta, POSITIVE) * stiffness(curvature, teacher_curvature).data_share


def persistence_constant(curvature: ArrayLike, teacher_curvature: ArrayLike, beta: ArrayLike) -> Array:
    """Constant of the teacher's power law, for 0 < x < 2 and x t well above 1.

        ubar_t ~ Gamma(beta + 1) / Gamma(1 + beta p) (x t)^-kappa,    u_t ~ p ubar_t,    g_t ~ -q ubar_t

    Source: this project. Arguments as for `persistence_exponent`.
    """
    beta = numbers("beta", beta, POSITIVE)
    _, _, p = stiffness(curvature, teacher_curvature)
    constant: Array = np.exp(special.gammaln(beta + 1) - special.gammaln(1 + beta * p))
    return constant


def budget(curvature: ArrayLike, teacher_curvature: ArrayLike, learning_rate: ArrayLike, beta: ArrayLike) -> Array:
    """Sum of the gap over all steps of a stable run, as a share of the initial error; minus infinity for kappa <= 1.

        sum_t g_t = -1 / (x (kappa - 1)) for kappa > 1;   up to T it grows like T^(1 - kappa) for kappa < 1, log T for kappa = 1

    Without curvature there is no gap, and the sum is 0. Source: this project.

    Args:
        curvature, teacher_curvature, learning_rate, beta: as for `student`.
    """
    total, q, _ = stiffness(curvature, teacher_curvature)
    excess = numbers("beta", beta, POSITIVE) * q - 1
    decays = excess > 0
    finite = numbers("learning_rate", learning_rate, POSITIVE) * total * np.where(decays, excess, 1)
    return np.where(q > 0, np.where(decays, -1 / np.where(decays, finite, 1), -np.inf), 0.0)[()]


def max_learning_rate(curvature: ArrayLike, teacher_curvature: ArrayLike, heavy_ball: float = 0.0) -> Array:
    """Step size above which a mode diverges, at any update period of the teacher; infinite where sigma + l is 0.

        2 (1 + h) / (sigma + l)

    Source: this project.

    Args:
        curvature, teacher_curvature: as for `student`.
        heavy_ball: h in [0, 1), the student's own momentum.
    """
    total, largest = stiffness(curvature, teacher_curvature).total, 2 * (1 + number("heavy_ball", heavy_ball, BELOW_ONE))
    return ratio(largest, total, np.inf)[()]


def beta_teacher(
    curvature: ArrayLike,
    teacher_curvature: ArrayLike,
    learning_rate: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    total_steps: ArrayLike,
    steps: ArrayLike,
) -> Array:
    """The error of a Beta(a, b) kernel's teacher within its horizon T, as a share of the initial one (asymptotic in x t).

        ubar_t ~ Gamma(a + 1) / Gamma(1 + a p) (x T)^{-a q} (a B(a, b) F(t / T))^{-q},    F the Beta(a, b) distribution function

    The student is p times that, the gap -q times, away from the end. Relative error O(x) + O(1 / (x t)). Source: this project.

    Args:
        curvature, teacher_curvature, learning_rate: as for `student`; sigma + l > 0.
        a, b: the kernel's shape parameters, > 0.
        total_steps: T.
        steps: t in (0, T]. All broadcast.
    """
    total, q, _ = stiffness(curvature, teacher_curvature)
    a, b, horizon = numbers("a", a, POSITIVE), numbers("b", b, POSITIVE), numbers("total_steps", total_steps, COUNT)
    progress = numbers("steps over total_steps", numbers("steps", steps, COUNT) / horizon, SHARE)
    mass: Array = a * special.beta(a, b) * special.betainc(a, b, progress)
    scale = numbers("learning_rate", learning_rate, POSITIVE) * total * horizon
    return persistence_constant(curvature, teacher_curvature, a) * scale ** (-a * q) * mass**-q


def beta_end(
    curvature: ArrayLike, teacher_curvature: ArrayLike, learning_rate: ArrayLike, a: ArrayLike, b: ArrayLike, total_steps: ArrayLike
) -> tuple[Array, Array, Array]:
    """Errors (student, teacher, gap) at the end of a Beta(a, b) kernel's horizon T, as shares of the initial one (asymptotic).

        ubar_T ~ `beta_teacher`,   u_T ~ p ubar_T (1 + q delta),   g_T ~ -q ubar_T (1 - p delta),
        delta = Gamma(a + b) / Gamma(a) (x T)^-b

    delta is how far the student lags behind a teacher that moves ever faster (b < 1) or slower (b > 1). Source: this project.

    Args:
        curvature, teacher_curvature, learning_rate, a, b, total_steps: as for `beta_teacher`.
    """
    total, q, p = stiffness(curvature, teacher_curvature)
    at_end = beta_teacher(curvature, teacher_curvature, learning_rate, a, b, total_steps, total_steps)
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    scale = np.asarray(learning_rate, dtype=float) * total * np.asarray(total_steps, dtype=float)
    lag: Array = special.poch(a, b) * scale**-b
    return p * at_end * (1 + q * lag), at_end, -q * at_end * (1 - p * lag)
