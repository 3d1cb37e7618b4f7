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
# # 4 · Is a WMA teacher a well-tuned EMA?
#
# A teacher that is an exponential moving average (EMA) of the student catches up with it; a weighted moving average (WMA) over
# the whole run, such as TRACER's Beta(½, ½), stays behind. That compares one EMA with one WMA. The fair question is what is
# left of the difference when the momentum may be chosen: for the same run, for the same error left at the end, for all modes of
# the data, and for runs of other lengths.
#
# Nothing is trained here. `tracer.theory` computes every run exactly, on the linearised loss, where eigenmodes of the data's
# second moment learn independently.

# %%
# %matplotlib inline
import json
from pathlib import Path

import numpy as np

from tracer import theory
from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static
from tracer.plotting import Curve, Panel, curves
from tracer.theory import design_rules
from tracer.theory.closed_forms import ema
from tracer.theory.design_rules import exponent_that_leaves, momentum_that_leaves

WMA = Beta(0.5, 0.5)
STEPS = 1000

# %% [markdown]
# ## One mode: a budget against a power law
#
# A mode of curvature $\sigma$ is held to the teacher, which adds the curvature $\ell$. The student's error is $u_t$, the
# teacher's $\bar u_t$, the gap $g_t = u_t - \bar u_t$, and the regularising force is proportional to it. For an EMA of
# momentum $m$ the gap falls geometrically in the end, and its sum over all time is fixed by the momentum alone:
#
# $$\sum_t g_t = -\frac{m}{1-m}\,u_0 \qquad\text{whatever } \sigma, \ell \text{ and the step size } \eta.$$

# %%
forever = np.arange(200_000)
print("momentum   sigma     l    sum of gaps      -m/(1-m)")
for momentum in (0.9, 0.99, 0.999):
    for curvature, teacher_curvature in ((1.0, 0.9), (0.1, 0.09), (0.1, 1.0)):
        total = ema.gap(curvature, teacher_curvature, 0.5, momentum, forever).sum()
        print(f"{momentum:8}  {curvature:6}{teacher_curvature:6}  {total:13.6f} {ema.budget(momentum):13.6f}")

# %% [markdown]
# Any teacher obeys the identity behind it, $\sum_n \frac{r_n}{1-r_n}(W_n - \bar W_n) = \bar W_T - W_0$: where the rate $r_n$ is
# constant, the gaps can sum to no more than the teacher has to travel. A WMA's rate falls, its gap falls only as $t^{-\kappa}$
# with $\kappa = \beta\sigma/(\sigma+\ell)$, and for $\kappa < 1$ its sum grows without bound, as $T^{1-\kappa}$. Below, one
# mode ($\sigma = 1$, $\ell = 0.9$, $\eta = 0.5$) over 10,000 steps. A gap is drawn down to $10^{-8}$ of the initial error: where a
# curve ends, the teacher has caught up.

# %%
one_mode = theory.Problem([[1.0]], [[1.0]], [[0.0]])
times = np.unique(np.geomspace(2, 10_000, 200).astype(int))
gap_curves, sum_curves = [], []
for strategy, kernel, label, line in (
    ("ema_distillation", Exponential(0.9), "EMA, momentum 0.9", "-"),
    ("ema_distillation", Exponential(0.99), "0.99", "--"),
    ("ema_distillation", Exponential(0.999), "0.999", ":"),
    ("tracer", PowerLaw(0.5), "power law ½", "--"),
    ("tracer", WMA, "Beta(½, ½) over 10,000 steps", "-"),
):
    path = theory.gradient_descent(one_mode, theory.Distillation(0.9, kernel), learning_rate=0.5, steps=10_000)
    gap_curves.append(Curve(strategy, times, np.abs(path.gap(times)).ravel(), label, line))
    sum_curves.append(Curve(strategy, times, np.abs(path.impulse(times)).ravel() / (0.9 * 0.5), label, line))
