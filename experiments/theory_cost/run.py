"""What the theory costs for the last layer of a ViT-B/16. Writes results.json beside this file.

d = 768, k = 512, n = 50,000 pairs, 25,020 steps: every strategy's weights at 200 times, all modes. Times are ratios, in one run, to
the same gradient descent simulated in numpy, and to the least that any closed form needs: one second moment and one
eigen-decomposition. The simulation is timed over 20 of its steps, three times (they all cost the same), and compared with the
theory after them.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from tracer import theory
from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static, Uniform
from tracer.terminal import console

HERE = Path(__file__).parent
Result = TypeVar("Result")
PENALTY = 1.0
REPEATS = 3
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
    size = options.parse_args()
    images, texts, start = last_layer(size.features, size.embedding, size.pairs)
    floor, _ = timed(lambda: np.linalg.eigh(images.T @ images / len(images)), REPEATS)
    setting_up, problem = timed(partial(prepared, images, texts, start), REPEATS)
    at = np.linspace(0, size.steps, size.times).astype(int)
    rows = {}
    with console.progress("strategies", len(STRATEGIES)) as advance:
        for done, (name, strategy) in enumerate(STRATEGIES.items(), start=1):
            taken, path = timed(partial(follow, problem, strategy, size.steps, at))
            simulating, simulated = timed(partial(simulate, path, size.steps, size.simulated), REPEATS)
            error = np.linalg.norm(path.student(size.simulated) - simulated) / np.linalg.norm(simulated)
            rows[name] = {
                "over_floor": taken / floor,
                "over_simulation": taken / (simulating * size.steps / size.simulated),
                "error": float(error),
            }
            advance(done)
    results = {
        "size": vars(size),
        "floor_seconds": floor,
        "problem_over_floor": setting_up / floor,
        "strategies": rows,
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def follow(problem: theory.Problem, strategy: theory.Strategy, steps: int, at: np.ndarray) -> theory.WeightPath:
    """The path of a strategy, its weights computed at the given steps."""
    path = theory.gradient_descent(problem, strategy, learning_rate=0.5 * theory.max_learning_rate(problem, strategy), steps=steps)
    path.weights(at)
    return path


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


def timed(work: Callable[[], Result], repeats: int = 1) -> tuple[float, Result]:
    """Seconds that a piece of work took, in the median, and its result."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), result


if __name__ == "__main__":
    main()
