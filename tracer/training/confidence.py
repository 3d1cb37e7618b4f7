"""How sure a model is of a batch: entropy and confidence of its softmax over the other half of the pairs.

TRACER's figures show both of the teacher along a run (arXiv 2605.29380). An entropy of 0 nats, or a confidence of 1, leaves nothing
to distil but the winner's name.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def entropy(logits: Tensor) -> Tensor:
    """Entropy of the batch softmax of (n, n) logits in nats, mean over samples and both directions; a scalar in [0, ln n].

    >>> round(entropy(torch.zeros(4, 4)).item(), 4)  # ln 4: all are as likely
    1.3863
    """
    return torch.stack(
        [-(F.softmax(rows, dim=-1) * F.log_softmax(rows, dim=-1)).sum(dim=-1).mean() for rows in (logits, logits.T)]
    ).mean()


@torch.no_grad()
def confidence(logits: Tensor) -> Tensor:
    """Largest probability of the batch softmax of (n, n) logits, mean over samples and both directions; a scalar in [1/n, 1].

    >>> confidence(torch.zeros(4, 4)).item()
    0.25
    """
    return torch.stack([F.softmax(rows, dim=-1).amax(dim=-1).mean() for rows in (logits, logits.T)]).mean()
