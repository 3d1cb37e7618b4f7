"""What a model's image tower hands to its last linear map: the features that the linear theory takes for its inputs."""

import torch
from torch import Tensor
from torch.func import functional_call

from tracer.models.dual_encoder import DualEncoder


@torch.no_grad()
def pooled_features(model: DualEncoder, images: Tensor) -> Tensor:
    """Pooled image features before the last linear map W, (n, width): `encode_image` gives W of them, plus the map's bias if any.

    The tower runs with the identity in that map's place, so that this holds wherever the tower applies it. The model is put in
    eval mode.

    Args:
        model: with an image tower that turns images into embeddings.
        images: what `encode_image` takes, (n, ...).
    """
    tower, last = model.eval().image_tower(), model.projections()[0]
    (name,) = (name for name, parameter in tower.named_parameters() if parameter.data_ptr() == last.data_ptr())
    replaced = {name: torch.eye(last.shape[1], dtype=last.dtype, device=last.device)}
    bias = f"{name.removesuffix('weight')}bias"
    if name.endswith(".weight") and bias in dict(tower.named_parameters()):
        replaced[bias] = last.new_zeros(last.shape[1])
    pooled: Tensor = functional_call(tower, replaced, (images,))
    return pooled
