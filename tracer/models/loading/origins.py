"""Where a model's weights come from: a tag of open_clip's, a file, a folder, the hub."""

import os
from pathlib import Path
from typing import NamedTuple

import huggingface_hub
import open_clip
from huggingface_hub.errors import RepositoryNotFoundError
from open_clip import factory

from tracer.errors import UserError, nearest
from tracer.models.loading import configurations, failures
from tracer.models.loading.configurations import Described
from tracer.models.loading.preprocessing import Preprocessing
from tracer.toy import small_clip

HUB, FOLDER = SCHEMES = ("hf-hub:", "local-dir:")  # open_clip's: a name that begins so brings its weights
OPEN_CLIPS_CHOICE = "open_clip_model.safetensors"
"""The file that open_clip prefers to all others in a folder."""
STUDENT = "student.safetensors"
_FETCHED = "check the network, or give a file"
_PREFERRED = (  # open_clip's order
    OPEN_CLIPS_CHOICE,
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)


class Origin(NamedTuple):
    """Where weights come from: a tag, a file, the hub's repository that the architecture names, or nowhere."""

    tag: str | None = None
    file: Path | None = None
    hub: bool = False


def find(architecture: str, pretrained: str | None) -> Origin:
    """What `pretrained` stands for with this architecture.

    Raises:
        UserError: if the architecture does not exist, `pretrained` does not go with it, or a folder's weights are not clear.
    """
    brings_weights = architecture.startswith(SCHEMES)
    if not brings_weights and architecture not in open_clip.list_models():
        known = [*open_clip.list_models(), *small_clip.IMAGE_TOWERS]
        raise UserError(f"there is no architecture {architecture!r}{nearest(architecture, known)}")
    if pretrained is None:
        return Origin()
    if pretrained == architecture:
        folder = folder_of(architecture)
        return Origin(file=_weights_in(folder)) if folder else Origin(hub=True)
    if pretrained.startswith(SCHEMES):
        raise UserError(f"{pretrained} brings its own architecture, which is not {architecture}: make it model.architecture")
    if Path(pretrained).suffix:
        return Origin(file=Path(pretrained))
    if Path(pretrained).is_dir():
        raise UserError(
            f"model.pretrained = {pretrained} is a folder: name a file in it, or make model.architecture local-dir:{pretrained}"
        )
    if brings_weights:
        raise UserError(f"{architecture} brings its weights, so there is no tag {pretrained!r}: leave out model.pretrained")
    _check_tag(architecture, pretrained)
    return Origin(tag=pretrained)


def described(architecture: str) -> Described:
    """Sizes and preprocessing of an architecture: open_clip's own, a folder's, or those that the hub has.

    Raises:
        UserError: if they are absent, or no model can be built from them.
    """
    folder = folder_of(architecture)
    if folder:
        return configurations.in_folder(folder)
    if not architecture.startswith(HUB):
        return Described(open_clip.get_model_config(architecture), Preprocessing())
    name = architecture.removeprefix(HUB)
    try:
        path = factory.download_pretrained_from_hf(name, filename=configurations.NAME)
    except Exception as error:  # of the hub's client
        raise failures.told(error, f"cannot get {name} from the hub", architecture, _FETCHED) from error
    return configurations.in_file(Path(path))


def file(architecture: str, origin: Origin) -> Path | None:
    """The file of weights that an origin stands for, fetched if it is on the hub.

    Raises:
        UserError: if it cannot be fetched.
    """
    if not origin.tag and not origin.hub:
        return origin.file
    what = f"the weights {origin.tag!r} of {architecture}" if origin.tag else f"the weights of {architecture}"
    try:
        if origin.tag:
            return Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg(architecture, origin.tag)))
        return Path(factory.download_pretrained_from_hf(architecture.removeprefix(HUB)))
    except Exception as error:  # of the hub's client
        raise failures.told(error, f"cannot get {what}", architecture, _FETCHED) from error


def folder_of(architecture: str) -> Path | None:
    """The folder that a local-dir: name stands for."""
    return Path(architecture.removeprefix(FOLDER)) if architecture.startswith(FOLDER) else None


def require_hub(architecture: str, tag: str | None) -> None:
    """Ask the hub once whether it has what open_clip will fetch there, which alone would try for minutes and then not say why.

    Raises:
        UserError: if it does not answer, or has no such model.
    """
    files = open_clip.get_pretrained_cfg(architecture, tag).get("hf_hub", "") if tag else ""
    repository = architecture.removeprefix(HUB) if architecture.startswith(HUB) else os.path.split(files)[0]
    cached = Path(huggingface_hub.constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots"
    if not repository or cached.is_dir():
        return
    try:
        huggingface_hub.HfApi().model_info(repository, timeout=10)
    except RepositoryNotFoundError as error:
        raise UserError(f"the hub shows no model {repository!r}: check the name, or log in if it is private") from error
    except Exception as error:  # of the client's transport, which changes with its releases
        raise UserError(
            f"cannot get {repository} from the hub ({failures.reason(error)}): check the network, or give a file"
        ) from error


def check_activation(architecture: str, has_quick_gelu: bool, wants_quick_gelu: bool, weights: str) -> None:
    """Refuse weights that were trained with OpenAI's activation for a model without it, and the reverse.

    Raises:
        UserError: naming an architecture with the right one.
    """
    if has_quick_gelu == wants_quick_gelu:
        return
    variant = _variant(architecture, wants_quick_gelu)
    choice = variant if variant in open_clip.list_models() else f"one whose quick_gelu is {str(wants_quick_gelu).lower()}"
    raise UserError(f"{weights} were trained with another activation than {architecture} has: choose {choice}")


def _check_tag(architecture: str, tag: str) -> None:
    quick_gelu = bool((open_clip.get_model_config(architecture) or {}).get("quick_gelu", False))
    for name in (architecture, _variant(architecture, not quick_gelu)):
        if tag in open_clip.list_pretrained_tags_by_model(name):
            trained_with = bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False))
            return check_activation(architecture, quick_gelu, trained_with, f"the weights {tag!r}")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    raise UserError(f"{architecture} has no pretrained tag {tag!r}{nearest(tag, tags)}; a file needs its suffix")


def _variant(architecture: str, quick_gelu: bool) -> str:
    """The name that open_clip gives an architecture with or without OpenAI's activation."""
    plain = architecture.removesuffix("-quickgelu")
    return f"{plain}-quickgelu" if quick_gelu else plain


def _weights_in(folder: Path) -> Path:
    """The file of weights of a model folder: what open_clip prefers, a run's student, or the only one there is.

    Raises:
        UserError: if there is none, or several among which open_clip would take the first by name.
    """
    there = sorted(path.name for pattern in ("*.safetensors", "*.bin", "*.pth") for path in folder.glob(pattern))
    named = [name for name in (*_PREFERRED, STUDENT) if name in there]
    if named or len(there) == 1:
        return folder / (named or there)[0]
    if not there:
        raise UserError(
            f"{folder} holds no weights beside its configuration: add them, or set model.pretrained to null or to a file"
        )
    listed = ", ".join(there[:3])
    raise UserError(f"{folder} holds {len(there)} files of weights ({listed}): call the model's own {OPEN_CLIPS_CHOICE}")
