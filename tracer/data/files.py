"""Images on disk: class folders and CSV files of path-caption pairs. Every fault names the file it is in."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tracer.data.sets import CaptionedImages, LabelledImages
from tracer.errors import UserError, nearest

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"})


class ImageFiles(Sequence[np.ndarray]):
    """Images read when asked for, each uint8 (height, width, 3)."""

    def __init__(self, paths: Sequence[Path]):
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index):
        """The image at a position.

        Raises:
            UserError: if it cannot be read.
        """
        path = self.paths[index]
        try:
            with Image.open(path) as image:
                return np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise UserError(f"cannot read the image {path} ({error}): repair it or take it out") from error


def class_folders(path: Path, templates: Sequence[str]) -> LabelledImages:
    """A folder of class folders; a class is called like its folder, underscores read as spaces.

    Raises:
        UserError: if the folder or its images are missing, or a template has no `{}`.
    """
    if not path.is_dir():
        raise UserError(f"there is no folder {path}: check the path")
    for template in templates:
        if template.count("{}") != 1 or "{" in template.replace("{}", ""):
            raise UserError(f"the template {template!r} must have one {{}}, for the class name, and no other brace: mend it")
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    found = [(image, label) for label, folder in enumerate(folders) for image in _images(folder)]
    if not found:
        raise UserError(f"{path} holds no class folders with images ({', '.join(sorted(SUFFIXES))}): check the path")
    labels = np.array([label for _, label in found], dtype=np.int64)
    names = tuple(folder.name.replace("_", " ") for folder in folders)
    if len(set(names)) < len(names):
        raise UserError(f"{path} has class folders whose names differ in underscores and spaces alone: rename one")
    return LabelledImages(ImageFiles([image for image, _ in found]), labels, names, tuple(templates))


def captioned_csv(path: Path, image_column: str, caption_column: str) -> CaptionedImages:
    """Pairs from a CSV file with a header; image paths are relative to its folder.

    Raises:
        UserError: if the file, a column, a caption or an image is missing.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path} ({error}): check that it is a CSV file in UTF-8") from error
    for column in (image_column, caption_column):
        if column not in columns:
            raise UserError(f"{path} has no column {column!r}{nearest(column, columns)}: name it in the configuration")
    for number, row in enumerate(rows, 2):
        for column in (image_column, caption_column):
            if not (row[column] or "").strip():
                raise UserError(f"{path} line {number} has nothing in column {column!r}: fill it or take the line out")
    images = [path.parent / row[image_column] for row in rows]
    absent = [image for image in images if not image.is_file()]
    if absent:
        raise UserError(f"{path} names {len(absent)} images that are not there, first {absent[0]}: check the paths")
    return CaptionedImages(ImageFiles(images), [(row[caption_column],) for row in rows])


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
