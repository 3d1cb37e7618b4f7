"""The toy's model: two small towers into one space."""

import math

import torch
import torch.nn.functional as F
from digits import SIZE, TOKENIZE, preprocess
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from tracer.models.dual_encoder import DualEncoder, Encoder, Features

EMBEDDING = 32  # dimensions of the joint space
WIDTH, BLOCKS, HEADS, PATCH = 48, 2, 4, 2  # of the image tower


class Towers(DualEncoder):
    """A vision transformer on patches of 2 x 2 pixels; for captions the mean of word vectors and one hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        shape = {"img_size": SIZE, "patch_size": PATCH, "embed_dim": WIDTH, "depth": BLOCKS, "num_heads": HEADS, "mlp_ratio": 2}
        self.image = VisionTransformer(**shape, num_classes=EMBEDDING, global_pool="avg", fc_norm=False)
        self.words = nn.EmbeddingBag(TOKENIZE.vocab_size, WIDTH, mode="mean", padding_idx=0)
        self.text = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, EMBEDDING))
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    @property
    def logit_scale(self) -> Tensor:  # type: ignore[override]
        return self.log_scale.exp()

    def forward(self, images: Tensor, tokens: Tensor) -> Features:
        image, text = F.normalize(self.encode_image(images), dim=-1), F.normalize(self.encode_text(tokens), dim=-1)
        return Features(image, text, self.logit_scale)

    def encode_image(self, images: Tensor) -> Tensor:
        return self.image(images)

    def encode_text(self, tokens: Tensor) -> Tensor:
        return self.text(self.words(tokens))

    def image_tower(self) -> nn.Module:
        return self.image

    def projections(self) -> tuple[Tensor, Tensor]:
        return self.image.head.weight, self.text[-1].weight

    @torch.no_grad()
    def clamp_logit_scale(self, maximum: float) -> None:
        self.log_scale.clamp_(max=math.log(maximum))

    def freeze_all_but_images(self) -> None:
        """From here on only the image tower is trained: neither texts nor temperature."""
        self.requires_grad_(False)
        self.image.requires_grad_(True)


def encoder(model: Towers) -> Encoder:
    """The model with what evaluation asks for besides."""
    return Encoder(model, preprocess, preprocess, TOKENIZE)
