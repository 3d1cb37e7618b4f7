"""Images in files of their own: class folders, captions beside images, tables of paths and captions. Every fault names its file."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tracer.data import listing
from tracer.data.datasets import CaptionedImages, LabelledImages
from tracer.data.images import decode
from tracer.data.tables import Row, csv_rows
from tracer.errors import UserError, nearest
from tracer.storage import require_regular

_SYNSET = re.compile(r"n\d{8}")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


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

    def __getitem__(self, index: Any) -> Any:
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
        UserError: if the folder is missing, a class has no images, folders are called by WordNet ids, or a template has no `{}`.
    """
    names = folder_names(path)
    return labelled_folders(path, templates, dict(zip(names, names, strict=True)), may_be_empty=False)


def named_folders(path: Path, templates: Sequence[str], class_names: Mapping[str, str]) -> LabelledImages:
    """Images in class folders that are called by identifiers, ImageNet's synsets say; some classes may be absent.

    Args:
        path: the folder of class folders.
        templates: captions, each with one `{}` for the class name.
        class_names: the name of each class by its identifier; labels are positions in it.

    Raises:
        UserError: if the folder is missing, a folder is no class or has no images, or a template has no `{}`.
    """
    return labelled_folders(path, templates, class_names, may_be_empty=False)


def labelled_folders(
    path: Path, templates: Sequence[str], class_names: Mapping[str, str], may_be_empty: bool = True
) -> LabelledImages:
    """Images in class folders, labelled by classes that may have other folders too.

    Args:
        path: the folder of class folders.
        templates: captions, each with one `{}` for the class name.
        class_names: the name of each class by what its folder is called, as `identifier` says; labels are positions in it.
        may_be_empty: whether a class folder may hold no images, which is told then.

    Raises:
        UserError: if the folder or all images are missing, a folder is no class, or a template has no `{}`.
    """
    check_templates(templates)
    folders, left_out = listing.subfolders(path)
    strange = [folder.name for folder in folders if identifier(folder) not in class_names]
    if strange:
        raise UserError(
            f"{path} has {len(strange)} of {len(folders)} class folders that are none of the {len(class_names)} classes, first "
            f"{strange[0]!r}{nearest(strange[0], class_names)}: rename them or take them out, or see what class_names should be"
        )
    positions = {name: label for label, name in enumerate(class_names)}
    found, labels, empty = [], [], []
    for folder in folders:
        images, further = listing.images(folder)
        left_out += further
        found += images
        labels += [positions[identifier(folder)]] * len(images)
        empty += [] if images else [folder]
    if not found:
        raise UserError(f"{path} holds no class folders with images ({listing.READ}){_beside(left_out)}: check the path")
    if empty and not may_be_empty:
        raise UserError(
            f"{len(empty)} of the {len(folders)} class folders in {path} hold no images that are read ({listing.READ}), first "
            f"{empty[0].name!r}{_beside(left_out)}: fill them or take them out"
        )
    left_out["class folders without images"] += len(empty)
    listing.tell(path, left_out)
    return LabelledImages(ImageFiles(found), np.array(labels, dtype=np.int64), tuple(class_names.values()), tuple(templates))


def images_below(path: Path) -> ImageFiles:
    """All images in a folder and below it, in order of their paths, without captions and classes.

    Raises:
        UserError: if the folder or its images are missing.
    """
    images, left_out = listing.images(path)
    if not images:
        raise UserError(f"{path} holds no images ({listing.READ}){_beside(left_out)}: check the path")
    listing.tell(path, left_out)
    return ImageFiles(images)


def captioned_folder(path: Path) -> CaptionedImages:
    """Pairs from a folder in which each image has a text file beside it (a.jpg, a.txt), in subfolders too.

    A text file holds one caption a line, any of which may be drawn.

    Raises:
        UserError: if the folder, its images or a caption is missing.
    """
    images = images_below(path)
    return CaptionedImages(images, [_captions(image.with_suffix(".txt")) for image in images.paths])


def captioned_table(
    path: Path,
    image_column: str,
    caption_column: str,
    rows: Callable[[Path, Sequence[str]], list[Row]] = csv_rows,
) -> CaptionedImages:
    """Pairs from a table with a column of image paths, relative to its folder, and one of captions.

    Args:
        path: the file.
        image_column: its name.
        caption_column: its name.
        rows: what reads the file, `tables.csv_rows` or `tables.parquet_rows`.

    Raises:
        UserError: if an image is missing, or as `rows` does.
    """
    found = [row.values for row in rows(path, (image_column, caption_column))]
    return _listed(path, [row[image_column] for row in found], [row[caption_column] for row in found])


def folder_names(path: Path) -> list[str]:
    """The classes of a folder of class folders that are called like them, in order.

    Raises:
        UserError: if there are none, two are called alike, one by a WordNet id, or one in no Unicode.
    """
    folders, left_out = listing.subfolders(path)
    if not folders:
        raise UserError(f"{path} holds no class folders{_beside(left_out)}: put the images of each class into a folder of its own")
    names = [identifier(folder) for folder in folders]
    if synsets := [name for name in names if _SYNSET.fullmatch(name)]:
        raise UserError(f"{path} has class folders called by WordNet ids, first {synsets[0]}: write class_names: imagenet")
    if repeated := [name for name, number in Counter(names).items() if number > 1]:
        raise UserError(
            f"{path} has class folders whose names differ in underscores, spaces or Unicode form alone, as of {repeated[0]!r}: "
            "rename one"
        )
    return names


def identifier(folder: Path) -> str:
    """What a class folder is called: its name in Unicode's composed form, underscores read as spaces.

    Raises:
        UserError: if the name is not in Unicode.
    """
    try:
        folder.name.encode()
    except UnicodeEncodeError:
        raise UserError(f"the name of the class folder {str(folder)!a} is not in UTF-8: rename it") from None
    return listing.nfc(folder.name).replace("_", " ")


def existing(table: Path, images: Sequence[Path]) -> ImageFiles:
    """Images that a table names.

    Raises:
        UserError: if one is not there, or not to be read.
    """
    return ImageFiles(listing.listed(table, images))


def check_templates(templates: Sequence[str]) -> None:
    for template in templates:
        if template.count("{}") != 1 or "{" in template.replace("{}", "") or "}" in template.replace("{}", ""):
            raise UserError(f"the template {template!r} must have one {{}}, for the class name, and no other brace: mend it")


def _listed(table: Path, images: Sequence[str], captions: Sequence[str]) -> CaptionedImages:
    if not images:
        raise UserError(f"{table} lists no images: check that it is the right file")
    if addresses := [image for image in images if _ADDRESS.match(image)]:
        raise UserError(
            f"{table} names {len(addresses)} images by address, first {addresses[0][:300]}: download them, and give paths"
        )
    paths = [table.parent / (Path(image).expanduser() if image.startswith("~/") else image) for image in images]
    return CaptionedImages(existing(table, paths), [(caption,) for caption in captions])


def _captions(path: Path) -> tuple[str, ...]:
    try:
        if path.exists():
            require_regular(path)
        with path.open(encoding="utf-8-sig") as file:  # whose lines end at \n, \r\n and \r alone
            captions = tuple(line.strip() for line in file if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read the captions {path} ({reason}): put a text file in UTF-8 beside its image") from error
    if not captions:
        raise UserError(f"{path} holds no caption: write one, or take the image out")
    return captions


def _beside(left_out: Counter[str]) -> str:
    """What was left out, for a sentence that says that too little is there."""
    return f", left out were {listing.counted(left_out)}" if +left_out else ""
