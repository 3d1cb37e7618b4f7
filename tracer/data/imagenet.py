"""ImageNet's validation images and the data sets that shift them, each in the folders it is published in."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from tracer.data import label_tables, listing
from tracer.data.datasets import LabelledImages, Suite
from tracer.data.image_files import ImageFiles
from tracer.data.label_tables import Meanings
from tracer.errors import UserError

FOLDERS = {
    "id": "imagenet/val",
    "v2": "imagenetv2-matched-frequency-format-val",
    "r": "imagenet-r",
    "a": "imagenet-a",
    "sketch": "sketch",
    "objectnet": "objectnet-1.0",
}
DEVKIT = "ILSVRC2012_devkit_t12/data"
OBJECTNET_BORDER = 2  # its images come with a red frame, against training on them


def suite(root: Path, shifted: Sequence[str], folders: Mapping[Any, Path]) -> Suite:
    """ImageNet's validation images as the task, and shifted sets with its classes.

    Args:
        root: what the folders are relative to.
        shifted: which of `FOLDERS` to judge on beside "id".
        folders: where sets are that are not in their published places (`FOLDERS`).

    Raises:
        UserError: if a folder is missing, empty, or does not have the classes of its data set.
    """
    places = {name: root / folders.get(name, FOLDERS[name]) for name in ("id", *shifted)}
    return Suite(validation(places["id"]), {name: _shifted(name, places[name]) for name in shifted})


def validation(path: Path) -> LabelledImages:
    """ImageNet's validation images, in folders named by synset or flat as published, with the devkit beside their folder."""
    if _class_folders(path):
        return labelled_folders(path, label_tables.imagenet())
    return _flat_validation(path)


def labelled_folders(path: Path, meanings: Meanings, border: int = 0) -> LabelledImages:
    """The images of class folders, to be answered with ImageNet's class names.

    Args:
        path: the folder of class folders.
        meanings: the classes of every folder that may be there. Folders with none are left out, the others may not be missing.
        border: pixels to cut off each side of an image.

    Raises:
        UserError: if folders are missing or unknown, or there is no image.
    """
    labels = sorted((folder for folder, classes in meanings.items() if classes), key=lambda folder: meanings[folder])
    found = _class_folders(path)
    for fault, names in (("unknown", found - set(meanings)), ("missing", set(labels) - found)):
        if names:
            raise UserError(
                f"{path} is not a folder of the {len(labels)} classes expected there ({len(names)} {fault}, "
                f"first {min(names)!r}): check the path, and that the archive was unpacked whole"
            )
    listings = [listing.images(path / folder) for folder in labels]
    images = [(image, label) for label, listed in enumerate(listings) for image in listed.images]
    empty = Counter({"class folders without images": sum(not listed.images for listed in listings)})
    listing.tell(path, sum((listed.left_out for listed in listings), empty))
    return _labelled(path, images, tuple(meanings[folder] for folder in labels), border)


def _shifted(name: str, path: Path) -> LabelledImages:
    if name == "objectnet":
        return labelled_folders(path / "images", label_tables.objectnet(path / "mappings"), OBJECTNET_BORDER)
    if name == "v2":
        return labelled_folders(path, label_tables.imagenet_v2())
    if name == "sketch":
        return labelled_folders(path, label_tables.imagenet())
    return labelled_folders(path, label_tables.imagenet_subset("a" if name == "a" else "r"))


def _flat_validation(path: Path) -> LabelledImages:
    """The images of one folder, labelled line by line by the devkit, whose numbering of the classes is its own."""
    devkit = path.parent / DEVKIT
    try:
        lines = (devkit / "ILSVRC2012_validation_ground_truth.txt").read_text(encoding="utf-8").split()
        table = loadmat(devkit / "meta.mat", squeeze_me=True)["synsets"]
        synset = {int(number): str(name) for number, name in zip(table["ILSVRC2012_ID"], table["WNID"], strict=True)}
        positions = {number: label_tables.imagenet_synsets().index(synset[number]) for number in sorted({*map(int, lines)})}
    except OSError as error:
        raise UserError(
            f"{path} has no class folders, and {error.filename} cannot be read: sort the images into folders named by synset, "
            "or unpack the devkit there"
        ) from error
    except (ValueError, KeyError, IndexError) as error:
        raise UserError(f"{devkit} is not ImageNet's devkit as published ({error}): unpack it again") from error
    images, left_out = listing.images(path)
    listing.tell(path, left_out)
    if len(images) != len(lines):
        raise UserError(f"{path} has {len(images)} images, but {devkit} labels {len(lines)}: check that both were unpacked whole")
    labels = [positions[int(line)] for line in lines]
    every = tuple((position,) for position in range(len(label_tables.imagenet_synsets())))
    return _labelled(path, list(zip(images, labels, strict=True)), every)


def _labelled(path: Path, images: list[tuple[Path, int]], accepted: tuple[tuple[int, ...], ...], border: int = 0) -> LabelledImages:
    if not images:
        raise UserError(f"{path} holds no images: check the path, and that the archive was unpacked whole")
    return LabelledImages(
        ImageFiles([image for image, _ in images], border),
        np.array([label for _, label in images], dtype=np.int64),
        label_tables.imagenet_class_names(),
        label_tables.openai_templates(),
        accepted,
    )


def _class_folders(path: Path) -> set[str]:
    return {folder.name for folder in listing.subfolders(path)[0]}
