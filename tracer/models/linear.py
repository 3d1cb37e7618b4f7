"""The linear dual encoders on which the theory is exact: one map beside given texts, and a map for each tower."""

import torch
from torch import Tensor, nn

from tracer.models.dual_encoder import DualEncoder, Features


class LinearDualEncoder(DualEncoder):
    """Image embedding W x, unnormalised; the text embedding is given. "Images" are feature rows (n, d), "tokens" embeddings (n, k).

    Args:
        initial_weights: (k, d), the pretrained image map W_0; its dtype is the model's.
        logit_scale: constant factor of the logits.
    """

    def __init__(self, initial_weights: Tensor, logit_scale: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(initial_weights.detach().clone())
        self.register_buffer("logit_scale", torch.tensor(logit_scale, dtype=initial_weights.dtype))

    def forward(self, images: Tensor, tokens: Tensor) -> Features:
        return Features(self.encode_image(images), self.encode_text(tokens), self.logit_scale)

    def encode_image(self, images: Tensor) -> Tensor:
        return images @ self.weight.T

    def encode_text(self, tokens: Tensor) -> Tensor:
        return tokens

    def image_tower(self) -> nn.Module:
        return self

    def projections(self) -> tuple[Tensor, Tensor]:
        width = self.weight.shape[0]
        return self.weight, torch.eye(width, dtype=self.weight.dtype, device=self.weight.device)

    def clamp_logit_scale(self, maximum: float) -> None:
        """Nothing to do: the scale is a constant."""


class LinearTowers(DualEncoder):
    """Embeddings W_I x and W_T t, unnormalised. "Images" are feature rows (n, d_I), "tokens" feature rows (n, d_T).

    Args:
        image_weights: (k, d_I), the pretrained image map; its dtype is the model's.
        text_weights: (k, d_T), the pretrained text map.
    """

    def __init__(self, image_weights: Tensor, text_weights: Tensor):
        super().__init__()
        self.image_weight, self.text_weight = (nn.Parameter(each.detach().clone()) for each in (image_weights, text_weights))
        self.register_buffer("logit_scale", torch.ones((), dtype=image_weights.dtype))

    def forward(self, images: Tensor, tokens: Tensor) -> Features:
        return Features(self.encode_image(images), self.encode_text(tokens), self.logit_scale)

    def encode_image(self, images: Tensor) -> Tensor:
        return images @ self.image_weight.T

    def encode_text(self, tokens: Tensor) -> Tensor:
        return tokens @ self.text_weight.T

    def image_tower(self) -> nn.Module:
        """Both towers are this one module."""
        return self

    def projections(self) -> tuple[Tensor, Tensor]:
        return self.image_weight, self.text_weight

    def clamp_logit_scale(self, maximum: float) -> None:
        """Nothing to do: the scale is a constant."""
