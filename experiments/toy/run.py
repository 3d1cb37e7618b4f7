"""The toy of the paper's section 5.1 (arXiv 2605.29380): what does fine-tuning on coloured digits leave of grey ones?

Each method's strength is chosen on validation digits; then all are measured on test digits, on other seeds. Writes results.json and
the figure beside this file, and prints the tables of README.md.
"""

import argparse
import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from digits import TRAINING, Look, Split, World
from matplotlib.axes import Axes
from towers import Towers, encoder

from tracer import plotting, schedules
from tracer.averaging import Beta, Clock, Exponential, Kernel, Static
from tracer.evaluation import zero_shot
from tracer.evaluation.intervals import interval
from tracer.terminal import console
from tracer.training import distances
from tracer.training.objective import Objective
from tracer.training.optimizer import parameter_groups
from tracer.training.teacher import Teacher
from tracer.training.trainer import Loop, Trainer

HERE = Path(__file__).parent
PRETRAINING_EPOCHS, EPOCHS = 20, 5
LEARNING_RATE = 1e-3
WARMUP_SHARE = 0.1
TUNING_SEEDS = (100, 101)  # no result uses them
TOLERATED_LOSS = 1.0  # points of accuracy on coloured validation digits, against plain fine-tuning
ROUNDING = 1e-9  # a loss of exactly a point is tolerated
LOOKS: tuple[Look, ...] = ("grey", "coloured", "reversed")
Row = dict[str, float]


@dataclass(frozen=True)
class Method:
    """A way of fine-tuning: the term beside the contrastive loss, the strengths it is tried at, the kernel of its teacher.

    `strategy` gives the figure's colour, `published` the paper's accuracies on MNIST, grey and coloured, in percent.
    """

    strategy: str
    published: tuple[float, float] | None = None
    term: str | None = None
    strengths: tuple[float, ...] = (0.0,)
    kernel: Kernel | None = None


# each grid is placed where a trial on a tuning seed saw accuracy on coloured digits begin to give way
METHODS = {
    "none": Method("zero_shot", (96.8, 7.2)),
    "FT": Method("flyp", (59.0, 98.6)),
    "L2": Method("l2_sp", (83.2, 98.5), "l2_sp", (0.1, 0.3, 1.0, 3.0)),
    "static": Method("static_distillation", (95.9, 98.0), "fd", (3.0, 10.0, 30.0, 100.0), Static()),
    "EMA 0.9": Method("ema_distillation", None, "fd", (100.0, 300.0, 1000.0, 3000.0), Exponential(0.9)),
    "EMA 0.99": Method("ema_distillation", None, "fd", (30.0, 100.0, 300.0, 1000.0), Exponential(0.99)),
    "EMA 1 - 1/T": Method("ema_distillation", None, "fd", (10.0, 30.0, 100.0, 300.0), Exponential(1 - 1 / (EPOCHS * TRAINING))),
    "WMA": Method("tracer", (96.7, 98.6), "fd", (30.0, 100.0, 300.0, 1000.0), Beta(0.5, 0.5)),
}


def pretrain(world: World) -> Towers:
    """Both towers and the temperature, trained contrastively on grey digits."""
    torch.manual_seed(world.seed)
    model = Towers()
    _train(model, world, "grey", {"contrastive": 1.0}, PRETRAINING_EPOCHS)
    return model


def fine_tune(world: World, pretrained: Towers, name: str, strength: float) -> tuple[Towers, Row]:
    """A student trained on coloured digits, and how far its teacher is behind, as a share of the way it went."""
    student, method = copy.deepcopy(pretrained), METHODS[name]
    if name == "none":
        return student, {}
    student.freeze_all_but_images()
    teacher = Teacher(student, method.kernel, Clock(EPOCHS * TRAINING)) if method.kernel else None
    weights = {"contrastive": 1.0, **({method.term: strength} if method.term else {})}
    _train(student, world, "coloured", weights, EPOCHS, teacher=teacher, anchor=pretrained)
    if teacher is None:
        return student, {}
    return student, {"gap": (distances.distance(student, teacher.module) / distances.distance(student, pretrained)).item()}


