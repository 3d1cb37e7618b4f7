"""What class folders mean: ImageNet's classes, and those of the data sets whose labels are a part of them.

ImageNet's classes are numbered in the order of their synsets. The tables are timm's and open_clip's.
"""

import json
import pkgutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import open_clip
from timm.data.imagenet_info import ImageNetInfo

from tracer.errors import UserError

Meanings = Mapping[str, tuple[int, ...]]
"""For each class folder the ImageNet classes that it shows, any of which is a right answer; none if it shows something else."""


@cache
def imagenet_synsets() -> tuple[str, ...]:
    """The WordNet ids of the 1000 classes, such as "n01440764"."""
    return tuple(ImageNetInfo().label_names())


def imagenet_class_names() -> tuple[str, ...]:
    """What OpenAI calls the 1000 classes in captions; two names stand for two classes each."""
    return tuple(open_clip.IMAGENET_CLASSNAMES)


def imagenet_names() -> dict[str, str]:
    """What OpenAI calls the 1000 classes, by synset."""
    return dict(zip(imagenet_synsets(), imagenet_class_names(), strict=True))


def openai_templates() -> tuple[str, ...]:
    """OpenAI's 80 caption templates for ImageNet, with `{}` for the class name."""
    return tuple(template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES)


def imagenet() -> Meanings:
    """Folders of ImageNet and of ImageNet-Sketch (arXiv 1905.13549): synsets."""
    return {synset: (position,) for position, synset in enumerate(imagenet_synsets())}


def imagenet_v2() -> Meanings:
    """Folders of ImageNet-V2 (arXiv 1902.10811): the numbers of the classes, which do not sort as text."""
    return {str(position): (position,) for position in range(len(imagenet_synsets()))}


def imagenet_subset(name: Literal["a", "r"]) -> Meanings:
    """Folders of ImageNet-A (arXiv 1907.07174) or -R (arXiv 2006.16241): 200 synsets each."""
    table = pkgutil.get_data("timm.data", f"_info/imagenet_{name}_synsets.txt")
    assert table is not None, "timm ships these tables"
    everything = imagenet()
    return {synset: everything[synset] for synset in table.decode().split()}


def objectnet(mappings: Path) -> Meanings:
    """Folders of ObjectNet (objectnet.dev), 113 of which show objects that ImageNet has classes of.

    Args:
        mappings: the data set's own folder of that name.

    Raises:
        UserError: if one of its tables is missing or damaged.
    """
    objects = _table(mappings / "folder_to_objectnet_label.json")
    overlap = _table(mappings / "objectnet_to_imagenet_1k.json")
    information = ImageNetInfo()
    positions = {information.index_to_description(position): position for position in range(len(imagenet_synsets()))}
    labels = {folder: overlap[name].split("; ") if name in overlap else [] for folder, name in objects.items()}
    unknown = sorted({label for parts in labels.values() for label in parts} - set(positions))
    if unknown:
        raise UserError(f"{mappings} names classes that ImageNet does not have, first {unknown[0]!r}: restore the published files")
    return {folder: tuple(positions[label] for label in parts) for folder, parts in labels.items()}


def _table(path: Path) -> dict[str, str]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): ObjectNet's archive has it, unpack it whole") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}): restore the published file") from error
    if not (isinstance(table, dict) and all(isinstance(value, str) for value in table.values())):
        raise UserError(f"{path} is not a table of names: restore the published file")
    return table
