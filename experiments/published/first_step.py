"""What does it change to distil nothing in the first step, as the authors' code does? In the embedded world; prints intervals.

From every shipped or kept checkpoint a run of 300 steps as published, the same without the first step's distillation, and, as a
measure of what chance does, the same with another seed. From the root of the repository:

    python experiments/published/first_step.py
"""

import argparse
from pathlib import Path
from typing import Any
from unittest import mock

from tracer.config import loading
from tracer.evaluation.intervals import interval
from tracer.runs import fine_tune as running
from tracer.training.distances import distance
from tracer.training.objective import DISTILLATION_TERMS, Objective

KEPT = Path("experiments/ablations")
CHECKPOINTS = ("0", "1", "2", str(KEPT / "glyphs-3.safetensors"), str(KEPT / "glyphs-4.safetensors"))
SETTINGS = {
    "strategy": {
        "name": "tracer",
        "strength": 0.9,
        "cross_projection_norm": 0.05,
        "terms": {"fd": 250.0},  # 2000 x 64/512 dimensions
        "kernel": {"kind": "beta", "weighting": "pdf"},
    },
    "optimization": {"total_steps": 300, "batch_size": 64, "learning_rate": 3e-4},
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=Path, default=Path("runs/first_step"), help="folder of the single runs")
    options.add_argument("--checkpoints", nargs="+", default=CHECKPOINTS)
    arguments = options.parse_args()
    for other in ("undistilled first step", "another seed"):
        values: dict[str, list[float]] = {"of the way gone": [], "ID": [], "OOD": []}
        for number, checkpoint in enumerate(arguments.checkpoints):
            base = fitted(arguments.runs / f"{number}", checkpoint, number)
            seed = number + 100 * (other == "another seed")
            changed = fitted(arguments.runs / f"{number}-{other}", checkpoint, seed, other == "undistilled first step")
            student = base.student.model
            values["of the way gone"].append((distance(student, changed.student.model) / distance(student, base.anchor)).item())
            for name in ("ID", "OOD"):
                before, after = (result.report[name.lower()]["accuracy"] for result in (base, changed))
                values[name].append(after - before)
        for name, each in values.items():
            mean, half_width = interval(each)
            print(f"{other}: {name} {100 * mean:.2f} ± {100 * half_width:.2f} %")


def fitted(output: Path, checkpoint: str, seed: int, undistilled: bool = False) -> Any:
    """A finished run; a folder that holds one is not trained again."""
    values = {"output": str(output), "seed": seed, "model": {"pretrained": checkpoint}, **SETTINGS}
    with mock.patch.object(Objective, "of_features", _undistilled_once() if undistilled else Objective.of_features):
        return running.fine_tune(loading.validate(values, "here"))


def _undistilled_once():
    """`Objective.of_features`, with distillation terms of 0 at its first call."""
    original, first = Objective.of_features, iter([0.0])

    def of_features(self, pairing):
        share = next(first, 1.0)
        return {n: share * term if n in DISTILLATION_TERMS else term for n, term in original(self, pairing).items()}

    return of_features


if __name__ == "__main__":
    main()
