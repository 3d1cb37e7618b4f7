"""Which iterates a kernel emphasises: the ends, the newest, or the pretrained model where updates are sparse."""

from collections.abc import Callable

import numpy as np
import sympy as sp
from scipy import optimize, stats

from tracer.averaging import Beta, Clock, Exponential, Kernel
from tracer.theory.claims.averages import Weighed
from tracer.theory.claims.claim import PROJECT, Check, Claim, compare
from tracer.theory.claims.teachers import kernel_residues
from tracer.theory.claims.tolerances import EXACT, SPARSE, STRETCH

a, b, m, T = sp.symbols("a b m T", positive=True)
t, j, n, N, k = sp.symbols("t j n N k", positive=True, integer=True)
theta = sp.Symbol("theta", positive=True)


def exponential_kernel_rate(steps: sp.Expr) -> sp.Expr:
    """omega_t of weights m^-k from k = 0 on: EMA's, corrected for its start as in Adam."""
    return (1 - m) / (1 - m ** (steps + 1))


def exponential_kernel_residues(rate: sp.Expr) -> list[sp.Expr]:
    """Weights m^-k and their sum, a geometric series."""
    return kernel_residues(lambda j: m**-j, lambda j: (m**-j - m) / (1 - m), rate)


def _exponential_kernel_check(rng: np.random.Generator) -> Check:
    """An exponential of progress, sampled at the published nodes, and the average from zero divided by its weights' sum.

    The nulls are an EMA, and its teacher.
    """
    memory, steps = rng.uniform(0.8, 0.95), 40
    nodes = (np.arange(steps + 1) + 0.5) / (steps + 1)
    kernel, clock, updates = Weighed(np.exp(-np.log(memory) * (steps + 1) * nodes)), Clock(steps), np.arange(1, steps + 1)
    rates = kernel.rates(clock, updates)
    corrected, units = np.zeros(steps + 1), np.eye(steps + 1)
    for unit in units:
        corrected = memory * corrected + (1 - memory) * unit
    corrected /= 1 - memory ** (steps + 1)
    ema = Exponential(memory)
    predicted = np.concatenate([(1 - memory) / (1 - memory ** (updates + 1)), kernel.weights(clock)])
    null = np.concatenate([ema.rates(clock, updates), ema.weights(clock)])
    return compare(predicted, np.concatenate([rates, corrected]), EXACT, null)


