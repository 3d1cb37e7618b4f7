"""What every source of data hands over: captioned images to train on, labelled images to judge by, a suite of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tracer.errors import UserError

Images = Sequence[np.ndarray] | np.ndarray
"""n images, each uint8 (height, width, 3); an array or anything indexed like one."""


@dataclass(frozen=True)
class CaptionedImages:
    """Image-caption pairs.

    Attributes:
        images: n images, each uint8 (height, width, 3); an array or anything indexed like one.
        captions: for each image the captions it may be paired with; one is drawn each time the image is used.
    """

    images: Images
    captions: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        if len(self.images) != len(self.captions):
            raise ValueError(f"{len(self.images)} images but {len(self.captions)} captions: each image needs its own")

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class LabelledImages:
    """Images with class labels and the words a zero-shot classifier is built from.

    Attributes:
        images: n images, each uint8 (height, width, 3).
        labels: (n,) int64, positions in `accepted` if it is given, else in `class_names`.
        class_names: one per class. Published tables repeat some (ImageNet's "missile" and "sunglasses", a species of iWildCam);
            of two classes called alike a classifier always answers the first.
        templates: caption templates with one `{}` for the class name; the classifier averages their embeddings.
        accepted: for each label the classes, as positions in `class_names`, any of which is a right answer; classes that no
            label accepts are not to be chosen from. None: each class is its own label.
    """

    images: Images
    labels: np.ndarray
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    accepted: tuple[tuple[int, ...], ...] | None = None

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise ValueError(f"{len(self.images)} images but {len(self.labels)} labels: each image needs its own")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def label_space(self) -> int:
        """How many labels the images are judged among."""
        return len(self.class_names if self.accepted is None else self.accepted)

    @property
    def labels_shown(self) -> int:
        """How many of them some image has."""
        return len(np.unique(self.labels))

    def captioned(self) -> CaptionedImages:
        """The same images, each captioned by every template filled with its class name (as FLYP does, arXiv 2212.00638)."""
        by_class = [tuple(template.format(name) for template in self.templates) for name in self.class_names]
        if self.accepted is not None:
            by_class = [tuple(caption for position in classes for caption in by_class[position]) for classes in self.accepted]
        return CaptionedImages(self.images, [by_class[label] for label in self.labels])


@dataclass(frozen=True)
class Suite:
    """One split of everything a fine-tuned model is judged on.

    Attributes:
        in_distribution: the task itself.
        ood: the task's label space under distribution shift; its mean accuracy is the "mean OOD".
        knowledge: other things the pretrained model knows, which fine-tuning never shows.
    """

    in_distribution: LabelledImages
    ood: Mapping[str, LabelledImages] = field(default_factory=dict)
    knowledge: Mapping[str, LabelledImages] = field(default_factory=dict)

    def __post_init__(self) -> None:
        repeated = ({"id", *self.ood} & set(self.knowledge)) | ({"id"} & set(self.ood))
        if repeated:
            raise UserError(f"several sets of the suite are called {', '.join(sorted(repeated))}: give each its own name")

    def sets(self) -> dict[str, LabelledImages]:
        """Every set by its name; the task is `id`."""
        return {"id": self.in_distribution, **self.ood, **self.knowledge}
