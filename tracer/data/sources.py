"""The training pairs that a configuration names."""

from collections.abc import Sequence

from tracer.config import AnyData, CaptionedFolderData, CsvData, EmbeddedData, FolderData, IWildCamData, ParquetData, WebDatasetData
from tracer.data import files, iwildcam, label_spaces, shards, world
from tracer.data.sets import CaptionedImages, LabelledImages


def training_pairs(data: AnyData) -> CaptionedImages:
    """The pairs of a `data` section.

    Raises:
        UserError: if something of the data is missing or wrong; images are not looked into here.
    """
    match data:
        case CsvData():
            return files.captioned_csv(data.path, data.image_column, data.caption_column, data.separator)
        case ParquetData():
            return files.captioned_parquet(data.path, data.image_column, data.caption_column)
        case CaptionedFolderData():
            return files.captioned_folder(data.path)
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
            return files.named_folders(data.path, templates(data.templates), label_spaces.imagenet_names())
        case FolderData():
            return files.class_folders(data.path, templates(data.templates))
        case IWildCamData():
            return iwildcam.labelled(data.path, "train", data.categories, data.name_column, templates(data.templates))
        case EmbeddedData():
            return world.task("train")
        case _:
            return None


def templates(written: Sequence[str]) -> tuple[str, ...]:
    """Templates as a configuration writes them, in which "openai" stands for OpenAI's 80."""
    known = {"openai": label_spaces.openai_templates()}
    return tuple(template for entry in written for template in known.get(entry, (entry,)))
