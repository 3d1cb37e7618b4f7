"""The training pairs and the suite that a configuration names."""

import contextlib
import math
from collections.abc import Sequence
from functools import cache, partial
from typing import Literal

from tracer.config.schema import (
    PHOTO,
    AnyData,
    AnySuite,
    CaptionedFolderData,
    CsvData,
    EmbeddedData,
    FolderData,
    FolderSuite,
    ImageNetSuite,
    IWildCamData,
    IWildCamSuite,
    ParquetData,
    RunConfig,
    WebDatasetData,
)
from tracer.data import folder_suite, image_files, imagenet, iwildcam, label_tables, shards
from tracer.data.datasets import CaptionedImages, LabelledImages, Suite
from tracer.data.images import CorruptSample
from tracer.data.tables import csv_rows, parquet_rows
from tracer.errors import UserError
from tracer.toy import small_clip, world

LOOKED_AT = 20  # samples, to tell whether the embedded model is meant


def training_pairs(data: AnyData) -> CaptionedImages:
    """The pairs of a `data` section.

    Raises:
        UserError: if something of the data is missing or wrong; images are not looked into here.
    """
    match data:
        case CsvData():
            rows = partial(csv_rows, separator=data.separator)
            return image_files.captioned_table(data.path, data.image_column, data.caption_column, rows)
        case ParquetData():
            return image_files.captioned_table(data.path, data.image_column, data.caption_column, parquet_rows)
        case CaptionedFolderData():
            return image_files.captioned_folder(data.path)
        case WebDatasetData():
            return shards.webdataset(data.path, data.caption)
        case _:
            images = labelled_images(data)
            assert images is not None, data.kind
            return images.captioned()


def labelled_images(data: AnyData) -> LabelledImages | None:
    """The images of a `data` section with their labels, None where it has pairs alone; raises as `training_pairs` does."""
    match data:
        case FolderData(class_names="imagenet"):
            return image_files.named_folders(data.path, templates(data.templates), label_tables.imagenet_names())
        case FolderData():
            return image_files.class_folders(data.path, templates(data.templates))
        case IWildCamData():
            return iwildcam.labelled(data.path, "train", data.categories, data.name_column, templates(data.templates))
        case EmbeddedData():
            return world.task("train")
        case _:
            return None


def templates(written: Sequence[str]) -> tuple[str, ...]:
    """Templates as a configuration writes them, in which "openai" stands for OpenAI's 80."""
    known = {"openai": label_tables.openai_templates()}
    return tuple(template for entry in written for template in known.get(entry, (entry,)))


def evaluation_suite(section: AnySuite) -> Suite:
    """The suite that a configuration names.

    Raises:
        UserError: if something of its data is missing or wrong; images are not looked into here.
    """
    if isinstance(section, ImageNetSuite):
        return imagenet.suite(section.root, section.sets, section.folders)
    if isinstance(section, IWildCamSuite):
        return iwildcam.suite(section.path, section.categories, section.name_column, templates(section.templates), section.split)
    if isinstance(section, FolderSuite):
        captions = templates(section.templates or PHOTO)
        return folder_suite.suite(section.id, section.ood, section.knowledge, captions, section.class_names or "folders")
    return _embedded_suite(section.split)


@cache  # processes that run one job after another draw it once
def _embedded_suite(split: Literal["validation", "test"]) -> Suite:
    return world.suite(split)


def suite_of(run: RunConfig) -> Suite | None:
    """The suite that a run is judged on, if it is; raises as `evaluation_suite` and `require_toy_is_meant` do."""
    if run.evaluation is None:
        return None
    suite = evaluation_suite(run.evaluation)
    require_toy_is_meant(run, "evaluation", suite.in_distribution)
    return suite


def require_toy_is_meant(run: RunConfig, section: str, data: CaptionedImages | LabelledImages) -> None:
    """Refuse the embedded model where nobody named it and the data are none that it could take, photographs say.

    Args:
        run: its model.
        section: where the configuration names the data.
        data: what the model would see; `LOOKED_AT` of them, spread evenly, are looked at.

    Raises:
        UserError: that says which model would be used, and what to write.
    """
    if "architecture" in run.model.model_fields_set or run.model.architecture != small_clip.ARCHITECTURE:
        return
    try:
        if isinstance(data, LabelledImages):
            small_clip.TOKENIZER([template.format(name) for name in data.class_names for template in data.templates])
        for position in range(0, len(data), math.ceil(len(data) / LOOKED_AT) or 1):
            with contextlib.suppress(CorruptSample):  # which says nothing of the others
                if isinstance(data, CaptionedImages):
                    small_clip.TOKENIZER(list(data.captions[position]))
                small_clip.preprocess([data.images[position]])
    except UserError as error:
        raise UserError(
            f"model.architecture is missing, so that the embedded toy would be used, and {section} is not for it ({error}): write"
            " for example model: {architecture: ViT-B-16, pretrained: laion2b_s34b_b88k}"
        ) from error
