"""What streaming averages are, what they keep of the pretrained model, and when a teacher follows its student to the limit."""

from collections.abc import Callable

import numpy as np
import sympy as sp
from scipy import stats

from tracer.averaging import Beta, Clock, Exponential, Kernel, PowerLaw, Uniform
from tracer.theory.claims.claim import PROJECT, TRACER, Check, Claim, compare
from tracer.theory.claims.tolerances import EXACT, FOLLOWED

T, c_1, c_2 = sp.symbols("T c_1 c_2", positive=True)
t, k = sp.symbols("t k", positive=True, integer=True)


class Weighed(Kernel):
    """The streaming average of given weights, one for each iterate from the pretrained one on."""

    def __init__(self, weights: np.ndarray):
        self.given = weights

    def rates(self, clock: Clock, updates: np.ndarray) -> np.ndarray:
        return (self.given / np.cumsum(self.given))[updates]


def streamed(rates: np.ndarray, iterates: np.ndarray) -> np.ndarray:
    """The last teacher, from the first iterate on."""
    teacher = iterates[0]
    for rate, iterate in zip(rates, iterates[1:], strict=True):
        teacher = (1 - rate) * teacher + rate * iterate
    return teacher


def average_residues(rate: Callable[[sp.Expr, sp.Expr], sp.Expr]) -> list[sp.Expr]:
    """Induction: the teacher is the sum of alpha_k W_k over that of alpha_k, whatever W_t comes next with whatever weight.

    The rate is given the newest weight and the sum before it. At first the teacher is W_0, whatever alpha_0 > 0.
    """
    newest, before = sp.symbols("alpha_t S_{t-1}", positive=True)
    summed, iterate = sp.symbols("M_{t-1} W_t", commutative=False)
    share = rate(newest, before)
    return [(1 - share) * summed / before + share * iterate - (summed + newest * iterate) / (before + newest)]


def streaming_rate(newest: sp.Expr, before: sp.Expr) -> sp.Expr:
    """omega_t."""
    return newest / (before + newest)


def _average_check(rng: np.random.Generator) -> Check:
    """Random weights over four decades on random iterates; the nulls weigh by the rates, and all alike."""
    steps = 40
    weights, iterates = 10 ** rng.uniform(-2, 2, steps + 1), rng.standard_normal((steps + 1, 3, 7))
    kernel, clock = Weighed(weights), Clock(steps)
    rates = kernel.rates(clock, np.arange(1, steps + 1))
    predicted = np.stack([np.tensordot(shares, iterates, 1) for shares in (kernel.weights(clock), weights / weights.sum())])
    measured = streamed(rates, iterates)
    nulls = np.tensordot(np.append(rates, 1) / (rates.sum() + 1), iterates, 1), iterates.mean(axis=0)
    return compare(predicted, np.stack([measured] * 2), EXACT, *nulls)


def clock_residues(left: sp.Expr) -> list[sp.Expr]:
    """1 - tau_T, less what is claimed to be left: its sign is that of c_2 - c_1."""
    return [1 - (T + c_1) / (T + c_2) - left]


def _clock_check(rng: np.random.Generator) -> Check:
    """How many iterates have no finite arcsine weight, for c_1 below c_2, equal to it, and above; the null is none."""
    steps, second = int(rng.integers(5, 50)), rng.uniform(0.5, 2.0)
    offsets = second * rng.uniform(0.1, 0.9), second, second + rng.uniform(1.1, 2.9)
    measured = []
    for first in offsets:
        progress = (np.arange(steps + 1) + first) / (steps + second)
        density = stats.beta.pdf(progress, 0.5, 0.5)
        measured.append(np.sum(~np.isfinite(density) | (density <= 0)))
    predicted = [0 if first < second else 1 + np.floor(first - second) for first in offsets]
    return compare(np.array(predicted), np.array(measured), EXACT, 0.0)


def anchor_residues(share: Callable[[sp.Expr, sp.Expr], sp.Expr]) -> list[sp.Expr]:
    """Induction over updates of what the pretrained model keeps, for a sum of weights that starts at any value; then from 0.

    The share is given that value and the sum so far. Started at 0, the first rate is 1.
    """
    first, before, newest = sp.symbols("S_0 S_{t-1} alpha_t", positive=True)
    rate = streaming_rate(newest, before)
    return [share(first, first) - 1, share(first, before) * (1 - rate) - share(first, before + newest), share(0, newest)]


def anchor_share(first: sp.Expr, total: sp.Expr) -> sp.Expr:
    """S_0 / S_t."""
    return first / total


def _anchor_check(rng: np.random.Generator) -> Check:
    """A Beta kernel by Definition 3.3 and by Algorithm 1; the nulls start both sums alike."""
    steps, (a, b) = 30, rng.uniform(0.3, 1.5, 2)
    kernel, progress = Beta(a, b, "pdf"), (np.arange(steps + 1) + 0.5) / (steps + 1)
    weights = progress ** (a - 1) * (1 - progress) ** (b - 1)
    shares = []
    for first in (weights[0], 0.0):
        rates = weights[1:] / (first + np.cumsum(weights[1:]))
        shares.append(streamed(rates, np.eye(steps + 1)))
    defined, printed = kernel.weights(Clock(steps)), np.append(0.0, weights[1:]) / weights[1:].sum()
    return compare(np.stack([defined, printed]), np.stack(shares), EXACT, defined, printed, scale=shares[0][0])


class Summable(Kernel):
    """Rates 1 / (n + 1)^2, which add up to less than 1."""

    def rates(self, clock: Clock, updates: np.ndarray) -> np.ndarray:
        return 1.0 / (1.0 + updates) ** 2


