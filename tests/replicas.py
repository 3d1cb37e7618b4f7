"""Small replicas of published data sets in their own formats, and an encoder that sees in their images what was planted there.

An image is planted with two ImageNet classes: the one it looks most like, and the second. Each half of it has a colour whose
three channels are the digits of the class's number.
"""

import csv
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.io import savemat
from torch import Tensor, nn

from tracer.data import label_tables
from tracer.models.dual_encoder import Encoder, Features

SIZE, LEVEL = 32, 25
FIRST, SECOND = 2.0, 1.0  # how much an image looks like its two classes
OBJECTS = {"chair": "Chair", "banana": "Banana", "t-shirt": "T-shirt", "squeegee": "Squeegee", "eyeglasses": "Eyeglasses"}
OVERLAP = {
    "Banana": "banana",
    "Chair": "barber chair; folding chair; rocking chair, rocker",
    "T-shirt": "jersey, T-shirt, tee shirt",
}

Planted = dict[str, list[tuple[int, int]]]
"""Class folder to its images, each with the classes it looks like."""


def picture(path: Path, first: int, second: int, frame: int = 0) -> None:
    """Write an image, inside a red frame of some pixels."""
    pixels = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    pixels[:, : SIZE // 2], pixels[:, SIZE // 2 :] = _color(first), _color(second)
    framed = np.pad(pixels, ((frame, frame), (frame, frame), (0, 0)))
    if frame:
        framed[:frame], framed[-frame:], framed[:, :frame], framed[:, -frame:] = 4 * [(255, 0, 0)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(framed).save(path, quality=100, subsampling=0)


def class_folders(path: Path, folders, planted: Planted, suffix: str = ".JPEG", frame: int = 0) -> Path:
    """A folder of all the class folders, with images in those that are planted."""
    for folder in folders:
        (path / folder).mkdir(parents=True, exist_ok=True)
    for folder, images in planted.items():
        for number, classes in enumerate(images):
            picture(path / folder / f"{folder}_{number}{suffix}", *classes, frame=frame)
    return path


def objectnet(path: Path, planted: Planted) -> Path:
    """ObjectNet with five of its objects, framed in red."""
    class_folders(path / "images", OBJECTS, planted, ".png", frame=2)
    (path / "mappings").mkdir()
    (path / "mappings" / "folder_to_objectnet_label.json").write_text(json.dumps(OBJECTS, indent=2))
    (path / "mappings" / "objectnet_to_imagenet_1k.json").write_text(json.dumps(OVERLAP, indent=2))
    return path


def imagenet_family(root: Path, planted: dict[str, Planted]) -> Path:
    """All six data sets in their published folders."""
    synsets = label_tables.imagenet_synsets()
    class_folders(root / "imagenet" / "val", synsets, planted["id"])
    class_folders(root / "imagenetv2-matched-frequency-format-val", map(str, range(1000)), planted["v2"], ".jpeg")
    class_folders(root / "imagenet-r", label_tables.imagenet_subset("r"), planted["r"], ".jpg")
    class_folders(root / "imagenet-a", label_tables.imagenet_subset("a"), planted["a"], ".jpg")
    (root / "imagenet-r" / "README.txt").write_text("ImageNet-R")
    class_folders(root / "sketch", synsets, planted["sketch"])
    objectnet(root / "objectnet-1.0", planted["objectnet"])
    return root


def flat_validation(root: Path, planted: list[tuple[int, tuple[int, int]]]) -> Path:
    """ImageNet's flat validation folder and its devkit, which here numbers the classes backwards; of labels and what is seen."""
    for number, (_, classes) in enumerate(planted, 1):
        picture(root / "val" / f"ILSVRC2012_val_{number:08d}.JPEG", *classes)
    devkit = root / "ILSVRC2012_devkit_t12" / "data"
    devkit.mkdir(parents=True)
    numbers = [1000 - label for label, _ in planted]
    (devkit / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{number}\n" for number in numbers))
    synsets = [(number, synset, 0) for number, synset in enumerate(reversed(label_tables.imagenet_synsets()), 1)]
    rows = np.array([*synsets, (1001, "n00001740", 2)], dtype=[("ILSVRC2012_ID", "i4"), ("WNID", "O"), ("num_children", "i4")])
    savemat(devkit / "meta.mat", {"synsets": rows[:, None]})
    return root / "val"


def iwildcam(path: Path, rows, categories) -> Path:
    """iWildCam: rows of (split, y, classes that the image looks like), categories of (y, name)."""
    with _written(path / "metadata.csv") as file:
        writer = csv.writer(file)
        writer.writerow(["", "split", "location_remapped", "image_id", "y", "category_id", "filename"])
        for number, (split, label, classes) in enumerate(rows):
            picture(path / "train" / f"image{number}.jpg", *classes)
            writer.writerow([number, split, 7, f"image{number}", label, number, f"image{number}.jpg"])
    with _written(path / "categories.csv") as file:
        writer = csv.writer(file)
        writer.writerow(["y", "category_id", "name"])
        writer.writerows((label, 10 * position, name) for position, (label, name) in enumerate(categories))
    return path


class Sighted(nn.Module):
    """Sees the planted classes: an image's embedding has FIRST and SECOND at their places, a class's is 1 at its own."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0))

    @property
    def logit_scale(self) -> Tensor:
        return self.scale

    def encode_image(self, images: Tensor) -> Tensor:
        return images

    def encode_text(self, tokens: Tensor) -> Tensor:
        return nn.functional.one_hot(tokens[:, 0], 1000).float()

    def forward(self, images: Tensor, tokens: Tensor) -> Features:
        return Features(self.encode_image(images), self.encode_text(tokens), self.logit_scale)


def sighted(class_names, templates) -> Encoder:
    """The encoder; of names that repeat it knows the first."""
    numbers: dict[str, int] = {}
    for template in templates:
        for number, name in enumerate(class_names):
            numbers.setdefault(template.format(name), number)
    return Encoder(Sighted(), _seen, _seen, lambda texts: torch.tensor([[numbers[text]] for text in texts]))


def _seen(images) -> Tensor:
    """Reads the corners, which a frame that was not cut off would hide."""
    features = torch.zeros(len(images), 1000)
    for row, image in zip(features, images, strict=True):
        row[_class(image[0, 0])] += FIRST
        row[_class(image[0, -1])] += SECOND
    return features


def _color(number: int) -> tuple[int, int, int]:
    return number // 100 * LEVEL, number // 10 % 10 * LEVEL, number % 10 * LEVEL


def _class(color) -> int:
    digits = [min(round(float(channel) / LEVEL), 9) for channel in color]
    return digits[0] * 100 + digits[1] * 10 + digits[2]


def _written(path: Path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", newline="", encoding="utf-8")
