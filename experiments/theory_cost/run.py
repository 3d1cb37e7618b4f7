"""What the theory costs for the last layer of a ViT-B/16. Writes results-<threads>.json beside this file.

d = 768, k = 512, n = 50,000 pairs, 25,020 steps: every strategy's weights at 200 times, all modes, and without the weights all its
scalars there. Times are ratios, in one run, to the same gradient descent simulated in numpy, and to the least that any closed form
needs: one second moment and one eigen-decomposition. On one thread they are seconds that the program computes for, and what the
kernel takes to hand out memory for the weights is told apart, as it depends on the machine's other work; on more threads they are
seconds of the clock. Each is the median of some rounds, in which everything is timed in turn. The simulation is timed over 20 of
its steps (they all cost the same), and compared with the theory after them.
"""

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np

from tracer import theory
from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static, Uniform
from tracer.terminal import console

HERE = Path(__file__).parent
Result = TypeVar("Result")
PENALTY = 1.0
THREADS = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
STRATEGIES: dict[str, theory.Strategy] = {
    "flyp": theory.FineTuning(),
    "weight_decay": theory.WeightDecay(0.01),
    "l2_sp": theory.L2SP(0.1),
    "wise_ft": theory.WiSEFT(0.4),
    "lp_ft": theory.LPFT(),
    "static_distillation": theory.Distillation(0.9, Static()),
    "static_distillation, alpha 0.5": theory.Distillation(0.9, Static(), theory.Spectral(0.5)),
    "ema_distillation": theory.Distillation(0.9, Exponential(0.9)),
    "ema_distillation, warmed up": theory.Distillation(0.9, Exponential(0.9, initial_momentum=0.05, warmup_progress=0.2)),
    "uniform": theory.Distillation(0.9, Uniform()),
    "power law": theory.Distillation(0.9, PowerLaw(0.5)),
    "tracer": theory.Distillation(0.9, Beta(0.5, 0.5)),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--features", type=int, default=768)
    options.add_argument("--embedding", type=int, default=512)
    options.add_argument("--pairs", type=int, default=50_000)
    options.add_argument("--steps", type=int, default=25_020)
    options.add_argument("--times", type=int, default=200)
    options.add_argument("--simulated", type=int, default=20, help="steps of the simulation that are timed")
    options.add_argument("--rounds", type=int, default=3, help="times that everything is timed")
    size = options.parse_args()
    images, texts, start = last_layer(size.features, size.embedding, size.pairs)
    setting_up, problem = timed(partial(prepared, images, texts, start))
    elsewhere = theory.second_moment(np.random.default_rng(1).standard_normal((2000, size.features)))
    at = np.linspace(0, size.steps, size.times).astype(int)
    floors: list[float] = []
    kernel: list[float] = []
    seconds: dict[str, list[tuple[float, ...]]] = {name: [] for name in STRATEGIES}
    errors: dict[str, float] = {}
    with console.progress("timings", size.rounds * len(STRATEGIES)) as advance:
        for done, (_, (name, strategy)) in enumerate(product(range(size.rounds), STRATEGIES.items()), start=1):
            if name == next(iter(STRATEGIES)):
                floors.append(timed(lambda: np.linalg.eigh(images.T @ images / len(images)))[0])
            telling, _ = timed(partial(tell, problem, strategy, size.steps, at, elsewhere))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_stime
            following, path = timed(partial(follow, problem, strategy, size.steps, at))
            kernel.append(resource.getrusage(resource.RUSAGE_SELF).ru_stime - before)
            simulating, simulated = timed(partial(simulate, path, size.steps, size.simulated))
            errors[name] = float(np.linalg.norm(path.student(size.simulated) - simulated) / np.linalg.norm(simulated))
            seconds[name].append((telling, following, simulating * size.steps / size.simulated))
            advance(done)
    floor = statistics.median(floors)
    rows = {}
    for name, each in seconds.items():
        scalars, weights, simulation = (statistics.median(kind) for kind in zip(*each, strict=True))
        rows[name] = {
            "scalars_over_floor": scalars / floor,
            "weights_over_floor": weights / floor,
            "weights_over_simulation": weights / simulation,
            "error": errors[name],
        }
    results = {
        "size": vars(size),
        "threads": THREADS,
        "floor_seconds": floors,
        "problem_over_floor": setting_up / floor,
        "kernel_over_floor": [share / floor for share in np.percentile(kernel, (0, 50, 100))],
        "strategies": rows,
    }
    (HERE / f"results-{THREADS}.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def path_of(problem: theory.Problem, strategy: theory.Strategy, steps: int) -> theory.WeightPath:
    """The path of a strategy, at half its largest step size."""
    return theory.gradient_descent(problem, strategy, learning_rate=0.5 * theory.max_learning_rate(problem, strategy), steps=steps)


def follow(problem: theory.Problem, strategy: theory.Strategy, steps: int, at: np.ndarray) -> theory.WeightPath:
    """The path of a strategy, its weights computed at the given steps."""
    path = path_of(problem, strategy, steps)
    path.weights(at)
    return path


def tell(problem: theory.Problem, strategy: theory.Strategy, steps: int, at: np.ndarray, elsewhere: np.ndarray) -> None:
    """All scalars of a strategy's path at the given steps; forgetting and risk on inputs of another second moment (d, d)."""
    path = path_of(problem, strategy, steps)
    path.geometry(at)
    path.gap_norm(at)
    path.force_norm(at)
    path.forgetting(at, elsewhere)
    path.ood_risk(at, problem.initial_weights, elsewhere, problem.task_subspace)


def last_layer(features: int, embedding: int, pairs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random features with a decaying spectrum, texts that depend on them, and a random pretrained map."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((pairs, features)) / np.sqrt(np.arange(1, features + 1))
    images = images @ np.linalg.qr(rng.standard_normal((features, features)))[0]
    texts = images @ rng.standard_normal((features, embedding)) + rng.standard_normal((pairs, embedding))
    return images, texts, 0.1 * rng.standard_normal((embedding, features))


def simulate(path: theory.WeightPath, total_steps: int, steps: int) -> np.ndarray:
    """The student after the first steps of gradient descent on the moments, with the teacher averaged as it goes, (k, d)."""
    problem, distillation = path.posed, path.strategy.distillation
    student, teacher = problem.initial_weights.copy(), problem.initial_weights.copy()
    metric = distillation.strength * distillation.measured_by.matrix(problem)
    rates = distillation.kernel.rates(Clock(total_steps), np.arange(1, steps + 1))
    for rate in rates:
        gradient = student @ problem.curvature_matrix - problem.cross_covariance
        if distillation.strength:
            gradient += (student - teacher) @ metric
        student = student - path.learning_rate * gradient
        teacher += rate * (student - teacher)
    return student


def prepared(images: np.ndarray, texts: np.ndarray, start: np.ndarray) -> theory.Problem:
    """The problem of the pairs, its eigen-decomposition done."""
    problem = theory.Problem.from_pairs(images, texts, start, embedding_penalty=PENALTY)
    assert problem.rank == images.shape[1]
    return problem


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds that a piece of work took, and its result."""
    started = clock()
    result = work()
    return clock() - started, result


def clock() -> float:
    """Seconds computed for, on one thread, otherwise of the clock."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime if THREADS == 1 else time.perf_counter()


if __name__ == "__main__":
    main()
