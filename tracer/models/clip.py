"""CLIP models, open_clip's and the embedded one."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg
from PIL import Image
from torch import Tensor, nn
from torch.func import functional_call

from tracer.errors import UserError, nearest
from tracer.models import depth
from tracer.models.blueprint import Blueprint
from tracer.models.dual_encoder import DualEncoder, Encoder, Features, last_linear_map
from tracer.models.loading import configurations, failures, fitting, origins, remote_code
from tracer.models.loading.preprocessing import Preprocessing
from tracer.models.loading.weights import Weights, read
from tracer.models.tokenizers import OpenClipTokenizer
from tracer.storage import link, write_text
from tracer.tensor_files import save_tensors
from tracer.toy import renderer, small_clip

BatchNorm = Literal["frozen", "tracked"]


class Clip(DualEncoder):
    """A `DualEncoder` around one of open_clip's models, whose weights keep open_clip's names in saved files.

    Args:
        clip: the model.
        blueprint: what it was built from.
        batch_norm: "frozen" keeps the statistics of batch norm (RN50 and the embedded model have it) as pretrained, "tracked" lets
            training use and update those of the batch.
    """

    def __init__(self, clip: nn.Module, blueprint: Blueprint, batch_norm: BatchNorm = "frozen"):
        super().__init__()
        self.clip: Any = clip
        self.blueprint = blueprint
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
        return cast(Tensor, self.clip.logit_scale.exp())

    def forward(self, images: Tensor, tokens: Tensor) -> Features:
        image = self.clip.encode_image(images, normalize=True)
        return Features(image, self._text(tokens, normalize=True), self.logit_scale)

    def encode_image(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.clip.encode_image(images))

    def encode_text(self, tokens: Tensor) -> Tensor:
        return self._text(tokens, normalize=False)

    def _text(self, tokens: Tensor, normalize: bool) -> Tensor:
        """Text embeddings (n, k); captions cut by an `OpenClipTokenizer` get as many positions as they have."""
        length = tokens.shape[1]
        if not _reads_to_the_end_alone(self.clip) or length == self.clip.context_length:
            return cast(Tensor, self.clip.encode_text(tokens, normalize=normalize))
        shorter = {
            "clip.positional_embedding": self.clip.positional_embedding[:length],
            "clip.attn_mask": self.clip.attn_mask[:length, :length],
        }
        return cast(Tensor, functional_call(_TextTower(self.clip), shorter, (tokens, normalize), tie_weights=False))

    def image_tower(self) -> nn.Module:
        return cast(nn.Module, self.clip.visual)

    def projections(self) -> tuple[Tensor, Tensor]:
        text_tower = getattr(self.clip, "text", self.clip)
        return last_linear_map(self.clip.visual, "proj"), last_linear_map(text_tower, "text_projection")

    @torch.no_grad()
    def clamp_logit_scale(self, maximum: float) -> None:
        if self.clip.logit_scale.requires_grad:  # a frozen one stays as it is
            self.clip.logit_scale.clamp_(max=float(np.log(maximum)))


class _TextTower(nn.Module):
    """A CLIP whose call embeds texts, which is what `functional_call` can make."""

    def __init__(self, clip: nn.Module):
        super().__init__()
        self.clip: Any = clip

    def forward(self, tokens: Tensor, normalize: bool) -> Tensor:
        return cast(Tensor, self.clip.encode_text(tokens, normalize=normalize))


def _reads_to_the_end_alone(clip: nn.Module) -> bool:
    """Whether a text's embedding is read at its highest token, the end, and attention looks only back: what follows is nothing."""
    return isinstance(clip, open_clip.CLIP) and clip.attn_mask is not None and clip.text_pool_type == "argmax"


