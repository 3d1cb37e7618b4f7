"""CLIP models, open_clip's and the embedded one: the only module that knows open_clip."""

import json
import logging
import os
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import huggingface_hub
import numpy as np
import open_clip
import torch
from huggingface_hub.errors import RepositoryNotFoundError
from open_clip.factory import load_checkpoint
from open_clip.transform import PreprocessCfg
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.func import functional_call

from tracer.errors import UserError, nearest
from tracer.models import glyphs
from tracer.models.dual_encoder import DualEncoder, Encoder, Features, last_linear_map
from tracer.storage import is_torchscript, load_metadata, save_tensors

BatchNorm = Literal["frozen", "tracked"]
SCHEMES = ("hf-hub:", "local-dir:")  # open_clip's: a name that begins so brings its weights


@dataclass(frozen=True)
class Blueprint:
    """What a model is built from, beside its weights.

    Attributes:
        architecture: its name, as `create` takes it.
        configuration: its sizes, what open_clip calls model_cfg.
    """

    architecture: str
    configuration: dict[str, Any]

    @property
    def quick_gelu(self) -> bool:
        """Whether it has OpenAI's activation, x sigmoid(1.702 x), for which no tensor of a file speaks."""
        return bool(self.configuration.get("quick_gelu", False))


# the words that OpenAI chose for ImageNet, in the order of its synsets
IMAGENET_CLASS_NAMES: tuple[str, ...] = tuple(open_clip.IMAGENET_CLASSNAMES)
OPENAI_TEMPLATES: tuple[str, ...] = tuple(template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES)


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
        return self.clip.logit_scale.exp()

    def forward(self, images: Tensor, tokens: Tensor) -> Features:
        image = self.clip.encode_image(images, normalize=True)
        return Features(image, self._text(tokens, normalize=True), self.logit_scale)

    def encode_image(self, images: Tensor) -> Tensor:
        return self.clip.encode_image(images)

    def encode_text(self, tokens: Tensor) -> Tensor:
        return self._text(tokens, normalize=False)

    def _text(self, tokens: Tensor, normalize: bool) -> Tensor:
        """Text embeddings (n, k); captions cut by `_tokens` get as many positions as they have."""
        length = tokens.shape[1]
        if not _reads_to_the_end_alone(self.clip) or length == self.clip.context_length:
            return self.clip.encode_text(tokens, normalize=normalize)
        shorter = {
            "clip.positional_embedding": self.clip.positional_embedding[:length],
            "clip.attn_mask": self.clip.attn_mask[:length, :length],
        }
        return functional_call(_TextTower(self.clip), shorter, (tokens, normalize), tie_weights=False)

    def image_tower(self) -> nn.Module:
        return self.clip.visual

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
        return self.clip.encode_text(tokens, normalize=normalize)


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
) -> Encoder:
    """A CLIP by name.

    Args:
        architecture: "glyphs", the embedded model, or an open_clip model name such as "ViT-B-16", "hf-hub:organisation/name" or
            "local-dir:folder".
        pretrained: a file of weights (safetensors, a state dict or checkpoint of open_clip_train's in .pt or .bin, OpenAI's
            archive); else for "glyphs" the seed of a shipped checkpoint, for the others a tag of open_clip's, and where the
            architecture begins with "hf-hub:" or "local-dir:" that same name. None gives random weights. Of a file that `save`
            wrote the preprocessing holds too.
        batch_norm: what training does to batch-norm statistics (see `Clip`).
        weights: a file of fine-tuned weights to load on top; the preprocessing stays that of `pretrained`.
        trust_archive: open TorchScript archives, which OpenAI's files are: that may run what they hold.

    Raises:
        UserError: for an unknown name or tag (with the nearest), a hub that does not answer, weights that are absent, damaged, of
            another model or of another activation.
    """
    embedded = architecture == glyphs.ARCHITECTURE
    encoder = (_embedded if embedded else _open_clip)(architecture, pretrained, batch_norm, trust_archive)
    if weights:
        _load(_clip(encoder.model), weights, trust_archive)
    return encoder


def freeze(model: DualEncoder, patterns: Sequence[str]) -> None:
    """Take the parameters of a `Clip` whose names (open_clip's) match any of the shell patterns out of training.

    Raises:
        UserError: for a pattern that matches nothing, and if nothing is left to train.
    """
    clip = _clip(model).clip
    names = [name for name, _ in clip.named_parameters()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            layers = {f"{name}.*" for name, _ in clip.named_modules() if name}
            raise UserError(f"model.freeze: no parameter is called {pattern!r}{nearest(pattern, {*names, *layers})}")
    for name, parameter in clip.named_parameters():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in clip.parameters()):
        raise UserError("model.freeze leaves no parameter to train: remove a pattern")


