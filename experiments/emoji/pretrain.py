"""Pretrains each architecture from several seeds on the world that make.py wrote. Writes pretraining.json beside this file."""

import argparse
import time
from pathlib import Path

import cells
import settings
from world import PLACE

from tracer.evaluation.across_runs import MEASURES, measure
from tracer.runs.jobs import Job, run_all
from tracer.terminal import console


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--world", type=Path, default=PLACE)
    options.add_argument("--models", type=Path, default=Path("runs/emoji/models"), help="folder of the pretrained models")
    options.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    options.add_argument("--architectures", nargs="+", default=settings.ARCHITECTURES, choices=settings.ARCHITECTURES)
    options.add_argument("--processes", type=int, default=2)
    arguments = options.parse_args()
    planned = [(architecture, seed) for seed in arguments.seeds for architecture in arguments.architectures]
    jobs = [Job(settings.pretraining(*each, arguments.world, settings.weights(*each, arguments.models).parent)) for each in planned]
    began = time.perf_counter()
    with console.progress(f"{len(jobs)} models", sum(job.steps for job in jobs)) as advance:
        rows = run_all(jobs, arguments.processes, advance)
    lines = [
        {
            "architecture": architecture,
            "seed": seed,
            **{name: round(measure(row, name), 5) for name in MEASURES},
            "sets": {name: round(each["accuracy"], 5) for name, each in row["report"]["sets"].items()},
        }
        for (architecture, seed), row in zip(planned, rows, strict=True)
    ]
    cells.write(cells.HERE / "pretraining.json", lines)
    print(f"{len(jobs)} models in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
