# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 9 · A world of real drawings
#
# **Question.** The other notebooks fine-tune one small ResNet that was pretrained on captioned glyphs. What is left of their story
# where artists drew the pictures, and where the image tower is a ViT or a ConvNeXt?
#
# Eight artists have drawn the same emoji. Three architectures learned nearly all of these drawings with captions; then each is
# fine-tuned on 109 animals and plants as *one* artist drew them, in plain silhouettes. *OOD* is the same animals by the seven
# others, *knowledge* is food, travel and objects. The runs took hours; this notebook reads what they measured, and
# [experiments/emoji](../experiments/emoji/) says how.
#
# ![The same emoji by seven of the eight artists; one drew not all of them](../experiments/emoji/styles.png)

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "dpi": 100}
import sys

import numpy as np
from IPython.display import display
from scipy.stats import spearmanr

from tracer import plotting
from tracer.evaluation.intervals import interval

sys.path.append("../experiments/emoji")
import foresight
import frontiers
from cells import HERE as EMOJI
from cells import read
from worlds import COLORS

# %% [markdown]
# ## What the models know
#
# Zero-shot accuracy before anything is fine-tuned: means and 95 % intervals over three pretrained models of each architecture, on
# drawings that pretraining showed, but for *unseen*. Chance is one percent.

# %%
pretrained = read(EMOJI / "pretraining.json")
sets = [*pretrained[0]["sets"]]
with plotting.canvas(9, 3.4) as (figure, axis):
    for position, (architecture, color) in enumerate(COLORS.items()):
        own = [line["sets"] for line in pretrained if line["architecture"] == architecture]
        means, widths = np.transpose([interval([100 * each[name] for each in own]) for name in sets])
        axis.bar(
            np.arange(len(sets)) + 0.27 * (position - 1), means, 0.25, yerr=widths, label=architecture, color=color, ecolor="0.4"
        )
    axis.set_xticks(range(len(sets)), ["silhouettes (task)" if name == "id" else name for name in sets], rotation=35, ha="right")
    axis.set_ylabel("zero-shot (%)")
    axis.legend(ncols=3)
display(figure)

# %% [markdown]
# ## What fine-tuning costs
#
# How well the task is learnt, and what is left of the rest. A point is a setting that was tried; lines connect those that no other
# setting of the strategy betters in both. Rings are what one rule chose: of what costs at most a point on the task, the best OOD
# accuracy. Dashed is the pretrained model. Validation suite, one model of each architecture.

# %%
tried = read(EMOJI / "tuning.json")
frontiers.figure(tried, pretrained)

# %% [markdown]
# Plain fine-tuning (FLYP) learns the drawings by heart and forgets most of the rest. What is held on further images and texts
# (*replay*) keeps more of what the model knew than any teacher on the task's own images does, at the same accuracy on the task.
#
# ## Which texts hold the texts?
#
# With random words as its texts, replay keeps the other categories, but of the *same* animals by other artists no more than
# distillation does. Random words seldom name an animal, so that the embeddings of the classes' names may go where they like.
# *kappa* says so before training, from the texts' features alone: how many times as much a class name may change as what is
# replayed does. Half random words and half captions of the task (`replay: {texts: {kind: captions}}`) leave little room.

# %%
held = [line for line in read(EMOJI / "coverage.json") if "bank" in line]
kept = [*dict.fromkeys(line["of"] for line in held)]
print(f"{'kappa, median of three models':40}{''.join(f'{what:>20}' for what in kept)}")
for architecture, bank in dict.fromkeys((line["architecture"], line["bank"]) for line in held):
    own = [line for line in held if (line["architecture"], line["bank"]) == (architecture, bank)]
    kappas = [np.median([line["kappa"] for line in own if line["of"] == what]) for what in kept]
    print(f"{architecture + ', ' + bank:40}{''.join(f'{kappa:20.1f}' for kappa in kappas)}")

# %% [markdown]
# What this is worth is the green line in the figure above: several points of OOD accuracy at the same accuracy on the task, but
# for the weakest holds of the ViT and the ConvNeXt.
#
# ## Could one have known?
#
# Each setting was also simulated on the pretrained model's last linear maps, without training it
# ([Predict, then train](8_predict_then_train.ipynb)). What that says, and what training measured:

# %%
with plotting.canvas(9, 3.6, columns=len(foresight.SHOWN)) as (figure, axes):
    for axis, measure in zip(axes, foresight.SHOWN, strict=True):
        for architecture, own in foresight.joined(read(EMOJI / "predictions.json"), tried).items():
            points = [(100 * line[foresight.FORETOLD][measure], 100 * line[measure]) for line in own]
            label = f"{architecture}, {spearmanr(points).statistic:.2f}"
            axis.plot(*np.transpose(points), "o", markersize=4, alpha=0.7, color=COLORS[architecture], label=label)
        axis.set(xlabel=f"foretold {measure} (%)", ylabel=f"measured {measure} (%)")
        axis.legend(title="rank correlation")
display(figure)

# %% [markdown]
# The order is foretold, the level is not: these runs move the deeper layers so far that the task is learnt by heart, which last
# maps cannot do. A prediction says here which settings keep more than others, not how well they will do.