def checkpoint_gradients(model: DualEncoder) -> None:
    """Let a `Clip` keep no activations inside its towers' blocks, but compute them again in the backward pass.

    Raises:
        UserError: if the image tower cannot do so, as ModifiedResNet (RN50 and its like), for which open_clip does nothing.
    """
    clip = _clip(model).clip
    clip.set_grad_checkpointing(True)
    if not any(getattr(module, "grad_checkpointing", False) for module in clip.visual.modules()):
        raise UserError(
            f"the image tower of {_clip(model).blueprint.architecture} cannot compute activations again: set"
            " model.gradient_checkpointing to false, and optimization.micro_batch_size to save memory"
        )


def weights(model: DualEncoder) -> dict[str, Tensor]:
    """The weights of a `Clip` under open_clip's names."""
    return {name.removeprefix("clip."): tensor for name, tensor in model.state_dict().items()}


def save(model: DualEncoder, path: Path) -> None:
    """Save the weights of a `Clip` so that open_clip loads them by `pretrained=path`; what else it needs goes into the metadata."""
    blueprint = _clip(model).blueprint
    metadata = {"architecture": blueprint.architecture, "quick_gelu": blueprint.quick_gelu, "preprocess": _preprocessing(model)}
    save_tensors(path, weights(model), metadata)


def save_configuration(model: DualEncoder, folder: Path) -> None:
    """Write open_clip_config.json, by which open_clip loads a folder of weights, preprocessing included, as "local-dir:folder"."""
    (folder / "open_clip_config.json").write_text(json.dumps(configuration(model), indent=1) + "\n", encoding="utf-8")


def configuration(model: DualEncoder) -> dict[str, Any]:
    """Sizes and preprocessing of a `Clip`, as open_clip writes them."""
    return {"model_cfg": _clip(model).blueprint.configuration, "preprocess_cfg": _preprocessing(model)}


def _clip(model: nn.Module) -> Clip:
    if not isinstance(model, Clip):
        raise TypeError(f"this is for a Clip, and not for a {type(model).__name__}")
    return model


def _preprocessing(model: nn.Module) -> dict[str, Any]:
    return open_clip.get_model_preprocess_cfg(_clip(model).clip)


def _embedded(architecture: str, pretrained: str | None, batch_norm: BatchNorm, trust_archive: bool) -> Encoder:
    model = open_clip.CLIP(**glyphs.CONFIGURATION)
    # wider than open_clip's 0.02, which suits 49,408 tokens: with 44 words it halves the steps to the same loss
    nn.init.normal_(model.token_embedding.weight, std=0.1)
    open_clip.set_model_preprocess_cfg(
        model, asdict(PreprocessCfg(size=glyphs.SIZE, mean=(glyphs.MEAN,) * 3, std=(glyphs.DEVIATION,) * 3))
    )
    clip = Clip(model, Blueprint(architecture, glyphs.CONFIGURATION), batch_norm)
    if pretrained is not None:
        _load(clip, Path(pretrained) if Path(pretrained).suffix else glyphs.checkpoint(pretrained), trust_archive)
    return Encoder(clip, glyphs.preprocess, glyphs.preprocess, glyphs.TOKENIZER)


def _open_clip(architecture: str, pretrained: str | None, batch_norm: BatchNorm, trust_archive: bool) -> Encoder:
    tag, file = _source(architecture, pretrained)
    _require_hub(architecture, tag)
    saved = load_metadata(file).get("preprocess", {}) if file and file.suffix == ".safetensors" else {}
    fetched = pretrained is not None and file is None
    try:
        with _quiet():
            model, augment, preprocess = open_clip.create_model_and_transforms(
                architecture,
                pretrained=tag,
                pretrained_text=False,
                load_weights=fetched,
                require_pretrained=fetched,  # a hub's missing weights would be random ones
                **{f"image_{name}": saved[name] for name in ("mean", "std", "interpolation", "resize_mode") if name in saved},
            )
        tokenizer = open_clip.get_tokenizer(architecture)
        configuration = open_clip.get_model_config(architecture)
    except (RuntimeError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"cannot get {f'the weights {tag!r} of ' if tag else ''}{architecture} ({reason}): check the network, or give a file"
        ) from error
    clip = Clip(model, Blueprint(architecture, configuration), batch_norm)
    if file:
        _load(clip, file, trust_archive)
    return Encoder(
        clip, partial(_stacked, preprocess), partial(_stacked, augment), partial(_tokens, tokenizer, _reads_to_the_end_alone(model))
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what open_clip logs, such as that the weights are random, just before they are loaded from a file."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def _source(architecture: str, pretrained: str | None) -> tuple[str | None, Path | None]:
    """The tag and the file that `pretrained` names, at most one of the two: a scheme's own weights need neither.

    Raises:
        UserError: if the architecture does not exist, or `pretrained` does not go with it.
    """
    brings_weights = architecture.startswith(SCHEMES)
    if not brings_weights and architecture not in open_clip.list_models():
        known = [*open_clip.list_models(), glyphs.ARCHITECTURE]
        raise UserError(f"there is no architecture {architecture!r}{nearest(architecture, known)}")
    if pretrained is None or pretrained == architecture:
        return None, None
    if pretrained.startswith(SCHEMES):
        raise UserError(f"{pretrained} brings its own architecture, which is not {architecture}: make it model.architecture")
    if Path(pretrained).suffix:
        return None, _existing(Path(pretrained))
    if brings_weights:
        raise UserError(f"{architecture} brings its weights, so there is no tag {pretrained!r}: leave out model.pretrained")
    _check_tag(architecture, pretrained)
    return pretrained, None


def _check_tag(architecture: str, tag: str) -> None:
    blueprint = Blueprint(architecture, open_clip.get_model_config(architecture) or {})
    for name in (architecture, _variant(architecture, not blueprint.quick_gelu)):
        if tag in open_clip.list_pretrained_tags_by_model(name):
            trained_with = bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False))
            return _check_activation(blueprint, trained_with, f"the weights {tag!r}")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    raise UserError(f"{architecture} has no pretrained tag {tag!r}{nearest(tag, tags)}; a file needs its suffix")


