"""iWildCam as WILDS publishes it (arXiv 2012.07421): a table of images with split and class, one of classes, a folder of images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from tracer.data.datasets import LabelledImages, Suite
from tracer.data.image_files import check_templates, existing
from tracer.data.tables import Row, csv_rows
from tracer.errors import UserError, nearest

MOST_DIGITS = 6  # of a class's number: the published tables have 99999


SPLITS = {"test": ("id_test", "test", "ood_test"), "validation": ("id_val", "val", "ood_val")}
"""For each split of a suite WILDS' splits of cameras seen in training and of others, and what the latter are called here."""


def suite(
    root: Path, categories: Path, name_column: str, templates: Sequence[str], split: Literal["validation", "test"] = "test"
) -> Suite:
    """The images of one of `SPLITS`; other arguments and errors are those of `labelled`."""
    *parts, name = SPLITS[split]
    seen, other = (labelled(root, part, categories, name_column, templates) for part in parts)
    return Suite(seen, {name: other})


def labelled(root: Path, split: str, categories: Path, name_column: str, templates: Sequence[str]) -> LabelledImages:
    """The images of one split.

    Args:
        root: the data set's folder, with metadata.csv and the images of every split in train/.
        split: "train", "val", "test" (other cameras), "id_val" or "id_test" (the cameras of "train").
        categories: CSV file of the classes, relative to `root`, with their numbers in column y.
        name_column: where that file has the names for captions.
        templates: caption templates with one `{}` for the class name.

    Raises:
        UserError: if a file, a column, an image or a class's name is missing, the split is empty, or a template has no `{}`.
    """
    check_templates(templates)
    table = root / "metadata.csv"
    rows = csv_rows(table, ("split", "filename", "y"))
    classes = _classes(table, rows)
    chosen = [(row.values["filename"], label) for row, label in zip(rows, classes, strict=True) if row.values["split"] == split]
    if not chosen:
        hint = nearest(split, {row.values["split"] for row in rows})
        raise UserError(f"{table} has no images of the split {split!r}{hint}: restore the published file")
    names = _class_names(root / categories, name_column, max(classes) + 1)
    images = existing(table, [root / "train" / file for file, _ in chosen])
    return LabelledImages(images, np.array([label for _, label in chosen], dtype=np.int64), names, tuple(templates))


def _class_names(path: Path, column: str, count: int) -> tuple[str, ...]:
    """Names of the classes 0 ... count - 1; the file has others (y = 99999), which no image shows."""
    rows = csv_rows(path, ("y", column))
    names: dict[int, str] = {}
    for number, row in zip(_classes(path, rows), rows, strict=True):
        name = row.values[column]
        if number < count and names.setdefault(number, name) != name:
            raise UserError(f"{path} calls class {number} both {names[number]!r} and {name!r}: keep one")
    unnamed = sorted(set(range(count)) - set(names))
    if unnamed:
        raise UserError(f"{path} names no class {unnamed[0]}, of which metadata.csv has images: restore the published file")
    return tuple(names[number] for number in range(count))


def _classes(path: Path, rows: Sequence[Row]) -> list[int]:
    """The classes of all rows of a table."""
    for line, values in rows:
        number = values["y"].strip()
        if not (number.isascii() and number.isdecimal() and len(number) <= MOST_DIGITS):
            raise UserError(f"{path} line {line} has {number[:100]!r} in column 'y', which is not the number of a class: mend it")
    return [int(row.values["y"]) for row in rows]