def create(
    architecture: str,
    pretrained: str | None,
    batch_norm: BatchNorm = "frozen",
    weights: Path | None = None,
    *,
    trust_archive: bool = False,
    trust_remote_code: bool = False,
) -> Encoder:
    """A CLIP by name.

    Args:
        architecture: one of `small_clip.IMAGE_TOWERS`, the embedded models, or an open_clip model name such as "ViT-B-16",
            "hf-hub:organisation/name" or "local-dir:folder".
        pretrained: a file of weights (safetensors, a state dict or checkpoint in .pt or .bin, OpenAI's archive); else for "glyphs"
            the seed of a shipped checkpoint, for the others a tag of open_clip's, and where the architecture begins with "hf-hub:"
            or "local-dir:" that same name. None gives random weights. Of a file that `save` wrote the preprocessing holds too.
        batch_norm: what training does to batch-norm statistics (see `Clip`).
        weights: a file of fine-tuned weights to load on top; where it names a preprocessing, that one holds.
        trust_archive: open TorchScript archives, which OpenAI's files are: that may run what they hold.
        trust_remote_code: let a tokenizer or text tower of the library transformers run code that its own files bring.

    Raises:
        UserError: for an unknown name or tag (with the nearest), a hub that does not answer, a folder that describes no model,
            files that would run code, and weights that are absent, damaged, not finite, or of another model, activation or
            preprocessing.
    """
    fine_tuned = read(weights, trust_archive) if weights else None
    if architecture in small_clip.IMAGE_TOWERS:
        encoder = _embedded(architecture, pretrained, batch_norm, trust_archive)
    else:
        encoder = _open_clip(architecture, pretrained, batch_norm, trust_archive, trust_remote_code, fine_tuned)
    if fine_tuned:
        _fill(require_clip(encoder.model), fine_tuned)
        fine_tuned.require_preprocessing(preprocessing(encoder.model), f"{architecture} makes them")
    return encoder


def freeze(model: DualEncoder, patterns: Sequence[str]) -> None:
    """Take parameters of a `Clip` out of training.

    Args:
        model: the model.
        patterns: shell patterns of parameters' names (open_clip's), or "image_tower" and "text_tower" for all of a tower.

    Raises:
        UserError: for a pattern that matches nothing, and if nothing is left to train.
    """
    clip = require_clip(model).clip
    towers = _towers(clip)
    for pattern in patterns:
        frozen = towers.get(pattern) or [name for name, _ in clip.named_parameters() if fnmatchcase(name, pattern)]
        if not frozen:
            names = {name for name, _ in clip.named_parameters()} | {f"{name}.*" for name, _ in clip.named_modules() if name}
            raise UserError(f"model.freeze: no parameter is called {pattern!r}{nearest(pattern, {*names, *towers})}")
        for name in frozen:
            clip.get_parameter(name).requires_grad_(False)
    if not any(parameter.requires_grad for parameter in clip.parameters()):
        raise UserError("model.freeze leaves no parameter to train: remove a pattern")


def _towers(clip: nn.Module) -> dict[str, list[str]]:
    """Names of each tower's parameters; what is neither the image tower's nor a factor or offset of the logits is the text's."""
    names = [name for name, parameter in clip.named_parameters() if parameter.ndim]
    image = [name for name in names if name.startswith("visual.")]
    return {"image_tower": image, "text_tower": [name for name in names if name not in image]}


def checkpoint_gradients(model: DualEncoder) -> None:
    """Let a `Clip` keep no activations inside its towers' blocks, but compute them again in the backward pass.

    Raises:
        UserError: if the image tower cannot do so, as ModifiedResNet (RN50 and its like), for which open_clip does nothing.
    """
    clip = require_clip(model).clip
    clip.set_grad_checkpointing(True)
    if not any(getattr(module, "grad_checkpointing", False) for module in clip.visual.modules()):
        raise UserError(
            f"the image tower of {require_clip(model).blueprint.architecture} cannot compute activations again: set"
            " model.gradient_checkpointing to false, and optimization.micro_batch_size to save memory"
        )


def weights(model: DualEncoder) -> dict[str, Tensor]:
    """The weights of a `Clip` under open_clip's names."""
    return {name.removeprefix("clip."): tensor for name, tensor in model.state_dict().items()}


