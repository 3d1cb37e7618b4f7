"""What fine-tuning changed in a model's answers to images, labelled or not: how often it answers otherwise, what it forgot."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tracer.data.datasets import Images, LabelledImages
from tracer.evaluation.report import require_finite
from tracer.evaluation.zero_shot import image_embeddings, of_embeddings
from tracer.models.dual_encoder import Encoder


class Shown(NamedTuple):
    """Images that two models answer.

    Attributes:
        images: n of them, labelled or not.
        words: the classes to choose from, those of any labelled images.
        labelled: whether the images are those of `words`, so that it has their labels.
    """

    images: Images
    words: LabelledImages
    labelled: bool


@torch.inference_mode()
def compared(
    name: str, models: Sequence[Encoder], shown: Shown, classifiers: Sequence[Tensor], workers: int = 0
) -> dict[str, float | int | None]:
    """What `changes` says of two models' answers, and `cosine`, the mean cosine between their embeddings of an image.

    Args:
        name: what the images are called in errors.
        models: the pretrained and the fine-tuned one; put in eval mode.
        shown: the images.
        classifiers: of each model for the classes of `shown`.
        workers: background processes that read images.

    Raises:
        UserError: if an image cannot be read, or answers are not finite.
    """
    cosines: list[Tensor] = []
    logits: tuple[list[Tensor], list[Tensor]] = [], []
    for embedded in zip(*(image_embeddings(model, shown.images, workers=workers) for model in models), strict=True):
        cosines.append(F.cosine_similarity(*embedded).double().cpu())
        for kept, model, each, classes in zip(logits, models, embedded, classifiers, strict=True):
            kept.append(of_embeddings(model, each, classes, shown.words.accepted))
    before, after = map(torch.cat, logits)
    require_finite(before, name)
    require_finite(after, name)
    labels = torch.as_tensor(shown.words.labels) if shown.labelled else None
    return {**changes(before, after, labels), "cosine": torch.cat(cosines).mean().item()}


def changes(before: Tensor, after: Tensor, labels: Tensor | None = None) -> dict[str, Any]:
    """How the answers of a fine-tuned model differ from those of the pretrained one.

    Args:
        before: logits (n, classes) of the pretrained model.
        after: of the fine-tuned one.
        labels: (n,), if they are known.

    Returns:
        `images`, n; `agreement`, the share whose top answer is the same; `kl`, the mean KL(pretrained || fine-tuned) of the
        softmax, in nats. With labels also `accuracy_before` and `accuracy_after`; `right_before`, how many images were answered
        right, and `forgotten`, how many of them are not now; `learnt`, how many of the others are right now.
    """
    old, new = (logits.double().log_softmax(dim=-1) for logits in (before, after))
    told = {
        "images": len(before),
        "agreement": (before.argmax(dim=-1) == after.argmax(dim=-1)).double().mean().item(),
        "kl": F.kl_div(new, old, reduction="batchmean", log_target=True).item(),
    }
    if labels is None:
        return told
    was, now = (logits.argmax(dim=-1) == labels for logits in (before, after))
    return {
        **told,
        "accuracy_before": was.double().mean().item(),
        "accuracy_after": now.double().mean().item(),
        "right_before": int(was.sum()),
        "forgotten": int((was & ~now).sum()),
        "learnt": int((~was & now).sum()),
    }
