"""The image tower's last map by regression: embeddings drawn to their texts, held to the pretrained map in a metric."""

import copy
import dataclasses
from collections.abc import Mapping

import numpy as np
import torch

from tracer.averaging import Static
from tracer.data.datasets import Images
from tracer.errors import UserError
from tracer.last_layer.features import Frozen
from tracer.models.dual_encoder import Encoder
from tracer.models.last_maps import LastMaps
from tracer.number_checks import Array
from tracer.theory import Distillation, Inputs, Metric, Parameter, Problem, Spectral, limit, second_moment


class Regression:
    """Least squares from features x to the directions of their texts, in closed form.

        L(W) = 1/2 mean |W x - c t|^2 + strength / 2 tr((W - W_0) D (W - W_0)^T)

    where t is the direction of an image's mean text embedding, c the mean norm of the pretrained image embeddings, and D a metric:
    of the task's own images ("data"), of the weights ("parameter"), or of further images that it does not show ("replay"). A bias
    is a column of W. Source: this project; the metrics are those of `tracer.theory`.

    Args:
        frozen: features of pairs and pool.

    Raises:
        UserError: if the features hold nothing.
    """

    def __init__(self, frozen: Frozen):
        self._frozen = frozen
        layer = frozen.maps.image_map
        self._start = torch.cat([layer.weight, *([] if layer.bias is None else [layer.bias[:, None]])], 1).detach().double().numpy()
        features = self.inputs(frozen.data.pairs.images)
        if not np.any(frozen.data.pairs.images):
            raise UserError("the model's features of all training images are zero: take other weights")
        size = np.linalg.norm(features @ self._start.T, axis=1).mean()
        targets = size * text_directions(frozen)
        self.problem = Problem(second_moment(features), targets.T @ features / len(features), self._start, samples=len(features))
        self.metrics: Mapping[str, Metric] = {"data": Spectral(0.0), "parameter": Parameter()}
        if len(frozen.data.pool):
            self.metrics = {"replay": Inputs(second_moment(self.inputs(frozen.data.pool))), **self.metrics}

    def inputs(self, features: Images) -> Array:
        """What the map is applied to, in float64: features (n, d), and a one for its bias where it has one."""
        rows = np.asarray(features, dtype=float)
        return rows if self._frozen.maps.image_map.bias is None else np.hstack([rows, np.ones((len(rows), 1))])

    def solved(self, metric: str, strength: float) -> Encoder:
        """The model of features with the map that solves it, everything else as pretrained."""
        changed = with_image_map(self._frozen.maps, self.solved_weights(metric, strength))
        return dataclasses.replace(self._frozen.encoder, model=changed)

    def solved_weights(self, metric: str, strength: float) -> Array:
        """The map that solves it, (k, d), or (k, d + 1) with its bias as last column."""
        return limit(self.problem, Distillation(strength, Static(), self.metrics[metric]))


def text_directions(frozen: Frozen) -> Array:
    """For each pair the direction of the mean of its captions' unit embeddings, (n, k), as a zero-shot classifier has it."""
    directions: dict[tuple[str, ...], Array] = {}
    for captions in frozen.data.pairs.captions:
        key = tuple(captions)
        if key not in directions:
            with torch.no_grad():
                embeddings = frozen.maps.encode_text(frozen.encoder.tokenize(key)).double().numpy()
            mean = np.mean(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True), axis=0)
            directions[key] = mean / np.linalg.norm(mean)
    return np.stack([directions[tuple(captions)] for captions in frozen.data.pairs.captions])


def with_image_map(maps: LastMaps, weights: Array) -> LastMaps:
    """A copy of last maps with another image map (k, d), the bias as its last column where it has one."""
    changed, width = copy.deepcopy(maps), maps.image_map.in_features
    with torch.no_grad():
        changed.image_map.weight.copy_(torch.from_numpy(weights[:, :width]))
        if changed.image_map.bias is not None:
            changed.image_map.bias.copy_(torch.from_numpy(weights[:, width]))
    return changed
