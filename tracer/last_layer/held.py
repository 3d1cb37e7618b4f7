"""How much of what is to be kept the images and texts of a run hold, told from their features before any training."""

from collections.abc import Mapping, Sequence

import numpy as np

from tracer.data.datasets import Images, Suite
from tracer.last_layer.features import Frozen, class_captions
from tracer.last_layer.regression import Regression
from tracer.number_checks import Array
from tracer.theory import coverage, kappa, second_moment

OWN, REPLAYED = "the run's own", "what is replayed"
TASK, OTHERS = "the task's names", "other names"

Held = Mapping[str, float]
"""`coverage` and `kappa` (see `tracer.theory`)."""


def by_images(frozen: Frozen, suite: Suite, regression: Regression) -> dict[str, Held]:
    """How much of a suite's shifted and knowledge sets is held by `OWN` and by `REPLAYED` images."""
    sets = [second_moment(regression.inputs(images.images)) for images in (*suite.ood.values(), *suite.knowledge.values())]
    if not sets:
        return {}
    keep: Array = np.mean(sets, axis=0)
    pools: dict[str, Images] = {OWN: frozen.data.pairs.images} | ({REPLAYED: frozen.data.pool} if len(frozen.data.pool) else {})
    return {name: _held(second_moment(regression.inputs(images)), keep) for name, images in pools.items()}


def by_texts(frozen: Frozen, suite: Suite) -> dict[str, dict[str, Held]]:
    """How much of the class names of a suite's task, and of its knowledge sets, in their templates is held by `OWN` captions and by
    `REPLAYED` texts.
    """
    sets = {TASK: [suite.in_distribution], OTHERS: [*suite.knowledge.values()]}
    keep = {of: _of_texts(frozen, class_captions(images)) for of, images in sets.items() if images}
    banks = {OWN: frozen.data.captions} | ({REPLAYED: frozen.bank} if frozen.bank else {})
    moments = {name: _of_texts(frozen, texts) for name, texts in banks.items()}
    return {name: {of: _held(moment, each) for of, each in keep.items()} for name, moment in moments.items()}


def _held(moment: Array, keep: Array) -> Held:
    return {"coverage": float(coverage(moment, keep)), "kappa": kappa(moment, keep)}


def _of_texts(frozen: Frozen, texts: Sequence[str]) -> Array:
    """Second moment of what the text tower's last map is given."""
    return second_moment(frozen.encoder.tokenize(texts).double().numpy())
