# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 7 · What a replay pool holds
#
# **Question.** A model may be held to its teacher on any inputs without labels: the task's own, or a *pool* of others, which is
# called *replay*. Which should it be, and can one tell before training?
#
# What is to be kept are inputs that the task does not show. *Forgetting* is measured on them, by their second moment
# $\Sigma_o$: $F_o = \frac{1}{2}\mathrm{tr}((W - W_0)\Sigma_o(W - W_0)^\top)$. All weights are computed by `tracer.theory`.

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "dpi": 100}
import numpy as np

from tracer import theory
from tracer.averaging import Beta, Exponential, Static
from tracer.crosscheck import history, training
from tracer.plotting import fronts

# %% [markdown]
# ## A task, inputs to keep, and pools of them
#
# The task has 14 of 24 directions; the inputs to keep lie in 18 others, at random angles. The pools are samples of them. From
# features alone *coverage* tells what share of the inputs to keep a pool sees, and *kappa* how many times more may be forgotten
# on them than on the pool.

# %%
rng = np.random.default_rng(1)


def population(directions, weakest):
    strengths = np.where(np.arange(24) < directions, np.logspace(0, weakest, 24), 0.0)
    return theory.Population(strengths, np.linalg.qr(rng.standard_normal((24, 24)))[0], rng.standard_normal((6, 24)))


task, others = population(14, -2.0), population(18, -1.5)
learned = theory.Problem.from_pairs(*task.sample(1000), 0.5 * rng.standard_normal((6, 24)))
keep = theory.second_moment(others.sample(4000)[0])
pools = {size: theory.second_moment(others.sample(size)[0]) for size in (6, 12, 18, 40)}
for size, pool in pools.items():
    print(f"pool of {size:2}: coverage {theory.coverage(pool, keep):.2f}, kappa {theory.kappa(pool, keep):.1f}")

# %% [markdown]
# ## Forgetting against the task's loss
#
# On the left each line is a static teacher's, from weak to strong, by what it compares; on the right moving teachers of
# strength 1 go from zero-shot to the task's optimum. The dashed line, a static teacher on the inputs to keep themselves, is the
# Pareto front: no weights whatever lie below it.


# %%
def by_strength(metric):
    return np.stack([theory.limit(learned, theory.Distillation(s, Static(), metric)) for s in np.logspace(-3, 3, 60)])


def over_time(kernel, metric, steps=3000):
    path = theory.gradient_descent(learned, theory.Distillation(1.0, kernel, metric), learning_rate=0.3, steps=steps)
    return path.weights(np.unique(np.geomspace(1, steps, 80).astype(int)))


best = fronts.Line(by_strength(theory.Inputs(keep)), "black", "--", 2.0)
still = {
    "the task's own inputs": fronts.Line(by_strength("data"), "#56B4E9"),
    "weights (L2-SP)": fronts.Line(by_strength("parameter"), "#999999"),
}
for (size, pool), shade in zip(pools.items(), ("#d8b4d8", "#b97bb9", "#8e4a8e", "#4b1f4b"), strict=True):
    still[f"pool of {size}, coverage {theory.coverage(pool, keep):.2f}"] = fronts.Line(by_strength(theory.Inputs(pool)), shade)
still["the inputs to keep"] = best
moving = {"inputs to keep, static": best}
for name, kernel, color in (("EMA", Exponential(0.99), "#E69F00"), ("WMA", Beta(0.5, 0.5), "#0072B2")):
    moving[f"{name}, task's own inputs"] = fronts.Line(over_time(kernel, "data"), color)
    moving[f"{name}, pool of 40"] = fronts.Line(over_time(kernel, theory.Inputs(pools[40])), color, ":")
interpolated = np.stack([theory.limit(learned, theory.WiSEFT(share)) for share in np.linspace(0, 1, 50)])
moving["WiSE-FT"] = fronts.Line(interpolated, "#009E73")
fronts.fronts(learned, keep, {"static teachers, by strength": still, "moving teachers, over time": moving})

# %% [markdown]
# ## The bound, and the trainer
#
# Where static distillation of strength 1 ends, at most a quarter of kappa times the loss's possible fall is forgotten
# (the claim `held-error`). The trainer, shown a pool, walks the way that the theory says.

# %%
held = theory.Distillation(1.0, Beta(0.5, 0.5), theory.Inputs(pools[40]))
stepping = {"learning_rate": 0.3, "steps": 300}
predicted = theory.gradient_descent(learned, held, **stepping).student(np.arange(301))
trained = training.train(learned, held, **stepping).student
print(f"theory and trainer, pool of 40: {history.deviation(predicted, trained):.0e} apart")
start = learned.initial_weights
print(f"FLYP: forgotten {theory.forgetting(theory.optimum(learned), start, keep):.1f}")
for size, pool in pools.items():
    end = theory.limit(learned, theory.Distillation(1.0, Static(), theory.Inputs(pool)))
    bound = theory.kappa(pool, keep) * (learned.loss(start) - learned.loss(theory.optimum(learned))) / 4
    print(f"pool of {size:2}: forgotten {theory.forgetting(end, start, keep):.1f}, at most {bound:.1f}")

# %% [markdown]
# ## What to read in it
#
# - Which inputs are compared decides more than which teacher is. With a tenth of the loss left, a static teacher on the inputs to
#   keep leaves 0.12 of FLYP's forgetting and one on a pool of 40 of them 0.16; L2-SP leaves 0.39, the task's own inputs 0.47
#   with a static teacher, 0.44 with an EMA and 0.41 with a WMA. On the pool of 40 the moving ones leave 0.21 and 0.24.
# - A pool that does not cover what is to be kept costs more than it keeps: with 6 and with 12 images forgetting is 1.4 and more
#   than 2 times FLYP's, at any strength. Their kappa is infinite; coverage alone, 0.76 with 12, would not have told.
