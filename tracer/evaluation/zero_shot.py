"""Zero-shot classification: class embeddings from caption templates, logits of images against them."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from tracer.data.datasets import Images, LabelledImages
from tracer.models.dual_encoder import Encoder
from tracer.training.batches import in_order

CAPTIONS_AT_ONCE = 256  # ImageNet's 1000 classes x 80 templates would not fit into memory together


@torch.inference_mode()
def classifier(encoder: Encoder, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Unit class embeddings (classes, k): for each class the mean of its templates' unit embeddings, normalised again.

    An encoder with a head that knows all the classes has learnt other embeddings for them, of any length: then those. The model is
    put in eval mode.
    """
    if encoder.head is not None and encoder.head.knows(class_names):
        return encoder.head.embeddings(class_names)
    encoder.model.eval()
    captions = [template.format(name) for name in class_names for template in templates]
    device = next(encoder.model.parameters()).device
    tokens = encoder.tokenize(captions).to(device).split(CAPTIONS_AT_ONCE)
    embeddings = F.normalize(torch.cat([encoder.model.encode_text(chunk) for chunk in tokens]), dim=-1)
    return F.normalize(embeddings.unflatten(0, (len(class_names), len(templates))).mean(dim=1), dim=-1)


@torch.inference_mode()
def logits(
    encoder: Encoder, images: LabelledImages, batch_size: int = 256, classes: Tensor | None = None, workers: int = 0
) -> Tensor:
    """Logits (n, labels) of a labelled set at the encoder's temperature, float32 on the CPU; the model is put in eval mode.

    Args:
        encoder: the model.
        images: the set. Where its labels accept several classes, a label has the largest of their logits.
        batch_size: images at once.
        classes: the set's `classifier`, if it is at hand.
        workers: background processes that read images.

    Raises:
        UserError: if an image cannot be read.
    """
    if classes is None:
        classes = classifier(encoder, images.class_names, images.templates)
    embedded = image_embeddings(encoder, images.images, batch_size, workers)
    return torch.cat([of_embeddings(encoder, each, classes, images.accepted) for each in embedded])


@torch.inference_mode()
def of_embeddings(
    encoder: Encoder, embeddings: Tensor, classes: Tensor, accepted: Sequence[tuple[int, ...]] | None = None
) -> Tensor:
    """Logits (n, labels) of image embeddings (n, k), as `logits` has them of the images."""
    scale = encoder.model.logit_scale / encoder.temperature
    answers = (scale * F.normalize(embeddings, dim=-1) @ classes.T).float().cpu()
    return answers if accepted is None else largest(answers, accepted)


@torch.inference_mode()
def image_embeddings(encoder: Encoder, images: Images, batch_size: int = 256, workers: int = 0) -> Iterator[Tensor]:
    """Image embeddings (batch, k), before any normalisation, batch by batch; the model is put in eval mode.

    Raises:
        UserError: if an image cannot be read.
    """
    for batch in inputs(encoder, images, batch_size, workers):
        yield encoder.model.encode_image(batch)


def inputs(encoder: Encoder, images: Images, batch_size: int = 256, workers: int = 0) -> Iterator[Tensor]:
    """What the image tower takes of images, batch by batch; the model is put in eval mode.

    Raises:
        UserError: if an image cannot be read.
    """
    encoder.model.eval()
    parameter = next(encoder.model.parameters())
    batches = _Preprocessed(encoder, images, batch_size)
    for batch in in_order(batches, range(len(batches)), workers):
        yield batch.to(parameter.device, parameter.dtype)


def largest(logits: Tensor, accepted: Sequence[tuple[int, ...]]) -> Tensor:
    """The largest logit among the classes that each label accepts: (n, classes) to (n, labels).

    So published evaluations score ObjectNet, some objects of which have several classes in ImageNet; for ImageNet-A and -R, where
    a label is one class, it leaves the logits of the subset.
    """
    widest = max(map(len, accepted))
    positions = torch.tensor([[*classes, *classes[:1] * (widest - len(classes))] for classes in accepted])
    return logits[:, positions].amax(dim=-1)


class _Preprocessed(Dataset[Tensor]):
    """Images as batches for a model."""

    def __init__(self, encoder: Encoder, images: Images, batch_size: int):
        self.preprocess, self.images, self.batch_size = encoder.preprocess, images, batch_size

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, number: int) -> Tensor:
        end = min((number + 1) * self.batch_size, len(self.images))
        return self.preprocess([self.images[i] for i in range(number * self.batch_size, end)])
