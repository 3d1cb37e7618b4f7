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
# **Question.** Every other notebook fine-tunes one small ResNet that was pretrained on captioned glyphs. What is left of its story where
# artists drew the pictures, and where the image tower is a ViT or a ConvNeXt?
#
# Eight artists have drawn the same emoji. Three architectures learned nearly all of these drawings with captions; then each is fine-tuned on 109
# animals and plants as *one* artist drew them, in plain silhouettes. *OOD* is the same animals by the seven others, *knowledge* food,
# travel and objects. The runs took hours and are kept in
# [experiments/emoji](../experiments/emoji/), which says how they were made; this notebook reads what they measured.

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "dpi": 100}
import json
from pathlib import Path

import numpy as np
from IPython.display import Image

from tracer import plotting
from tracer.evaluation.intervals import interval
from tracer.looks import LOOKS, Look

EMOJI = Path("..") / "experiments" / "emoji"
ARCHITECTURES = {"resnet": "ResNet", "vit": "ViT", "convnext": "ConvNeXt"}


def read(name):
    return json.loads((EMOJI / f"{name}.json").read_text(encoding="utf-8"))


Image(EMOJI / "styles.png", width=830)

# %% [markdown]
# ## What the models know
#
# Zero-shot accuracy before anything is fine-tuned, a bar the mean of three pretrained models, on drawings that pretraining showed but
# for *unseen*. Chance is below one percent.

# %%
pretrained = read("pretraining")
sets = [*pretrained[0]["sets"]]
with plotting.canvas(9, 3.4) as (figure, axis):
    for position, (architecture, label) in enumerate(ARCHITECTURES.items()):
        own = [line["sets"] for line in pretrained if line["architecture"] == architecture]
        found = [interval([100 * each[name] for each in own]) for name in sets]
        places = np.arange(len(sets)) + 0.27 * (position - 1)
        means, widths = np.transpose(found)
        axis.bar(places, means, 0.25, yerr=widths, label=label, color=("#0072B2", "#E69F00", "#009E73")[position], ecolor="0.4")
    axis.set_xticks(range(len(sets)), ["silhouettes (the task)" if name == "id" else name for name in sets], rotation=35, ha="right")
    axis.set_ylabel("zero-shot (%)")
    axis.legend(ncols=3)
figure

# %% [markdown]
# ## What fine-tuning costs
#
# Every setting that was tried, of eight strategies: how well the task is learnt, and what is left of the rest. Lines connect, of each
# strategy, the settings that no other of it betters in both. Validation suite, one model of each architecture.

# %%
DRAWN = {
    "flyp": LOOKS["flyp"],
    "wise_ft": LOOKS["wise_ft"],
    "static_distillation": LOOKS["static_distillation"],
    "ema_distillation, 0.99": LOOKS["ema_distillation"],
    "tracer": LOOKS["tracer"],
    "replay, photographs": LOOKS["replay_distillation"],
    "replay, captions": Look("#882255", "X", "replay, with captions"),
    "tracer + replay": Look("#AA4499", "P", "TRACER + replay"),
}
tried = read("tuning")


def undominated(points):
    return [point for point in sorted(points) if not any(x >= point[0] and y > point[1] for x, y in points)]


with plotting.canvas(9, 6.2, rows=2, columns=3, sharex=True) as (figure, axes):
    for row, measure in zip(axes, ("OOD", "knowledge"), strict=True):
        for axis, (architecture, label) in zip(row, ARCHITECTURES.items(), strict=True):
            for what, look in DRAWN.items():
                own = [line for line in tried if (line["architecture"], line["what"]) == (architecture, what)]
                points = undominated([(100 * line["ID"], 100 * line[measure]) for line in own])
                axis.plot(*np.transpose(points), "-", marker=look.marker, color=look.color, label=look.label, markersize=5)
            axis.set(title=f"{label}: {measure}", xlim=(60, 100))
    for axis in axes[1]:
        axis.set_xlabel("ID (%)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
figure
