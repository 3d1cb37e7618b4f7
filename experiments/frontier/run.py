"""Is a WMA teacher just a well-tuned EMA? Residual bias and impulse of both on a spectrum of four decades. Writes results.json.

No training: `tracer.theory` computes every run. At equal residual (the share of the task error that a run leaves) it compares the
impulse (the regularising force summed over the run); then it keeps each teacher's setting and changes the horizon.
"""

import argparse
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from tracer import plotting, theory
from tracer.averaging import Beta, Exponential, Kernel, PowerLaw, Static
from tracer.evaluation.intervals import interval
from tracer.terminal import console
from tracer.theory.design_rules import Point, frontier, measure, momentum_of_equal_residual

HERE = Path(__file__).parent
FEATURES, EMBEDDING = 64, 16
STRENGTHS = {"data": 0.9, "parameter": 0.01}
HORIZONS = (300, 1000, 3000, 10000)
TUNED_AT = 1000
DRAWN_AT = 3000
KERNELS: dict[str, Kernel] = {
    "power law 0.1": PowerLaw(0.1),
    "power law 0.5": PowerLaw(0.5),
    "uniform": PowerLaw(1.0),
    "power law 3": PowerLaw(3.0),
    "beta 0.5": Beta(0.5, 0.5),
}


class World:
    """One random problem with a spectrum of four decades, stepped at half the largest stable step size."""

    def __init__(self, seed: int, metric: str):
        start = 0.3 * np.random.default_rng([seed, 1]).standard_normal((EMBEDDING, FEATURES))
        self.problem = theory.Population.named("decades", FEATURES, EMBEDDING, seed).problem(start)
        self.metric = metric
        self.learning_rate = 0.5 * theory.max_learning_rate(self.problem, self.distillation(Static()))

    def distillation(self, kernel: Kernel) -> theory.Distillation:
        return theory.Distillation(STRENGTHS[self.metric], kernel, self.metric)

    def measure(self, kernel: Kernel, steps: int) -> Point:
        return measure(self.problem, self.distillation(kernel), learning_rate=self.learning_rate, steps=steps)

    def matched(self, kernel: Kernel, steps: int) -> float:
        return momentum_of_equal_residual(self.problem, self.distillation(kernel), learning_rate=self.learning_rate, steps=steps)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=5, help="random problems")
    seeds = range(options.parse_args().seeds)
    cells = list(product(STRENGTHS, HORIZONS))
    with console.progress("metrics and horizons", len(cells)) as advance:
        equal, fixed = [], []
        for done, (metric, steps) in enumerate(cells, start=1):
            worlds = [World(seed, metric) for seed in seeds]
            equal.append({"metric": metric, "steps": steps} | at_equal_residual(worlds, steps))
            fixed.append({"metric": metric, "steps": steps} | at_fixed_settings(worlds, steps))
            advance(done)
    results = {"seeds": len(seeds), "equal_residual": equal, "fixed_settings": fixed}
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draw(fixed)


def at_equal_residual(worlds: Sequence[World], steps: int) -> dict:
    """For each kernel: its residual, the EMA's momentum that leaves the same, and the EMA's impulse over the kernel's."""
    found = {}
    for name, kernel in KERNELS.items():
        own = [world.measure(kernel, steps) for world in worlds]
        momenta = [world.matched(kernel, steps) for world in worlds]
        rivals = [world.measure(Exponential(momentum), steps) for world, momentum in zip(worlds, momenta, strict=True)]
        found[name] = {
            "residual": interval([point.residual for point in own])._asdict(),
            "memory": interval([(1 - momentum) * steps for momentum in momenta])._asdict(),
            "impulse_ratio": interval([r.impulse / o.impulse for r, o in zip(rivals, own, strict=True)])._asdict(),
        }
    return found


