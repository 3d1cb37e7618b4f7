"""Random problems, teachers and step sizes for hypothesis."""

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from tracer import schedules, theory
from tracer.averaging import Beta, Exponential, PowerLaw, Static, Uniform
from tracer.schedules import Schedule, constant
from tracer.theory import Problem

KERNELS = {
    "static": Static(),
    "momentum 0": Exponential(0.0),
    "momentum 0.9": Exponential(0.9),
    "warmed-up momentum": Exponential(0.95, initial_momentum=0.1, warmup_progress=0.5),
    "time constant": Exponential(time_constant_progress=0.2),
    "uniform": Uniform(),
    "power law 0.3": PowerLaw(0.3),
    "power law 3": PowerLaw(3.0),
    "beta": Beta(0.5, 0.5),
    "beta, skewed": Beta(0.3, 2.0),
    "beta, sampled": Beta(0.5, 0.7, weighting="pdf"),
}
METRICS = ("data", "parameter", "spectral", "inputs")


class Setting(NamedTuple):
    """How a run is stepped, in the words of `tracer.theory.gradient_descent` and `tracer.crosscheck.training.train`."""

    learning_rate: float
    steps: int
    update_every: int = 1
    schedule: Schedule = constant
    heavy_ball: float = 0.0


def images(rng: np.random.Generator, kind: str, n: int, d: int) -> np.ndarray:
    """Features (n, d) whose second moment has the named kind of spectrum."""
    plain = rng.standard_normal((n, d))
    if kind == "rank-deficient":
        inner = max(1, min(n, d) // 2)
        return plain[:, :inner] @ rng.standard_normal((inner, d))
    if kind == "repeated":
        left, _, right = np.linalg.svd(plain, full_matrices=False)
        return np.sqrt(n) * left @ right
    if kind == "tiny":
        return plain * np.logspace(0, -7, d)
    return plain


@st.composite
def problems(draw, kinds=("generic", "rank-deficient", "repeated", "tiny"), weight_decays=(0.0, 0.1)) -> Problem:
    n, d, k = draw(st.integers(2, 9)), draw(st.integers(1, 8)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return Problem.from_pairs(
        images(rng, draw(st.sampled_from(kinds)), n, d),
        rng.standard_normal((n, k)),
        rng.standard_normal((k, d)),
        embedding_penalty=draw(st.sampled_from([0.3, 1.0, 2.5])),
        weight_decay=draw(st.sampled_from(weight_decays)),
    )


@st.composite
def metrics(draw, problem: Problem, name: str):
    if name == "spectral":
        return theory.Spectral(draw(st.sampled_from([0.3, 0.5, 1.0])))
    if name == "inputs":
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        d = len(problem.eigenvalues)
        inputs = rng.standard_normal((draw(st.integers(1, d + 2)), d))
        return theory.Inputs(inputs.T @ inputs / len(inputs))
    return name


@st.composite
def settings_for(draw, problem: Problem, strategy: theory.Strategy) -> Setting:
    steps = draw(st.integers(3, 24))
    update_every = draw(st.integers(1, min(steps, 6)))
    heavy_ball = draw(st.sampled_from([0.0, 0.0, 0.6]))
    largest = theory.max_learning_rate(problem, strategy, update_every=update_every, heavy_ball=heavy_ball, total_steps=steps)
    schedule = draw(st.sampled_from([schedules.constant, schedules.cosine(steps), schedules.cosine(steps, steps // 3)]))
    return Setting(draw(st.floats(0.1, 0.95)) * largest, steps, update_every, schedule, heavy_ball)
