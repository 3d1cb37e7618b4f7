"""Averaging kernels: how a teacher weighs the students of the past. The one definition shared by trainer and theory.

A teacher is a weighted average of the iterates W_0 (the pretrained anchor), W_1, ..., taken at the clock's update nodes:

    teacher_n = sum_j w_j W_j,    streaming form:  teacher_n = teacher_{n-1} + r_n (W_n - teacher_{n-1}).

A kernel is a pure function of the clock: it gives the rates r_n, and everything else follows from them here. Nothing but the
averaged weights and the step has to be saved for a teacher to go on exactly where it stopped.

Source: CLIPood, arXiv 2302.00864 (the average with point-sampled Beta(b, b) weights, b = 1/2, passive and deployed in place of the
student); TRACER, arXiv 2605.29380 (EMA and that average as teachers); the weights by differences of the Beta distribution function,
and the power law, are this project's.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tracer.errors import UserError
from tracer.number_checks import BELOW_ONE, COUNT, POSITIVE, SHARE, WHOLE, Array, number, numbers, whole_number


@dataclass(frozen=True)
class Clock:
    """When a teacher is updated during a run.

        >>> Clock(total_steps=1000, update_every=10).updates
        100

    Attributes:
        total_steps: optimiser steps of the whole run, the horizon T.
        update_every: optimiser steps between two teacher updates, k.

    Raises:
        UserError: if either is no whole number or below 1, or no update falls within the run.
    """

    total_steps: int
    update_every: int = 1

    def __post_init__(self) -> None:
        whole_number("total_steps", self.total_steps)
        if whole_number("update_every", self.update_every) > self.total_steps:
            raise UserError(f"update_every must lie between 1 and total_steps = {self.total_steps}, not {self.update_every}")

    @property
    def updates(self) -> int:
        """Teacher updates in the whole run; update n follows step n * update_every, and n = 0 is the start."""
        return self.total_steps // self.update_every

    def updates_at(self, step: int) -> bool:
        """Whether the teacher is updated once `step` steps are done."""
        return whole_number("step", step, least=0) > 0 and step % self.update_every == 0

    def progress(self, update: ArrayLike) -> Array:
        """Share of the run (0 to 1) that is done at each update.

        Raises:
            ValueError: if an update is no whole number, or negative.
        """
        return numbers("update", update, WHOLE) * self.update_every / self.total_steps


class Kernel(ABC):
    """A rule that weighs past students. Subclasses give the rates, and their name in configurations as `kind`; the rest follows.

    Update numbers that are no whole numbers, or too small, raise a ValueError everywhere.

    >>> class EverySecond(Kernel):
    ...     def rates(self, clock, updates):
    ...         return np.where(np.asarray(updates) % 2 == 0, 0.5, 0.0)
    >>> EverySecond().weights(Clock(total_steps=4))
    array([0.25, 0.  , 0.25, 0.  , 0.5 ])
    """

    @abstractmethod
    def rates(self, clock: Clock, updates: np.ndarray) -> Array:
        """Rates r_n in [0, 1] at the given update numbers n >= 1, in their shape."""

    def rate(self, clock: Clock, update: int) -> float:
        """Rate r_n of one update: the share that the newest student takes in the teacher."""
        return float(self.rates(clock, np.asarray([update]))[0])

    @property
    def constant_momentum(self) -> float | None:
        """m, if this is an exponential average with the same momentum at every update of every clock."""
        return None

    @property
    def summed_rates(self) -> float:
        """R, what the rates add up to as runs grow and their update period does not; infinite unless a kernel says otherwise.

        If it is infinite the student forgets its start in the end; if not, a share p e^(-q R) of each mode's error stays for ever,
        and then each rate must vanish as runs grow. `tracer.theory` goes by it. Source: this project.

            >>> Exponential(time_constant_progress=0.4).summed_rates, Exponential(0.9).summed_rates
            (2.5, inf)
        """
        return np.inf

    def gap_weights(self, clock: Clock) -> Array:
        """Weights with which the gaps W_n - Wbar_n after each update sum to the teacher's displacement Wbar_T - W_0, (updates,).

            r_n / (1 - r_n), since an update moves the teacher by r_n (W_n - Wbar_{n-1}) and leaves (1 - r_n) of that gap.

        It holds for whatever moves the student. For an EMA they are one number, (1 - m) / m. Source: this project.

            >>> Exponential(0.9).gap_weights(Clock(total_steps=3)).round(3)
            array([0.111, 0.111, 0.111])

        Raises:
            UserError: if a rate is 1, which puts the teacher on its student and leaves no gap to sum.
        """
        rates = self.rates(clock, np.arange(1, clock.updates + 1))
        if np.any(rates == 1):
            raise UserError(f"{self!r} puts the teacher on its student, so that there is no gap to sum: take another kernel")
        return rates / (1 - rates)

    def weights(self, clock: Clock, update: int | None = None) -> Array:
        """Weights of the students at updates 0 ... n in the teacher after update n (default: the last), (n + 1,), summing to 1."""
        last = clock.updates if update is None else whole_number("update", update, least=0)
        rates: Array = np.concatenate([[1.0], self.rates(clock, np.arange(1, last + 1)) if last else []])
        kept_afterwards: Array = np.concatenate([np.cumprod((1.0 - rates)[:0:-1])[::-1], [1.0]])
        return rates * kept_afterwards

    def anchor_weight(self, clock: Clock, update: int | None = None) -> float:
        """Share of the pretrained model in the teacher after update n (default: the last)."""
        return float(self.weights(clock, update)[0])

    def mean_age(self, clock: Clock, update: int | None = None) -> float:
        """Mean age of the students in the teacher after update n, in units of progress (1 is the whole run)."""
        weights = self.weights(clock, update)
        nodes = clock.progress(np.arange(len(weights)))
        return float(weights @ (nodes[-1] - nodes))


@dataclass(frozen=True)
class Static(Kernel):
    """The pretrained model itself: r_n = 0 (self-distillation from a fixed teacher).

    >>> Static().weights(Clock(total_steps=3))
    array([1., 0., 0., 0.])
    """

    kind: Literal["static"] = field(default="static", kw_only=True, repr=False)

    def rates(self, clock: Clock, updates: np.ndarray) -> Array:
        return np.zeros_like(numbers("update", updates, COUNT))

    @property
    def summed_rates(self) -> float:
        return 0.0


@dataclass(frozen=True)
class Exponential(Kernel):
    """Exponential moving average: r_n = 1 - m.

        >>> Exponential(0.5).weights(Clock(total_steps=3))  # of the pretrained model, then of each student
        array([0.125, 0.125, 0.25 , 0.5  ])
        >>> [round(Exponential(0.9).mean_age(Clock(steps)), 3) for steps in (100, 1000)]  # a momentum forgets in longer runs
        [0.09, 0.009]
        >>> kernel = Exponential(time_constant_progress=0.4)
        >>> [round(kernel.mean_age(Clock(steps)), 3) for steps in (100, 1000)]  # a share of the run does not
        [0.363, 0.367]

    Attributes:
        momentum: m, the share of the old teacher kept at each update, 0 <= m < 1 (1 never moves: that is `Static`).
        time_constant_progress: instead of `momentum`: the average's memory as a share of the run, so that
            m = exp(-update_every / (time_constant_progress * total_steps)) follows horizon and update period.
        initial_momentum: where a linear warm-up of the momentum starts.
        warmup_progress: share of the run over which the momentum is warmed up.

    Raises:
        ValueError: unless exactly one of momentum and time_constant_progress is given, and each lies in its range.
    """

    momentum: float | None = None
    time_constant_progress: float | None = None
    initial_momentum: float = 0.0
    warmup_progress: float = 0.0
    kind: Literal["exponential"] = field(default="exponential", kw_only=True, repr=False)

    def __post_init__(self) -> None:
        if (self.momentum is None) == (self.time_constant_progress is None):
            raise ValueError("an exponential kernel takes either momentum or time_constant_progress: give exactly one")
        if self.momentum is not None:
            number("momentum", self.momentum, BELOW_ONE)
        if self.time_constant_progress is not None:
            number("time_constant_progress", self.time_constant_progress, POSITIVE)
        number("initial_momentum", self.initial_momentum, BELOW_ONE)
        number("warmup_progress", self.warmup_progress, SHARE)

    def rates(self, clock: Clock, updates: np.ndarray) -> Array:
        updates, final = numbers("update", updates, COUNT), self._final_momentum(clock)
        if self.warmup_progress == 0:
            return np.full_like(updates, 1.0 - final)
        warmed = np.minimum(1.0, clock.progress(updates) / self.warmup_progress)
        momentum: Array = self.initial_momentum + (final - self.initial_momentum) * warmed
        return 1.0 - momentum

    @property
    def constant_momentum(self) -> float | None:
        return self.momentum if self.warmup_progress == 0 else None

    @property
    def summed_rates(self) -> float:
        if self.time_constant_progress and self.warmup_progress == 0:  # rates of a warm-up stay where they are as runs grow
            return 1 / self.time_constant_progress
        return np.inf

    def _final_momentum(self, clock: Clock) -> float:
        if self.time_constant_progress is None:
            return self.momentum or 0.0
        return float(np.exp(-clock.update_every / (self.time_constant_progress * clock.total_steps)))


@dataclass(frozen=True)
class PowerLaw(Kernel):
    """Power-law average: r_n = beta / (beta + n), weights growing like j^(beta - 1); it needs no horizon.

        >>> PowerLaw(2.0).weights(Clock(total_steps=3))
        array([0.1, 0.2, 0.3, 0.4])

    Attributes:
        beta: > 0; towards 0 it is the static teacher, large values forget the past.

    Raises:
        ValueError: if beta is not positive.
    """

    beta: float
    kind: Literal["power_law"] = field(default="power_law", kw_only=True, repr=False)

    def __post_init__(self) -> None:
        number("beta", self.beta, POSITIVE)

    def rates(self, clock: Clock, updates: np.ndarray) -> Array:
        return self.beta / (self.beta + numbers("update", updates, COUNT))


@dataclass(frozen=True)
class Uniform(Kernel):
    """Plain mean of all students and the anchor: r_n = 1 / (n + 1), the power law with beta = 1.

    >>> Uniform().weights(Clock(total_steps=3))
    array([0.25, 0.25, 0.25, 0.25])
    """

    kind: Literal["uniform"] = field(default="uniform", kw_only=True, repr=False)

    def rates(self, clock: Clock, updates: np.ndarray) -> Array:
        return 1.0 / (1.0 + numbers("update", updates, COUNT))


@dataclass(frozen=True)
class Beta(Kernel):
    """Weighted moving average (WMA) by a Beta density over the horizon: CLIPood's average, and TRACER's teacher (a = b = 1/2).

    `weighting="cdf"` gives each update the mass of the Beta distribution on the stretch of progress it stands for (between the
    midpoints to its neighbours), so that the mean age hardly moves with the update period while there are many updates.
    `weighting="pdf"` samples the density at the update, alpha_j = pdf((j k + 1/2) / (T + 1)), as published; with long periods that
    over-weights the anchor.

        >>> Beta(0.5, 0.5).weights(Clock(total_steps=3)).round(3)  # the two ends weigh most
        array([0.333, 0.167, 0.167, 0.333])
        >>> [round(Beta(0.5, 0.5).anchor_weight(Clock(steps)), 4) for steps in (100, 10_000)]
        [0.0635, 0.0064]

    Attributes:
        a, b: shape parameters, > 0; a below 1 weighs the anchor's side, b below 1 the newest side.
        weighting: "cdf" or "pdf".

    Raises:
        ValueError: if a or b is not positive, if the weighting is unknown, or (in use) past the clock's last update.
    """

    a: float = 0.5
    b: float = 0.5
    weighting: Literal["cdf", "pdf"] = "cdf"
    kind: Literal["beta"] = field(default="beta", kw_only=True, repr=False)

    def __post_init__(self) -> None:
        number("a", self.a, POSITIVE)
        number("b", self.b, POSITIVE)
        if self.weighting not in ("cdf", "pdf"):
            raise ValueError(f"weighting must be 'cdf' or 'pdf', not {self.weighting!r}")

    def rates(self, clock: Clock, updates: np.ndarray) -> Array:
        updates = numbers("update", updates, COUNT)
        if updates.max() > clock.updates:
            raise ValueError(
                f"update {updates.max():.0f} lies beyond the clock's last one, {clock.updates}: a Beta kernel ends with its horizon"
            )
        return _density_rates(self, clock)[updates.astype(int)] if self.weighting == "pdf" else self._mass_rates(clock, updates)

    def _mass_rates(self, clock: Clock, updates: np.ndarray) -> Array:
        start, end = self._boundaries(clock, updates - 1), self._boundaries(clock, updates)
        lower_end = special.betainc(self.a, self.b, end)
        # near the end F is close to 1 and its differences would cancel: take them from the other tail
        mass = np.where(
            lower_end < 0.5,
            lower_end - special.betainc(self.a, self.b, start),
            special.betaincc(self.a, self.b, start) - special.betaincc(self.a, self.b, end),
        )
        return _shares(mass, lower_end)

    @staticmethod
    def _boundaries(clock: Clock, updates: np.ndarray) -> Array:
        """Progress at which the stretch of each update ends: the midpoint to the next, 1 for the last."""
        midpoints = ((updates + 0.5) * clock.update_every + 0.5) / (clock.total_steps + 1)
        return np.where(updates >= clock.updates, 1.0, midpoints)


@lru_cache(maxsize=4)
def _density_rates(kernel: Beta, clock: Clock) -> Array:
    """Rates of all updates of a run by the density sampled at each; kept, for a trainer asks for one at a time."""
    nodes = (np.arange(clock.updates + 1) * clock.update_every + 0.5) / (clock.total_steps + 1)
    log_density = special.xlogy(kernel.a - 1, nodes) + special.xlog1py(kernel.b - 1, -nodes)
    density = np.exp(log_density - log_density.max())
    return _shares(density, np.cumsum(density))


def _shares(newest: Array, total: Array) -> Array:
    """newest / total; 1 where both underflow, since weights that start so steeply leave the newest student all there is so far."""
    return np.divide(newest, total, out=np.ones_like(total), where=total > 0)
