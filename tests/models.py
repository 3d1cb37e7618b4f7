"""Small models and data that tests train."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from tracer.averaging import Beta, Exponential, PowerLaw, Static, Uniform
from tracer.models.dual_encoder import Encoder, Features
from tracer.training.batches import Batch

KERNELS = [
    Static(),
    Exponential(0.9),
    Exponential(0.9, initial_momentum=0.05, warmup_progress=0.2),
    Uniform(),
    PowerLaw(0.5),
    Beta(0.5, 0.5),
    Beta(0.3, 1.7, weighting="pdf"),
]
_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
_TRANSFORMER = {"image_size": 32, "patch_size": 16, "layers": 2, "width": 32, "head_width": 16}
# RN50's depth at a sixteenth of its width
_RESNET = {"image_size": 32, "layers": [3, 4, 6, 3], "width": 4, "head_width": 64}
TINY_ARCHITECTURES = {
    "tiny-vit": {"embed_dim": 8, "vision_cfg": _TRANSFORMER, "text_cfg": _TEXT},
    "tiny-vit-quickgelu": {"embed_dim": 8, "quick_gelu": True, "vision_cfg": _TRANSFORMER, "text_cfg": _TEXT},
    "tiny-rn50": {"embed_dim": 8, "vision_cfg": _RESNET, "text_cfg": _TEXT},
}
"""Configurations of open_clip's, which the fixture `architectures` makes known to it."""
PIXELS, WIDTH, EMBEDDING, WORDS, CONTEXT = 6, 8, 4, 11, 3


class TinyDualEncoder(nn.Module):
    """Two small towers with layer norm, biases and a trained logit scale; features are unit vectors.

    Args:
        seed: of the weights.
        dropout: of the image tower, drawn from torch's generator.
        batch_norm: put a batch norm into the image tower.
    """

    def __init__(self, seed: int = 0, dropout: float = 0.0, batch_norm: bool = False):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            norm = nn.BatchNorm1d(WIDTH) if batch_norm else nn.LayerNorm(WIDTH)
            self.image = nn.Sequential(nn.Linear(PIXELS, WIDTH), norm, nn.GELU(), nn.Dropout(dropout))
            self.image_projection = nn.Linear(WIDTH, EMBEDDING, bias=False)
            self.words = nn.Embedding(WORDS, WIDTH)
            self.text_projection = nn.Linear(WIDTH, EMBEDDING, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(1.5))

    @property
    def logit_scale(self) -> Tensor:
        return self.log_scale.exp()

    def forward(self, images: Tensor, tokens: Tensor) -> Features:
        image, text = self.encode_image(images), self.encode_text(tokens)
        return Features(functional.normalize(image, dim=-1), functional.normalize(text, dim=-1), self.logit_scale)

    def encode_image(self, images: Tensor) -> Tensor:
        return self.image_projection(self.image(images))

    def encode_text(self, tokens: Tensor) -> Tensor:
        return self.text_projection(self.words(tokens).mean(dim=1))

    def projections(self) -> tuple[Tensor, Tensor]:
        return self.image_projection.weight, self.text_projection.weight

    @torch.no_grad()
    def clamp_logit_scale(self, maximum: float) -> None:
        self.log_scale.clamp_(max=float(np.log(maximum)))


class RandomBatches(Dataset):
    """Batches for a `TinyDualEncoder`, a pure function of the step; with further images and texts where their numbers are not 0."""

    def __init__(self, steps: int, size: int = 6, replay: int = 0, replay_texts: int = 0):
        self.steps, self.size, self.replay, self.replay_texts = steps, size, replay, replay_texts

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([7, step])
        images = torch.from_numpy(rng.standard_normal((self.size, PIXELS)).astype(np.float32))
        tokens = torch.from_numpy(rng.integers(WORDS, size=(self.size, CONTEXT)))
        replay = torch.from_numpy(rng.standard_normal((self.replay, PIXELS)).astype(np.float32))
        texts = torch.from_numpy(rng.integers(WORDS, size=(self.replay_texts, CONTEXT)))
        return Batch(images, tokens, replay if self.replay else None, texts if self.replay_texts else None)


class SameBatch(Dataset):
    """The same batch at every step: full-batch training."""

    def __init__(self, batch: Batch, steps: int):
        self.batch, self.steps = batch, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        return self.batch


def tiny_encoder(model: nn.Module | None = None) -> Encoder:
    """A `TinyDualEncoder` for uint8 images of 1 x 2 pixels, augmented with noise from torch's generator."""
    return Encoder(model or TinyDualEncoder(), tiny_preprocess, tiny_augment, tiny_tokenize)


def tiny_preprocess(images) -> Tensor:
    return torch.stack([torch.from_numpy(np.asarray(image)).flatten().float() / 128 - 1 for image in images])


def tiny_augment(images) -> Tensor:
    clean = tiny_preprocess(images)
    return clean + 0.1 * torch.randn_like(clean)


def tiny_tokenize(captions) -> Tensor:
    """Captions such as "3 1 4" to ids."""
    return torch.tensor([[int(word) for word in caption.split()] for caption in captions])
