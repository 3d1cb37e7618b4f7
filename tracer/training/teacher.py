"""The teacher: an averaged copy of the student, driven by a kernel and a clock. Nobody need be taught by it."""

import copy
from typing import Any, Literal

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn

from tracer.averaging import Clock, Kernel

BufferPolicy = Literal["average", "copy"]


class Teacher:
    """A weighted average of the student's past weights, starting as its faithful copy.

    It need not be called: an average from which nothing is distilled is passive, and the student goes its way as without it.

        teacher = Teacher(model, kernel=Beta(0.5, 0.5), clock=Clock(total_steps=1000))
        for images, tokens in batches:
            target = teacher(images, tokens)
            ...
            optimizer.step()
            teacher.update()

    The average is kept in float32 (float64 for a float64 student): a bfloat16 average would lose updates smaller than 1/256 of a
    weight. It is always in eval mode and never receives a gradient. A model wrapped by `torch.compile` or DistributedDataParallel
    is unwrapped first.

    The average lies where the student lay when this was made, and neither follows the other to a device: `module.to(device)` moves
    it, at any time, and `update` fetches the student's weights from wherever they are. `Trainer` moves both to its own.

        >>> from tracer.averaging import Clock, Uniform
        >>> student = nn.Linear(1, 1, bias=False)
        >>> teacher = Teacher(student, kernel=Uniform(), clock=Clock(total_steps=2))
        >>> before = student.weight.item()
        >>> for _ in range(2):
        ...     with torch.no_grad():
        ...         student.weight += 3.0  # in place of a training step
        ...     teacher.update()
        >>> round(teacher.module.weight.item() - before, 3)  # the mean of 0, 3 and 6
        3.0

    Args:
        student: the module that is trained; it is followed, not changed.
        kernel: the averaging kernel.
        clock: horizon and update period.
        buffers: what to do with saved floating-point buffers such as batch-norm statistics at an update: average them like
            weights, or copy the student's. All other buffers are copied.
    """

    def __init__(self, student: nn.Module, kernel: Kernel, clock: Clock, buffers: BufferPolicy = "average"):
        if buffers not in ("average", "copy"):
            raise ValueError(f"buffers must be 'average' or 'copy', not {buffers!r}")
        self.student = extract_model_from_parallel(student, keep_torch_compile=False)
        self.kernel, self.clock = kernel, clock
        self.steps = 0
        self.module: Any = _master_copy(self.student)
        self._newest, self._average = _Slots(self.student, buffers), _Slots(self.module, buffers)

    @torch.no_grad()
    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """What the averaged module gives for any arguments, of a batch of images and tokens its features; without gradient."""
        return self.module(*arguments, **named)

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move the average."""
        self.module.to(device, dtype)

    @torch.no_grad()
    def update(self) -> None:
        """Count one optimiser step, and average the student in if the clock says so."""
        self.steps += 1
        if not self.clock.updates_at(self.steps):
            return
        rate = self.kernel.rate(self.clock, self.steps // self.clock.update_every)
        if rate == 0:
            return
        average = self._average.averaged()
        newest = [new.to(old.device, old.dtype) for new, old in zip(self._newest.averaged(), average, strict=True)]
        torch._foreach_lerp_(average, newest, rate)
        for mine, theirs in zip(self._average.copied(), self._newest.copied(), strict=True):
            mine.copy_(theirs)

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors from which `load_state_dict` goes on exactly: the average and the number of steps counted."""
        return {"steps": torch.tensor(self.steps), **{f"module.{k}": v for k, v in self.module.state_dict().items()}}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over a state from `state_dict`; the tensors are copied."""
        self.steps = int(state["steps"])
        self.module.load_state_dict({k.removeprefix("module."): v for k, v in state.items() if k.startswith("module.")})


class _Slots:
    """Where a module keeps the tensors that a teacher averages, and those it copies, in an order all its copies share.

    Owners and names are kept, not tensors: moving a module to a device or a precision replaces its buffers. Only buffers that are
    saved can be averaged: the others are constants such as attention masks, where the average of two minus infinities is NaN.
    """

    def __init__(self, module: nn.Module, policy: BufferPolicy):
        parameters = {id(p): (owner, name) for owner in module.modules() for name, p in owner._parameters.items() if p is not None}
        self._averaged = list(parameters.values())
        self._copied: list[tuple[nn.Module, str]] = []
        for owner in module.modules():
            for name, buffer in owner._buffers.items():
                if buffer is not None:
                    saved = name not in owner._non_persistent_buffers_set
                    average = policy == "average" and saved and buffer.is_floating_point()
                    (self._averaged if average else self._copied).append((owner, name))

    def averaged(self) -> list[Tensor]:
        return [getattr(owner, name) for owner, name in self._averaged]

    def copied(self) -> list[Tensor]:
        return [getattr(owner, name) for owner, name in self._copied]


def _master_copy(student: nn.Module) -> nn.Module:
    module = copy.deepcopy(student).eval().requires_grad_(False)
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(torch.promote_types(tensor.dtype, torch.float32))
    return module
