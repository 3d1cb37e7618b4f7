"""What the frozen model makes of a run's images and texts: the features that its last linear maps are given, kept on disk."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tracer import __version__
from tracer.config.schema import RunConfig
from tracer.data.datasets import CaptionedImages, Images, LabelledImages, Suite
from tracer.data.image_files import ImageFiles
from tracer.data.images import CorruptSample
from tracer.data.text_banks import filled
from tracer.errors import UserError
from tracer.evaluation.report_cache import state_of_images, state_of_model
from tracer.models import clip
from tracer.models.dual_encoder import Encoder
from tracer.models.last_maps import LastMaps, pooled_features, require_last_maps
from tracer.runs import sources, training_data
from tracer.runs.build import a_few, corrupt_share, load_encoder
from tracer.runs.training_data import TrainingData
from tracer.tensor_files import load_tensors, save_tensors
from tracer.training.batches import in_order
from tracer.training.corrupt_samples import require_few

AT_ONCE = 256  # images or texts of a forward pass
MOST_REPLAYED = 4000
"""Images of a pool, and texts of a bank, that are looked at; 25 times as many were measured to keep no more."""


@dataclasses.dataclass(frozen=True)
class Frozen:
    """A run's images and texts as features, which take their place: an image is a row (d,), and a tokenizer gives rows (n, width).

    Attributes:
        run: the run.
        model: the whole pretrained model.
        encoder: its last linear maps, as a model of such features.
        data: training pairs, the same with labels where they have some, and the pool.
        bank: further texts, where some are replayed.
        suites: what a model is judged on, by what the suite is for.
    """

    run: RunConfig
    model: Encoder
    encoder: Encoder
    data: TrainingData
    bank: Sequence[str]
    suites: Mapping[str, Suite]

    @property
    def maps(self) -> LastMaps:
        """The pretrained maps; not to be changed."""
        assert isinstance(self.encoder.model, LastMaps)
        return self.encoder.model


@dataclasses.dataclass(frozen=True)
class Listed:
    """What a run reads, before any of it passes a model.

    Attributes:
        run: the run.
        pairs: its training pairs.
        labelled: the same with labels, where they have some.
        pool: further images, where some are replayed.
        suites: what a model is judged on, by what the suite is for.
    """

    run: RunConfig
    pairs: CaptionedImages
    labelled: LabelledImages | None
    pool: Images
    suites: Mapping[str, Suite]

    @classmethod
    def of(cls, run: RunConfig, suites: Mapping[str, Suite], most_pairs: int) -> Self:
        """All that a run reads, of training pairs at most so many, drawn with its seed where there are more.

        Raises:
            UserError: as `training_data.of_run` does, and where the run reads none.
        """
        data = training_data.of_run(run, None)
        if data is None:
            raise UserError(f"strategy.name = {run.strategy.name} reads no training data: name a strategy that trains")
        listed = data.labelled.captioned() if data.labelled else data.pairs  # a head's captions are labels
        chosen = _drawn(len(listed), most_pairs, run.seed)
        labelled = data.labelled and _of_labelled(data.labelled, chosen)
        return cls(run, _pairs(listed, chosen), labelled, _part(data.pool, _drawn(len(data.pool), MOST_REPLAYED, run.seed)), suites)

    @property
    def count(self) -> int:
        """How many images there are to pass the model."""
        return (
            len(self.pairs)
            + len(self.pool)
            + sum(len(images) for suite in self.suites.values() for images in suite.sets().values())
        )

    def gather(self, on_image: Callable[[int], None] = lambda count: None) -> Frozen:
        """The features of all, by one pass of the pretrained model, or from files in the run's folder.

        Images are seen as evaluation sees them, without random crops. Corrupt pairs and replay images are left out.

        Args:
            on_image: told how many images are done.

        Raises:
            UserError: if images cannot be read, features are not finite, or texts to replay are unfit.
        """
        run = self.run
        torch.manual_seed(run.seed)
        model = load_encoder(run)
        clip.freeze(model.model, run.model.freeze)
        require_last_maps(clip.require_clip(model.model), *a_few(run, model, self.pairs))
        passing = _Passing(model, run.output / "features", run.workers, on_image)
        features, kept = passing.images(self.pairs.images, Bearable(corrupt_share(run.data)))
        pairs = CaptionedImages(features, [self.pairs.captions[position] for position in kept])
        labelled = self.labelled and dataclasses.replace(self.labelled, images=features, labels=self.labelled.labels[kept])
        further = Bearable(corrupt_share(run.replay and run.replay.images), "replay images", "replay.images")
        pool = passing.images(self.pool, further)[0] if len(self.pool) else self.pool
        suites = {what: _of_suite(suite, lambda images: passing.images(images)[0]) for what, suite in self.suites.items()}
        bank = self._bank(model)
        judged = class_captions(images for suite in self.suites.values() for images in suite.sets().values())
        passing.remember([text for captions in pairs.captions for text in captions] + bank + judged)
        encoder = Encoder(LastMaps(clip.require_clip(model.model)).cpu(), stacked, stacked, passing.texts)
        return Frozen(run, model, encoder, TrainingData(pairs, labelled, pool), bank, suites)

    def _bank(self, model: Encoder) -> list[str]:
        section = self.run.replay and self.run.replay.texts
        if not section:
            return []
        data = TrainingData(self.pairs, self.labelled)
        texts = sources.bank(section, model, self.run.seed, self.run.texts_replayed, lambda: data.captions)
        return [texts[int(position)] for position in _drawn(len(texts), MOST_REPLAYED, self.run.seed)]


class TextFeatures:
    """Captions to features of a text tower (n, width), in the place of a tokenizer; each caption passes the tower once."""

    def __init__(self, encoder: Encoder):
        self._encoder = encoder
        self.known: dict[str, Tensor] = {}

    def __call__(self, captions: Sequence[str]) -> Tensor:
        unseen = [*dict.fromkeys(text for text in captions if text not in self.known)]
        for start in range(0, len(unseen), AT_ONCE):
            chunk = unseen[start : start + AT_ONCE]
            tokens = self._encoder.tokenize(chunk).to(next(self._encoder.model.parameters()).device)
            self.known |= zip(chunk, pooled_features(self._encoder.model, tokens, "text").cpu(), strict=True)
        return torch.stack([self.known[text] for text in captions])


def stacked(images: Images) -> Tensor:
    """Rows of features as a tensor (n, d), in the place of preprocessing."""
    return torch.from_numpy(np.stack([*images]))


class Bearable(NamedTuple):
    """How many corrupt images are left out rather than refused: a share of all, what they are, and which setting has the share."""

    share: float
    what: str = "training pairs"
    setting: str = "data"


class _Passing:
    """A model's features, each kept in a file named by the content that it is of."""

    def __init__(self, encoder: Encoder, folder: Path, workers: int, on_image: Callable[[int], None]):
        self._encoder, self._folder, self._workers, self._on_image = encoder, folder, workers, on_image
        self._model = repr((__version__, state_of_model(encoder.model)))
        self._done = 0
        self.texts = TextFeatures(encoder)

    def images(self, images: Images, bearable: Bearable | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Features (n, d), and the positions (n,) of their images: all, or those that can be read where some need not be."""
        before = self._done
        kept = self._kept(state_of_images(images), lambda: self._passed(images, bearable))
        self._tell(before + len(images))
        return kept["features"].numpy(), kept["positions"].numpy()

    def remember(self, captions: Sequence[str]) -> None:
        """Have the features of captions at hand."""
        different = [*dict.fromkeys(captions)]
        kept = self._kept((text.encode() for text in different), lambda: {"features": self.texts(different)})
        self.texts.known |= zip(different, kept["features"], strict=True)

    def _passed(self, images: Images, bearable: Bearable | None) -> dict[str, Tensor]:
        features, positions, corrupt = [], [], list[CorruptSample]()
        readable, parameter = _Readable(self._encoder, images), next(self._encoder.model.parameters())
        for batch, kept, met in in_order(readable, range(len(readable)), self._workers):
            corrupt += met
            if corrupt and bearable is None:
                raise corrupt[0]
            if bearable:
                require_few(corrupt, bearable.share, len(images), bearable.what, bearable.setting)
            if batch is not None:
                features.append(pooled_features(self._encoder.model, batch.to(parameter.device, parameter.dtype)).float().cpu())
                positions.append(kept)
            self._tell(self._done + len(kept))
        return {"features": torch.cat(features), "positions": torch.cat(positions)}

    def _kept(self, content: Iterable[bytes], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        sha = hashlib.sha256(self._model.encode())
        for part in content:
            sha.update(hashlib.sha256(part).digest())
        path = self._folder / f"{sha.hexdigest()[:32]}.safetensors"
        if path.exists():
            return load_tensors(path)
        made = make()
        if not made["features"].isfinite().all():
            raise UserError(
                "the pretrained model's features are not finite: its weights are too large to compute with, take others"
            )
        save_tensors(path, made, {})
        return made

    def _tell(self, done: int) -> None:
        self._done = done
        self._on_image(done)


class _Readable(Dataset[tuple[Tensor | None, Tensor, list[CorruptSample]]]):
    """Batches of preprocessed images (None where none can be read) with their positions, and those that cannot be read."""

    def __init__(self, encoder: Encoder, images: Images):
        self.preprocess, self.images = encoder.preprocess, images

    def __len__(self) -> int:
        return -(-len(self.images) // AT_ONCE)

    def __getitem__(self, number: int) -> tuple[Tensor | None, Tensor, list[CorruptSample]]:
        read, positions, corrupt = [], [], []
        for position in range(number * AT_ONCE, min((number + 1) * AT_ONCE, len(self.images))):
            try:
                read.append(self.images[position])
                positions.append(position)
            except CorruptSample as error:
                corrupt.append(error)
        return self.preprocess(read) if read else None, torch.tensor(positions, dtype=torch.int64), corrupt


class _Part(Sequence[Any]):
    """Some items of a sequence that reads or draws each when it is asked for."""

    def __init__(self, items: Sequence[Any] | np.ndarray, positions: np.ndarray):
        self._items, self._positions = items, positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: Any) -> Any:
        return self._items[int(self._positions[index])]


class _Whole(Sequence[np.ndarray]):
    """The images of pairs that are read when they are asked for, corrupt where a pair's captions are."""

    def __init__(self, images: Images, captions: Sequence[Sequence[str]]):
        self._images, self._captions = images, captions

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Any) -> Any:
        self._captions[index]
        return self._images[index]


