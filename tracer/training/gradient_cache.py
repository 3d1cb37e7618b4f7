"""Gradients of a whole batch's contrastive loss through towers that hold one chunk at a time (GradCache, arXiv 2101.06983)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tracer.models.dual_encoder import Features
from tracer.training.batches import Batch
from tracer.training.randomness import random_state, set_random_state


class GradientCache:
    """A batch passed through the towers in chunks: first without a graph, then, once the loss is known, with one.

    Exact for models whose samples do not interact: batch-norm statistics must be frozen.

    Args:
        encode: the features of a chunk.
        chunks: the batch in pieces.

    Attributes:
        features: of the whole batch; through them the gradient of a loss reaches the chunks, where `backward` finds it.
    """

    def __init__(self, encode: Callable[[Batch], Features], chunks: Sequence[Batch]):
        self._encode, self._chunks = encode, chunks
        self._states: list[dict[str, Tensor]] = []
        with torch.no_grad():
            self._leaves = [self._first(chunk) for chunk in chunks]
        self.features = concatenate(self._leaves)

    def backward(self) -> None:
        """Carry the collected gradients on to the weights."""
        for chunk, state, leaves in zip(self._chunks, self._states, self._leaves, strict=True):
            set_random_state(state)
            pairs = zip(self._encode(chunk), leaves, strict=True)
            collected = [(part, leaf.grad) for part, leaf in pairs if part is not None and leaf is not None]
            surrogate = sum((part * gradient).sum() for part, gradient in collected if gradient is not None)
            if isinstance(surrogate, Tensor) and surrogate.requires_grad:
                surrogate.backward()

    def _first(self, chunk: Batch) -> Features:
        """Features without a graph, leaves to collect gradients; detached, so that none is a buffer of the model itself."""
        self._states.append(random_state())
        return self._encode(chunk).each(lambda part: part.detach().requires_grad_())


def concatenate(parts: Sequence[Features]) -> Features:
    """The features of several chunks as one batch; one logit scale, the first chunk's, serves it all."""
    replay = [part.replay for part in parts if part.replay is not None]
    texts = [part.replay_text for part in parts if part.replay_text is not None]
    return Features(
        torch.cat([part.image for part in parts]),
        torch.cat([part.text for part in parts]),
        parts[0].logit_scale,
        torch.cat(replay) if replay else None,
        torch.cat(texts) if texts else None,
    )
