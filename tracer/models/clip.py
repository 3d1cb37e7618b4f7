"""CLIP models, open_clip's and the embedded one: the only module that knows open_clip."""

import pickle
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import open_clip
import torch
from open_clip.factory import load_state_dict
from PIL import Image
from torch import Tensor, nn

from tracer.errors import UserError, nearest
from tracer.models import glyphs
from tracer.models.dual_encoder import DualEncoder, Encoder, Features
from tracer.storage import load_tensors, save_tensors

BatchNorm = Literal["frozen", "tracked"]

# the words that OpenAI chose for ImageNet, in the order of its synsets
IMAGENET_CLASS_NAMES: tuple[str, ...] = tuple(open_clip.IMAGENET_CLASSNAMES)
OPENAI_TEMPLATES: tuple[str, ...] = tuple(template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES)


class Clip(DualEncoder):
    """A `DualEncoder` around one of open_clip's models, whose weights keep open_clip's names in saved files.

    Args:
        clip: the model.
        batch_norm: "frozen" keeps the statistics of batch norm (RN50 and the embedded model have it) as pretrained, "tracked" lets
            training use and update those of the batch.
    """

    def __init__(self, clip: nn.Module, batch_norm: BatchNorm = "frozen"):
        super().__init__()
        self.clip: Any = clip
        self.batch_norm = batch_norm

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.batch_norm == "frozen":
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    @property
    def logit_scale(self) -> Tensor:  # type: ignore[override]
        """The factor 1 / temperature, a scalar."""
        return self.clip.logit_scale.exp()

    def forward(self, images: Tensor, tokens: Tensor) -> Features:
        image = self.clip.encode_image(images, normalize=True)
        text = self.clip.encode_text(tokens, normalize=True)
        return Features(image, text, self.logit_scale)

    def encode_image(self, images: Tensor) -> Tensor:
        return self.clip.encode_image(images)

    def encode_text(self, tokens: Tensor) -> Tensor:
        return self.clip.encode_text(tokens)

    def image_tower(self) -> nn.Module:
        return self.clip.visual

    def projections(self) -> tuple[Tensor, Tensor]:
        text_tower = getattr(self.clip, "text", self.clip)
        return _projection(self.clip.visual, "proj"), _projection(text_tower, "text_projection")

    @torch.no_grad()
    def clamp_logit_scale(self, maximum: float) -> None:
        self.clip.logit_scale.clamp_(max=float(np.log(maximum)))


def create(architecture: str, pretrained: str | None, batch_norm: BatchNorm = "frozen", weights: Path | None = None) -> Encoder:
    """A CLIP by name.

    Args:
        architecture: "glyphs", the embedded model, or an open_clip model name such as "ViT-B-16".
        pretrained: a safetensors or .pt file of weights; else for "glyphs" the seed of a shipped checkpoint, and for the others a
            tag of open_clip's. None gives random weights.
        batch_norm: what training does to batch-norm statistics (see `Clip`).
        weights: a file of fine-tuned weights to load on top; the preprocessing stays that of `pretrained`.

    Raises:
        UserError: for an unknown name or tag (with the nearest), or weights that are absent, damaged or of another model.
    """
    encoder = (
        _embedded(pretrained, batch_norm)
        if architecture == glyphs.ARCHITECTURE
        else _open_clip(architecture, pretrained, batch_norm)
    )
    if weights:
        _load(encoder.model.get_submodule("clip"), weights)
    return encoder


def _open_clip(architecture: str, pretrained: str | None, batch_norm: BatchNorm) -> Encoder:
    if architecture not in open_clip.list_models():
        known = [*open_clip.list_models(), glyphs.ARCHITECTURE]
        raise UserError(f"there is no architecture {architecture!r}{nearest(architecture, known)}")
    file = Path(pretrained) if pretrained and Path(pretrained).suffix else None
    tag = None if file else pretrained
    if tag:
        _check_tag(architecture, tag)
    try:
        model, augment, preprocess = open_clip.create_model_and_transforms(architecture, pretrained=tag)
    except (RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"cannot get the weights {tag!r} of {architecture} ({reason}): check the network, or give a file"
        ) from error
    if file:
        _load(model, file)
    return Encoder(
        Clip(model, batch_norm),
        partial(_stacked, preprocess),
        partial(_stacked, augment),
        partial(_tokens, open_clip.get_tokenizer(architecture)),
        architecture,
    )


def weights(model: DualEncoder) -> dict[str, Tensor]:
    """The weights of a `Clip` under open_clip's names."""
    return {name.removeprefix("clip."): tensor for name, tensor in model.state_dict().items()}


def save(model: DualEncoder, path: Path) -> None:
    """Save the weights of a `Clip` so that open_clip loads them by `pretrained=path`."""
    save_tensors(path, weights(model), {})


def _embedded(pretrained: str | None, batch_norm: BatchNorm) -> Encoder:
    model = open_clip.CLIP(**glyphs.CONFIGURATION)
    # wider than open_clip's 0.02, which suits 49,408 tokens: with 44 words it halves the steps to the same loss
    nn.init.normal_(model.token_embedding.weight, std=0.1)
    if pretrained is not None:
        _load(model, Path(pretrained) if Path(pretrained).suffix else glyphs.checkpoint(pretrained))
    return Encoder(Clip(model, batch_norm), glyphs.preprocess, glyphs.preprocess, glyphs.TOKENIZER, glyphs.ARCHITECTURE)


def _load(model: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise UserError(f"there is no file of weights {path}: check the path")
    try:
        weights = load_tensors(path) if path.suffix == ".safetensors" else load_state_dict(str(path))
        model.load_state_dict(weights)
    except (RuntimeError, KeyError, TypeError, AttributeError, EOFError, OSError, pickle.UnpicklingError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
        raise UserError(f"{path} does not fit the model ({reason}): choose the architecture it was made for") from error


def _check_tag(architecture: str, tag: str) -> None:
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag not in tags:
        raise UserError(f"{architecture} has no pretrained tag {tag!r}{nearest(tag, tags)}; a file needs its suffix")
    trained_with = bool(open_clip.get_pretrained_cfg(architecture, tag).get("quick_gelu", False))
    if trained_with != bool((open_clip.get_model_config(architecture) or {}).get("quick_gelu", False)):
        other = architecture.removesuffix("-quickgelu") if not trained_with else f"{architecture}-quickgelu"
        raise UserError(f"the weights {tag!r} were trained with another activation than {architecture} has: choose {other}")


# functions of this module, not closures: workers that are not forked get them pickled
def _stacked(transform: Callable[[Image.Image], Tensor], images: Sequence[np.ndarray]) -> Tensor:
    return torch.stack([transform(Image.fromarray(image)) for image in images])


def _tokens(tokenizer: Callable[[list[str]], Tensor], texts: Sequence[str]) -> Tensor:
    return tokenizer(list(texts))


def _projection(tower: nn.Module, name: str) -> Tensor:
    """A tower's last linear map as (k, width): the matrix of that name, or its last linear layer."""
    matrix = getattr(tower, name, None)
    if isinstance(matrix, Tensor):
        return matrix.T
    if isinstance(matrix, nn.Linear):
        return matrix.weight
    return [layer for layer in tower.modules() if isinstance(layer, nn.Linear)][-1].weight
