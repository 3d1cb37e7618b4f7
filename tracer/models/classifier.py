"""A model and its linear head as a dual encoder into the space of classes, so that the one training loop trains it too."""

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from tracer.models.dual_encoder import DualEncoder, Features
from tracer.models.head import Head


def read_labels(captions: Sequence[str]) -> Tensor:
    """What a `Classifier` takes for tokens: labels, int64 (n,), of captions that are their digits."""
    return torch.tensor([int(caption) for caption in captions])


class Classifier(DualEncoder):
    """An image's embedding is its products with the classes (n, classes), a label's its one-hot vector; "tokens" are labels (n,).

    Images without a label are embedded under the head, (m, k), and handed over as those of replay. Everything outside head and
    image tower is frozen, the logit scale included.

    Args:
        encoder: the model whose image tower feeds the head; its parameters are trained in place.
        head: the head; trained in place.
        trains_tower: whether the image tower is trained (ft) or frozen, batch-norm statistics included (linear_probe).
    """

    def __init__(self, encoder: DualEncoder, head: Head, trains_tower: bool):
        super().__init__()
        self.encoder, self.head, self.trains_tower = encoder, head, trains_tower
        trained = set(encoder.image_tower().parameters()) if trains_tower else set()
        for parameter in encoder.parameters():
            if parameter not in trained:
                parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if not self.trains_tower:
            self.encoder.eval()
        return self

    @property
    def logit_scale(self) -> Tensor:  # type: ignore[override]
        """The model's own, a constant here."""
        return self.encoder.logit_scale.detach()

    def forward(self, images: Tensor, tokens: Tensor) -> Features:
        embeddings = self._unit_embeddings(images)
        further = embeddings[len(tokens) :]
        return Features(
            self._products(embeddings[: len(tokens)]),
            self.encode_text(tokens),
            self.logit_scale,
            further if len(further) else None,
        )

    def encode_image(self, images: Tensor) -> Tensor:
        return self._products(self._unit_embeddings(images))

    def _unit_embeddings(self, images: Tensor) -> Tensor:
        return F.normalize(self.encoder.encode_image(images).to(self.head.weight.dtype), dim=-1)

    def _products(self, embeddings: Tensor) -> Tensor:
        # as with every loss, only the tower is autocast: logits in bfloat16 would err by percents
        with torch.autocast(embeddings.device.type, enabled=False):
            return embeddings @ self.head.weight.T

    def encode_text(self, tokens: Tensor) -> Tensor:
        return F.one_hot(tokens, len(self.head.names)).to(self.head.weight.dtype)

    def image_tower(self) -> torch.nn.Module:
        return self.encoder.image_tower()

    def projections(self) -> tuple[Tensor, Tensor]:
        return self.encoder.projections()

    def clamp_logit_scale(self, maximum: float) -> None:
        """Nothing to do: the scale is a constant."""
