"""Images in files of their own: class folders, captions beside images, tables of paths and captions. Every fault names its file."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tracer.data.images import decode
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
            CorruptSample: if it is no whole image.
            UserError: if its file cannot be read.
        """
        path = self.paths[index]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot read the image {path} ({error.strerror}): check that it is still there") from error
        pixels = decode(content, str(path))
        return pixels[self.border : pixels.shape[0] - self.border, self.border : pixels.shape[1] - self.border]


def class_folders(path: Path, templates: Sequence[str]) -> LabelledImages:
    """A folder of class folders; a class is called like its folder, underscores read as spaces.

    Raises:
        UserError: if the folder or its images are missing, or a template has no `{}`.
    """
    check_templates(templates)
    folders = _folders(path)
    found = [(image, label) for label, folder in enumerate(folders) for image in images_under(folder)]
    _require_images(path, found)
    labels = np.array([label for _, label in found], dtype=np.int64)
    names = tuple(folder.name.replace("_", " ") for folder in folders)
    if len(set(names)) < len(names):
        raise UserError(f"{path} has class folders whose names differ in underscores and spaces alone: rename one")
    return LabelledImages(ImageFiles([image for image, _ in found]), labels, names, tuple(templates))


def named_folders(path: Path, templates: Sequence[str], class_names: Mapping[str, str]) -> LabelledImages:
    """Images in class folders that are called by identifiers, ImageNet's synsets say; some classes may be absent.

    Args:
        path: the folder of class folders.
        templates: captions, each with one `{}` for the class name.
        class_names: the name of each class by its identifier; labels are positions in it.

    Raises:
        UserError: as `class_folders` does, or if a folder is no class.
    """
    check_templates(templates)
    folders = _folders(path)
    strange = [folder.name for folder in folders if folder.name not in class_names]
    if strange:
        raise UserError(
            f"{path} has {len(strange)} of {len(folders)} class folders that are none of the {len(class_names)} classes, first "
            f"{strange[0]!r} (a class is {next(iter(class_names))!r}, say): rename them, or let class_names be folders"
        )
    positions = {identifier: label for label, identifier in enumerate(class_names)}
    found = [(image, positions[folder.name]) for folder in folders for image in images_under(folder)]
    _require_images(path, found)
    labels = np.array([label for _, label in found], dtype=np.int64)
    return LabelledImages(ImageFiles([image for image, _ in found]), labels, tuple(class_names.values()), tuple(templates))


def captioned_folder(path: Path) -> CaptionedImages:
    """Pairs from a folder in which each image has a text file beside it (a.jpg, a.txt), in subfolders too.

    A text file holds one caption a line, any of which may be drawn.

    Raises:
        UserError: if the folder, its images or a caption is missing.
    """
    images = images_under(_folder(path))
    if not images:
        raise UserError(f"{path} holds no images ({', '.join(sorted(SUFFIXES))}): check the path")
    return CaptionedImages(ImageFiles(images), [_captions(image.with_suffix(".txt")) for image in images])


def captioned_csv(path: Path, image_column: str, caption_column: str) -> CaptionedImages:
    """Pairs from a CSV file with a header; image paths are relative to its folder.

    Raises:
        UserError: if the file, a column, a caption or an image is missing.
    """
    rows = csv_rows(path, (image_column, caption_column))
    return _listed(path, [row[image_column] for row in rows], [row[caption_column] for row in rows])


def captioned_parquet(path: Path, image_column: str, caption_column: str) -> CaptionedImages:
    """Pairs from a Parquet file with a column of paths, relative to its folder, and one of captions.

    Raises:
        UserError: if pyarrow is not installed, or the file, a column, a caption or an image is missing.
    """
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise UserError("Parquet files need pyarrow: install tracer with its extra 'parquet', or give a CSV file") from error
    columns = (image_column, caption_column)
    try:
        with parquet.ParquetFile(path) as file:
            _require_columns(path, columns, file.schema_arrow.names)
            table = file.read(columns=list(columns)).to_pydict()
    except (OSError, ArrowException) as error:
        reason = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise UserError(f"cannot read {path} ({reason}): check that it is a Parquet file") from error
    for column in columns:
        for number, value in enumerate(table[column], 1):
            if not (isinstance(value, str) and value.strip()):
                raise UserError(f"{path} row {number} has no text in column {column!r}: fill it or take the row out")
    return _listed(path, table[image_column], table[caption_column])


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
    _require_columns(path, columns, present)
    for number, row in enumerate(rows, 2):
        for column in columns:
            if not (row[column] or "").strip():
                raise UserError(f"{path} line {number} has nothing in column {column!r}: fill it or take the line out")
    return rows


def existing(path: Path, images: Sequence[Path]) -> ImageFiles:
    """Images that `path` names.

    Raises:
        UserError: if one is not there.
    """
    absent = [image for image in images if not image.is_file()]
    if absent:
        raise UserError(f"{path} names {len(absent)} images that are not there, first {absent[0]}: check the paths")
    return ImageFiles(images)


def images_under(folder: Path) -> list[Path]:
    """The images in a folder and its subfolders, in order; none if there is no folder."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def _listed(path: Path, images: Sequence[str], captions: Sequence[str]) -> CaptionedImages:
    if not images:
        raise UserError(f"{path} lists no images: check that it is the right file")
    return CaptionedImages(existing(path, [path.parent / image for image in images]), [(caption,) for caption in captions])


def _require_columns(path: Path, columns: Sequence[str], present: Sequence[str]) -> None:
    for column in columns:
        if column not in present:
            raise UserError(f"{path} has no column {column!r}{nearest(column, present)}: name it in the configuration")


def _captions(path: Path) -> tuple[str, ...]:
    try:
        captions = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read the captions {path} ({reason}): put a text file in UTF-8 beside its image") from error
    if not captions:
        raise UserError(f"{path} holds no caption: write one, or take the image out")
    return captions


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise UserError(f"there is no folder {path}: check the path")
    return path


def _folders(path: Path) -> list[Path]:
    return sorted(folder for folder in _folder(path).iterdir() if folder.is_dir() and not folder.name.startswith("."))


def _require_images(path: Path, found: Sequence[object]) -> None:
    if not found:
        raise UserError(f"{path} holds no class folders with images ({', '.join(sorted(SUFFIXES))}): check the path")


def check_templates(templates: Sequence[str]) -> None:
    for template in templates:
        if template.count("{}") != 1 or "{" in template.replace("{}", ""):
            raise UserError(f"the template {template!r} must have one {{}}, for the class name, and no other brace: mend it")
