"""Several processes that together compute what one would: each embeds its own rows of every batch, all know the whole objective.

The objective is a function of the global batch, so every process gathers the features of all and computes all of it. Its gradient
reaches the weights of a process through the rows embedded there, and through what all share: logit scale and terms of the weights.
With the former times the number of processes, the mean over processes is the gradient that one process would have. That mean is
taken once a step, after the last micro-batch; DistributedDataParallel would take it in every backward pass, of which a step with a
gradient cache has several, and needs to be told which weights a term leaves out.

What a step costs besides: four small gathers, one reduction of all gradients, and the (n, n) logits of the global batch in each
process.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from torch import Tensor

from tracer.errors import UserError
from tracer.models.dual_encoder import Features


def count() -> int:
    """How many processes run together; 1 unless a launcher started several."""
    return int(_state().num_processes)


def index() -> int:
    """Which of them this one is, from 0."""
    return int(_state().process_index)


def device() -> torch.device:
    """Where this process computes: its accelerator, or the CPU."""
    found: torch.device = _state().device
    return found


def is_first() -> bool:
    """Whether this is the process that writes files, shows progress and judges."""
    return index() == 0


def by_first(action: Callable[[], object]) -> None:
    """Let the first process do something for all.

    Raises:
        UserError: in all of them, if it does so in the first.
    """
    refused: list[str | None] = [None]
    if is_first():
        try:
            action()
        except UserError as error:
            refused = [str(error)]
    if count() > 1:
        dist.broadcast_object_list(refused, src=0)
    if refused[0] is not None:
        raise UserError(refused[0])


def any_of(asked: bool) -> bool:
    """Whether any process asks for something, in all of them alike; each has to call this. One alone waits for nothing."""
    if count() == 1:
        return asked
    ballot = torch.full((), float(asked), device=device())
    dist.all_reduce(ballot, op=dist.ReduceOp.MAX)
    return bool(ballot)


def leave() -> None:
    """Part from the other processes, which may go on alone."""
    _state().destroy_process_group()


def equal_share(total: int, what: str) -> slice:
    """The positions, of `total`, that fall to this process.

    Raises:
        UserError: if they cannot be shared equally; `what` names them.
    """
    size, rest = divmod(total, count())
    if rest:
        raise UserError(f"{what} is {total}, which {count()} processes cannot share equally: make it a multiple of {count()}")
    return slice(index() * size, (index() + 1) * size)


def gathered(features: Features) -> Features:
    """The features of the global batch from each process's own, in the order of its rows; the logit scale is everyone's.

    The processes are those of torch.distributed, by whomever they were joined: `tracer_loss` works beside any launcher.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return features
    further = (None if part is None else _rows_of_all(part) for part in (features.replay, features.replay_text))
    return Features(_rows_of_all(features.image), _rows_of_all(features.text), features.logit_scale, *further)


@torch.no_grad()
def average_gradients(parameters: Sequence[Tensor]) -> None:
    """Replace every gradient by its mean over processes, in one reduction."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if count() == 1 or not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= count()
    for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


@contextlib.contextmanager
def own_randomness(step: int) -> Iterator[None]:
    """Within, torch's generators are this process's own, for dropout say; afterwards they are again what all processes share.

    Being a function of the common seed, the step and the process, the numbers need no place in a checkpoint. One process draws
    from its generators as they are.
    """
    if count() == 1:
        yield
        return
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        seed = np.random.SeedSequence([torch.initial_seed(), step, index()]).generate_state(1, np.uint64)[0]
        torch.manual_seed(int(seed >> np.uint64(1)))  # torch's seeds are signed
        yield


@torch.no_grad()
def agree(tensors: Sequence[Tensor], step: int) -> bool:
    """Whether all processes are at the same step with the same tensors.

    Bits are added up as integers, a sum that no order of additions changes.
    """
    if count() == 1:
        return True
    sums = [tensor.flatten().view(torch.int32).sum() for tensor in tensors]
    mine = torch.stack([torch.tensor(step, device=sums[0].device), *sums])
    return bool((_Rows.apply(mine[None]) == mine).all())


def _state() -> PartialState:
    """Joins the other processes at the first call; told that there is no accelerator, Accelerate does so on CPUs too."""
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available())


class _Rows(torch.autograd.Function):
    """Rows of all processes, (m, ...) to (count m, ...); back come the own rows' gradients times count.

    The usual backward pass, a sum over processes, comes to the same where all compute the same loss, but has to communicate.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.own = slice(dist.get_rank() * len(rows), (dist.get_rank() + 1) * len(rows))
        everyone = rows.new_empty(dist.get_world_size() * len(rows), *rows.shape[1:])
        dist.all_gather_into_tensor(everyone, rows.contiguous())
        return everyone

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0][ctx.own] * dist.get_world_size()


def _rows_of_all(rows: Tensor) -> Tensor:
    everyone: Tensor = _Rows.apply(rows)
    return everyone
