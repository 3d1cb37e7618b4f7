# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2 · The geometry of forgetting
#
# **Question.** Fine-tuning moves weights. Which part of the move is the task, which part is forgetting, and what does each
# strategy do to either?
#
# The features of the task's images span the *task subspace*. Weights split into a part there and a part in its orthogonal
# complement, $W = WP + WQ$; the task's loss sees only the first, and whatever the model knew about other inputs is in both.
# All paths are computed by `theory.gradient_descent`; markers are runs of the trainer (`crosscheck.training.train`) on a linear
# dual encoder.

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "dpi": 100}
import numpy as np
from IPython.display import HTML

from tracer import theory
from tracer.averaging import Beta, Exponential, Static
from tracer.crosscheck import gaps, training
from tracer.plotting import plane

# %% [markdown]
# ## A task with two directions, and one that it never shows
#
# Four images in three dimensions: the first direction is four times as strong as the second (eigenvalues 1 and 1/4), the
# third is empty. The texts are a linear function of the images, so that the task's optimum $W^*$ is (1, -1) in the first
# two directions. What the pretrained weights hold in the third, the task neither needs nor shows.

# %%
images = np.array([[1.0, 0.5, 0.0], [-1.0, 0.5, 0.0], [1.0, -0.5, 0.0], [-1.0, -0.5, 0.0]])
texts = images @ [[1.0], [-1.0], [0.0]]
pretrained = np.array([[0.2, 0.6, 1.0]])
problem = theory.Problem.from_pairs(images, texts, pretrained)
print("eigenvalues", problem.eigenvalues, " optimum", theory.optimum(problem))

# %%
strategies = {
    "zero_shot": theory.ZeroShot(),
    "flyp": theory.FineTuning(),
    "weight_decay": theory.WeightDecay(0.15),
    "l2_sp": theory.L2SP(0.3),
    "static_distillation": theory.Distillation(0.6, Static()),
    "ema_distillation": theory.Distillation(0.6, Exponential(0.9)),
    "tracer": theory.Distillation(0.6, Beta(0.5, 0.5)),
    "wise_ft": theory.WiSEFT(0.5),
    "lp_ft": theory.LPFT(),
}
stepping = {"learning_rate": 0.3, "steps": 60}
paths = {name: theory.gradient_descent(problem, strategy, **stepping) for name, strategy in strategies.items()}
runs = {name: training.train(problem, strategy, **stepping) for name, strategy in strategies.items()}

# %% [markdown]
# On the left the task subspace: how far each strategy has come in the stiff and in the slow direction. On the right the
# plane of task and complement: how far it has come on the task as a whole, and what share of the empty direction it keeps.
# The star is the optimum with everything kept.

# %%
plane.trajectories(paths, runs)

# %%
print(f"{'':20} adaptation  retention  task bias")
for name, run in runs.items():
    found = theory.describe(problem, run.final)
    print(f"{name:20} {found.adaptation:10.3f} {found.retention:10.3f} {found.bias:10.3f}")

# %% [markdown]
# The same, step by step:

# %%
HTML(plane.film(paths, range(0, 61, 5)))

# %% [markdown]
# ## Drift
#
# With weight decay on everything ($\mu = 0.1$), the empty direction has curvature $\mu$ and the target 0: it is forgotten
# by everyone who does not hold on to it. Teachers that compare embeddings on the task's images do not see it. Here they
# compare weights (`"parameter"`), and it matters again which teacher it is.

# %%
decaying = theory.Problem.from_pairs(images, texts, pretrained, weight_decay=0.1)
holding = {
    "flyp": theory.FineTuning(),
    "l2_sp": theory.L2SP(0.3),
    "ema_distillation": theory.Distillation(0.3, Exponential(0.9), "parameter"),
    "tracer": theory.Distillation(0.3, Beta(0.5, 0.5), "parameter"),
    "wise_ft": theory.WiSEFT(0.5),
}
drifts = {name: theory.gradient_descent(decaying, strategy, **stepping) for name, strategy in holding.items()}
drifted = {name: training.train(decaying, strategy, **stepping) for name, strategy in holding.items()}
plane.trajectories(drifts, drifted)

# %%
for name, run in drifted.items():
    found = theory.describe(decaying, run.final)
    print(f"{name:20} adaptation {found.adaptation:.3f}  retention {found.retention:.3f}")

