"""Choose each strategy's setting on the validation suite. Writes results.json beside this file.

FLYP gets the learning rate with the highest ID accuracy. Every other strategy gets, by one rule, the learning rate and strength
with the highest mean OOD accuracy among those whose ID accuracy is at most one point below FLYP's; WiSE-FT interpolates FLYP's own
run, so that its strength is the coefficient. All are measured on the validation suite, as means over the shipped checkpoints and
one fine-tuning seed that no test result uses.
"""

import argparse
import json
from pathlib import Path

from tracer.demo import settings
from tracer.evaluation import across_runs
from tracer.evaluation.across_runs import Row
from tracer.runs.jobs import Job, run_all
from tracer.terminal import console
from tracer.toy.small_clip import shipped

HERE = Path(__file__).parent
STEPS = 300
SEED = 100
LEARNING_RATES = (1e-4, 3e-4, 1e-3, 3e-3)
OTHERS_LEARNING_RATES = (3e-4, 1e-3)
MOVING_TEACHER_STRENGTHS = (0.9, 3.0, 10.0, 30.0)
STRENGTHS = {
    "l2_sp": (0.003, 0.03, 0.3, 1.0, 3.0),
    "tracer": MOVING_TEACHER_STRENGTHS,
    "ema_distillation": MOVING_TEACHER_STRENGTHS,
    "static_distillation": (0.1, 0.3, 0.9),
}
INTERPOLATIONS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
TOLERATED_ID_LOSS = 0.01


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=Path, default=Path("runs/tuning"), help="folder of the single runs")
    options.add_argument("--processes", type=int, default=2)
    arguments = options.parse_args()

    rates = {
        rate: _runs(arguments, "flyp", f"flyp-rate-{rate}", learning_rate=rate, interpolations=INTERPOLATIONS)
        for rate in LEARNING_RATES
    }
    best_rate = max(rates, key=lambda rate: _mean([row for row in rates[rate] if row["method"] == "flyp"], "ID"))
    flyp = [row for row in rates[best_rate] if row["method"] == "flyp"]
    least_id = _mean(flyp, "ID") - TOLERATED_ID_LOSS
    candidates = {
        method: {
            (rate, strength): _runs(arguments, method, f"{method}-rate-{rate}-{strength}", rate, strength=strength)
            for rate in OTHERS_LEARNING_RATES
            for strength in strengths
        }
        for method, strengths in STRENGTHS.items()
    }
    candidates["wise_ft"] = {
        (best_rate, c): [row for row in rates[best_rate] if row["method"] == "wise_ft" and row["strength"] == c]
        for c in INTERPOLATIONS
    }
    results = {
        "flyp": {"candidates": [_scored(rows, learning_rate=rate) for rate, rows in rates.items()], "chosen": best_rate},
        **{method: _choice(settings, least_id) for method, settings in candidates.items()},
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    console.console.print({name: result["chosen"] for name, result in results.items()})


def _runs(arguments, method: str, name: str, learning_rate: float, interpolations=(), **strategy) -> list[Row]:
    optimization = {"total_steps": STEPS, "learning_rate": learning_rate}
    runs = [
        settings.configuration(
            method,
            pretrained,
            SEED,
            arguments.runs / name,
            split="validation",
            optimization=optimization,
            strategy=strategy,
        )
        for pretrained in shipped()
    ]
    jobs = [Job(run, interpolations) for run in runs]
    with console.progress(name, sum(job.steps for job in jobs)) as advance:
        return run_all(jobs, arguments.processes, advance)


def _choice(settings: dict[tuple[float, float], list[Row]], least_id: float) -> dict:
    """The chosen one of some settings (learning rate, strength), and what each of them scored."""
    fit = [setting for setting, rows in settings.items() if _mean(rows, "ID") >= least_id] or list(settings)
    chosen = max(fit, key=lambda setting: _mean(settings[setting], "OOD"))
    candidates = [_scored(rows, learning_rate=rate, strength=strength) for (rate, strength), rows in settings.items()]
    return {"candidates": candidates, "chosen": dict(zip(("learning_rate", "strength"), chosen, strict=True))}


def _scored(rows: list[Row], **setting: float) -> dict[str, float]:
    own = [row for row in rows if row["method"] != "wise_ft"] or rows
    return setting | {name: round(_mean(own, name), 4) for name in across_runs.MEASURES}


def _mean(rows: list[Row], measure: str) -> float:
    return sum(across_runs.measure(row, measure) for row in rows) / len(rows)


if __name__ == "__main__":
    main()