def _train(model: Towers, world: World, look: Look, weights: Row, epochs: int, **others) -> None:
    steps = epochs * TRAINING
    # no weight decay: it pulls towards 0, which none of the compared methods asks for
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.0), lr=LEARNING_RATE, fused=True)
    loop = Loop(steps, schedules.cosine(steps, round(WARMUP_SHARE * steps)), log_every_steps=TRAINING)
    Trainer(model, world.batches(look), Objective(weights), optimizer, loop, **others).fit()


def accuracies(model: Towers, world: World, split: Split) -> Row:
    """Zero-shot accuracy on digits of each look, in percent."""
    found = {}
    for look in LOOKS:
        images = world.images(look, split)
        answers = zero_shot.logits(encoder(model), images).argmax(dim=-1).numpy()
        found[look] = 100 * float((answers == images.labels).mean())
    return found


def measure(world: World, settings: Sequence[tuple[str, float]], split: Split) -> Iterator[Row]:
    """One row for each method and strength, all from one pretrained model."""
    pretrained = pretrain(world)
    for name, strength in settings:
        student, gap = fine_tune(world, pretrained, name, strength)
        yield {"method": name, "strength": strength, **accuracies(student, world, split), **gap}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=10, help="pretrained models, each with a split and colours of its own")
    options.add_argument("--runs", type=Path, default=Path("runs/toy"), help="folder of what each seed gave")
    arguments = options.parse_args()
    torch.set_num_threads(1)  # for so small a model threads only wait for each other
    candidates = [(name, strength) for name, method in METHODS.items() for strength in method.strengths]
    tuning = over_seeds("tuning", TUNING_SEEDS, candidates, "validation", arguments.runs)
    chosen = choose(tuning)
    rows = over_seeds("test", range(arguments.seeds), list(chosen.items()), "test", arguments.runs)
    results = {"seeds": arguments.seeds, "tuning": tuning, "methods": summary(rows, chosen), "wma_minus": differences(rows)}
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draw(results)
    print(tables(results))


def over_seeds(what: str, seeds: Sequence[int], settings: list[tuple[str, float]], split: Split, folder: Path) -> list[Row]:
    """The rows of all seeds; a seed that was measured with these settings is taken from its file."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    with console.progress(f"toy, {what}", len(seeds) * len(settings)) as advance:
        for seed in seeds:
            path = folder / f"{what}-{seed}.json"
            kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
            if [(row["method"], row["strength"]) for row in kept] != settings:
                kept = []
                for row in measure(World(seed), settings, split):
                    kept.append({"seed": seed, **row})
                    advance(len(rows) + len(kept))
                path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
            rows += kept
            advance(len(rows))
    return rows


def choose(rows: list[Row]) -> dict[str, float]:
    """Each method's strength: the best on grey digits of those at most a point below plain fine-tuning on coloured ones."""
    least = _mean_accuracies(rows, "FT", 0.0)["coloured"] - TOLERATED_LOSS
    chosen = {}
    for name, method in METHODS.items():
        scored = {strength: _mean_accuracies(rows, name, strength) for strength in method.strengths}
        fit = [strength for strength in scored if scored[strength]["coloured"] > least - ROUNDING]
        chosen[name] = max(fit or scored, key=lambda s: scored[s]["grey" if fit else "coloured"])
    return chosen


def _mean_accuracies(rows: list[Row], name: str, strength: float) -> Row:
    own = [row for row in rows if (row["method"], row["strength"]) == (name, strength)]
    return {look: float(np.mean([row[look] for row in own])) for look in LOOKS}