def _check_activation(blueprint: Blueprint, quick_gelu: bool, weights: str) -> None:
    if quick_gelu == blueprint.quick_gelu:
        return
    variant = _variant(blueprint.architecture, quick_gelu)
    choice = variant if variant in open_clip.list_models() else f"one whose quick_gelu is {str(quick_gelu).lower()}"
    raise UserError(f"{weights} were trained with another activation than {blueprint.architecture} has: choose {choice}")


def _variant(architecture: str, quick_gelu: bool) -> str:
    """The name that open_clip gives an architecture with or without OpenAI's activation."""
    plain = architecture.removesuffix("-quickgelu")
    return f"{plain}-quickgelu" if quick_gelu else plain


def _require_hub(architecture: str, tag: str | None) -> None:
    """Ask the hub once whether it has what open_clip will fetch there, which alone would try for minutes and then not say why."""
    files = open_clip.get_pretrained_cfg(architecture, tag).get("hf_hub", "") if tag else ""
    scheme, _, name = architecture.partition(":")
    repository = name if scheme == "hf-hub" else os.path.split(files)[0]
    cached = Path(huggingface_hub.constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots"
    if not repository or cached.is_dir():
        return
    try:
        huggingface_hub.HfApi().model_info(repository, timeout=10)
    except RepositoryNotFoundError as error:
        raise UserError(f"the hub shows no model {repository!r}: check the name, or log in if it is private") from error
    except Exception as error:  # of the client's transport, which changes with its releases
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(f"cannot get {repository} from the hub ({reason}): check the network, or give a file") from error


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"there is no file of weights {path}: check the path")
    return path


def _load(model: Clip, path: Path, trust_archive: bool) -> None:
    """Fill a model from a file."""
    archive = is_torchscript(_existing(path))
    if archive and not trust_archive:
        raise UserError(
            f"{path} is a TorchScript archive, as OpenAI's weights are, and opening one may run what it holds: if you trust its"
            " source, set model.trust_archive to true"
        )
    saved = load_metadata(path) if path.suffix == ".safetensors" else {}
    quick_gelu = True if archive else saved.get("quick_gelu")
    if quick_gelu is not None:
        _check_activation(model.blueprint, quick_gelu, f"the weights in {path}")
    try:
        with warnings.catch_warnings(action="ignore"):  # torch tells that TorchScript will go
            load_checkpoint(model.clip, str(path), weights_only=not archive)
    except (pickle.UnpicklingError, EOFError) as error:
        raise UserError(
            f"{path} is damaged, or a pickle of Python objects, which may run code and is not opened: save the model's state_dict()"
        ) from error
    except _MISFIT as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
        fitting = saved.get("architecture", "the architecture it was made for")
        raise UserError(f"{path} does not fit the model ({reason}): choose {fitting}") from error


_MISFIT = (RuntimeError, KeyError, TypeError, AttributeError, ValueError, OSError, StopIteration, SafetensorError)


# functions of this module, not closures: workers that are not forked get them pickled
def _stacked(transform: Callable[[Image.Image], Tensor], images: Sequence[np.ndarray]) -> Tensor:
    return torch.stack([transform(Image.fromarray(image)) for image in images])


def _tokens(tokenizer: Callable[[list[str]], Tensor], cut: bool, texts: Sequence[str]) -> Tensor:
    """Token ids, on request cut after the last end: on the host, where their length is known without waiting for a device."""
    tokens = tokenizer(list(texts))
    return tokens[:, : int(tokens.argmax(dim=-1).max()) + 1] if cut else tokens
