"""A linear classifier over image embeddings: what linear probing and full fine-tuning on class labels learn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from tracer.errors import UserError
from tracer.models.loading.weights import require_finite
from tracer.tensor_files import load_metadata, load_tensors, save_tensors


class Head(nn.Module):
    """One embedding a class. The logits of an image are the model's logit scale times its unit embedding's products with them.

    There is no bias, so that a zero-shot classifier is a head as it stands, and a head takes the place of one.

    Args:
        names: the classes.
        weight: (classes, k), to start from; it is copied.
    """

    def __init__(self, names: Sequence[str], weight: Tensor):
        super().__init__()
        self.names = tuple(names)
        self.weight = nn.Parameter(weight.detach().clone())

    def knows(self, names: Sequence[str]) -> bool:
        """Whether all these classes are among the head's."""
        return set(names) <= set(self.names)

    def embeddings(self, names: Sequence[str]) -> Tensor:
        """(len(names), k): the embeddings of some of its classes, in the order asked for; of two called alike the first's.

        Asked for exactly its own classes, it gives every one its own, also those that are called alike.
        """
        if tuple(names) == self.names:
            return self.weight
        return self.weight[[self.names.index(name) for name in names]]

    def save(self, path: Path) -> None:
        """Save the head with the names of its classes; raises as `save_tensors` does."""
        save_tensors(path, {"weight": self.weight}, {"classes": self.names})

    @classmethod
    def load(cls, path: Path, width: int) -> Self:
        """The head in a file of `save`.

        Raises:
            UserError: if the file is absent, damaged, no head, for embeddings of another width, or not finite.
        """
        names: Any = load_metadata(path).get("classes")
        weight = load_tensors(path).get("weight")
        named = isinstance(names, list) and len(names) > 0
        if not named or weight is None or weight.shape != (len(names), width) or not weight.is_floating_point():
            raise UserError(f"{path} holds no head for embeddings of width {width}: give a head.safetensors of this architecture")
        require_finite({"weight": weight}, f"the weights in {path}")
        return cls(names, weight)
