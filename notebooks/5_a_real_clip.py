# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 5 · What do the teachers do to a real CLIP?
#
# The theory is about one linear map. Here it meets a network that it was not made for: the embedded CLIP, a small ResNet and a
# transformer of open_clip's own kind (0.4 million weights), pretrained on captioned glyphs and shipped with the package. It is
# fine-tuned on handwritten digits with AdamW and a cosine schedule. What does each strategy gain and lose, do the gaps between
# teacher and student have the shapes that the theory gives them, and where in the network does the change go?
#
# Two kinds of evidence: runs of 30 steps that are made here, and the runs of 300 to 3000 steps of
# [experiments/demo](../experiments/demo/) and [experiments/horizons](../experiments/horizons/).

# %%
# %matplotlib inline
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tracer import plotting, schedules, theory, tracking
from tracer.averaging import Clock, Static
from tracer.demo import settings
from tracer.evaluation import across_runs, decay
from tracer.evaluation.displacement import relative_displacement
from tracer.evaluation.report import evaluate
from tracer.evaluation.summed_gaps import budget
from tracer.plotting import LOOKS, Curve, Panel, curves
from tracer.runs.fine_tune import fine_tune
from tracer.strategies import PRESETS
from tracer.toy import world

# %% [markdown]
# ## Runs of 30 steps
#
# The settings are the demonstration's, chosen on validation data, with fewer steps. FLYP's learning rate is 0.001, that of the
# others 0.0003; a fourth run is FLYP at 0.0003. The runs that have a teacher keep a checkpoint of every step, for a look at
# their books below.

# %%
STEPS = 30
SLOWER = "FLYP at 0.0003"
suite = world.suite("test")
reports, metrics, budgets, displacements = {}, {}, {}, {}


def fine_tune_here(name, method, optimization=None):
    """Run a method, and keep what is looked at below under a name."""
    kernel = PRESETS[method].kernel
    logged = {"log_every_steps": 1, "checkpoint_every_steps": 1 if kernel else STEPS, "keep_checkpoints": STEPS}
    with TemporaryDirectory() as folder:
        steps = {"total_steps": STEPS, **(optimization or {})}
        run = settings.configuration(method, "0", 0, Path(folder), optimization=steps)
        run = run.model_copy(update={**logged, "evaluation": None})
        result = fine_tune(run)
        reports[name] = evaluate(result.student, suite)
        metrics[name] = tracking.read(run.output / "metrics.jsonl")
        displacements[name] = relative_displacement(result.student.model, result.anchor)
        if kernel:
            budgets[name] = budget(run.output / "checkpoints", result.anchor, kernel, Clock(STEPS))


fine_tune_here("flyp", "flyp")

# %%
fine_tune_here(SLOWER, "flyp", {"learning_rate": 3e-4})

# %%
fine_tune_here("ema_distillation", "ema_distillation")

# %%
fine_tune_here("tracer", "tracer")

# %%
demo = json.loads(Path("../experiments/demo/results.json").read_text(encoding="utf-8"))["rows"]
reports = {"zero_shot": next(row["report"] for row in demo if row["method"] == "zero_shot"), **reports}
print(f"{'after 30 steps':24}" + "".join(f"{name:>12}" for name in across_runs.MEASURES))
for method, report in reports.items():
    values = [across_runs.measure({"report": report}, name) for name in across_runs.MEASURES]
    print(f"{LOOKS[method].label:24}" + "".join(f"{100 * value:12.1f}" for value in values))

# %% [markdown]
# Percent, on one pretrained model: a run says little about differences of a point or two.
#
# ## Task, shift and knowledge after 300 steps
#
# Accuracy on seven shifted versions of the task (OOD) and on what fine-tuning never shows, letters and colours (knowledge),
# against accuracy on the task (ID). Small points are runs from three pretrained models, large ones their means; the dashed
# curve is what WiSE-FT reaches by interpolating between the pretrained model and FLYP's.

# %%
plotting.trade_off(demo)

# %%
chosen = settings.CHOSEN["wise_ft"]["strategy"]["interpolation"]
at_chosen = [row for row in demo if row["method"] != "wise_ft" or row["strength"] == chosen]
summary = across_runs.summary(at_chosen)
print(f"{'after 300 steps':24}" + "".join(f"{name:>14}" for name in across_runs.MEASURES))
for method, measured in summary.items():
    print(f"{LOOKS[method].label:24}" + "".join(f"{100 * m:8.1f} ± {100 * half:3.1f}" for m, half in measured.values()))

# %% [markdown]
# Mean ± half-width of the 95 % t interval over three pretrained models. Is the confidence right on shifted images? In a
# reliability diagram bars on the diagonal mean that it is.

