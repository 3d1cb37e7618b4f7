"""iWildCam as WILDS publishes it (arXiv 2012.07421): animals in front of cameras seen in training (ID), and of others (OOD)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tracer.data.files import ImageFiles, check_templates, csv_rows
from tracer.data.sets import LabelledImages, Suite
from tracer.errors import UserError, nearest

Rows = list[dict[str, str]]


def suite(root: Path, categories: Path, name_column: str, templates: Sequence[str]) -> Suite:
    """The test images of cameras seen in training (`id_test` in WILDS), and of others (`test`), here called `ood_test`.

    Args:
        root: the data set's folder, with metadata.csv and the images in train/.
        categories: CSV file of the classes relative to `root`, with their numbers in column y.
        name_column: where that file has the names for captions.
        templates: caption templates with one `{}` for the class name.

    Raises:
        UserError: if a file, an image or a class's name is missing, a split is empty, or a template has no `{}`.
    """
    check_templates(templates)
    rows = csv_rows(root / "metadata.csv", ("split", "filename", "y"))
    labels = _numbers(root / "metadata.csv", rows)
    names = _class_names(root / categories, name_column, max(labels, default=-1) + 1)
    present = {path.name for path in (root / "train").glob("*")}

    def split(name: str) -> LabelledImages:
        chosen = [(row["filename"], label) for row, label in zip(rows, labels, strict=True) if row["split"] == name]
        if not chosen:
            hint = nearest(name, {row["split"] for row in rows})
            raise UserError(f"{root / 'metadata.csv'} has no images of the split {name!r}{hint}: restore the published file")
        absent = [file for file, _ in chosen if file not in present]
        if absent:
            raise UserError(f"{root / 'train'} lacks {len(absent)} images of the split {name!r}, first {absent[0]}: restore them")
        images = ImageFiles([root / "train" / file for file, _ in chosen])
        return LabelledImages(images, np.array([label for _, label in chosen], dtype=np.int64), names, tuple(templates))

    return Suite(split("id_test"), {"ood_test": split("test")})


def _class_names(path: Path, column: str, count: int) -> tuple[str, ...]:
    """Names of the classes 0 ... count - 1; the file's others are of species that no image shows."""
    rows = csv_rows(path, ("y", column))
    names: dict[int, str] = {}
    for number, row in zip(_numbers(path, rows), rows, strict=True):
        if number < count and names.setdefault(number, row[column]) != row[column]:
            raise UserError(f"{path} calls class {number} both {names[number]!r} and {row[column]!r}: keep one")
    unnamed = [number for number in range(count) if number not in names]
    if unnamed:
        raise UserError(f"{path} names no class {unnamed[0]}, which metadata.csv has images of: restore the published file")
    return tuple(names[number] for number in range(count))


def _numbers(path: Path, rows: Rows) -> list[int]:
    for line, row in enumerate(rows, 2):
        if not row["y"].strip().isdecimal():
            raise UserError(f"{path} line {line} has {row['y']!r} in column 'y', which is not the number of a class: mend it")
    return [int(row["y"]) for row in rows]