def at_fixed_settings(worlds: Sequence[World], steps: int) -> dict:
    """Residual and impulse (over the static teacher's) of settings chosen at one horizon, used at another."""
    found = {}
    for name in ("static", "beta 0.5", "ema, momentum kept", "ema, time constant kept"):
        points = [world.measure(_kernel(name, world), steps) for world in worlds]
        static = [world.measure(Static(), steps) for world in worlds]
        found[name] = {
            "residual": interval([point.residual for point in points])._asdict(),
            "impulse": interval([p.impulse / s.impulse for p, s in zip(points, static, strict=True)])._asdict(),
        }
    return found


def _kernel(name: str, world: World) -> Kernel:
    if name == "static":
        return Static()
    if name == "beta 0.5":
        return KERNELS[name]
    momentum = world.matched(KERNELS["beta 0.5"], TUNED_AT)
    if name == "ema, momentum kept":
        return Exponential(momentum)
    return Exponential(time_constant_progress=-1 / (TUNED_AT * np.log(momentum)))


def draw(fixed: list[dict]) -> None:
    with plotting.canvas(9, 7, rows=2, columns=2) as (figure, axes):
        for axis, metric in zip(axes[0], STRENGTHS, strict=True):
            _draw_frontier(axis, World(0, metric))
        for axis, measured in zip(axes[1], ("residual", "impulse"), strict=True):
            _draw_fixed(axis, [cell for cell in fixed if cell["metric"] == "data"], measured)
        figure.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    plotting.save(figure, HERE / "frontier")


def _draw_frontier(axis: Axes, world: World) -> None:
    momenta = [Exponential(1 - rate) for rate in np.geomspace(1e-6, 1, 40)]
    exponents = [PowerLaw(beta) for beta in np.geomspace(0.01, 100, 40)]
    setting = {"strength": STRENGTHS[world.metric], "metric": world.metric, "learning_rate": world.learning_rate, "steps": DRAWN_AT}
    whole = world.measure(Static(), DRAWN_AT).impulse
    for kernels, label, strategy in (
        (momenta, "EMA, any momentum", "ema_distillation"),
        (exponents, "power law, any exponent", "tracer"),
    ):
        points = frontier(world.problem, kernels, **setting)
        axis.plot(
            [p.residual for p in points], [p.impulse / whole for p in points], color=plotting.LOOKS[strategy].color, label=label
        )
    point = world.measure(Beta(0.5, 0.5), DRAWN_AT)
    axis.plot(point.residual, point.impulse / whole, "o", color=plotting.LOOKS["tracer"].color, label="Beta(0.5, 0.5)")
    static = world.measure(Static(), DRAWN_AT)
    axis.plot(static.residual, 1, "s", color=plotting.LOOKS["static_distillation"].color, label="static teacher")
    axis.set(xlabel="residual task error", ylabel="impulse / static teacher's", title=f"{world.metric} metric, {DRAWN_AT} steps")
    axis.legend()


def _draw_fixed(axis: Axes, cells: list[dict], measured: str) -> None:
    styles = {
        "static": ("static_distillation", "-", "static"),
        "beta 0.5": ("tracer", "-", "Beta(0.5, 0.5)"),
        "ema, momentum kept": ("ema_distillation", "-", f"EMA, momentum kept from {TUNED_AT} steps"),
        "ema, time constant kept": ("ema_distillation", "--", "EMA, time constant kept as a share of the run"),
    }
    for name, (strategy, line, label) in styles.items():
        values = [cell[name][measured] for cell in cells]
        steps, means = [cell["steps"] for cell in cells], np.array([value["mean"] for value in values])
        widths = np.array([value["half_width"] for value in values])
        axis.plot(steps, means, line, marker=".", color=plotting.LOOKS[strategy].color, label=label)
        axis.fill_between(steps, means - widths, means + widths, color=plotting.LOOKS[strategy].color, alpha=0.15, linewidth=0)
    ylabel = "residual task error" if measured == "residual" else "impulse / static teacher's"
    axis.set(xscale="log", yscale="log", xlabel="steps", ylabel=ylabel, title="data metric, settings kept")


if __name__ == "__main__":
    main()
