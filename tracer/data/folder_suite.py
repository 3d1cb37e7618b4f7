"""A suite of class folders: one label space for the task and the sets that shift it, and one for each other set."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from tracer.data import label_tables, listing
from tracer.data.datasets import LabelledImages, Suite
from tracer.data.image_files import folder_names, identifier, labelled_folders
from tracer.errors import UserError, nearest


def suite(
    task: Path,
    ood: Mapping[str, Path],
    knowledge: Mapping[str, Path],
    templates: Sequence[str],
    class_names: Literal["folders", "imagenet"] = "folders",
) -> Suite:
    """Sets of class folders.

    The task's folders are the classes that it and the shifted sets are judged among, even where a set shows some of them alone. A
    set of other things has the classes of its own folders, under ImageNet's names where those are called by synsets.

    Args:
        task: the task's folder of class folders.
        ood: folders of sets with the task's classes, by the sets' names.
        knowledge: folders of sets of other things.
        templates: captions, each with one `{}` for the class name.
        class_names: whether classes of the task are called like their folders, or those are ImageNet's synsets.

    Raises:
        UserError: if a folder is missing or empty, or a shifted set has a class that the task lacks.
    """
    classes = _imagenet_classes(task) if class_names == "imagenet" else _named_alike(task)
    for name, folder in ood.items():
        _require_classes(name, folder, classes)
    others = {name: _of_other_things(folder, templates) for name, folder in knowledge.items()}
    return Suite(
        labelled_folders(task, templates, classes),
        {name: labelled_folders(folder, templates, classes) for name, folder in ood.items()},
        others,
    )


def _named_alike(folder: Path) -> dict[str, str]:
    return {name: name for name in folder_names(folder)}


def _imagenet_classes(folder: Path) -> dict[str, str]:
    """OpenAI's names of the classes that a folder has folders of, by synset.

    Raises:
        UserError: if a folder is not one of ImageNet's.
    """
    known = label_tables.imagenet_names()
    synsets = [place.name for place in listing.subfolders(folder)[0]]
    if strange := [synset for synset in synsets if synset not in known]:
        raise UserError(
            f"{folder} has {len(strange)} of {len(synsets)} class folders that are none of ImageNet's 1000 synsets, first "
            f"{strange[0]!r}: rename them, or let class_names be folders"
        )
    return {synset: known[synset] for synset in synsets}


def _of_other_things(folder: Path, templates: Sequence[str]) -> LabelledImages:
    synsets = {place.name for place in listing.subfolders(folder)[0]}
    are_synsets = synsets and synsets <= set(label_tables.imagenet_synsets())
    return labelled_folders(folder, templates, _imagenet_classes(folder) if are_synsets else _named_alike(folder))


def _require_classes(name: str, folder: Path, known: Mapping[str, str]) -> None:
    """Refuse classes of a shifted set which the task lacks."""
    called = [identifier(place) for place in listing.subfolders(folder)[0]]
    if strange := [each for each in called if each not in known]:
        raise UserError(
            f"the set {name} ({folder}) has {len(strange)} classes that the task lacks, first {strange[0]!r}"
            f"{nearest(strange[0], known)}: rename them, or list the set under knowledge"
        )
