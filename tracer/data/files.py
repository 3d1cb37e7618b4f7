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
    """Images read when asked for, each uint8 (height, width, 3).

    Args:
        paths: the files.
        border: pixels to cut off each side.
    """

    def __init__(self, paths: Sequence[Path], border: int = 0):
        self.paths, self.border = paths, border

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
                pixels = np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise UserError(f"cannot read the image {path} ({error}): repair it or take it out") from error
        return pixels[self.border : pixels.shape[0] - self.border, self.border : pixels.shape[1] - self.border]


def class_folders(path: Path, templates: Sequence[str]) -> LabelledImages:
    """A folder of class folders; a class is called like its folder, underscores read as spaces.

    Raises:
        UserError: if the folder or its images are missing, or a template has no `{}`.
    """
    if not path.is_dir():
        raise UserError(f"there is no folder {path}: check the path")
    check_templates(templates)
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    found = [(image, label) for label, folder in enumerate(folders) for image in images_under(folder)]
    if not found:
        raise UserError(f"{path} holds no class folders with images ({', '.join(sorted(SUFFIXES))}): check the path")
    labels = np.array([label for _, label in found], dtype=np.int64)
    names = tuple(folder.name.replace("_", " ") for folder in folders)
    if len(set(names)) < len(names):
        raise UserError(f"{path} has class folders whose names differ in underscores and spaces alone: rename one")
    return LabelledImages(ImageFiles([image for image, _ in found]), labels, names, tuple(templates))


def check_templates(templates: Sequence[str]) -> None:
    """Raise a UserError for a caption template that does not have one `{}` for the class name."""
    for template in templates:
        if template.count("{}") != 1 or "{" in template.replace("{}", ""):
            raise UserError(f"the template {template!r} must have one {{}}, for the class name, and no other brace: mend it")


def captioned_csv(path: Path, image_column: str, caption_column: str) -> CaptionedImages:
    """Pairs from a CSV file with a header; image paths are relative to its folder.

    Raises:
        UserError: if the file, a column, a caption or an image is missing.
    """
    rows = csv_rows(path, (image_column, caption_column))
    images = [path.parent / row[image_column] for row in rows]
    absent = [image for image in images if not image.is_file()]
    if absent:
        raise UserError(f"{path} names {len(absent)} images that are not there, first {absent[0]}: check the paths")
    return CaptionedImages(ImageFiles(images), [(row[caption_column],) for row in rows])


def csv_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file with a header, in which nothing is missing from the columns named.

    Raises:
        UserError: if the file, a column or a value is missing.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, present = list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path} ({error}): check that it is a CSV file in UTF-8") from error
    for column in columns:
        if column not in present:
            raise UserError(f"{path} has no column {column!r}{nearest(column, present)}: name it in the configuration")
    for number, row in enumerate(rows, 2):
        for column in columns:
            if not (row[column] or "").strip():
                raise UserError(f"{path} line {number} has nothing in column {column!r}: fill it or take the line out")
    return rows


def images_under(folder: Path) -> list[Path]:
    """The images in a folder and its subfolders, in order; none if there is no folder."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
