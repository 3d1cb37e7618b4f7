"""A file of weights: a CLIP's tensors under its own names, whatever saved it, or a sentence that says what is wrong."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, StrictBool, ValidationError
from torch import Tensor

from tracer.errors import UserError
from tracer.models.loading import failures, preprocessing
from tracer.models.loading.preprocessing import Preprocessing
from tracer.storage import require_file
from tracer.tensor_files import is_torchscript, load_metadata, load_tensors

_ARCHIVES_SIZES = ("input_resolution", "context_length", "vocab_size")  # what OpenAI's archives hold beside weights
_WRAPPERS_SHOWN = 3


@dataclass(frozen=True)
class Weights:
    """What a file of weights holds.

    Attributes:
        path: the file.
        tensors: by the names that the model has for them.
        architecture: the one it was saved from, where the file says so.
        configuration: what its towers were built from (of open_clip's model_cfg), where the file says so.
        quick_gelu: whether that has OpenAI's activation, where the file says so.
        preprocessing: how its images were preprocessed, as far as the file says so.
    """

    path: Path
    tensors: dict[str, Tensor]
    architecture: str | None = None
    configuration: dict[str, Any] | None = None
    quick_gelu: bool | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    def misfit(self, missing: Sequence[str], unknown: Sequence[str], reshaped: Sequence[str]) -> UserError:
        """The error for tensors that are not the model's: how many, and the first of each kind."""
        kinds = {"missing": missing, "unknown to it": unknown, "of another shape or type": reshaped}
        found = "; ".join(f"{kind} {len(names)}, first {names[0]}" for kind, names in kinds.items() if names)
        return self.unfit(f"tensors {found}")

    def unfit(self, reason: str) -> UserError:
        """The error for a file of another model."""
        return UserError(
            f"{self.path} does not fit the model ({reason}): choose {self.architecture or 'the architecture it was made for'}"
        )

    def require_preprocessing(self, other: Preprocessing, otherwise: str) -> None:
        """Refuse a file that names another preprocessing; `otherwise` ends "want images otherwise than", as "ViT-B-16 makes them".

        Raises:
            UserError: with the first difference.
        """
        difference = self.preprocessing.difference(other)
        if difference:
            raise UserError(
                f"the weights in {self.path} want images otherwise than {otherwise} ({difference}): take the architecture and the"
                " configuration that they were saved with"
            )


def read(path: Path, trust_archive: bool = False) -> Weights:
    """Read a file of weights: safetensors, torch's own, OpenAI's archive.

    What stands around or before the names (`state_dict`, `model.`, `module.`, `_orig_mod.` and so on, in any nesting) is taken off.

    Raises:
        UserError: if the file is absent, damaged, no file of weights, holds several models, or would run code.
    """
    require_file(path)
    if path.suffix in (".npz", ".npy"):
        raise UserError(f"{path} is a file of numpy's, as big_vision's weights are: take the same model by one of open_clip's tags")
    if _is_safetensors(path):
        said = _said(load_metadata(path), path)
        return Weights(path, _unwrapped(load_tensors(path), path), **said)
    if is_torchscript(path):
        return Weights(path, _archived(path, trust_archive), quick_gelu=True)
    return Weights(path, _unwrapped(_unpickled(path), path))


def require_finite(tensors: Mapping[str, Tensor], origin: str) -> None:
    """Refuse NaN and infinite values.

    Args:
        tensors: by name.
        origin: whose they are, in errors: "the weights in student.safetensors".
    """
    broken = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        values = "NaN" if tensors[broken[0]].isnan().any() else "infinite values"
        more = f" and {len(broken) - 1} other tensors" if len(broken) > 1 else ""
        raise UserError(f"{origin} hold {values} in {broken[0]}{more}: take weights from before they diverged")


def _is_safetensors(path: Path) -> bool:
    """By content, so that a wrong suffix does no harm: a header's length in 8 bytes, and then its brace."""
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" or (path.suffix == ".safetensors" and start[:2] != b"PK")


class _Towers(BaseModel):
    vision_cfg: dict[str, Any]
    text_cfg: dict[str, Any]


class _Said(BaseModel):
    """What the metadata of a file say of its model; other keys are passed over."""

    architecture: str | None = None
    configuration: _Towers | None = None
    quick_gelu: StrictBool | None = None


def _said(metadata: dict[str, Any], path: Path) -> dict[str, Any]:
    """What a file's metadata say, as fields of `Weights`."""
    try:
        said = _Said.model_validate(metadata)
    except ValidationError as error:
        raise UserError(f"the metadata of {path} are damaged: {failures.invalid(error, _Said)}; replace it") from None
    configuration = said.configuration.model_dump() if said.configuration else None
    images = preprocessing.parse(metadata.get("preprocess") or {}, str(path))
    return {**dict(said), "configuration": configuration, "preprocessing": images}


def _archived(path: Path, trusted: bool) -> dict[str, Tensor]:
    if not trusted:
        raise UserError(
            f"{path} is a TorchScript archive, as OpenAI's weights are, and opening one may run what it holds: if you trust its"
            " source, set model.trust_archive to true"
        )
    try:
        with warnings.catch_warnings(action="ignore"):  # torch tells that TorchScript will go
            state = torch.jit.load(str(path), map_location="cpu").state_dict()
    except Exception as error:  # of its own reader
        raise failures.told(error, f"cannot open the archive {path}", str(path), "replace it") from error
    return {name: tensor for name, tensor in state.items() if name not in _ARCHIVES_SIZES}


def _unpickled(path: Path) -> Any:
    """What torch saved, as far as it is data."""
    try:
        with warnings.catch_warnings(action="ignore"), path.open("rb") as file:  # torch warns of old forms, and goes by suffix
            return torch.load(file, map_location="cpu", weights_only=True)
    except (MemoryError, RuntimeError) as error:
        raise failures.told(error, f"cannot read {path}", str(path), "it is damaged or cut short; replace it") from error
    except Exception as error:  # damaged bytes make pickle fail in any way
        raise UserError(
            f"{path} is damaged, or a pickle of Python objects, which may run code and is not opened: save the model's state_dict()"
        ) from error


def _unwrapped(content: Any, path: Path) -> dict[str, Tensor]:
    """The tensors of the one CLIP that a file holds, without what stands around and before their names."""
    mappings = list(_mappings(content))
    models = [(place, prefix, tensors) for place, tensors in mappings for prefix in _prefixes(tensors)]
    if len(models) > 1:
        places = [f"{place}{prefix}".rstrip(".") or "no name" for place, prefix, _ in models]
        listed = " and ".join(places[:_WRAPPERS_SHOWN])
        raise UserError(
            f"{path} holds the weights of {len(models)} models (under {listed}): save those of one to a file of its own"
        )
    if models:
        _, prefix, tensors = models[0]
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    most = max((tensors for _, tensors in mappings), key=len, default={})
    if any("vision_model." in name for name in most):
        raise UserError(
            f"{path} holds a model of the library transformers, which names its tensors otherwise: take the same model's files for"
            " open_clip, by a tag or as hf-hub:organisation/name"
        )
    if not most:
        raise UserError(f"{path} does not fit the model (it holds no tensors by name): save the model's state_dict()")
    return most


def _mappings(content: Any) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every mapping in nested ones that holds tensors by name, with the keys that lead to it."""
    seen: set[int] = set()
    left = [("", content)]
    while left:
        place, mapping = left.pop(0)
        if not isinstance(mapping, Mapping) or id(mapping) in seen:
            continue
        seen.add(id(mapping))
        named = {name: value for name, value in mapping.items() if isinstance(name, str)}
        tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
        if tensors:
            yield place, tensors
        left += [(f"{place}{name}.", value) for name, value in named.items()]


def _prefixes(tensors: Mapping[str, Tensor]) -> list[str]:
    """What stands before the names of each CLIP among tensors: every CLIP has a logit scale and an image tower."""
    ends = [name.removesuffix("logit_scale") for name in tensors if name.split(".")[-1] == "logit_scale"]
    towers = ("visual.", "image_encoder.")  # the second before open_clip converts Apple's names
    return [end for end in ends if any(name.startswith(tuple(end + tower for tower in towers)) for name in tensors)]