def emphasis(kernel: Kernel, clock: Clock, update: int) -> np.ndarray:
    """Weights of the first, the middle and the newest iterate in the teacher after an update, over their mean weight, (3,).

    >>> published = Beta(0.5, 0.5, "pdf")
    >>> [emphasis(published, Clock(1000), update).round(2).tolist() for update in (250, 500, 900, 1000)]
    [[10.9, 0.74, 0.56], [14.43, 0.74, 0.64], [16.25, 0.73, 1.21], [14.42, 0.64, 14.42]]
    """
    weights = kernel.weights(clock, update)
    return weights[[0, update // 2, -1]] * len(weights)


def newest_emphasis() -> sp.Expr:
    """Density at progress sin^2 theta over its mean up to there, of Beta(1/2, 1/2)."""
    return sp.tan(theta) / (2 * theta)


def emphasis_residues(newest: sp.Expr) -> list[sp.Expr]:
    """The distribution function 2 theta / pi at c = sin^2 theta, by its slope and start; and c times the density over it."""
    c = sp.sin(theta) ** 2
    density = 1 / (sp.pi * sp.sin(theta) * sp.cos(theta))
    distribution = 2 * theta / sp.pi
    return [
        (sp.pi * density) ** 2 * c * (1 - c) - 1,
        distribution.diff(theta) - density * c.diff(theta),
        distribution.subs(theta, 0),
        c * density / distribution - newest,
    ]


def _emphasis_check(rng: np.random.Generator) -> Check:
    """At random progress, and where the newest iterate begins to weigh more than the mean; the nulls are the mean, and the end."""
    kernel, clock = Beta(0.5, 0.5), Clock(100_000)
    crossing = float(np.sin(optimize.brentq(lambda angle: np.tan(angle) - 2 * angle, 0.5, 1.5)) ** 2)
    updates = np.rint(clock.total_steps * np.array([*rng.uniform(0.1, 0.95, 3), crossing])).astype(int)
    measured = np.array([emphasis(kernel, clock, update)[-1] for update in updates])
    angles = np.arcsin(np.sqrt(updates / clock.total_steps))
    return compare(np.tan(angles) / (2 * angles), measured, STRETCH, 1.0, emphasis(kernel, clock, clock.total_steps)[-1])


def sparse_term(update: sp.Expr) -> sp.Expr:
    """k^(1 - a) alpha_j / alpha_0 of a point-sampled Beta(a, b), as the updates lie ever further apart."""
    return (2 * update) ** (a - 1) * ((N - update) / N) ** (b - 1)


def sparse_residues(term: Callable[[sp.Expr], sp.Expr]) -> list[sp.Expr]:
    """Progress of update j and what is left after it, over those of the start, in k = 1/x; their powers at x = 0.

    Then where the stretch of an update ends, by which its mass is counted, which tends to its place among the N updates.
    """
    x = sp.Symbol("x", positive=True)
    node = (j / x + sp.Rational(1, 2)) / (N / x + 1)
    start = node.subs(j, 0)
    done, left = (2 * j + x) / x, (N - j + x / 2) / (N + x / 2)
    ratio = sp.cancel(done * x) ** (a - 1) * left ** (b - 1)
    end = ((j + sp.Rational(1, 2)) * k + sp.Rational(1, 2)) / (N * k + 1)
    return [
        node / start - done,
        (1 - node) / (1 - start) - left,
        ratio.subs(x, 0) - term(j),
        sp.limit(end, k, sp.oo) - (j + sp.Rational(1, 2)) / N,
    ]


def _sparse_check(rng: np.random.Generator) -> Check:
    """Half-way through 20 updates that are 10^6 steps apart; the nulls count steps from 1, and let masses do as points do.

    >>> kernels = Beta(0.5, 0.5, "pdf"), Beta(0.5, 0.5, "cdf")
    >>> [[round(kernel.mean_age(Clock(25_000, k), 12_500 // k), 3) for k in (1, 10, 100, 500)] for kernel in kernels]
    [[0.318, 0.325, 0.379, 0.45], [0.318, 0.318, 0.318, 0.315]]
    """
    first, second, updates, period = rng.uniform(0.3, 0.7), rng.uniform(0.3, 1.5), 20, 10**6
    clock, later = Clock(updates * period, period), np.arange(1, updates // 2 + 1)
    points, masses = (Beta(first, second, weighting).anchor_weight(clock, updates // 2) for weighting in ("pdf", "cdf"))
    measured = np.array([period ** (1 - first) * (1 / points - 1), masses])
    rest = later ** (first - 1) * (1 - later / updates) ** (second - 1)
    share = np.divide(*stats.beta.cdf([0.5 / updates, (updates // 2 + 0.5) / updates], first, second))
    predicted = np.array([2 ** (first - 1) * rest.sum(), share])
    return compare(predicted, measured, SPARSE, [rest.sum(), share], [predicted[0], points])


def _emphasis() -> sp.Rel:
    rate, progress = sp.Function("omega"), sp.Symbol("c")
    at = sp.Limit(T * progress * rate(T * progress), T, sp.oo).subs(progress, sp.sin(theta) ** 2)
    return sp.Eq(at, newest_emphasis(), evaluate=False)


def _sparse() -> sp.Rel:
    share = sp.Function(r"\omega_{0|n}")(k)
    return sp.Eq(sp.Limit(k ** (1 - a) * (1 / share - 1), k, sp.oo), sp.Sum(sparse_term(j), (j, 1, n)), evaluate=False)


CLAIMS = (
    Claim(
        "exponential-kernel",
        "An exponential kernel that weighs the pretrained model like the rest is the bias-corrected EMA, whose rate (1 - m)/(1 - "
        "m^(t+1)) starts at 1/(1 + m); an EMA weighs it by 1/(1 - m) times as much.",
        PROJECT,
        lambda: sp.Eq(sp.Symbol("omega_t"), exponential_kernel_rate(t), evaluate=False),
        _exponential_kernel_check,
        lambda: exponential_kernel_residues(exponential_kernel_rate(t)),
        paper=("Section C.5.1",),
    ),
    Claim(
        "arcsine-newest-iterate",
        "At progress c = sin^2 theta a Beta(1/2, 1/2) average weighs its newest iterate tan(theta)/(2 theta) times the mean, less "
        "than 1 up to c = 0.845: it emphasises both ends only at the end.",
        PROJECT,
        _emphasis,
        _emphasis_check,
        lambda: emphasis_residues(newest_emphasis()),
        paper=("Section C.5.1",),
    ),
    Claim(
        "sparse-updates",
        "Before the end point-sampled Beta(a, b) weights with a < 1 leave the pretrained model all but a share like k^(a-1) "
        "where updates lie k steps apart, while masses tend to what progress alone decides: only the first feel granularity.",
        PROJECT,
        _sparse,
        _sparse_check,
        lambda: sparse_residues(sparse_term),
        paper=("Section C.5.1",),
    ),
)
