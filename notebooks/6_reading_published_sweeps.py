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
# # 6 · How much of the published sweeps does the theory explain?
#
# TRACER (arXiv 2605.29380) fine-tunes a CLIP ViT-B/16 on ImageNet and varies the strength $\lambda$ of the distillation, the
# shape $\beta$ of the teacher's Beta($\beta$, $\beta$) kernel and the period of its updates; it also reports how far teacher
# and student are apart during training. The figures stand in [experiments/published](../experiments/published/). None of these
# runs was repeated here.
#
# The theory knows a linear map, a linearised loss and plain gradient descent. It cannot say that some $\lambda$ gives 64 %. It
# can say in which order settings come and how curves bend, and it can be wrong about that, which is what this notebook looks
# at.

# %%
# %matplotlib inline
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from tracer import schedules, theory
from tracer.averaging import Beta, Clock, Exponential, Static
from tracer.config import loading
from tracer.plotting import Curve, Panel, curves
from tracer.runs import sweep
from tracer.theory.update_indexed import UpdateIndexed

PUBLISHED = Path("../experiments/published")
MEASURES = ("ID", "OOD", "OOD ECE")
published, settings = {}, {}
for name in ("strength", "beta", "update_period"):
    plan, points = sweep.load(PUBLISHED / f"{name}.yaml")
    rows = sorted((next(iter(row.at.values())), [row.percent[measure] for measure in MEASURES]) for row in plan.published)
    settings[name] = np.array([value for value, _ in rows])
    published[name] = dict(zip(MEASURES, np.array([percent for _, percent in rows]).T, strict=True))
    print(f"\n{name:14}" + "".join(f"{value:8g}" for value in settings[name]))
    for measure, percent in published[name].items():
        print(f"{measure:14}" + "".join(f"{value:8.2f}" for value in percent))
optimization = points[0].runs[0].optimization
print(f"\n{optimization.total_steps} steps, {optimization.schedule} schedule with {optimization.warmup_steps} steps of warm-up")

# %% [markdown]
# Percent; the ECE has 10 bins and is a mean over batches.
#
# ## What the theory predicts
#
# Two linear problems stand in for an unknown one: 64 features, second moments with eigenvalues $1/j$ (*power law*) and evenly
# spread over four decades (*decades*), distillation in the metric of the data, half the largest stable step size, and the
# published number of steps, schedule and kernels. The theory's $\lambda$ has not the unit of the published one: only its order
# counts.
#
# - *Adaptation* is the share of the initial task error that is gone at the end; the counterpart of ID accuracy.
# - *Change* is $|W - W_0|^2 / |W^* - W_0|^2$, how far the weights went, all directions alike, of the way to the task's optimum.
#   Less change leaves more of the pretrained model. In the metric of the data, what the task's inputs do not reach stays as it
#   is under any teacher, so that this is all the retention there is to predict.

# %%
STEPS, WARMUP = optimization.total_steps, optimization.warmup_steps
problems = {}
for spectrum in ("power_law", "decades"):
    start = 0.3 * np.random.default_rng([0, 1]).standard_normal((16, 64))
    problems[spectrum] = theory.Population.named(spectrum, 64, 16, seed=0).problem(start)


