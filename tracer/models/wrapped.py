"""A model around another one, which does what that one does but for what a subclass changes."""

import torch.nn.functional as F
from torch import Tensor, nn

from tracer.models.dual_encoder import DualEncoder, Features


class Wrapped(DualEncoder):
    """The model itself, its embeddings L2-normalised in a batch of pairs.

    Args:
        model: what is wrapped; it is trained in place.
    """

    def __init__(self, model: DualEncoder):
        super().__init__()
        self.model = model

    @property
    def logit_scale(self) -> Tensor:  # type: ignore[override]
        return self.model.logit_scale

    def forward(self, images: Tensor, tokens: Tensor) -> Features:
        image, text = (F.normalize(each, dim=-1) for each in (self.encode_image(images), self.encode_text(tokens)))
        return Features(image, text, self.logit_scale)

    def encode_image(self, images: Tensor) -> Tensor:
        return self.model.encode_image(images)

    def encode_text(self, tokens: Tensor) -> Tensor:
        return self.model.encode_text(tokens)

    def image_tower(self) -> nn.Module:
        return self.model.image_tower()

    def projections(self) -> tuple[Tensor, Tensor]:
        return self.model.projections()

    def clamp_logit_scale(self, maximum: float) -> None:
        self.model.clamp_logit_scale(maximum)
