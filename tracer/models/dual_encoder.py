"""What a model with an image and a text tower is to the rest of the package."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from tracer.models.head import Head


class Features(NamedTuple):
    """Embeddings of one batch of pairs.

    Attributes:
        image: (n, k) image embeddings, L2-normalised by a CLIP, plain in a linear model.
        text: (n, k) text embeddings of the same pairs.
        logit_scale: scalar, the factor 1 / temperature.
        replay: (m, k) embeddings of further images, which have no text; None where there are none.
        replay_text: (b, k) embeddings of further texts, which have no image; None where there are none.
    """

    image: Tensor
    text: Tensor
    logit_scale: Tensor
    replay: Tensor | None = None
    replay_text: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> "Features":
        """All parts that there are, changed alike."""
        replay, replay_text = (None if part is None else change(part) for part in (self.replay, self.replay_text))
        return Features(change(self.image), change(self.text), change(self.logit_scale), replay, replay_text)

    def parted(self, images: int, texts: int) -> "Features":
        """Embeddings of what follows the first `images` and `texts` as those of replay, unless the model told them apart itself."""
        further_images, further_texts = self.image[images:], self.text[texts:]
        return self._replace(
            image=self.image[:images],
            text=self.text[:texts],
            replay=further_images if len(further_images) else self.replay,
            replay_text=further_texts if len(further_texts) else self.replay_text,
        )


class DualEncoder(nn.Module, ABC):
    """What trainer, losses and evaluation ask of a model with two towers; a wrapper of a few lines makes one of any such model."""

    logit_scale: Tensor
    """The factor 1 / temperature that the logits are scaled by, a scalar."""

    @abstractmethod
    def forward(self, images: Tensor, tokens: Tensor) -> Features:
        """Features of a batch of pairs, by both towers in one call (which is what wrappers for several processes see).

        Images and tokens that are of no pair follow the others, and so do their embeddings (see `Features.parted`).
        """

    @abstractmethod
    def encode_image(self, images: Tensor) -> Tensor:
        """Image embeddings (n, k), before any normalisation."""

    @abstractmethod
    def encode_text(self, tokens: Tensor) -> Tensor:
        """Text embeddings (n, k), before any normalisation."""

    @abstractmethod
    def image_tower(self) -> nn.Module:
        """The module with all parameters of the image tower, its last linear map included."""

    @abstractmethod
    def projections(self) -> tuple[Tensor, Tensor]:
        """The last linear maps of image and text tower, each (k, width of the tower)."""

    @abstractmethod
    def clamp_logit_scale(self, maximum: float) -> None:
        """Bring a trained logit scale back to at most `maximum`."""


@dataclass(frozen=True)
class Encoder:
    """A model with what turns images and captions into its inputs.

    Attributes:
        model: the two towers.
        preprocess: n uint8 images (height, width, 3) to the tensor that `model` takes.
        augment: the same for training, where it may draw random crops from torch's generator.
        tokenize: captions to token ids (n, up to context).
        head: a trained linear head, which classifies in place of the texts' embeddings where it knows all classes.
        temperature: what the logits are divided by when the model is judged, beside its own scale; 1 leaves them.
    """

    model: DualEncoder
    preprocess: Callable[[Sequence[np.ndarray]], Tensor]
    augment: Callable[[Sequence[np.ndarray]], Tensor]
    tokenize: Callable[[Sequence[str]], Tensor]
    head: Head | None = None
    temperature: float = 1.0


def last_linear_map(tower: nn.Module, name: str) -> Tensor:
    """A tower's last linear map as (k, width): the matrix of that name, or its last linear layer."""
    matrix = getattr(tower, name, None)
    if isinstance(matrix, Tensor):
        return matrix.T
    if isinstance(matrix, nn.Linear):
        return matrix.weight
    return [layer for layer in tower.modules() if isinstance(layer, nn.Linear)][-1].weight
