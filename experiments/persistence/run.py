"""What persists under a moving teacher, and how good are the bounds on it? The paper's dynamics, exactly. Writes results.json.

No training but the crosses of the figure: `tracer.theory.proximal` computes every run. In the data's metric all modes behave alike,
so that shares of the initial error depend on the kernel, the strength and the horizon alone; a second random problem checks that.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tracer import plotting, theory
from tracer.averaging import Beta, Clock, Exponential, Kernel, PowerLaw, Uniform
from tracer.crosscheck.training import train_proximal
from tracer.plotting.persistence import Bounds, Track, persistence_is_bias
from tracer.theory.recursion import Stepping, propagate

HERE = Path(__file__).parent
FEATURES, EMBEDDING, PAIRS = 8, 4, 64
STRENGTH = 0.9
Q = 1 / (1 + STRENGTH)
EXPONENTS = 0.5, 1.0, 1.5
HORIZONS = 1000, 16_000, 64_000
DRAWN_HORIZONS = 100, 300, 1000, 3000, 10_000, 30_000
PUBLISHED_STEPS = 25_020
TRAINED_STEPS = 300
STEP_SHARES = 1.0, 0.1, 0.01, 0.001
KERNELS: dict[str, Kernel] = {
    "Beta(0.5, 0.5)": Beta(0.5, 0.5),
    "uniform": Uniform(),
    "Beta(1.5, 1.5)": Beta(1.5, 1.5),
    "EMA, m = 0.9": Exponential(0.9),
    "EMA, m = 0.99": Exponential(0.99),
    "power law 0.2": PowerLaw(0.2),
}


@dataclass(frozen=True)
class Singular(Kernel):
    """Point-sampled weights tau^-power, which for a power of 1 or more have no integral."""

    power: float

    def rates(self, clock: Clock, updates: np.ndarray) -> np.ndarray:
        weights = (np.arange(clock.updates + 1) + 0.5) ** -self.power
        return (weights / np.cumsum(weights))[updates]


class World:
    """A random problem, on which runs are measured as shares of the initial error on the task subspace."""

    def __init__(self, seed: int):
        images, texts = theory.Population.named("power_law", FEATURES, EMBEDDING, seed).sample(PAIRS)
        self.problem = theory.Problem.from_pairs(images, texts, np.random.default_rng(seed).standard_normal((EMBEDDING, FEATURES)))
        self.optimum = theory.optimum(self.problem)
        self.initial = np.linalg.norm(self.problem.initial_weights - self.optimum)

    def shares(self, differences: np.ndarray) -> np.ndarray:
        return np.linalg.norm(self.problem.task_subspace.task(differences), axis=(-2, -1)) / self.initial

    def track(self, name: str, kernel: Kernel, horizon: int, run: Callable) -> Track:
        """Student's errors and gaps at some steps of a run, which gives student and teacher at given steps."""
        steps = np.unique(np.geomspace(1, horizon, 16).astype(int))
        students, teachers = run(steps)
        rates = kernel.rates(Clock(horizon), steps)
        return Track(name, horizon, self.shares(students - self.optimum), self.shares(students - teachers), rates)

    def solved(self, kernel: Kernel, horizon: int) -> theory.ProximalPath:
        return theory.proximal(self.problem, theory.Distillation(STRENGTH, kernel), steps=horizon)


