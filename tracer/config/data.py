"""The sections of a configuration that say where images are, with captions or class names, and of which kind."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from tracer.config.fields import HomeText, Location, Section, Share, Text


def _alone(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Templates = Annotated[tuple[Text, ...], BeforeValidator(_alone)]
PHOTO = ("a photo of a {}.",)
ClassNames = Literal["folders", "imagenet"]


def _separator(value: Any) -> Any:
    """A tab may be written as in a shell, where it cannot be typed; what csv cannot separate by is refused."""
    value = {"\\t": "\t", "tab": "\t"}.get(value, value) if isinstance(value, str) else value
    if isinstance(value, str) and (len(value) != 1 or value in '"\r\n\0'):
        raise ValueError('give one character such as ",", or tab')
    return value


class EmbeddedData(Section):
    """Scikit-learn's handwritten digits, the task of the embedded world."""

    kind: Literal["embedded"] = "embedded"


class ReadData(Section):
    """Pairs whose images are read from files, and may be damaged."""

    max_corrupt_share: Share = Field(
        0.01, description="corrupt pairs that are passed over, as a share of all; with more the run stops"
    )


class TableData(ReadData):
    """Pairs from a table of images' paths and captions."""

    kind: Literal["csv", "parquet"]
    path: Location = Field(description="the file; image paths in it are relative to its folder")
    image_column: str = Field("filepath", description="the column with the images' paths")
    caption_column: str = Field("title", description="the column with their captions")


class CsvData(TableData):
    """Pairs from a CSV file."""

    kind: Literal["csv"]
    separator: Annotated[str, BeforeValidator(_separator)] | None = Field(
        None, description="between fields; default: the comma, tab, semicolon or | with which the header has both columns"
    )


class ParquetData(TableData):
    """Pairs from a Parquet file."""

    kind: Literal["parquet"]


class CaptionedFolderData(ReadData):
    """Images with a text file of captions beside each, one a line."""

    kind: Literal["captioned_folder"]
    path: Location = Field(description="the folder; those below it are read too")


class FolderData(ReadData):
    """One folder of images a class, captioned by templates."""

    kind: Literal["folder"]
    path: Location = Field(description="the folder of class folders")
    templates: Templates = Field(PHOTO, min_length=1, description="captions, {} being the class name, or openai")
    class_names: ClassNames = Field(
        "folders", description="classes are called like their folders, or the folders are synsets and OpenAI's names for them hold"
    )


class WebDatasetData(ReadData):
    """WebDataset shards."""

    kind: Literal["webdataset"]
    path: HomeText = Field(description="the tar files, with braces: shards/{00000..00012}.tar")
    caption: str = Field("txt", description="the member with the caption: txt, or json.KEY for a key in a JSON member")


class IWildCam(Section):
    """Where iWildCam is, in WILDS' format, and what its classes are called."""

    path: Location = Field(description="the folder with metadata.csv")
    categories: Location = Field(Path("categories.csv"), description="table of the classes, relative to `path`")
    name_column: str = Field("name", description="the column of that table with the names for captions")
    templates: Templates = Field(
        ("a photo of {}.", "{} in the wild."), min_length=1, description="captions, {} being the class name, or openai"
    )


class IWildCamData(IWildCam, ReadData):
    """The training split of iWildCam in WILDS' format."""

    kind: Literal["iwildcam"]


def embedded_by_default(values: Any) -> Any:
    return {"kind": "embedded", **values} if isinstance(values, dict) else values


DataKinds = EmbeddedData | CsvData | ParquetData | CaptionedFolderData | FolderData | WebDatasetData | IWildCamData
AnyData = Annotated[DataKinds, Field(discriminator="kind"), BeforeValidator(embedded_by_default)]