# %%
plotting.reliability(at_chosen)

# %% [markdown]
# ## The teachers' books
#
# For any loss, network and optimiser an update moves the teacher by $r_n$ times what it lags behind, so that
#
# $$\sum_{n}\frac{r_n}{1-r_n}\,(W_n-\bar W_n) = \bar W_T - W_0 .$$
#
# For an EMA it makes the sum of all gaps $m/(1-m)$ times the way the teacher went: 9 times for momentum 0.9, at any length of
# the run. A Beta kernel has no such number; it grows with the run. Both sides, from the 30 checkpoints of each run (in float32,
# norms over all weights):

# %%
print(f"{'':20}{'teacher went':>14}{'sides differ by':>18}{'|sum of gaps|':>16}{'over the way':>15}")
for method, found in budgets.items():
    print(
        f"{LOOKS[method].label:20}{found.travelled:14.4f}{found.mismatch:18.1e}{found.summed_gap:16.3f}"
        f"{found.summed_gap / found.travelled:15.4f}"
    )

# %% [markdown]
# ## The gap, step by step
#
# On the left the distance of student and teacher, in the middle the same as a share of the student's distance from the
# pretrained weights, on the right what teacher and student disagree about on the batch.

# %%
panels = []
for title, ylabel, gap in (
    ("distance", "|W - teacher|", lambda m: m["gap.student_teacher"]),
    ("share of the student's way", "|W - teacher| / |W - W₀|", lambda m: m["gap.student_teacher"] / m["gap.student_anchor"]),
    ("disagreement", "KL(teacher || student), nats", lambda m: m["gap.batch_kl"]),
):
    lines = []
    for method in budgets:
        logged = [line for line in metrics[method] if line["gap.student_anchor"] > 0]
        lines.append(Curve(method, [line["step"] for line in logged], [gap(line) for line in logged]))
    panels.append(Panel(title, "step", ylabel, lines, "y", legend=not panels))
curves(panels)

# %% [markdown]
# ## The shapes of the gaps, measured and predicted
#
# The same share at three lengths of the run, from [experiments/horizons](../experiments/horizons/) (mean of three pretrained
# models), beside the theory's for a linear problem with a spectrum of four decades, with the same kernels, strengths, numbers
# of steps and schedule, at half the largest stable step size. Nothing in it was fitted to the runs.

# %%
horizons = json.loads(Path("../experiments/horizons/results.json").read_text(encoding="utf-8"))
methods = {"tracer": "tracer", "ema_distillation": "ema_distillation, momentum 0.9"}
lines = {"300": ":", "1000": "--", "3000": "-"}
start = 0.3 * np.random.default_rng([0, 1]).standard_normal((16, 64))
problem = theory.Population.named("decades", 64, 16, seed=0).problem(start)
measured, predicted = {}, {}
for method, row_name in methods.items():
    strength = settings.CHOSEN[method]["strategy"]["strength"]
    strategy = theory.Distillation(strength, PRESETS[method].kernel)
    learning_rate = 0.5 * theory.max_learning_rate(problem, theory.Distillation(strength, Static()))
    for horizon in lines:
        steps = int(horizon)
        logged = [row["gaps"] for row in horizons[horizon]["rows"] if row["method"] == row_name and "gaps" in row]
        share = np.mean([np.divide(g["gap.student_teacher"], g["gap.student_anchor"]) for g in logged], axis=0)
        measured[method, horizon] = np.linspace(0, steps, len(share) + 1)[1:], share
        path = theory.gradient_descent(
            problem, strategy, learning_rate=learning_rate, steps=steps, schedule=schedules.cosine(steps)
        )
        times = measured[method, horizon][0].astype(int)
        way = path.weights(times) - problem.initial_weights
        predicted[method, horizon] = times, path.gap_norm(times) / np.linalg.norm(way, axis=(1, 2))

panels = []
for title, shares in (("measured on the embedded CLIP", measured), ("predicted for a linear problem", predicted)):
    drawn = [
        Curve(method, times / int(horizon), np.maximum(share, 1e-5), f"{LOOKS[method].label}, {horizon} steps", lines[horizon])
        for (method, horizon), (times, share) in shares.items()
    ]
    panels.append(Panel(title, "progress of the run", "gap / distance from the start", drawn, "y", legend=not panels))
curves(panels)

# %% [markdown]
# Which shape fits better between 10 and 90 % of a run? *Rate x steps* is by how much an exponential falls over the whole run,
# in natural logarithms, *exponent* that of a power law; *off by* is the root-mean-square deviation of the logarithm, 0.1 being
# about a tenth of the gap.