curves(
    [
        Panel(
            "the gap", "step", "gap / initial error", [c._replace(y=np.where(c.y < 1e-8, np.nan, c.y)) for c in gap_curves], "xy"
        ),
        Panel("the gaps so far, summed", "step", "sum of gaps / initial error", sum_curves, "xy", legend=False),
    ]
)

# %% [markdown]
# The usual momenta spend their budgets within tens to thousands of steps. But momentum 0.999 also shows the catch: while
# $1/(1-m)$ is comparable to the run, an EMA persists as well, with a larger gap than the WMA.
#
# ## Matching the two
#
# A momentum can be matched to Beta(½, ½) in several ways: by the mean age of what the teacher averages, by the sum of gaps, by
# the residual, which is the share of the initial task error that is left at the end. The problem: 64 features whose second
# moment has eigenvalues evenly spread over four decades, half the largest stable step size, 1000 steps. The *impulse* is the
# norm of the regularising force, summed over the run, each step's times its learning rate. The *data metric* pulls the
# embeddings of the training images together ($\ell_j = \lambda s_j$, $\lambda = 0.9$), the *parameter metric* the weights
# ($\ell_j = \lambda = 0.01$).

# %%
STRENGTHS = {"data": 0.9, "parameter": 0.01}
start = 0.3 * np.random.default_rng([0, 1]).standard_normal((16, 64))
problem = theory.Population.named("decades", 64, 16, seed=0).problem(start)
runs = {}
for metric, strength in STRENGTHS.items():
    stable = theory.max_learning_rate(problem, theory.Distillation(strength, Static(), metric))
    runs[metric] = {"learning_rate": 0.5 * stable, "steps": STEPS}

matched = {}
print("metric     matched by              momentum   (1 - m) x steps   residual   impulse / WMA's")
for metric, run in runs.items():
    strength = STRENGTHS[metric]
    own = design_rules.measure(problem, theory.Distillation(strength, WMA, metric), **run)
    print(f"{metric:9}  {'(WMA itself)':38}{'':12}{own.residual:9.3f}{1:12.2f}")
    teacher_curvatures = strength * (problem.curvatures if metric == "data" else np.ones(64))
    rules = {"mean age": design_rules.momentum_of_equal_mean_age(WMA, Clock(STEPS))}
    for name, mode in (("budget, fastest mode", 0), ("budget, middle mode", 32)):
        rules[name] = design_rules.momentum_of_equal_budget(
            WMA,
            Clock(STEPS),
            curvature=problem.curvatures[mode],
            teacher_curvature=teacher_curvatures[mode],
            learning_rate=run["learning_rate"],
        )
    rules["residual"] = design_rules.momentum_of_equal_residual(problem, theory.Distillation(strength, WMA, metric), **run)
    for name, momentum in rules.items():
        point = design_rules.measure(problem, theory.Distillation(strength, Exponential(momentum), metric), **run)
        matched[metric, name] = point
        print(
            f"{metric:9}  {name:22}{momentum:10.5f}{(1 - momentum) * STEPS:18.2f}"
            f"{point.residual:11.3f}{point.impulse / own.impulse:12.2f}"
        )

# %% [markdown]
# ## At equal residual
#
# A larger impulse costs residual. Each curve is all that one family of teachers can offer: EMAs of every momentum, power laws
# of every exponent. A family is better where its curve lies higher: more impulse for the same residual.