# %% [markdown]
# ## Who pays for holding on: the anchor bias
#
# A teacher that stands still leaves a share of the initial error for ever, $\ell_j/(\sigma_j + \ell_j)$ in direction $j$.
# Under L2-SP $\ell_j = \lambda$: it is largest where the data say least. In the data's own metric $\ell_j = \lambda s_j$:
# the same share everywhere. The family $\ell_j = \lambda s_j^{1-\alpha}$ lies between. An EMA of fixed momentum leaves none.

# %%
rng = np.random.default_rng(0)
wide = theory.Population(np.logspace(0, -1, 8), np.eye(8), rng.standard_normal((3, 8)))
spread = theory.Problem.from_pairs(*wide.sample(400), rng.standard_normal((3, 8)))
biased = {
    "l2_sp": theory.L2SP(0.3),
    "static_distillation": theory.Distillation(0.3, Static()),
    r"$\alpha$ = 0.5": theory.Distillation(0.3, Static(), theory.Spectral(0.5)),
    "ema_distillation": theory.Distillation(0.3, Exponential(0.5)),
}
ends = {name: training.train(spread, strategy, learning_rate=1.2, steps=100) for name, strategy in biased.items()}
plane.anchor_biases(spread, biased, ends)

# %%
for name, strategy in biased.items():
    left = gaps.modal_shares(spread, ends[name].final[None] - theory.optimum(spread))[0]
    off = np.abs(left - theory.anchor_bias(spread, strategy)).max()
    print(f"{name:20} left {left.min():.3f} to {left.max():.3f}, at most {off:.0e} from theory")

# %% [markdown]
# ## Replay that mixes the subspaces
#
# Distilling on other inputs than the task's can see the empty direction. If these inputs mix it with the task's directions,
# holding on *moves* it: what the task changes in the embeddings of the replayed inputs, the teacher has undone where the
# task does not look. The replayed inputs have the second moment $I/4 + 2vv^\top$, $v$ at an angle between the slow task
# direction and the empty one.

# %%
kernels = {"static_distillation": Static(), "ema_distillation": Exponential(0.9), "tracer": Beta(0.5, 0.5)}
mixing = {angle: np.array([0, np.cos(np.radians(angle)), np.sin(np.radians(angle))]) for angle in range(0, 91, 5)}
metrics = {angle: theory.Inputs(np.eye(3) / 4 + 2 * np.outer(v, v)) for angle, v in mixing.items()}
replayed = {name: {a: theory.Distillation(0.6, kernel, d) for a, d in metrics.items()} for name, kernel in kernels.items()}
slow = {"learning_rate": 0.5, "steps": 60}
swept = {name: {a: theory.gradient_descent(problem, s, **slow) for a, s in each.items()} for name, each in replayed.items()}
tried = {name: {a: training.train(problem, each[a], **slow) for a in (0, 20, 40, 60, 90)} for name, each in replayed.items()}
plane.replay(swept, tried)

# %%
for name, each in tried.items():
    moved = {angle: theory.describe(problem, run.final).orthogonal_displacement for angle, run in each.items()}
    print(f"{name:20}", "  ".join(f"{angle}°: {far:.3f}" for angle, far in moved.items()))

# %% [markdown]
# ## What to read in it
#
# - FLYP goes to the optimum, the stiff direction first, and leaves the empty direction alone: nothing that the task's
#   images do not span has a gradient. So do all strategies that only pull on embeddings of these images. Weight decay drops
#   what it does not need (retention 0.063), and LP-FT starts from rescaled weights (0.385).
# - Strategies differ within the task subspace. L2-SP stops short most in the slow direction, static distillation equally in
#   both, WiSE-FT halfway by its coefficient; EMA and TRACER are still on their way to the optimum, EMA ahead (task bias
#   0.084 against 0.300).
# - Under drift FLYP keeps 0.161 of the empty direction. L2-SP keeps the most, 0.750 $= \lambda/(\lambda+\mu)$, and pays
#   with the lowest adaptation but WiSE-FT's. TRACER keeps 0.565 at an adaptation of 0.979, EMA 0.364 at 0.999.
# - The anchor bias of L2-SP climbs from 0.221 to 0.782 towards small eigenvalues, that of static distillation is 0.231 in
#   all directions, that of the EMA is gone.
# - Replay that mixes the subspaces moves the part that the task itself never touches, a moving teacher further than the
#   static one and the EMA the furthest. At 0° and at 90°, where nothing mixes, it stays.
