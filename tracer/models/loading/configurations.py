"""The configuration of an architecture that a folder or the hub describes, checked before anything is built from it."""

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from pydantic import BaseModel, Field, ValidationError

from tracer.errors import UserError, nearest
from tracer.models.loading import failures, preprocessing
from tracer.models.loading.preprocessing import Preprocessing
from tracer.storage import require_file

NAME = "open_clip_config.json"
_MOST_BYTES = 10_000_000  # of a configuration; a vocabulary is no part of it

_UNSEEN = {  # what changes a model's answers and no tensor's shape
    "vision_cfg": (
        CLIPVisionCfg,
        ("head_width", "attn_pooler_heads", "pool_type", "final_ln_after_pool", "act_kwargs", "norm_kwargs"),
    ),
    "text_cfg": (
        CLIPTextCfg,
        ("heads", "pool_type", "final_ln_after_pool", "act_kwargs", "norm_kwargs", "no_causal_mask", "eos_id", "hf_pooler_type"),
    ),
}

Size = Annotated[int, Field(strict=True, ge=1)]
Layers = Annotated[int, Field(strict=True, ge=1, le=200)]  # the deepest that open_clip knows has 56; more take long to build


class Described(NamedTuple):
    """What a model folder or the hub says of a model: its sizes (open_clip's model_cfg), and how it wants images."""

    configuration: dict[str, Any]
    preprocessing: Preprocessing


class _Vision(BaseModel):
    """What an image tower is built from, as far as its size depends on it; for the defaults see open_clip's CLIPVisionCfg."""

    layers: Layers | tuple[Layers, Layers, Layers, Layers] = 12
    width: Size = 768
    head_width: Size = 64
    mlp_ratio: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 4.0
    patch_size: Size | tuple[Size, Size] | None = 16
    image_size: Size | tuple[Size, Size] = 224

    def parameters(self) -> int:
        """About how many numbers it has: matrices and positions, without norms and biases."""
        height, wide = _pair(self.image_size)
        if isinstance(self.layers, tuple):  # a ResNet: bottlenecks, and attention over the last grid, 1/32 of the image
            blocks: int = sum(depth * 17 * (self.width * 2**stage) ** 2 for stage, depth in enumerate(self.layers))
            return blocks + (self.width * 32) ** 2 * 3 + (height // 32) * (wide // 32) * self.width * 32
        patch_height, patch_width = _pair(self.patch_size or 16)
        patches = (height // patch_height) * (wide // patch_width) + 3 * patch_height * patch_width
        return _transformer(self.layers, self.width, self.mlp_ratio) + patches * self.width


class _Text(BaseModel):
    """The same for a text tower."""

    context_length: Size = 77
    vocab_size: Size = 49408
    width: Size = 512
    heads: Size = 8
    layers: Layers = 12
    mlp_ratio: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 4.0
    tokenizer_kwargs: dict[str, Any] = {}
    hf_tokenizer_name: str | None = None
    hf_model_name: str | None = None

    def parameters(self) -> int:
        return _transformer(self.layers, self.width, self.mlp_ratio) + (self.context_length + self.vocab_size) * self.width


class _Sizes(BaseModel):
    embed_dim: Size
    vision_cfg: _Vision
    text_cfg: _Text

    def parameters(self) -> int:
        """About how many numbers the model has."""
        projections = self.embed_dim * (self.vision_cfg.width + self.text_cfg.width)
        return self.vision_cfg.parameters() + self.text_cfg.parameters() + projections


def in_folder(folder: Path) -> Described:
    """What a folder's open_clip_config.json says.

    Raises:
        UserError: if there is no such folder or file, or a model cannot be built from what it says.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: check the path after local-dir:")
    if not (folder / NAME).exists():
        raise UserError(f"{folder} holds no {NAME}, which says what model it is: name a folder of open_clip's, or of a run")
    return in_file(folder / NAME)


def in_file(path: Path) -> Described:
    """What an open_clip_config.json says; raises as `in_folder` does."""
    values = read_json(path)
    if not isinstance(values, dict) or not isinstance(values.get("model_cfg"), dict):
        raise UserError(f"{path} has no model_cfg, which holds the model's sizes: take the file that came with the weights")
    _check(values["model_cfg"], str(path))
    return Described(values["model_cfg"], preprocessing.parse(values.get("preprocess_cfg") or {}, str(path)))


def _check(configuration: dict[str, Any], origin: str) -> None:
    """Refuse keys that open_clip lacks, values that are no sizes, and more parameters than this machine's memory holds."""
    try:
        sizes = _Sizes.model_validate(configuration)
    except ValidationError as error:
        raise UserError(f"{origin}: model_cfg.{failures.invalid(error, _Sizes)}; mend it") from None
    for section, kind in (("vision_cfg", CLIPVisionCfg), ("text_cfg", CLIPTextCfg)):
        known = {key.name for key in dataclasses.fields(kind)}
        for key in configuration[section]:
            if key not in known:
                raise UserError(f"{origin}: there is no key 'model_cfg.{section}.{key}'{nearest(key, known)}; rename or remove it")
    needed, there = 4 * sizes.parameters(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise UserError(
            f"{origin} describes a model of about {sizes.parameters():.1e} parameters, and this machine's memory holds"
            f" {there // 4:.1e}: mend its sizes, or take a larger machine"
        )


def unseen_difference(one: dict[str, Any], other: dict[str, Any]) -> str | None:
    """The first setting in which two models' configurations differ though the tensors of one fit the other, with both values."""
    for section, (kind, names) in _UNSEEN.items():
        defaults = {key.name: key.default for key in dataclasses.fields(kind)}
        for name in names:
            mine, theirs = ((defaults | each[section])[name] for each in (one, other))
            if mine != theirs:
                return f"{section}.{name} {mine} and {theirs}"
    return None


def read_json(path: Path) -> Any:
    """The values of a JSON file that somebody else wrote.

    Raises:
        UserError: if it cannot be read, or is no JSON.
    """
    require_file(path)
    if path.stat().st_size > _MOST_BYTES:
        raise UserError(f"{path} has more than {_MOST_BYTES // 1_000_000} MB, which no configuration has: replace it")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: mend or replace it") from error


def _transformer(layers: int, width: int, mlp_ratio: float) -> int:
    """Weights of attention (4 width²) and of the two layers after it, in every block."""
    return layers * math.ceil((4 + 2 * mlp_ratio) * width**2)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)