# %%
print(f"{'':42}{'rate x steps':>12}{'off by':>8}{'exponent':>10}{'off by':>8}")
at_half: dict = {}
for source, shares in (("measured", measured), ("predicted", predicted)):
    for (method, horizon), (times, share) in shares.items():
        steps = int(horizon)
        middle = (times >= 0.1 * steps) & (times <= 0.9 * steps)
        fits = decay.exponential(times[middle], share[middle]), decay.power_law(times[middle], share[middle])
        print(
            f"{source:10} {LOOKS[method].label:17} {steps:5} steps  {fits[0].rate * steps:12.2f}{fits[0].deviation:8.2f}"
            f"{fits[1].rate:10.2f}{fits[1].deviation:8.2f}"
        )
        at_half.setdefault((source, method), []).append((steps, share[len(share) // 2 - 1]))
print()
for (source, method), points in at_half.items():
    exponent = decay.power_law(*np.array(points).T).rate
    shares = ", ".join(f"{share:.4f}" for _, share in points)
    print(f"{source:10}{LOOKS[method].label:17} half-way at 300, 1000, 3000 steps: {shares}; falls like steps^-{exponent:.2f}")

# %% [markdown]
# ## Where the change went
#
# How far each block's weights are from the pretrained ones, relative to their norm, after the 30 steps above; in the order of
# the model's parameters, those without `visual` being the text tower's. All three runs have the learning rate 0.0003.

# %%
compared = {"flyp": displacements[SLOWER], **{method: displacements[method] for method in budgets}}
plotting.displacement(compared)

# %%
print(f"{'changed, %':26}" + "".join(f"{LOOKS[method].label:>20}" for method in compared))
for name in sorted(compared["flyp"], key=lambda name: -compared["flyp"][name])[:8]:
    print(f"{name:26}" + "".join(f"{100 * moved[name]:20.2f}" for moved in compared.values()))
towers = {
    "image tower": [name for name in compared["flyp"] if name.startswith("visual")],
    "text tower": [name for name in compared["flyp"] if not name.startswith(("visual", "logit_scale"))],
}
for method in budgets:
    for tower, blocks in towers.items():
        shares = [compared[method][name] / compared["flyp"][name] for name in blocks]
        print(
            f"{LOOKS[method].label:17} {tower}: {min(shares):.2f} to {max(shares):.2f} times what FLYP changed, "
            f"median {np.median(shares):.2f}"
        )

# %% [markdown]
# ## What to read in it
#
# - Plain fine-tuning gains 14 points of ID accuracy in 300 steps and loses 19 of OOD accuracy and 25 of knowledge. TRACER gains
#   12 and loses 0.5 and 2.0. Static and EMA distillation and WiSE-FT come close; three pretrained models do not tell all of
#   them apart. WiSE-FT's curve passes within half a point of TRACER's OOD accuracy at the same ID; in knowledge TRACER and EMA
#   lie above the curve (95.4 against 93.4 at the same ID).
# - Much of FLYP's loss is its learning rate, which was chosen by ID accuracy: with that of the others it has lost 1 point of
#   OOD accuracy after 30 steps and not 9, at the same ID.
# - Confidence under shift: FLYP's ECE is 20.1 against the pretrained model's 4.3, its answers far less often right than it
#   says. TRACER's is 4.7.
# - The books balance: both sides of the identity agree to about $10^{-5}$ of the way, which is float32, and the EMA's
#   gaps sum to 9.000 times its teacher's way.
# - The order of the gaps is the theory's, and so is the way they change with the length of the run: half-way, EMA's share falls
#   like steps to the -0.73 and TRACER's to the -0.07 (predicted -1.25 and 0.00). Levels are near for a problem that was not
#   fitted (at 300 steps 0.042 against 0.041 for EMA, 0.60 against 0.47 for TRACER) except for EMA in long runs, whose measured
#   gap is up to four times the predicted one. The theory has no mini-batch noise, and its spectrum is a guess; which of the two
#   it is was not tested.
# - Within a run neither shape is pure. EMA's gap is nearer to an exponential (off by 0.12 to 0.20) than to a power law (0.30 to
#   0.38), but its rate is nearly the same per run, not per step, at all three lengths: what is fitted follows the schedule,
#   after a collapse that takes some tens of steps. TRACER's share falls so little that both fit it, the exponential a little
#   better, as for its prediction, where the schedule and the end of the kernel bend the power law.
# - At one learning rate, teachers hold the image tower back (to about half of FLYP's change for EMA and 0.7 for TRACER)
#   and not the text tower, which moves as much as FLYP's. This is one run each, of 30 steps, and strengths differ (30
#   for EMA, 0.9 for TRACER).