def summary(rows: list[Row], chosen: dict[str, float]) -> list[dict]:
    """For each method the interval of every measure over seeds."""
    found = []
    for name, strength in chosen.items():
        own = [row for row in rows if row["method"] == name]
        measures = [key for key in (*LOOKS, "gap") if key in own[0]]
        intervals = {key: interval([row[key] for row in own])._asdict() for key in measures}
        found.append({"method": name, "strength": strength, "published": METHODS[name].published, **intervals})
    return found


def differences(rows: list[Row]) -> list[dict]:
    """WMA minus every other method in points of accuracy, paired by seed."""

    def of(name: str, look: Look) -> np.ndarray:
        return np.array([row[look] for row in rows if row["method"] == name])

    others = [name for name in METHODS if name != "WMA"]
    return [{"method": name, **{look: interval(of("WMA", look) - of(name, look))._asdict() for look in LOOKS}} for name in others]


def tables(results: dict) -> str:
    """README's tables: all methods, then what WMA has more than each other one."""
    lines = [
        "| method | strength | grey | coloured | colour-reversed | gap | published: grey | coloured |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in results["methods"]:
        grey, coloured = row["published"] or ("", "")
        gap = _shown(row["gap"], 3) if "gap" in row else ""
        cells = [row["method"], f"{row['strength']:g}" if row["strength"] else "", *(_shown(row[look]) for look in LOOKS)]
        lines.append(f"| {' | '.join(cells)} | {gap} | {grey} | {coloured} |")
    lines += ["", "| WMA minus | grey | coloured | colour-reversed |", "|---|---|---|---|"]
    for row in results["wma_minus"]:
        lines.append(f"| {row['method']} | {' | '.join(_shown(row[look], 1, '+') for look in LOOKS)} |")
    return "\n".join(lines)


def _shown(measured: Row, digits: int = 1, sign: str = "") -> str:
    return f"{measured['mean']:{sign}.{digits}f} ± {measured['half_width']:.{digits}f}"


def draw(results: dict) -> None:
    """A panel for each look, with every method's accuracy on test digits, and one of all strengths on validation digits."""
    with plotting.canvas(9, 6.6, rows=2, columns=2) as (figure, axes):
        for axis, look in zip(axes.flat, LOOKS, strict=False):
            _draw_look(axis, results["methods"], look)
        _draw_strengths(axes[1, 1], results["tuning"])
    plotting.save(figure, HERE / "toy")


def _draw_look(axis: Axes, rows: list[dict], look: Look) -> None:
    for height, row in enumerate(rows):
        style = plotting.LOOKS[METHODS[row["method"]].strategy]
        if row["method"] == "none" and look != "grey":  # so far left that the others would lie on one another
            axis.text(0.02, height, f"← {_shown(row[look])}", transform=axis.get_yaxis_transform(), va="center", fontsize=9)
            continue
        axis.errorbar(row[look]["mean"], height, xerr=row[look]["half_width"], fmt=style.marker, color=style.color, capsize=3)
        if look == "grey" and row["published"]:
            axis.plot(row["published"][0], height, "x", color=style.color)
    if look == "grey":
        axis.plot([], [], "x", color="black", label="published, on MNIST")
        axis.legend(loc="center left")
    axis.set_yticks(range(len(rows)), [row["method"] for row in rows])
    axis.set(title=f"{look} test digits", xlabel="accuracy, %", ylim=(len(rows) - 0.5, -0.5))


def _draw_strengths(axis: Axes, rows: list[Row]) -> None:
    lines = {"EMA 0.9": ":", "EMA 0.99": "--"}
    for name, method in METHODS.items():
        if name != "none":
            points = [_mean_accuracies(rows, name, strength) for strength in method.strengths]
            style = plotting.LOOKS[method.strategy]
            pairs = [point["coloured"] for point in points], [point["grey"] for point in points]
            axis.plot(*pairs, lines.get(name, "-"), marker=style.marker, color=style.color, label=name, markersize=4)
    axis.set(title="validation digits, each strength", xlabel="accuracy on coloured digits, %", ylabel="on grey digits, %")
    axis.legend()


if __name__ == "__main__":
    main()