def _pairs(listed: CaptionedImages, positions: np.ndarray) -> CaptionedImages:
    images = _part(listed.images, positions)
    if isinstance(listed.captions, list):
        return CaptionedImages(images, [listed.captions[position] for position in positions])
    captions = _Part(listed.captions, positions)
    return CaptionedImages(_Whole(images, captions), captions)


def _part(images: Images, positions: np.ndarray) -> Images:
    match images:
        case ImageFiles(paths=paths, border=border):
            return ImageFiles([paths[position] for position in positions], border)
        case _:
            return images[positions] if isinstance(images, np.ndarray) else _Part(images, positions)


def _drawn(count: int, most: int, seed: int) -> np.ndarray:
    """At most so many of all positions, in their order."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def _of_labelled(images: LabelledImages, positions: np.ndarray) -> LabelledImages:
    return dataclasses.replace(images, images=_part(images.images, positions), labels=images.labels[positions])


def _of_suite(suite: Suite, features: Callable[[Images], np.ndarray]) -> Suite:
    def of(images: LabelledImages) -> LabelledImages:
        return dataclasses.replace(images, images=features(images.images))

    ood, knowledge = ({name: of(images) for name, images in sets.items()} for sets in (suite.ood, suite.knowledge))
    return Suite(of(suite.in_distribution), ood, knowledge)


def class_captions(sets: Iterable[LabelledImages]) -> list[str]:
    """The class names of sets in their templates."""
    return [text for images in sets for text in filled(images.templates, images.class_names)]