def depths(model: DualEncoder) -> dict[str, float]:
    """For every saved tensor of a `Clip`, by its name in the state dict, its depth in its tower; raises as `depth.depths` does."""
    return {f"clip.{name}": value for name, value in depth.depths(require_clip(model).clip).items()}


def save(model: DualEncoder, path: Path) -> None:
    """Save the weights of a `Clip` so that open_clip loads them by `pretrained=path`; what else it needs goes into the metadata."""
    blueprint = require_clip(model).blueprint
    metadata = {
        "architecture": blueprint.architecture,
        "configuration": blueprint.configuration,
        "quick_gelu": blueprint.quick_gelu,
        "preprocess": open_clip.get_model_preprocess_cfg(require_clip(model).clip),
    }
    save_tensors(path, weights(model), metadata)


def save_folder(model: DualEncoder, folder: Path) -> None:
    """Save a `Clip` as student.safetensors in a folder that open_clip loads, preprocessing included, as "local-dir:folder".

    A tokenizer of the library transformers is saved too: open_clip looks for its files in the folder, wherever they came from.

    open_clip would take whatever file of weights comes first by name, a head or an interpolation say, unless there is one by the
    name that it prefers: that is a link to the student, or a copy where the file system has no links.
    """
    save(model, folder / origins.STUDENT)
    write_text(folder / configurations.NAME, json.dumps(configuration(model), indent=1, allow_nan=False) + "\n")
    if tokenizer := require_clip(model).blueprint.tokenizer:
        tokenizer.save_pretrained(folder)
    link(folder / origins.OPEN_CLIPS_CHOICE, folder / origins.STUDENT)


def configuration(model: DualEncoder) -> dict[str, Any]:
    """Sizes and preprocessing of a `Clip`, as open_clip writes them."""
    clip = require_clip(model)
    return {"model_cfg": clip.blueprint.configuration, "preprocess_cfg": open_clip.get_model_preprocess_cfg(clip.clip)}


def require_room(folder: Path) -> None:
    """Refuse a folder in which `save_folder` would replace weights that are not a run's.

    Raises:
        UserError: if there is a file by the name that open_clip prefers, without a student beside it.
    """
    foreign = folder / origins.OPEN_CLIPS_CHOICE
    if foreign.exists() and not foreign.is_symlink() and not (folder / origins.STUDENT).exists():
        raise UserError(
            f"output = {folder} holds the weights {foreign.name} of another model, which the run would replace: choose another"
        )


def preprocessing(model: DualEncoder) -> Preprocessing:
    """How a `Clip` wants its images."""
    return Preprocessing.model_validate(open_clip.get_model_preprocess_cfg(require_clip(model).clip))


def require_same_preprocessing(anchor: DualEncoder, student: DualEncoder, other: str = "the other weights") -> None:
    """Refuse to mix the weights of two models that want different images.

    Args:
        anchor: the pretrained model.
        student: the other one.
        other: what that is called.

    Raises:
        UserError: with the first difference.
    """
    difference = preprocessing(anchor).difference(preprocessing(student))
    if difference:
        raise UserError(
            f"the pretrained and {other} want images otherwise ({difference}), so that no mixture of them can be right:"
            " name the pretrained weights that the others came from"
        )


def require_clip(model: nn.Module) -> Clip:
    """The model, if it is a `Clip`; raises a TypeError if not."""
    if not isinstance(model, Clip):
        raise TypeError(f"this is for a Clip, and not for a {type(model).__name__}")
    return model


def _embedded(architecture: str, pretrained: str | None, batch_norm: BatchNorm, trust_archive: bool) -> Encoder:
    configuration = small_clip.configuration(architecture)
    model = open_clip.CLIP(**configuration)
    # wider than open_clip's 0.02, which suits 49,408 tokens: with 44 words it halves the steps to the same loss
    nn.init.normal_(model.token_embedding.weight, std=0.1)
    open_clip.set_model_preprocess_cfg(
        model, asdict(PreprocessCfg(size=renderer.SIZE, mean=(small_clip.MEAN,) * 3, std=(small_clip.DEVIATION,) * 3))
    )
    clip = Clip(model, Blueprint(architecture, configuration), batch_norm)
    if pretrained is not None:
        start = read(Path(pretrained) if Path(pretrained).suffix else small_clip.checkpoint(pretrained), trust_archive)
        _fill(clip, start)
        start.require_preprocessing(preprocessing(clip), f"{architecture} makes them")
    return Encoder(clip, small_clip.preprocess, small_clip.preprocess, small_clip.TOKENIZER)