def main() -> None:
    world, other = World(0), World(1)
    results = {
        "strength": STRENGTH,
        "looseness": [at_the_end(world, exponent, horizon) for exponent in EXPONENTS for horizon in HORIZONS],
        "published_run": published_run(world),
        "descent": descent(),
        "not_integrable": not_integrable(world),
        "largest_difference_between_problems": float(
            np.abs(np.subtract(*(list(at_the_end(each, 0.5, 1000).values()) for each in (world, other)))).max()
        ),
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draw(world)


def at_the_end(world: World, exponent: float, horizon: int, weighting: str = "pdf") -> dict[str, float]:
    """Gap and teacher's error after the last step, and the bounds of C.6, of this project and of C.9."""
    kernel = Beta(exponent, exponent, weighting=weighting)
    path, rates = world.solved(kernel, horizon), kernel.rates(Clock(horizon), np.arange(1, horizon + 1))
    gap, student = world.shares(path.gap(horizon)), path.student(horizon)
    anchor, before = kernel.anchor_weight(Clock(horizon)), kernel.anchor_weight(Clock(horizon), horizon - 1)
    published = anchor * world.shares(student - world.problem.initial_weights)
    sharp = Q * (1 - rates[-1]) * before**Q
    return {
        "exponent": exponent,
        "steps": horizon,
        "gap": float(gap),
        "published_bound": float(published),
        "sharp_bound": float(sharp),
        "published_looseness": float(gap / published),
        "sharp_looseness": float(gap / sharp),
        "teacher_error": float(world.shares(path.teacher(horizon) - world.optimum)),
        "anchor_to_the_q": float(anchor**Q),
        "smallest_rate_times_steps": float(rates.min() * horizon),
        "geometric_bound": float((1 - Q * rates.min()) ** horizon),
    }


def published_run(world: World) -> dict[str, dict[str, float]]:
    """Errors, displacement and gap after as many steps as the published runs have."""
    found = {}
    kernels = {
        "Beta(1/2, 1/2), sampled": Beta(0.5, 0.5, weighting="pdf"),
        "Beta(1/2, 1/2), masses": Beta(0.5, 0.5),
        "EMA, m = 0.999": Exponential(0.999),
        "EMA, m = 1 - 1/T": Exponential(1 - 1 / PUBLISHED_STEPS),
    }
    for name, kernel in kernels.items():
        path = world.solved(kernel, PUBLISHED_STEPS)
        student = path.student(PUBLISHED_STEPS)
        found[name] = {
            "teacher_error": float(world.shares(path.teacher(PUBLISHED_STEPS) - world.optimum)),
            "student_error": float(world.shares(student - world.optimum)),
            "student_displacement": float(world.shares(student - world.problem.initial_weights)),
            "gap": float(world.shares(path.gap(PUBLISHED_STEPS))),
            "largest_gap": float(world.shares(path.gap(1))),
        }
    return found


def descent() -> dict[str, float]:
    """The teacher's error under gradient descent at x = eta (sigma + l), by x, beside which exact steps are x = 1."""
    x = np.array(STEP_SHARES)
    stepping = Stepping(1.0, Clock(PUBLISHED_STEPS), Beta(0.5, 0.5))
    left = propagate(x * Q, x * (1 - Q), stepping, np.array([PUBLISHED_STEPS])).teacher_decay[0]
    return {f"{share:g}": float(error) for share, error in zip(x, left, strict=True)}


def not_integrable(world: World) -> dict[str, dict[str, float]]:
    """Teacher's error under tau^-3/2 and tau^-1/2, by horizon."""
    horizons = (*HORIZONS, 256_000)
    return {
        f"tau^-{power:g}": {
            str(steps): float(np.prod(1 - Q * Singular(power).rates(Clock(steps), np.arange(1, steps + 1)))) for steps in horizons
        }
        for power in (1.5, 0.5)
    }


def draw(world: World) -> None:
    tracks = []
    for name, kernel in KERNELS.items():
        for horizon in (100, 1000, 10_000):
            path = world.solved(kernel, horizon)
            tracks.append(world.track(name, kernel, horizon, lambda steps, path=path: (path.student(steps), path.teacher(steps))))
    trained = []
    for name in ("Beta(0.5, 0.5)", "EMA, m = 0.9"):
        run = train_proximal(world.problem, theory.Distillation(STRENGTH, KERNELS[name]), steps=TRAINED_STEPS)
        trained.append(
            world.track(name, KERNELS[name], TRAINED_STEPS, lambda steps, run=run: (run.student[steps], run.teacher[steps]))
        )
    bounded = {}
    for exponent in EXPONENTS:
        ends = [at_the_end(world, exponent, horizon) for horizon in DRAWN_HORIZONS]
        columns = (np.array([end[key] for end in ends]) for key in ("steps", "gap", "sharp_bound", "published_bound"))
        bounded[f"Beta({exponent:g}, {exponent:g})"] = Bounds(*columns)
    plotting.save(persistence_is_bias(tracks, trained, STRENGTH, bounded), HERE / "persistence")


if __name__ == "__main__":
    main()