# %%
panels, ahead = [], {}
for metric, run in runs.items():
    setting = {"strength": STRENGTHS[metric], "metric": metric, **run}
    static, beta = design_rules.frontier(problem, [Static(), WMA], **setting)
    families = {
        "ema_distillation": [Exponential(1 - rate) for rate in np.geomspace(1e-6, 1, 40)],
        "tracer": [PowerLaw(exponent) for exponent in np.geomspace(0.01, 100, 40)],
    }
    names = {"ema_distillation": "EMA, any momentum", "tracer": "power law, any exponent"}
    points = {
        family: np.array([[p.residual, p.impulse / static.impulse] for p in design_rules.frontier(problem, kernels, **setting)])
        for family, kernels in families.items()
    }
    by_age = matched[metric, "mean age"]
    panels.append(
        Panel(
            f"{metric} metric, {STEPS} steps",
            "residual task error",
            "impulse / static teacher's",
            [
                *(Curve(family, *points[family].T, names[family]) for family in families),
                Curve("tracer", [beta.residual], [beta.impulse / static.impulse], "Beta(½, ½)", "o"),
                Curve("ema_distillation", [by_age.residual], [by_age.impulse / static.impulse], "EMA of the same mean age", "^"),
            ],
        )
    )
    inside = np.linspace(points["tracer"][:, 0].min(), points["tracer"][:, 0].max(), 100)[5:-5]
    ema_impulse, wma_impulse = (np.interp(inside, *points[family][np.argsort(points[family][:, 0])].T) for family in families)
    ahead[metric] = ema_impulse / wma_impulse
for metric, ratio in ahead.items():
    print(f"{metric} metric: at equal residual the EMA's impulse is {ratio.min():.2f} to {ratio.max():.2f} times the power law's")
curves(panels)

# %% [markdown]
# The same over five random problems and four horizons, as computed by [experiments/frontier](../experiments/frontier/): the
# impulse of the EMA that leaves what Beta(½, ½) leaves, over Beta's, and that EMA's $(1-m)\times$ steps (95 % intervals over
# the problems).

# %%
committed = json.loads(Path("../experiments/frontier/results.json").read_text(encoding="utf-8"))
print("metric      steps   EMA's impulse / WMA's   EMA's (1 - m) x steps")
for cell in committed["equal_residual"]:
    ratio, memory = cell["beta 0.5"]["impulse_ratio"], cell["beta 0.5"]["memory"]
    print(
        f"{cell['metric']:10}{cell['steps']:7}{ratio['mean']:12.2f} ± {ratio['half_width']:.2f}"
        f"{memory['mean']:18.2f} ± {memory['half_width']:.2f}"
    )

# %% [markdown]
# ## Can one setting serve every mode?
#
# Ask of each mode: which momentum leaves half of the error that the static teacher leaves, and which exponent of a power law
# does? With $q_j = \sigma_j/(\sigma_j+\ell_j)$, an EMA of long memory leaves about $e^{-q_j(1-m)T}$ of it, a power law about
# $(\eta(\sigma_j+\ell_j)T)^{-\beta q_j}$. In the data metric all $q_j$ are the same number $\rho/(\rho+\lambda)$, in the
# parameter metric $q_j$ falls towards 0 with the eigenvalue. Here $\lambda = 0.9$ and $0.1$, and 3000 steps.

# %%
spectrum = np.logspace(0, -3, 9)
metrics = {"data": (0.9 * spectrum, 0.5), "parameter": (np.full(9, 0.1), 0.9)}
memory_curves, exponent_curves = [], []
for metric, (teacher_curvatures, learning_rate) in metrics.items():
    momenta = momentum_that_leaves(0.5, spectrum, teacher_curvatures, learning_rate, 3000)
    exponents = exponent_that_leaves(0.5, spectrum, teacher_curvatures, learning_rate, 3000)
    memory, line = (1 - momenta) * 3000, "o-" if metric == "data" else "o--"
    memory_curves.append(Curve("ema_distillation", spectrum, memory, f"{metric} metric", line))
    exponent_curves.append(Curve("tracer", spectrum, exponents, f"{metric} metric", line))
    fast = spectrum >= 0.01
    for name, values in (("EMA, 1 - m", memory), ("power law, exponent", exponents)):
        spread = values.max() / values.min(), values[fast].max() / values[fast].min()
        print(f"{metric:9} metric   {name:20} largest / smallest: {spread[0]:6.1f}   above 0.01: {spread[1]:5.2f}")
