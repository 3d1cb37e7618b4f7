"""What a run learns from, as its strategy takes it, and what can be said of it before a model is loaded."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tracer.config.defaults import is_embedded
from tracer.config.schema import RunConfig
from tracer.data import text_banks
from tracer.data.datasets import CaptionedImages, LabelledImages, Suite
from tracer.data.images import CorruptSample
from tracer.errors import UserError, nearest
from tracer.evaluation.zero_shot import classifier
from tracer.models.dual_encoder import Encoder
from tracer.models.head import Head
from tracer.runs import sources
from tracer.strategies import PRESETS
from tracer.toy import renderer
from tracer.training import distributed

DRAWN_SIZE = 256  # pixels along a side of images that are drawn for one of open_clip's models, which crops and resizes them


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from.

    Attributes:
        pairs: images and captions, which are the digits of labels where the strategy learns those.
        labelled: the same images with their labels, where the data have them.
        pool: the further images that are replayed; empty where none are.
    """

    pairs: CaptionedImages
    labelled: LabelledImages | None
    pool: Sequence[np.ndarray] | np.ndarray = ()

    @property
    def listed(self) -> CaptionedImages | LabelledImages:
        """All that is known of them."""
        return self.labelled or self.pairs

    @property
    def captions(self) -> list[str]:
        """The different captions, of all classes where there are labels; those of corrupt pairs are passed over, as in training."""
        if self.labelled:
            return text_banks.filled(self.labelled.templates, self.labelled.class_names)
        different: dict[str, None] = {}
        for position in range(len(self.pairs)):
            with contextlib.suppress(CorruptSample):
                different |= dict.fromkeys(self.pairs.captions[position])
        return [*different]

    def zero_shot_head(self, encoder: Encoder) -> Head:
        """The zero-shot classifier of the classes and templates as a head."""
        assert self.labelled is not None, "of_run refuses data without labels where a head is learnt"
        return Head(self.labelled.class_names, classifier(encoder, self.labelled.class_names, self.labelled.templates).clone())


def of_run(run: RunConfig, suite: Suite | None) -> TrainingData | None:
    """What a run learns from, itself or, where a head is learnt, in the runs that it merges; None where it reads nothing.

    Raises:
        UserError: if the data cannot be listed, lack labels that the strategy learns, show one class alone, cannot be shared among
            the processes, or lack classes of the suite that a head is to know.
    """
    preset = PRESETS[run.strategy.name]
    if not (preset.trained or preset.has_head):
        return None
    labelled = sources.labelled_images(run.data)
    if preset.has_head:
        if labelled is None:
            raise UserError(
                f"strategy.name = {run.strategy.name} learns class labels, which data.kind = {run.data.kind} lacks: "
                "take class folders, or another strategy"
            )
        pairs = CaptionedImages(labelled.images, [(str(label),) for label in labelled.labels])
    else:
        pairs = labelled.captioned() if labelled else sources.training_pairs(run.data)
    sources.require_toy_is_meant(run, "data", labelled or pairs)
    distributed.equal_share(run.optimization.batch_size, "optimization.batch_size")
    if labelled:
        require_classes(labelled)
    if labelled and suite and preset.has_head:
        _require_label_space(labelled.class_names, suite)
    for name in ("images", "texts"):
        distributed.equal_share(getattr(run, f"{name}_replayed"), f"replay.{name}_per_step")
    return TrainingData(pairs, labelled, pool(run))


def pool(run: RunConfig) -> Sequence[np.ndarray]:
    """The further images that a run replays, none if it does not; raises as `sources.pool` does."""
    if run.replay is None or run.replay.images is None:
        return ()
    size = renderer.SIZE if is_embedded(run.model.architecture) else DRAWN_SIZE
    return sources.pool(run.replay.images, size, run.seed, run.images_replayed)


def require_classes(labelled: LabelledImages) -> None:
    """Refuse images of one class alone, whose captions are alike and tell nothing apart.

    Raises:
        UserError: if less than two classes are shown.
    """
    shown = labelled.labels_shown
    if shown < 2:
        raise UserError(f"the training data show {shown} class, which leaves nothing to tell apart: add another")


def _require_label_space(known: Sequence[str], suite: Suite) -> None:
    """Task and shifted sets are judged by the head, so it has to know their classes."""
    for name in ("id", *suite.ood):
        unknown = sorted(set(suite.sets()[name].class_names) - set(known))
        if unknown:
            raise UserError(
                f"the set {name} has {len(unknown)} classes that the training data lack, first {unknown[0]!r}"
                f"{nearest(unknown[0], known)}: a head knows its own alone, so give both the same class folders"
            )
