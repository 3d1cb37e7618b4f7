"""Where fine-tuning changed the linear maps of an image tower: inside the subspace that the task's images reach, or outside it.

The *task subspace* of a linear map is the span of the inputs that it has on the task's images, at all positions: the fewest
directions that hold `ENERGY` of the sum of their squares, *rank* many. With the projectors P onto it and Q onto its complement a
change D of the map has two parts, D P + D Q, and |D P|^2 / |D|^2 is its share inside; a random change has rank / width there.

What the change does to the map's outputs on other images has the two parts, too: with their inputs x, |D P x|^2 and |D Q x|^2.

Source: TRACER, arXiv 2605.29380 (task subspace and orthogonal complement, there of one map's features).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tracer.data.datasets import Images
from tracer.evaluation.zero_shot import inputs
from tracer.models.dual_encoder import DualEncoder, Encoder

ENERGY = 0.99
AT_ONCE = 128  # images
LOOKED_AT = 16384  # inputs of a map at most, drawn at random from all positions of all images
_aten = torch.ops.aten


class Share(NamedTuple):
    """What fine-tuning did to one linear map. A convolution is the map of its patches; with several groups each has its own inputs.

    Attributes:
        name: of its weights in the image tower.
        width: dimension of its inputs.
        rank: dimension of the task subspace, of several groups the mean.
        inputs: how many were looked at; with fewer than `width` the rank is too small.
        size: |D|^2, the squared Frobenius norm of the change.
        inside: |D P|^2 / |D|^2; None where nothing changed.
        effect: the sum of |D P x|^2 over that of |D P x|^2 + |D Q x|^2 for the inputs x of other images; None where nothing
            changed, or there are no other images.
    """

    name: str
    width: int
    rank: float
    inputs: int
    size: float
    inside: float | None
    effect: float | None


def shares(before: Encoder, after: DualEncoder, images: Images, others: Images | None = None, workers: int = 0) -> list[Share]:
    """The share of every linear map of the image tower, in the order in which an image passes them.

    Args:
        before: the pretrained model, whose inputs they are; put in eval mode.
        after: the fine-tuned one, of the same architecture.
        images: of the task.
        others: other images.
        workers: background processes that read images.

    Raises:
        UserError: if an image cannot be read.
    """
    on_task, on_others = (_maps(before, each, workers) if each is not None else {} for each in (images, others))
    starts, ends = (dict(tower.named_parameters()) for tower in (before.model.image_tower(), after.image_tower()))
    found = []
    for key, met in on_task.items():
        change = met.matrices(ends[met.name]) - met.matrices(starts[met.name])
        other = on_others.pop(key, None)  # moments are large: each is dropped when it was looked at
        found.append(_share(met, change, other.moment if other else None))
        del met.moment
    return found


def together(found: Sequence[Share]) -> dict[str, float | None]:
    """Several maps' changes as one: `inside`, what random ones of these sizes would have there, `random`, and the mean `effect`."""
    total = sum(each.size for each in found)
    effects = [each.effect for each in found if each.effect is not None]
    return {
        "inside": sum(each.size * each.inside for each in found if each.inside is not None) / total if total else None,
        "random": sum(each.size * each.rank / each.width for each in found) / total if total else None,
        "effect": sum(effects) / len(effects) if effects else None,
    }


class _Map:
    """A linear map as it was met: which view of which parameter its weights are, and the second moment of its inputs.

    Args:
        name: of the parameter.
        weights: as the operation got them, (d, out) to the right of inputs, or a convolution's (out, d / groups, height, width).
        groups: of a convolution.
    """

    def __init__(self, name: str, weights: Tensor, groups: int):
        self.name, self.groups = name, groups
        self._view = weights.size(), weights.stride(), weights.storage_offset()
        self.inputs, self.moment = 0, torch.zeros(())

    def add(self, rows: Tensor) -> None:
        """Take in inputs (n, width of all groups)."""
        grouped = _double(rows).unflatten(1, (self.groups, -1)).transpose(0, 1)
        self.inputs += len(rows)
        self.moment = self.moment.to(grouped) + grouped.mT @ grouped

    def matrices(self, parameter: Tensor) -> Tensor:
        """The map's weights (groups, out, d) in a parameter of that shape."""
        weights: Tensor = parameter.detach().as_strided(*self._view)
        oriented = weights.T if weights.ndim == 2 else weights.flatten(1)
        grouped: Tensor = _double(oriented).unflatten(0, (self.groups, -1))
        return grouped


