"""The same settings at four horizons: does the teacher still regularise in a longer run? Writes results.json beside this file.

FLYP, EMA distillation and TRACER at 100, 300, 1000 and 3000 steps, from every shipped checkpoint with three fine-tuning seeds; the
other strategies stand beside them at 300 steps. EMA has the published final momentum, 0.9, without its warm-up, and the best of a
grid, chosen for each horizon on validation from one checkpoint: the highest mean OOD accuracy with ID within one point of
FLYP's. Its strength is held at what tuning chose at momentum 0.9.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from tracer import plotting
from tracer.demo import settings
from tracer.evaluation import across_runs
from tracer.evaluation.across_runs import Row
from tracer.evaluation.intervals import Interval
from tracer.runs.jobs import Job, run_all
from tracer.terminal import console
from tracer.toy.small_clip import shipped

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
HORIZONS = (100, 300, 1000, 3000)
MAIN_HORIZON = 300
SEEDS = (0, 1, 2)
PUBLISHED_MOMENTUM = 0.9
PUBLISHED, BEST = f"ema_distillation, momentum {PUBLISHED_MOMENTUM}", "ema_distillation, best momentum"
COMPARED = ("zero_shot", "flyp", PUBLISHED, BEST, "tracer")
MOMENTA = (PUBLISHED_MOMENTUM, 0.99, 0.997, 0.999)
TUNING_SEED = 100
TUNING_CHECKPOINT = "0"
TOLERATED_ID_LOSS = 0.01


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=Path, default=Path("runs/horizons"), help="folder of the single runs")
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("--horizons", type=int, nargs="+", default=HORIZONS)
    options.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="fine-tuning seeds")
    arguments = options.parse_args()
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for steps in arguments.horizons:
        momentum, candidates = best_momentum(arguments, steps)
        rows = labelled(_study(arguments, f"{steps} steps", horizon_jobs(arguments, steps, momentum)), momentum)
        results[str(steps)] = {
            "best_momentum": momentum,
            "validation": candidates,
            "table": {m: {n: i._asdict() for n, i in values.items()} for m, values in across_runs.summary(rows).items()},
            "rows": [_compact(row) for row in rows],
        }
        RESULTS.write_text(json.dumps(results) + "\n", encoding="utf-8")
    plotting.save(plotting.horizons({int(steps): _compared(result) for steps, result in results.items()}), HERE / "horizons")


def _compared(result: dict[str, Any]) -> dict[str, dict[str, Interval]]:
    return {m: {n: Interval(**i) for n, i in result["table"][m].items()} for m in COMPARED}


def horizon_jobs(arguments, steps: int, momentum: float) -> list[Job]:
    """The jobs of one horizon on the test suite."""
    others = ("l2_sp", "static_distillation") if steps == MAIN_HORIZON else ()
    methods: list[tuple[str, dict[str, Any]]] = [(method, {}) for method in ("flyp", "tracer", *others)]
    for m in dict.fromkeys((PUBLISHED_MOMENTUM, momentum)):
        methods.append(("ema_distillation", {"kernel": {"kind": "exponential", "momentum": m}}))

    def job(method: str, pretrained: str, seed: int, strategy: dict[str, Any]) -> Job:
        name = f"{method}-{strategy['kernel']['momentum']}" if strategy else method
        run = settings.configuration(
            method, pretrained, seed, arguments.runs / str(steps) / name, optimization={"total_steps": steps}, strategy=strategy
        )
        return Job(run, settings.WISE_FT_CURVE if method == "flyp" else ())

    seeded = [job(method, p, seed, strategy) for seed in arguments.seeds for p in shipped() for method, strategy in methods]
    return [*(job("zero_shot", p, 0, {}) for p in shipped()), *seeded]


def best_momentum(arguments, steps: int) -> tuple[float, dict[str, Any]]:
    """The momentum chosen on validation for a horizon, and what FLYP and each candidate scored there."""
    methods: dict[Any, tuple[str, dict[str, Any]]] = {"flyp": ("flyp", {})}
    methods |= {m: ("ema_distillation", {"kernel": {"kind": "exponential", "momentum": m}}) for m in MOMENTA}
    jobs = [
        Job(
            settings.configuration(
                method,
                TUNING_CHECKPOINT,
                TUNING_SEED,
                arguments.runs / "validation" / str(steps) / str(name),
                split="validation",
                optimization={"total_steps": steps},
                strategy=strategy,
            )
        )
        for name, (method, strategy) in methods.items()
    ]
    rows = dict(zip(methods, _study(arguments, f"{steps} steps, validation", jobs), strict=True))
    least_id = across_runs.measure(rows["flyp"], "ID") - TOLERATED_ID_LOSS
    fit = [m for m in MOMENTA if across_runs.measure(rows[m], "ID") >= least_id] or list(MOMENTA)
    scores = {str(name): {m: across_runs.measure(row, m) for m in across_runs.MEASURES} for name, row in rows.items()}
    return max(fit, key=lambda m: across_runs.measure(rows[m], "OOD")), scores


def _study(arguments, name: str, jobs: list[Job]) -> list[Row]:
    with console.progress(name, sum(job.steps for job in jobs)) as advance:
        return run_all(jobs, arguments.processes, advance)


def labelled(rows: list[Row], momentum: float) -> list[Row]:
    """Rows with their setting in the method's name; where the best momentum is the published one, those rows stand under both."""
    named = []
    for row in rows:
        method = row["method"]
        if method == "ema_distillation":
            methods = {PUBLISHED: PUBLISHED_MOMENTUM, BEST: momentum}
            named += [row | {"method": name} for name, m in methods.items() if row["kernel"]["momentum"] == m]
        else:
            named.append(row | {"method": f"wise_ft, {row['strength']}" if method == "wise_ft" else method})
    return named


def _compact(row: Row) -> dict[str, Any]:
    """A row without what only the pictures of a single run need."""
    gaps = {
        name: [round(line[name], 6) for line in row["metrics"] if name in line]
        for name in ("gap.student_teacher", "gap.student_anchor", "gap.batch_kl")
    }
    sets = {name: round(scores["accuracy"], 4) for name, scores in row["report"]["sets"].items()}
    measured = {name: round(across_runs.measure(row, name), 4) for name in across_runs.MEASURES}
    return {"method": row["method"], "pretrained": row["pretrained"], "seed": row["seed"], **measured, "sets": sets} | (
        {"gaps": gaps} if row["seed"] == 0 else {}
    )


if __name__ == "__main__":
    main()
