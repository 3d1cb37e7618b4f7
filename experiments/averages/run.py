"""How good are averages that are made after a run, and which is best? Writes results.json and the figure beside this file.

FLYP and TRACER for 300 steps from every shipped checkpoint, each followed by ten passive averages and by snapshots of two. Each of
the ten is made again from the snapshots and compared with what followed the run; then averages of many mean ages are judged.
"""

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tracer import plotting
from tracer.averaging import Beta, Clock, Exponential, Kernel, PowerLaw, Uniform
from tracer.config.average import AverageSection
from tracer.config.loading import dump
from tracer.config.schema import RunConfig
from tracer.demo import settings
from tracer.evaluation import choice
from tracer.evaluation.report import evaluate
from tracer.looks import LOOKS
from tracer.models import clip
from tracer.models.merging import interpolate
from tracer.plotting.style import PAGE_WIDTH, canvas
from tracer.runs import average_choice, build, sources, training_data
from tracer.runs.averages import CANDIDATES, KeptAverages
from tracer.storage import json_text, write_text
from tracer.synthesis import ANCHOR, STUDENT, TRACKED, Kept, combine, times
from tracer.toy.small_clip import shipped
from tracer.training.checkpoints import Checkpoints
from tracer.training.teacher import Teacher

HERE = Path(__file__).parent
STEPS, SNAPSHOTS = 300, 8
STRATEGIES = ("flyp", "tracer")
FOLLOWED: dict[str, Kernel] = {
    "Beta(½, ½)": Beta(0.5, 0.5),
    "Beta(1, ½)": Beta(1.0, 0.5),
    "Beta(½, 1)": Beta(0.5, 1.0),
    "uniform": Uniform(),
    "power law 2": PowerLaw(2.0),
    "EMA 0.9": Exponential(0.9),
    "EMA 0.99": Exponential(0.99),
    "EMA, ½ of the run": Exponential(time_constant_progress=0.5),
    "Beta(8, 2)": Beta(8.0, 2.0),
    "Beta(20, 5)": Beta(20.0, 5.0),
}
SPACINGS = {"even": 1.0, "squares": 2.0, "cubes": 3.0}
KINDS = {"id": "ID", "ood": "OOD", "knowledge": "knowledge"}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=Path, default=Path("runs/averages"), help="folder of the single runs")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    rows = [row(strategy, pretrained, arguments.runs) for strategy in STRATEGIES for pretrained in shipped()]
    write_text(HERE / "results.json", json_text(rows))
    plotting.save(figure(rows), HERE / "averages")


def row(strategy: str, pretrained: str, folder: Path) -> dict[str, Any]:
    """What was measured of one run, from its folder if it is there."""
    run = settings.configuration(strategy, pretrained, 0, folder, optimization={"total_steps": STEPS})
    run = run.model_copy(update={"average": AverageSection(snapshots=SNAPSHOTS)})
    path = run.output / "row.json"
    if not path.exists():
        followed(run)
        write_text(path, json_text({"strategy": strategy, "pretrained": pretrained, **measured(run)}))
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def followed(run: RunConfig) -> None:
    """Train with snapshots and the averages that follow, and leave a folder such as `tracer train` does."""
    data = training_data.of_run(run, None)
    assert data
    run.output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(run.seed)
    encoder = build.load_encoder(run)
    learner = build.Learner.of(run, encoder, copy.deepcopy(encoder.model).eval().requires_grad_(False))
    checkpoints = Checkpoints(run.output / "checkpoints", {"run": run.effect()}, keep=1)
    trainer = build.trainer(run, learner, build.batches(run, learner, data), lambda step: None, checkpoints)
    direct = {name: Teacher(learner.student, kernel, Clock(STEPS)) for name, kernel in FOLLOWED.items()}
    trainer.progress.followers = {**trainer.progress.followers, **direct}
    trainer.fit()
    write_text(run.output / "config.yaml", dump(run))
    clip.save_folder(learner.student, run.output)
    for name, average in direct.items():
        clip.save(average.module, run.output / f"{name}.safetensors")


