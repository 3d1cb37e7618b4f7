"""The training pairs, the suite, and the further images and texts that a configuration names."""

import contextlib
import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Literal

import numpy as np

from tracer.config.data import (
    PHOTO,
    AnyData,
    CaptionedFolderData,
    CsvData,
    EmbeddedData,
    FolderData,
    IWildCamData,
    ParquetData,
    WebDatasetData,
)
from tracer.config.fields import Section
from tracer.config.replay import AnyBank, AnyPool, CaptionBank, FileBank, ImagePool, NameBank, NoisePool, PhotographPool, WordBank
from tracer.config.schema import AnySuite, FolderSuite, ImageNetSuite, IWildCamSuite, RunConfig
from tracer.data import folder_suite, image_files, imagenet, iwildcam, label_tables, pools, shards, text_banks
from tracer.data.datasets import CaptionedImages, LabelledImages, Suite
from tracer.data.images import CorruptSample
from tracer.data.tables import csv_rows, parquet_rows
from tracer.errors import UserError
from tracer.messages import shown
from tracer.models import tokenizers
from tracer.models.dual_encoder import Encoder
from tracer.toy import small_clip, world
from tracer.toy.tokenizer import WordTokenizer

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


def pool(section: AnyPool, size: int, seed: int, at_least: int = 1) -> Sequence[np.ndarray]:
    """The further images that a configuration names, each uint8 (height, width, 3), of data with captions the images alone.

    Args:
        section: which they are.
        size: pixels along a side of those that are drawn, both ways what the model takes.
        seed: of those that are drawn.
        at_least: images of a step.

    Raises:
        UserError: if something of them is missing or wrong, they do not fill a step, or all of `LOOKED_AT` that are looked at,
            spread evenly, are of one colour or corrupt.
    """
    images: Sequence[np.ndarray] | np.ndarray
    match section:
        case NoisePool():
            images = pools.Noise(size, seed)
        case PhotographPool():
            images = pools.Photographs(size, seed)
        case ImagePool():
            images = image_files.images_below(section.path)
        case _:
            images = training_pairs(section).images
    place = _place(section, "replay.images")
    if len(images) < at_least:
        raise UserError(
            f"{place} holds {len(images)} images, fewer than the {at_least} of a step: add some, or lower replay.images_per_step"
        )
    _require_content(images, place)
    return list(images) if isinstance(images, np.ndarray) else images


def bank(
    section: AnyBank, encoder: Encoder, seed: int, at_least: int = 1, captions: Callable[[], Sequence[str]] = tuple
) -> Sequence[str]:
    """The further texts that a configuration names.

    Args:
        section: which they are.
        encoder: its tokenizer has the words of random texts, and says which texts fit.
        seed: of those that are drawn.
        at_least: texts of a step.
        captions: gathers the different ones that the run learns; called where they are replayed.

    Raises:
        UserError: if something of them is missing or wrong, they do not fill a step, or the model would not read one to its end.
    """
    texts: Sequence[str]
    match section:
        case WordBank():
            texts = _random_texts(section.longest, encoder, seed)
        case CaptionBank(words=share, longest=longest):
            texts = text_banks.Mixed(captions(), _random_texts(longest, encoder, seed), share)
        case NameBank():
            texts = text_banks.filled(templates(section.templates), label_tables.imagenet_class_names())
            _require_fit(encoder, texts, [f"{shown(text)} of replay.texts" for text in texts])
        case FileBank():
            lines = text_banks.lines(section.path)
            texts = list(lines.values())
            _require_fit(encoder, texts, [f"{section.path} line {number}" for number in lines])
    if len(texts) < at_least:
        raise UserError(
            f"{_place(section, 'replay.texts')} holds {len(texts)} texts, fewer than the {at_least} of a step: "
            "add some, or lower replay.texts_per_step"
        )
    return texts


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
        for position in _spread(len(data)):
            with contextlib.suppress(CorruptSample):  # which says nothing of the others
                if isinstance(data, CaptionedImages):
                    small_clip.TOKENIZER(list(data.captions[position]))
                small_clip.preprocess([data.images[position]])
    except UserError as error:
        raise UserError(
            f"model.architecture is missing, so that the embedded toy would be used, and {section} is not for it ({error}): write"
            " for example model: {architecture: ViT-B-16, pretrained: laion2b_s34b_b88k}"
        ) from error


def _random_texts(most: int, encoder: Encoder, seed: int) -> text_banks.RandomTexts:
    words = tokenizers.vocabulary(encoder)
    if not words:
        raise UserError("the model's tokenizer has no whole words that replay.texts could draw: choose another kind of texts")
    longest = [" ".join([words[position]] * most) for position in _spread(len(words))]
    for _, tokens, room in tokenizers.overlong(encoder, longest):
        raise UserError(f"replay.texts.longest = {most} makes texts of {tokens} tokens, of which the model reads {room}: lower it")
    return text_banks.RandomTexts(words, most, seed)


def _require_fit(encoder: Encoder, texts: Sequence[str], places: Sequence[str]) -> None:
    """Refuse a text of which the model would not see the end, or with a word that the embedded model does not have."""
    if isinstance(encoder.tokenize, WordTokenizer):
        for place, text in zip(places, texts, strict=True):
            try:
                encoder.tokenize([text])
            except UserError as error:
                raise UserError(f"{place}: {error}") from error
    for position, tokens, room in tokenizers.overlong(encoder, texts):
        raise UserError(
            f"{places[position]} has {tokens} tokens, start and end among them, of which the model reads {room}: shorten the text"
        )


def _require_content(images: Sequence[np.ndarray] | np.ndarray, place: str) -> None:
    """Refuse images that hold nothing, as far as those looked at tell."""
    color, fault = None, None
    for position in _spread(len(images)):
        try:
            image = images[position]
        except CorruptSample as error:
            fault = error
            continue
        color = image[0, 0] if color is None else color
        if (image != color).any():
            return
    if color is None:
        raise UserError(f"none of the images looked at in {place} can be read, the last because: {fault}") from fault
    raise UserError(f"the images looked at in {place} are all of one colour, which holds nothing: give others")


def _spread(count: int) -> range:
    """Positions of at most `LOOKED_AT` samples, spread evenly."""
    return range(0, count, math.ceil(count / LOOKED_AT) or 1)


def _place(section: Section, key: str) -> str:
    """Where images or texts are: a path, or the key of the section that names them."""
    return str(getattr(section, "path", key))