curves(
    [
        Panel("the EMA that halves a mode's error", "eigenvalue", "(1 - m) x steps", memory_curves, "xy"),
        Panel("the power law that halves it", "eigenvalue", "exponent", exponent_curves, "xy"),
    ]
)

# %% [markdown]
# ## When the horizon changes
#
# Settings are chosen at 1000 steps (the EMA's to leave what Beta(½, ½) leaves) and kept at other lengths of the run; data
# metric, [experiments/frontier](../experiments/frontier/), mean of five problems. Beta and the EMA with a time constant are
# defined relative to the run, the momentum is not.

# %%
cells = [cell for cell in committed["fixed_settings"] if cell["metric"] == "data"]
horizons = [cell["steps"] for cell in cells]
kept = {
    "static": ("static_distillation", "static", "-"),
    "beta 0.5": ("tracer", "Beta(½, ½)", "o-"),
    "ema, momentum kept": ("ema_distillation", "EMA, momentum kept", "o-"),
    "ema, time constant kept": ("ema_distillation", "EMA, time constant kept", "o--"),
}
panels = []
for measured, label in (("residual", "residual task error"), ("impulse", "impulse / static teacher's")):
    lines = {name: [cell[name][measured]["mean"] for cell in cells] for name in kept}
    drawn = [Curve(strategy, horizons, lines[name], label_of, line) for name, (strategy, label_of, line) in kept.items()]
    panels.append(Panel("settings kept", "steps of the run", label, drawn, "xy", legend=measured == "residual"))
    for name, values in lines.items():
        print(f"{measured:9} {name:24}", "  ".join(f"{steps}: {value:.3f}" for steps, value in zip(horizons, values, strict=True)))
curves(panels)

# %% [markdown]
# ## What to read in it
#
# - The budget is what the theory says: whatever the mode, an EMA's gaps sum to $-m/(1-m)$, and with momentum 0.9 the gap is
#   gone after some hundreds of steps. A WMA's sum still grows at step 10,000. Momentum 0.999, whose memory is a tenth of that
#   run, has the larger gap for its first two fifths.
# - Matching by mean age or by the budget of one mode is not a fair match: the EMAs so chosen leave other residuals, and each
#   mode asks for another budget ($(1-m)\times$ steps of 8.9 for the fastest mode and 3.8 for the middle one, in the metric of
#   the data).
# - At equal residual the answer does not flatter WMA: in both metrics the EMA applies more impulse than the power law
#   everywhere on the curve, 1.04 to 13 times as much in the metric of the data and 1.06 to 1.37 in the parameters'. Against
#   Beta(½, ½) it is 1.7 to 3.7 and 1.2 to 1.3 times, growing with the run. By this measure a WMA is not just a tuned EMA: the
#   tuned EMA is the better regulariser.
# - The EMA that does so has $(1-m)\times$ steps between 1.8 and 2.9, a memory of a third to a half of the run. The usual
#   momenta are nowhere near.
# - One momentum serves all modes that the run has time to learn in the metric of the data: above an eigenvalue of 0.01 the
#   $1-m$ that halves the error varies by 7 %, the exponent that does by a factor of 2.2. In the parameter metric no momentum
#   does (a factor of 7.9), and no exponent either (12).
# - A momentum that is kept while the run gets longer loses its impulse, from 0.55 of the static teacher's at 1000 steps to 0.07
#   at 10,000; Beta's falls from 0.25 to 0.14, and an EMA whose time constant is a share of the run holds 0.55. So what WMA
#   spares is the retuning, and defining the EMA's memory relative to the run spares it too.
# - Impulse is one number for how hard a teacher pulled. Whether the pull keeps what should be kept, in a real network, is not
#   decided here; [experiments/horizons](../experiments/horizons/) has training runs with a retuned EMA.
