"""Gradients of a whole batch's contrastive loss through towers that hold one chunk at a time (GradCache, arXiv 2101.06983)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tracer.data.batches import Batch
from tracer.models.dual_encoder import Features
from tracer.state import random_state, set_random_state


class GradientCache:
    """A batch passed through the towers in chunks: first without a graph, then, once the loss is known, with one.

    Exact for models whose samples do not interact: batch-norm statistics must be frozen.

    Args:
        encode: the features of a chunk.
        chunks: the batch in pieces.

    Attributes:
        features: of the whole batch, leaves that collect the gradient of a loss.
    """

    def __init__(self, encode: Callable[[Batch], Features], chunks: Sequence[Batch]):
        self._encode, self._chunks = encode, chunks
        self._states: list[dict[str, Tensor]] = []
        with torch.no_grad():
            self.features = Features(*(part.requires_grad_() for part in concatenate([self._first(chunk) for chunk in chunks])))

    def backward(self, backward: Callable[[Tensor], object]) -> None:
        """Carry the collected gradients on to the weights, by `backward` on one scalar per chunk."""
        image, text, scale = (torch.zeros_like(part) if part.grad is None else part.grad for part in self.features)
        sizes = [len(chunk.images) for chunk in self._chunks]
        pieces = zip(self._chunks, self._states, image.split(sizes), text.split(sizes), strict=True)
        for number, (chunk, state, image_gradient, text_gradient) in enumerate(pieces):
            set_random_state(state)
            features = self._encode(chunk)
            surrogate = (features.image * image_gradient).sum() + (features.text * text_gradient).sum()
            if number == 0:  # one scale serves the whole batch: its gradient counts once
                surrogate = surrogate + features.logit_scale * scale
            if surrogate.requires_grad:
                backward(surrogate)

    def _first(self, chunk: Batch) -> Features:
        self._states.append(random_state())
        return self._encode(chunk)


def concatenate(parts: Sequence[Features]) -> Features:
    """The features of several chunks as one batch."""
    return Features(torch.cat([p.image for p in parts]), torch.cat([p.text for p in parts]), parts[0].logit_scale.clone())