def measured(run: RunConfig) -> dict[str, Any]:
    """Errors of what is made from snapshots, and accuracies of averages of many ages."""
    kept = KeptAverages.of(run.output)
    test, validation = sources.evaluation_suite(run.evaluation), average_choice.validation(kept.run)
    on_validation, on_test = [average_choice.judge(kept, suite) for suite in (validation, test)]
    best = choice.best(on_validation)
    start, student = build.load_encoder(run), kept.make(STUDENT).encoder
    student.model.load_state_dict(
        interpolate(start.model, student.model, settings.CHOSEN["wise_ft"]["strategy"]["interpolation"]).state_dict()
    )
    return {
        "path": float(kept.lengths.sum() / kept.moved),
        "moved": kept.moved,
        "errors": {name: error(kept, name, kernel) for name, kernel in FOLLOWED.items()},
        "spacings": {name: spacing(kept, power) for name, power in SPACINGS.items()},
        "ages": [accuracies(report) | {"age": report["mean_age"], "kernel": report["kernel"]} for report in on_test],
        "chosen": accuracies(on_test[best]) | {"age": on_test[best]["mean_age"], "kernel": on_test[best]["kernel"]},
        "wise_ft": accuracies(evaluate(student, test)),
    }


def error(kept: KeptAverages, name: str, kernel: Kernel) -> dict[str, float]:
    """Distance of the made average from the one that followed the run, as a share of the student's way, and what was certified."""
    made = kept.make(kernel)
    direct = clip.create("glyphs", None, weights=kept.run.output / f"{name}.safetensors").model
    pairs = zip(made.encoder.model.parameters(), direct.parameters(), strict=True)
    distance = torch.cat([(mine.double() - theirs.double()).flatten() for mine, theirs in pairs]).norm().item()
    certified = {key: made.told[key] for key in ("mean_age", "bound", "estimate", "rounding", "most_negative")}
    return {"error": distance / kept.moved, **certified}


def spacing(kept: KeptAverages, power: float) -> dict[int, float]:
    """The largest bound over all kernels, by the number of snapshots, if these were kept at updates that grow with a power."""
    found = {}
    for count in (4, 8, 16):
        updates = sorted({max(round(STEPS * (part / count) ** power), part) for part in range(1, count + 1)})
        averages = [ANCHOR, *(Kept(kernel, update) for kernel in TRACKED.values() for update in updates), Kept(STUDENT, STEPS)]
        lengths = kept.lengths / kept.moved
        every = [*FOLLOWED.values(), *CANDIDATES]
        found[count] = max(combine(kernel, kept.clock, averages, lengths, 1e-6).certificate(lengths).bound for kernel in every)
    assert power != 2 or times(kept.clock, SNAPSHOTS) == sorted({max(round(STEPS * (part / 8) ** 2), part) for part in range(1, 9)})
    return found


def accuracies(report: dict[str, Any]) -> dict[str, float]:
    return {kind: report[kind]["accuracy"] for kind in KINDS}


def figure(rows: list[dict[str, Any]]):
    """Errors beside what was certified, and accuracy against mean age, each the mean over the checkpoints."""
    with canvas(PAGE_WIDTH, 3.8, columns=3) as (drawn, axes):
        places = np.arange(len(FOLLOWED))
        for mark, (key, label) in zip(
            "_xo", {"bound": "at most", "estimate": "estimate", "error": "measured"}.items(), strict=True
        ):
            shares = [max(row["errors"][name][key] for row in rows) for name in FOLLOWED]
            axes[0].semilogy(places, shares, mark, label=label)
        axes[0].set_xticks(places, [*FOLLOWED], rotation=60, ha="right")
        axes[0].set_ylabel("error, largest of the runs\n(share of the student's way)")
        axes[0].legend()
        for axis, strategy in zip(axes[1:], STRATEGIES, strict=True):
            own = [row for row in rows if row["strategy"] == strategy]
            ages = [point["age"] for point in own[0]["ages"] if point["kernel"]["kind"] != "beta"]
            for kind, line in zip(KINDS, ("o-", "s--", "v:"), strict=True):
                values = [[p[kind] for p in row["ages"] if p["kernel"]["kind"] != "beta"] for row in own]
                axis.plot(ages, 100 * np.mean(values, axis=0), line, label=KINDS[kind])
            for row_ in own:
                axis.axvline(row_["chosen"]["age"], color="#999999", linewidth=1, zorder=0)
            axis.set(xlabel="mean age, as a share of the run", ylabel="accuracy (%)", title=LOOKS[strategy].label)
        axes[1].legend()
    return drawn


if __name__ == "__main__":
    main()