def _double(tensor: Tensor) -> Tensor:
    """In float64, which not every accelerator has."""
    return (tensor if tensor.is_cuda else tensor.cpu()).double()


def _maps(encoder: Encoder, images: Images, workers: int) -> dict[Any, _Map]:
    """The linear maps that images pass, with the second moments of their inputs."""
    seen = _SecondMoments(encoder.model.image_tower())
    with torch.no_grad(), _plain_attention():
        for batch in inputs(encoder, images, AT_ONCE, workers):
            seen.most = math.ceil(LOOKED_AT * len(batch) / len(images))
            with seen:
                encoder.model.encode_image(batch)
    return seen.maps


def _share(met: _Map, change: Tensor, others: Tensor | None) -> Share:
    """The share of a change (groups, out, d), others being the second moment (groups, d, d) of other images' inputs."""
    energies, directions = torch.linalg.eigh(met.moment)
    energies = energies.clamp(min=0).flip(-1)
    kept = energies.cumsum(-1) - energies < ENERGY * energies.sum(-1, keepdim=True)
    basis = directions.flip(-1) * kept[..., None, :]
    part = change @ basis @ basis.mT
    size, rank = change.square().sum().item(), kept.sum(-1).double().mean().item()
    effects = [] if others is None else [(each @ others * each).sum().item() for each in (part, change - part)]
    return Share(
        met.name,
        width=change.shape[-1],
        rank=rank,
        inputs=met.inputs,
        size=size,
        inside=part.square().sum().item() / size if size else None,
        effect=effects[0] / sum(effects) if sum(effects) > 0 else None,
    )


class _SecondMoments(TorchDispatchMode):
    """Within it, inputs of every product with, and every convolution by, a tower's parameters are drawn and summed up.

    Whatever modules a tower is made of, these operations are all that torch has in the end.
    """

    def __init__(self, tower: nn.Module):
        super().__init__()  # type: ignore[no-untyped-call]
        self._names = {each.untyped_storage().data_ptr(): name for name, each in tower.named_parameters() if each.ndim > 1}
        self._generator = torch.Generator().manual_seed(0)
        self.most = LOOKED_AT  # inputs of a map that are drawn of a batch
        self.maps: dict[tuple[str, Any], _Map] = {}

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if operation in (_aten.mm.default, _aten.addmm.default):
            rows, weights = args[-2:]
            if met := self._met(weights, 1):
                met.add(rows[self._drawn(len(rows))])
        elif operation is _aten.convolution.default and not args[6] and args[0].ndim == 4:
            images, weights, _, stride, padding, dilation, _, _, groups = args
            if met := self._met(weights, groups):
                met.add(self._patches(images, weights.shape[2:], stride, padding, dilation))
        return operation(*args, **(kwargs or {}))

    def _met(self, weights: Tensor, groups: int) -> _Map | None:
        name = self._names.get(weights.untyped_storage().data_ptr())
        if name is None:
            return None
        return self.maps.setdefault((name, weights.storage_offset()), _Map(name, weights, groups))

    def _drawn(self, there: int) -> Tensor:
        return torch.randperm(there, generator=self._generator)[: self.most]

    def _patches(
        self, images: Tensor, size: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
    ) -> Tensor:
        """Some of the patches (n, channels height width) that a convolution by weights of that size sees of images."""
        padded = F.pad(images, (padding[1], padding[1], padding[0], padding[0]))
        reach = [dilation[axis] * (size[axis] - 1) + 1 for axis in (0, 1)]
        grid = [(padded.shape[2 + axis] - reach[axis]) // stride[axis] + 1 for axis in (0, 1)]
        drawn = self._drawn(len(images) * grid[0] * grid[1])
        image, *corner = torch.unravel_index(drawn, (len(images), *grid))
        down, right = (corner[i][:, None] * stride[i] + dilation[i] * torch.arange(size[i]) for i in (0, 1))
        return padded[image[:, None, None], :, down[:, :, None], right[:, None, :]].movedim(-1, 1).flatten(1)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention by products that can be seen, not by torch's one operation for all of it."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
