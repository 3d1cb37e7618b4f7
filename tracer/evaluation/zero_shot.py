"""Zero-shot classification: class embeddings from caption templates, logits of images against them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tracer.data.sets import LabelledImages
from tracer.models.dual_encoder import Encoder

CAPTIONS_AT_ONCE = 256  # ImageNet's 1000 classes x 80 templates would not fit into memory together


@torch.inference_mode()
def classifier(encoder: Encoder, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Unit class embeddings (classes, k): for each class the mean of its templates' unit embeddings, normalised again.

    An encoder with a head that knows all the classes has learnt other embeddings for them, of any length: then those.
    """
    if encoder.head is not None and encoder.head.knows(class_names):
        return encoder.head.embeddings(class_names)
    captions = [template.format(name) for name in class_names for template in templates]
    device = next(encoder.model.parameters()).device
    tokens = encoder.tokenize(captions).to(device).split(CAPTIONS_AT_ONCE)
    embeddings = F.normalize(torch.cat([encoder.model.encode_text(chunk) for chunk in tokens]), dim=-1)
    return F.normalize(embeddings.unflatten(0, (len(class_names), len(templates))).mean(dim=1), dim=-1)


@torch.inference_mode()
def logits(encoder: Encoder, images: LabelledImages, batch_size: int = 256) -> Tensor:
    """Logits (n, classes) of a labelled set at the model's own logit scale, float32 on the CPU; the model is put in eval mode."""
    encoder.model.eval()
    parameter = next(encoder.model.parameters())
    classes = classifier(encoder, images.class_names, images.templates)
    parts = []
    for start in range(0, len(images), batch_size):
        batch = encoder.preprocess([images.images[i] for i in range(start, min(start + batch_size, len(images)))])
        features = F.normalize(encoder.model.encode_image(batch.to(parameter.device, parameter.dtype)), dim=-1)
        parts.append((encoder.model.logit_scale * features @ classes.T).float().cpu())
    return torch.cat(parts)
