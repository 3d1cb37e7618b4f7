# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1 · The two forces
#
# **Question.** A teacher that averages its student holds it back by a force proportional to the gap between the two. For
# how long does it pull, if the average is exponential (EMA), and if it is a weighted mean of the whole past (WMA)?
#
# In an eigendirection of the images' second moment with curvature $\sigma$, let $u_t$ be the student's distance to the
# task's optimum and $\bar u_t$ the teacher's. With step size $\eta$ and the teacher's curvature $\ell$ gradient descent is
#
# $$u_{t+1} = u_t - \eta\sigma u_t - \eta\ell\,(u_t - \bar u_t), \qquad \bar u_{t+1} = \bar u_t + r_{t+1}\,(u_{t+1} - \bar u_t),$$
#
# with $r = 1 - m$ for an EMA of momentum $m$, and $r_t = \beta/(\beta + t)$ for a power-law average. The gap is
# $g_t = u_t - \bar u_t$, the regularising force $\ell g_t$. Everything below is computed three times: by closed forms
# (`closed_forms.ema`, `closed_forms.wma`), by the recursion (`theory.gradient_descent`), and by the trainer that fine-tunes
# CLIP, here on a linear dual encoder in float64 (`crosscheck.training.train`).

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "dpi": 100}
import numpy as np

from tracer import theory
from tracer.averaging import Beta, Clock, Exponential, PowerLaw
from tracer.crosscheck import gaps, history, training
from tracer.plotting import forces
from tracer.theory.claims import claim

# %% [markdown]
# ## A problem and two teachers
#
# 64 image-text pairs with 8 features, whose eigenvalues fall like $1/j$. Both teachers pull with the same strength on every
# direction (`"parameter"`), so that the directions differ in their curvature alone.
#
# The WMA here is the power law, for which there are closed forms. TRACER's own weighted mean has the weights of a
# Beta(½, ½) distribution over the run. Early in the run its rate is the same $\beta/t$ with $\beta = \frac{1}{2}$; towards
# the end it is larger, because that distribution gives the last students more weight than the middle ones. Notebook 4 has
# both in one picture.

# %%
images, texts = theory.Population.named("power_law", features=8, embedding=4).sample(64)
problem = theory.Problem.from_pairs(images, texts, initial_weights=np.zeros((4, 8)))
ema, wma = theory.Distillation(0.9, Exponential(0.9), "parameter"), theory.Distillation(0.9, PowerLaw(0.5), "parameter")
stepping = {"learning_rate": 0.5 / (problem.curvatures[0] + 0.9), "steps": 300}
runs = [training.train(problem, distillation, **stepping) for distillation in (ema, wma)]
print("curvatures:", np.round(problem.curvatures, 3))

# %% [markdown]
# Lines are the closed forms, circles the recursion, crosses the trainer; the thin lines are the limit of small steps, which
# differs where a step is not small against the time over which the gap builds up. On the left an exponential is a straight
# line: that is the EMA. On the right a power law is one: that is the WMA.

# %%
forces.two_forces(problem, (ema, wma), **stepping, modes=(0, 2, 7), runs=runs)

# %%
for run, name in zip(runs, ("EMA", "WMA"), strict=True):
    early, late = 0.9 * gaps.modal_shares(problem, run.gaps[[10, 300]])[:, 0]
    print(f"{name}, stiffest direction: force {early:.3f} of the initial error at step 10, {late:.1e} at step 300")

# %% [markdown]
# ### Sliders
#
# The next cell lets you move strength, momentum, exponent, horizon and spectrum. It needs a running kernel and
# `ipywidgets`; without them, the picture above stays. (The trainer is left out here, for speed.)

# %%
try:
    import ipywidgets
except ImportError:
    print("the sliders need ipywidgets: pip install ipywidgets")
else:
    ipywidgets.interact(
        forces.explore_forces,
        strength=ipywidgets.FloatLogSlider(0.9, min=-2, max=1),
        momentum=ipywidgets.FloatSlider(0.9, min=0.0, max=0.999, step=0.001, readout_format=".3f"),
        beta=ipywidgets.FloatSlider(0.5, min=0.1, max=3.0, step=0.1),
        steps=ipywidgets.IntSlider(1000, min=100, max=20000, step=100),
        spectrum=["power_law", "isotropic", "decades", "spiked", "low_rank"],
    )

# %% [markdown]
# ## How fast
#
# The larger eigenvalue of student and EMA is $\theta_+$, and the gap falls like $\theta_+^t$. The gap to a power-law
# teacher falls like $t^{-\kappa}$:

# %%
for name in ("ema-collapse", "wma-persistence-exponent"):
    print(f"{claim(name).statement}\n    {claim(name).source}\n")

# %% [markdown]
# Both are measured on the trainer's gaps, in all eight directions, for two momenta and two exponents: the rate over the
# second half of the steps before the gap is lost in round-off, the exponent between the middle and the end of the run.

# %%
faster, flatter = theory.Distillation(0.9, Exponential(0.8), "parameter"), theory.Distillation(0.9, PowerLaw(1.0), "parameter")
collapsing = [(ema, runs[0]), (faster, training.train(problem, faster, **stepping))]
persisting = [(wma, runs[1]), (flatter, training.train(problem, flatter, **stepping))]
forces.decays(problem, collapsing, persisting, stepping["learning_rate"])

# %%
for distillation, run in collapsing:
    predicted, measured = gaps.rates(problem, distillation, run, stepping["learning_rate"])
    print(f"m = {distillation.kernel.momentum}: largest relative error of a rate {np.max(np.abs(measured / predicted - 1)):.1e}")
for distillation, run in persisting:
    predicted, measured = gaps.exponents(problem, distillation, run)
    print(f"beta = {distillation.kernel.beta}: largest error of an exponent {np.max(np.abs(measured - predicted)):.1e}")

# %% [markdown]
# ## A finite budget
#
# Summed over a run, the gap to an EMA is $m/(1-m)$ times the way that the teacher has come, in a long one $m/(1-m)$ times the
# initial error, whatever curvature, strength and step size: a budget that momentum alone sets. The gap to a WMA has none while
# $\kappa \leq 1$; its sum grows like $T^{1-\kappa}$ (like $\log T$ at $\kappa = 1$).

# %%
forces.budgets(problem, collapsing, persisting, modes=(0, 4, 7))

# %%
for distillation, run in (*collapsing, *persisting):
    spent = gaps.modal_shares(problem, run.gaps).sum(axis=0)
    print(f"{distillation.kernel.kind:12} gap summed up, by direction: {np.round(spent, 2)}")

# %% [markdown]
# ## An identity that needs no theory of the student
#
# For any teacher, any loss and any optimiser,
#
# $$\sum_t \frac{r_t}{1 - r_t}\,(W_t - \overline{W}_t) = \overline{W}_T - W_0.$$
#
# The last test therefore leaves the linearised loss: the trainer minimises CLIP's contrastive loss at a logit scale of 3,
# by SGD with momentum. Beside the identity's relative error stands that of the sum weighed by $r_t$ instead, which is what
# one might write down.

# %%
for kernel in (Exponential(0.9), PowerLaw(0.5), Beta(0.5, 0.5)):
    run = training.train(problem, theory.Distillation(0.9, kernel), learning_rate=0.2, steps=100, heavy_ball=0.5, logit_scale=3.0)
    moved = run.teacher[-1] - run.teacher[0]
    wrong = np.tensordot(kernel.rates(Clock(100), np.arange(1, 101)), run.gaps[1:], 1)
    error, null = (history.deviation(each, moved) for each in (gaps.summed_gaps(run, kernel), wrong))
    print(f"{kernel.kind:12} error {error:.0e}, weighed by r instead {null:.2f}")

# %% [markdown]
# ## What to read in it
#
# - Closed form, recursion and trainer lie on one another: crosses sit in circles, circles on lines, over six decades of
#   force.
# - The force of the EMA falls along straight lines in the left picture, geometrically: in the stiffest direction from 0.247
#   of the initial error at step 10 to $5\cdot10^{-7}$ at step 300. The trainer's rates agree with $-\ln\theta_+$ to
#   $3\cdot10^{-8}$ and better.
# - The force of the WMA falls along straight lines in the right picture, as a power of time: from 0.259 to 0.13 over the
#   same steps. The exponents between steps 150 and 300 are within 0.01 of $\kappa$ for $\beta = \frac{1}{2}$ and 0.02 for
#   $\beta = 1$; the slow directions are the furthest off, since $\kappa$ is reached only once $\eta(\sigma + \ell)t$ is
#   large.
# - The EMA spends the same budget, 9 or 4, in every direction that has had the time; in the slowest it has spent 7.84 of 9
#   after 300 steps. The WMA has spent more than 18 in every direction, and its sum still rises.
# - The identity holds to rounding with CLIP's own loss and SGD with momentum, where none of the closed forms does; weighed
#   by $r_t$ alone the sum is 7 to 10 % off.
#
# This is at one setting. An EMA whose momentum is tuned to the horizon persists for that horizon too: move the momentum to
# 0.99 and compare.
