"""Coverage and kappa of each pool before training, and how well they order what was measured.

Features are those that enter the last linear map of the pretrained image tower. To be kept are the shifted and the knowledge sets
of the validation suite, whose labels are not used.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pools
from cells import Line
from scipy.stats import spearmanr

from tracer import theory
from tracer.data.image_files import images_below
from tracer.evaluation.intervals import Interval, interval
from tracer.models import clip
from tracer.models.dual_encoder import Encoder
from tracer.models.last_maps import pooled_features
from tracer.toy import world

AT_ONCE = 500
DELTA = 1e-3

Predictions = dict[str, dict[str, dict[str, float]]]
"""By pretrained model and pool: coverage and kappa."""


def predicted(model: str, folder: Path) -> dict[str, dict[str, float]]:
    """For each pool its coverage and kappa of what is to be kept, by one pretrained model."""
    encoder, suite = clip.create("glyphs", model), world.suite("validation")
    kept = [image for images in (*suite.ood.values(), *suite.knowledge.values()) for image in images.images]
    keep = theory.second_moment(_features(encoder, kept))
    found = {}
    for name in pools.POOLS:
        pool = theory.second_moment(_features(encoder, images_below(pools.folder(name, folder))))
        found[name] = {"coverage": float(theory.coverage(pool, keep, DELTA)), "kappa": theory.kappa(pool, keep)}
    return found


def agreement(by_model: Predictions, lines: Sequence[Line], what: str, measure: str) -> Interval:
    """Spearman's rank correlation over pools between a prediction and what was measured: mean and interval over models."""
    correlations = []
    for model, predictions in by_model.items():
        measured = {line["pool"]: line[measure] for line in lines if line["model"] == model}
        sign = -1 if what == "kappa" else 1  # a large kappa holds little
        ranks = spearmanr([sign * predictions[pool][what] for pool in measured], list(measured.values()))
        correlations.append(float(ranks.statistic))
    return interval(correlations)


def _features(encoder: Encoder, images: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Features of images in batches, float64, with a last one of 1 for the map's bias."""
    for start in range(0, len(images), AT_ONCE):
        batch = encoder.preprocess([images[number] for number in range(start, min(start + AT_ONCE, len(images)))])
        features = pooled_features(encoder.model, batch).numpy().astype(np.float64)
        yield np.concatenate([features, np.ones((len(features), 1))], axis=1)