def following_residues(bound: Callable[[sp.Expr, sp.Expr, sp.Expr], sp.Expr]) -> list[sp.Expr]:
    """Induction over updates from s on: a bound on the teacher's distance from the limit, by its own at s and the students' since.

    It is given the product of 1 - omega_k, and these two. The product vanishes where the sum of omega does not end, since
    -log(1 - omega) - omega rises from 0; where it ends, as of 1/(t + 1)^2, the pretrained model keeps a share, here half.
    """
    product, before, farthest = sp.symbols("Pi e_s delta_s", positive=True)
    rate, steps = sp.symbols("omega s", positive=True)
    updated = (1 - rate) * bound(product, before, farthest) + rate * farthest
    excess = -sp.log(1 - rate) - rate
    kept = (steps + 2) / (2 * (steps + 1))
    return [
        updated - bound(product * (1 - rate), before, farthest),
        excess.subs(rate, 0),
        excess.diff(rate) - rate / (1 - rate),
        kept.subs(steps, 0) - 1,
        kept.subs(steps, steps + 1) - kept * (1 - 1 / (steps + 2) ** 2),
        sp.limit(kept, steps, sp.oo) - sp.Rational(1, 2),
    ]


def following_bound(product: sp.Expr, before: sp.Expr, farthest: sp.Expr) -> sp.Expr:
    """Of |Wbar_t - W_infty|."""
    return product * before + farthest


def _following_check(rng: np.random.Generator) -> Check:
    """A student that swings about its limit ever less, under EMA, uniform mean and power law; and one that arrives at once.

    The latter's teacher has the summable rates. The nulls are the pretrained model, and that this teacher follows as well.
    """
    clock = Clock(100_000)
    steps = np.arange(clock.total_steps + 1.0)
    first, end, swing = rng.standard_normal((3, 3, 7))
    swings = np.cos(rng.uniform(1, 3) * steps) * (1 + steps) ** -0.75
    students = end + np.multiply.outer(swings, swing)
    students[0] = first
    arrived = np.concatenate([[first], np.broadcast_to(end, (clock.total_steps, 3, 7))])
    kernels = Exponential(rng.uniform(0.5, 0.99)), Uniform(), PowerLaw(rng.uniform(0.8, 2.0))
    measured = [np.tensordot(kernel.weights(clock), students, 1) for kernel in kernels]
    measured.append(np.tensordot(Summable().weights(clock), arrived, 1))
    kept = (first + end) / 2
    return compare(
        np.stack([end, end, end, kept]),
        np.stack(measured),
        FOLLOWED,
        np.stack([first, first, first, kept]),
        np.stack([end] * 4),
        scale=np.abs(first - end).max(),
    )


def _average() -> sp.Rel:
    weight, iterate = sp.IndexedBase("alpha"), sp.IndexedBase("W")
    summed = sp.Sum(weight[k] * iterate[k], (k, 0, t)) / sp.Sum(weight[k], (k, 0, t))
    return sp.Eq(sp.Symbol(r"{\bar W_t}"), summed, evaluate=False)


def _anchor() -> sp.Rel:
    weight, total = sp.IndexedBase("alpha"), sp.IndexedBase("S")
    return sp.Eq(sp.Product(1 - weight[k] / total[k], (k, 1, t)), total[0] / total[t], evaluate=False)


def _following() -> sp.Rel:
    def distance(iterate):
        return sp.Symbol(rf"{{\|{iterate} - W_\infty\|}}")

    rate, s = sp.IndexedBase("omega"), sp.Symbol("s", integer=True)
    kept = sp.Product(1 - rate[k], (k, s + 1, t))
    farthest = sp.Symbol(r"{\sup_{k > s}\|W_k - W_\infty\|}")
    return sp.Le(distance(r"\bar W_t"), following_bound(kept, distance(r"\bar W_s"), farthest), evaluate=False)


CLAIMS = (
    Claim(
        "streaming-average",
        "A teacher that moves by omega_t = alpha_t over the sum of alpha up to t is the convex combination of all iterates, the "
        "pretrained one included, with the weights alpha_k over their sum.",
        TRACER,
        _average,
        _average_check,
        lambda: average_residues(streaming_rate),
        paper=("Definition 3.3", "Definition C.4", "Remark C.5"),
    ),
    Claim(
        "clock-offsets",
        "Progress (k + c_1)/(T + c_2) stays below 1 to the last step if and only if c_1 < c_2: that both are positive, as the "
        "paper asks, does not keep a kernel such as the arcsine finite.",
        PROJECT,
        lambda: sp.Eq(1 - (T + c_1) / (T + c_2), (c_2 - c_1) / (T + c_2), evaluate=False),
        _clock_check,
        lambda: clock_residues((c_2 - c_1) / (T + c_2)),
        paper=("Definition 3.3", "Definition C.4"),
    ),
    Claim(
        "anchor-needs-a-first-weight",
        "The pretrained model keeps the share S_0/S_t of the teacher, S_t being the sum of weights so far: alpha_0 over that sum "
        "by definition, but nothing if the sum starts at 0, as Algorithm 1 prints it: there the first student becomes the teacher.",
        PROJECT,
        _anchor,
        _anchor_check,
        lambda: anchor_residues(anchor_share),
        paper=("Definition 3.3", "Definition C.4", "Algorithm 1"),
    ),
    Claim(
        "teacher-follows-student",
        "If the student converges and the rates add up to infinity, the teacher goes to the same limit and the gap vanishes, for a "
        "WMA as for an EMA and at no rate in particular; if their sum is finite, the pretrained model keeps a share for ever.",
        f"{TRACER} (for an EMA); {PROJECT} (for any rates)",
        _following,
        _following_check,
        lambda: following_residues(following_bound),
        paper=("Section C.5.2",),
    ),
)
