"""State of torch's random generators: the CPU's, and those of every accelerator that this process sees."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def random_state() -> dict[str, Tensor]:
    """State of torch's generators: the CPU's, and those of every accelerator that this process sees.

    Accelerators are counted from the one in use, whose state is what several processes share, each on another.
    """
    return {"cpu": torch.get_rng_state()} | {name: module.get_rng_state(*index) for name, module, index in _generators()}


def set_random_state(state: dict[str, Tensor]) -> None:
    """Put torch's generators back; a device that this machine lacks is passed over."""
    torch.set_rng_state(state["cpu"])
    for name, module, index in _generators():
        if name in state:
            module.set_rng_state(state[name], *index)


def _generators() -> Iterator[tuple[str, Any, tuple[int, ...]]]:
    """Name of each accelerator's generator, the module of torch that knows it, and which of several of that kind it is."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is None:
        return
    module, current, count = (
        torch.get_device_module(accelerator),
        torch.accelerator.current_device_index(),
        torch.accelerator.device_count(),
    )
    for offset in range(count):
        index = ((current + offset) % count,) if count > 1 else ()  # mps, of which there is one, takes no index
        yield f"{accelerator.type}.{offset}", module, index
