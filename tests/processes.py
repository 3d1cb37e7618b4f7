"""Several processes on this machine, forked (which takes a fraction of a second) and joined by gloo."""

import os
import select
import signal
import traceback

import torch
import torch._dynamo  # an optimiser's first step imports it, which would take seconds in every forked process
import torch.distributed as dist
from accelerate.state import AcceleratorState, GradientState

SECONDS_TO_END = 300  # of processes that take a few, and hang if they take that many


def in_processes(folder, work, count=2):
    """What `work(index)` returns in each of the processes; where it raises, the exception's text.

    Args:
        folder: for the rendezvous and the results.
        work: called in every process after they have joined.
        count: number of processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    children = [_fork(folder, work, index, count) for index in range(count)]
    try:
        for child in children:
            _await_end(child)
    finally:
        for child in children:
            os.close(child[1])
    return [torch.load(folder / f"{index}.pt") for index in range(count)]


def _fork(folder, work, index, count):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            join(folder, index, count)
            result = work(index)
        except Exception as error:
            traceback.print_exc()
            result = f"{type(error).__name__}: {error}"
        torch.save(result, folder / f"{index}.pt")
        os._exit(0)  # with no farewell to the others, as a crash would
    os.close(writing)
    return pid, reading


def join(folder, index, count):
    """Make this process one of `count`, which meet in a folder."""
    os.environ |= {"LOCAL_RANK": str(index), "RANK": str(index), "WORLD_SIZE": str(count), "GLOO_SOCKET_IFNAME": "lo"}
    os.environ |= {"LOCAL_WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    dist.init_process_group("gloo", init_method=f"file://{folder / 'rendezvous'}", rank=index, world_size=count)


def _await_end(child):
    """The pipe closes when the process ends, however it does."""
    pid, reading = child
    ended, _, _ = select.select([reading], [], [], SECONDS_TO_END)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert ended, "a process hangs"