def predict(problem, kernel, strength=0.9, update_every=1, shorter=1):
    """The path of a run of a strategy in a problem, with the published schedule or all of it so many times shorter."""
    strategy, steps = theory.Distillation(strength, kernel), STEPS // shorter
    stable = theory.max_learning_rate(problem, theory.Distillation(strength, Static()))
    return theory.gradient_descent(
        problem,
        strategy,
        learning_rate=0.5 * stable,
        steps=steps,
        update_every=update_every,
        schedule=schedules.cosine(steps, WARMUP // shorter),
    )


def ends(path):
    """Adaptation and change at the end of a path."""
    start, end, target = path.problem.initial_weights, path.weights(path.horizon), theory.optimum(path.problem)
    return theory.describe(path.problem, end).adaptation, np.sum((end - start) ** 2) / np.sum((target - start) ** 2)


point_sampled = Beta(0.5, 0.5, weighting="pdf")
asked = {
    "strength": [(point_sampled, strength, 1, 5) for strength in settings["strength"]],
    "beta": [(Beta(beta, beta, weighting="pdf"), 0.9, 1, 5) for beta in settings["beta"]],
    "update_period": [(UpdateIndexed(point_sampled), 0.9, period) for period in settings["update_period"]],
    "by progress": [(Beta(0.5, 0.5), 0.9, period) for period in settings["update_period"]],
}
predicted = {
    (spectrum, name): np.array([ends(predict(problem, *setting)) for setting in asked[name]]).T
    for spectrum, problem in problems.items()
    for name in asked
    if (spectrum, name) != ("power_law", "by progress")
}

# %% [markdown]
# (Runs that vary $\lambda$ and $\beta$ are computed with a fifth of the steps, to save time.) On top the published figures, as
# changes from the leftmost setting; below, what the theory predicts.

# %%
labels = {"strength": "strength λ", "beta": "β of the kernel", "update_period": "update period, steps"}
panels = []
for name, label in labels.items():
    drawn = [
        Curve("tracer", settings[name], published[name][measure] - published[name][measure][0], measure, line)
        for measure, line in zip(MEASURES, ("o-", "s--", "^:"), strict=True)
    ]
    log = "" if name == "beta" else "x"
    panels.append(Panel("published", label, "points from the leftmost", drawn, log, legend=not panels))
for name, label in labels.items():
    drawn = [
        Curve("tracer", settings[name], predicted[spectrum, name][row], f"{quantity}, {spectrum}", line)
        for spectrum, markers in (("power_law", "o"), ("decades", "s"))
        for row, quantity, line in ((0, "adaptation", f"{markers}-"), (1, "change", f"{markers}:"))
    ]
    log = "" if name == "beta" else "x"
    panels.append(Panel("predicted", label, "share", drawn, log, legend=name == "beta"))
curves(panels, columns=3, height=3)

# %% [markdown]
# Rank correlations (Spearman) over the settings of a sweep, between the published figures and the predictions. 1 is the same
# order, -1 the opposite one; with six to fourteen settings only values near $\pm 1$ mean anything.


# %%
def monotone(values):
    """In which direction a sweep goes, and how many of its steps go that way."""
    up = np.sum(np.diff(values) > 0)
    down = np.sum(np.diff(values) < 0)
    return f"rises in {up} of {len(values) - 1} steps" if up >= down else f"falls in {down} of {len(values) - 1} steps"


for name in labels:
    print(f"\n{name}: " + "; ".join(f"{measure} {monotone(values)}" for measure, values in published[name].items()))
    for spectrum in problems:
        for row, quantity in enumerate(("adaptation", "change")):
            values = predicted[spectrum, name][row]
            ranks = [spearmanr(values, published[name][measure]).statistic for measure in MEASURES]
            shown = "".join(f"  {measure} {rank:5.2f}" for measure, rank in zip(MEASURES, ranks, strict=True))
            print(f"  {spectrum:10}{quantity:11} {monotone(values):24} ranks:{shown}")

# %% [markdown]
# ## The update period
#
# The published weights are indexed by the number of updates made and normalised by the number of steps, so that a long period
# also stretches the first part of the kernel over the whole run. This project's kernels follow progress. What that does to the
# teacher at the end of the run, with no theory beyond the kernel itself: the share of the pretrained model in it, and the mean
# age of what it averages, as a share of the run.

# %%
print(f"at period 1 both are one kernel: mean age {point_sampled.mean_age(Clock(STEPS)):.3f}\n")
print(f"{'':8}{'pretrained model':>22}{'mean age':>22}{'adaptation':>22}")
print(f"{'period':8}" + f"{'published':>12}{'progress':>10}" * 3)
for number, period in enumerate(settings["update_period"]):
    clock = Clock(STEPS, int(period))
    kernels = UpdateIndexed(point_sampled), Beta(0.5, 0.5)
    anchor, age = ([getattr(kernel, name)(clock) for kernel in kernels] for name in ("anchor_weight", "mean_age"))
    adaptation = [predicted["decades", name][0][number] for name in ("update_period", "by progress")]
    print(f"{period:<8}" + "".join(f"{theirs:12.3f}{ours:10.3f}" for theirs, ours in (anchor, age, adaptation)))

# %% [markdown]
# ## Teacher and student during training
#
# Published is the KL divergence of the batch softmax between teacher and student. A KL divergence is quadratic in a small
# difference of the logits, and these are linear in the weights; so to leading order it is proportional to the squared gap in
# the metric of the data, $\mathrm{tr}\,(W-\bar W)\Sigma(W-\bar W)^\top$. The factor is unknown: each spectrum gets one, the
# same for all curves and all times, by the geometric mean over the WMAs. The EMA has the published momentum, 0.05 to 0.9 over
# the first fifth of the run.

# %%
kl = loading.read(PUBLISHED / "teacher_student_kl.yaml")
progress = np.array(kl["progress_percent"]) / 100
warmed_up = Exponential(0.9, initial_momentum=0.05, warmup_progress=0.2)
teachers = {
    "EMA, every step": (warmed_up, 1),
    "EMA, every 500 steps": (warmed_up, 500),
    "WMA, beta 0.2": (Beta(0.2, 0.2, weighting="pdf"), 1),
    "WMA, beta 1.0": (Beta(1.0, 1.0, weighting="pdf"), 1),
    "WMA, beta 1.5": (Beta(1.5, 1.5, weighting="pdf"), 1),
    "WMA, beta 0.5, every 5 steps": (UpdateIndexed(point_sampled), 5),
    "WMA, beta 0.5, every 500 steps": (UpdateIndexed(point_sampled), 500),
}
measured = np.array([kl["kl_nats"][name] for name in teachers])
times = np.round(progress * STEPS).astype(int)
wma = np.array([name.startswith("WMA") for name in teachers])
squared_gaps = {}
for spectrum, problem in problems.items():
    gaps = [predict(problem, kernel, update_every=period).gap(times) for kernel, period in teachers.values()]
    squares = np.einsum("stkd,de,stke->st", np.array(gaps), problem.second_moment, np.array(gaps))
    squared_gaps[spectrum] = squares * np.exp(np.mean(np.log(measured[wma] / squares[wma])))

panels = []
for title, values in (("published", measured), *squared_gaps.items()):
    drawn = []
    for name, line, curve in zip(teachers, ("o-", "o--", "^-", "s-", "v-", "d--", "d:"), values, strict=True):
        strategy = "ema_distillation" if name.startswith("EMA") else "tracer"
        drawn.append(Curve(strategy, progress, np.maximum(curve, 1e-5), name, line))
    ylabel = "KL, nats" if title == "published" else "squared gap, scaled"
    panels.append(Panel(title if title == "published" else f"predicted, {title}", "progress", ylabel, drawn, "y"))
curves(panels, height=3.8, legend_below=True)

# %% [markdown]
# (Values below $10^{-5}$ are drawn there.)

# %%
falls = np.log(measured[:, 0] / measured[:, -1])
print(f"{'':32}{'published':>10}" + "".join(f"{spectrum:>12}" for spectrum in problems) + "    ln(first / last)")
for number, name in enumerate(teachers):
    predicted_falls = [np.log(values[number, 0] / values[number, -1]) for values in squared_gaps.values()]
    print(f"{name:32}{falls[number]:10.2f}" + "".join(f"{fall:12.2f}" for fall in predicted_falls))
for spectrum, values in squared_gaps.items():
    every = spearmanr(values.ravel(), measured.ravel()).statistic
    at_each = [spearmanr(values[:, t], measured[:, t]).statistic for t in range(len(times))]
    among_wma = [spearmanr(values[wma][:, t], measured[wma][:, t]).statistic for t in range(len(times))]
    off = np.sqrt(np.mean(np.log10(values / measured) ** 2, axis=1))
    print(f"\n{spectrum}: rank correlation over all {measured.size} values {every:.2f}")
    print("  of the teachers at each time:   " + "  ".join(f"{rank:5.2f}" for rank in at_each))
    print("  of the five WMAs at each time:  " + "  ".join(f"{rank:5.2f}" for rank in among_wma))
    print("  root-mean-square error, decades:")
    print("".join(f"    {name:32}{error:6.2f}\n" for name, error in zip(teachers, off, strict=True)), end="")
peaks = {"published": measured[0], **{spectrum: values[0] for spectrum, values in squared_gaps.items()}}
print("\nEMA, every step, is largest at a progress of", ", ".join(f"{progress[np.argmax(v)]:g} ({n})" for n, v in peaks.items()))

# %% [markdown]
# ## What to read in it
#
# - ID accuracy has the order of the predicted adaptation: rank correlations of 0.97 over $\lambda$, 0.94 over $\beta$, and 0.98
#   over the period. The sizes are not comparable: at $\lambda = 10$ adaptation more than halves and accuracy falls by 2.7.
# - OOD accuracy over $\beta$ has exactly the order of the change, reversed: the longer the teacher remembers, the less the
#   weights move and the better the model stands shift. Over $\lambda$ that holds up to 1.5 only. Beyond, the weights move still
#   less and OOD accuracy falls again. The theory orders change and adaptation; it has an optimum between them only if it is
#   told where the ideal for the shifted data lies, so the optimum at $\lambda = 1.5$ is not its prediction. Over the period OOD
#   accuracy moves by 0.24 points in all, without the predicted order.
# - Calibration under shift also follows the change (0.92 over $\lambda$, 1.00 over $\beta$, 0.85 to 0.95 over the period), but
#   the theory knows no probabilities: it does not say why, nor that the ECE stops falling beyond $\lambda = 1.5$.
# - The update period: indexed as published, the teacher is older (mean age 0.64 to 0.66 against 0.50), nearly independently of
#   the period, and holds more of the pretrained model the longer the period is. The predicted adaptation falls with the period
#   under either indexing, by 0.042 as published and by 0.026 by progress. So most of the predicted fall is the teacher's
#   lateness, and the indexing adds to it; the published sweep cannot tell the two apart.
# - Teacher and student: over all 42 values the rank correlation is 0.92 and 0.93, and from a quarter to three quarters of the
#   run the seven teachers stand in the published order or within one exchange of it. With four decades of eigenvalues the WMAs
#   are off by 0.1 to 0.3 decades, with a single factor for five curves; with the power-law spectrum by up to 1.
# - Where it fails: the EMAs. Updated every 500 steps, the prediction is a decade too low; updated every step it is six decades
#   too low or far worse, where the published KL never falls below 0.0003. The early values (2 % of the run) have the worst
#   order. The prediction is full-batch gradient descent, without the noise of mini-batches and without AdamW; that either
#   accounts for this was not tested here.
# - The published KL of the EMA that is updated at every step is largest at a quarter of the run, soon after its momentum has
#   risen to 0.9. With four decades of eigenvalues so is the predicted one, far below it; with the power law it is not.