def _open_clip(
    architecture: str,
    pretrained: str | None,
    batch_norm: BatchNorm,
    trust_archive: bool,
    trust_remote_code: bool,
    fine_tuned: Weights | None,
) -> Encoder:
    folder = origins.folder_of(architecture)
    described = configurations.in_folder(folder) if folder else None
    origin = origins.find(architecture, pretrained)
    origins.require_hub(architecture, origin.tag)
    described = described or origins.described(architecture)
    if architecture.startswith(origins.SCHEMES) and not trust_remote_code:
        remote_code.refuse(architecture, described.configuration, folder)
    file = origins.file(architecture, origin)
    start = read(file, trust_archive) if file else None
    if start and folder and pretrained == architecture:
        start.require_preprocessing(described.preprocessing, f"{folder / configurations.NAME} says")
    model, augment, preprocess, tokenizer = _built(
        architecture, origin.tag, described.configuration, trust_remote_code, start, fine_tuned
    )
    own = tokenizer if described.configuration["text_cfg"].get("hf_tokenizer_name") else None
    clip = Clip(model, Blueprint(architecture, described.configuration, own), batch_norm)
    if start:
        _fill(clip, start)
    return Encoder(
        clip,
        partial(_stacked, preprocess),
        partial(_stacked, augment),
        OpenClipTokenizer(tokenizer, _reads_to_the_end_alone(model)),
    )


def _built(
    architecture: str, tag: str | None, configuration: dict[str, Any], trust_remote_code: bool, *files: Weights | None
) -> tuple[nn.Module, Any, Any, Any]:
    """Model with random weights, augmentation, preprocessing (what files say of it holds, the last first) and tokenizer."""
    named: dict[str, Any] = {}
    for file in files:
        named |= file.preprocessing.model_dump(exclude={"size"}, exclude_none=True) if file else {}
    # transformers would ask at the terminal; open_clip's own tokenizer takes no such word
    trust = {"trust_remote_code": trust_remote_code} if configuration["text_cfg"].get("hf_tokenizer_name") else {}
    folder = origins.folder_of(architecture)
    advice = f"mend the files in {folder}" if folder else "check the network, which its tokenizer or towers may need"
    try:
        with _quiet():
            tokenizer = open_clip.get_tokenizer(architecture, **trust)
            model, augment, preprocess = open_clip.create_model_and_transforms(
                architecture,
                pretrained=tag,  # names the preprocessing
                pretrained_text=False,
                load_weights=False,
                **{f"image_{name}": value for name, value in named.items()},
            )
    except Exception as error:  # whatever open_clip, timm and transformers raise
        raise failures.told(error, f"cannot build {architecture}", architecture, advice) from error
    return model, augment, preprocess, tokenizer


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what open_clip logs, such as that the weights are random, just before they are loaded from a file."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def _fill(model: Clip, weights: Weights) -> None:
    """Put the tensors of a file into a model."""
    blueprint = model.blueprint
    if weights.quick_gelu is not None:
        origins.check_activation(blueprint.architecture, blueprint.quick_gelu, weights.quick_gelu, f"the weights in {weights.path}")
    fitting.fill(model.clip, weights)
    unseen = weights.configuration and configurations.unseen_difference(weights.configuration, blueprint.configuration)
    if unseen:
        raise weights.unfit(f"its tensors do, but it was trained with another setting: {unseen}")


# a function of this module, not a closure: workers that are not forked get it pickled
def _stacked(transform: Callable[[Image.Image], Tensor], images: Sequence[np.ndarray]) -> Tensor:
    return torch.stack([transform(Image.fromarray(image)) for image in images])
