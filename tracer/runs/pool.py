"""Tasks in several processes at once. One that fails, or whose process is killed, costs itself alone; the others go on."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, TypeVar

from tracer.errors import Stopped
from tracer.terminal import faults

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")
POLL_SECONDS = 0.2
GRACE_SECONDS = 20  # for a run that is stopped to save its checkpoint; one that takes longer is killed, which files survive


@dataclass(frozen=True)
class Failure:
    """A task that came to nothing, and why: a sentence."""

    reason: str


def outcomes(
    work: Callable[[Task], Outcome],
    tasks: Sequence[Task],
    processes: int,
    context: Any,
    prepare: Callable[[], None],
    waiting: Callable[[], None] = lambda: None,
) -> list[Outcome | Failure]:
    """What `work` makes of each task, in their order.

    When this process is interrupted, or asked to end, those at work are asked to end too, and given time to save what they do.

    Args:
        work: done in other processes; it and what it returns are pickled.
        tasks: what to work on.
        processes: how many at once.
        context: multiprocessing's, by which processes start.
        prepare: called in each process before its first task.
        waiting: called here now and then.
    """
    left = deque(range(len(tasks)))
    found: dict[int, Outcome | Failure] = {}
    with _asked_to_end(), contextlib.ExitStack() as ending:
        workers = [_Worker(context, work, prepare) for _ in range(min(processes, len(tasks)))]
        ending.callback(_end_all, workers)
        while len(found) < len(tasks):
            for position, worker in enumerate(workers):
                if worker.task is not None and (done := worker.outcome()):
                    found[worker.task], worker.task = done[0], None
                if left and worker.task is None:
                    if not worker.process.is_alive():
                        worker = workers[position] = _Worker(context, work, prepare)
                    worker.give(left[0], tasks[left.popleft()])
            waiting()
            wait([end for worker in workers if worker.task is not None for end in worker.ends()], POLL_SECONDS)
    return [found[number] for number in range(len(tasks))]


def _end_all(workers: "Sequence[_Worker]") -> None:
    for worker in workers:
        worker.ask_to_end()  # all before any is waited for, so that they save at once
    for worker in workers:
        worker.end()


class _Worker:
    """A process that works on one task after another.

    Attributes:
        process: it.
        task: number of the task that it is at; None if it is idle.
    """

    def __init__(self, context: Any, work: Callable[[Any], Any], prepare: Callable[[], None]):
        self._connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work, prepare))
        self.process.start()
        theirs.close()
        self.task: int | None = None

    def give(self, number: int, task: Any) -> None:
        self.task = number
        with contextlib.suppress(OSError):  # it is dead, and its outcome will say so
            self._connection.send(task)

    def ends(self) -> tuple[Any, ...]:
        """What becomes ready when there is an outcome."""
        return self._connection, self.process.sentinel

    def outcome(self) -> tuple[Any] | None:
        """The outcome of the task in a tuple, if it is there; that of a process that is gone is a failure."""
        gone = not self.process.is_alive()  # asked first: an answer may come right before the end
        try:
            if self._connection.poll():
                return (self._connection.recv(),)
        except (EOFError, OSError):
            self.process.join()
            gone = True
        return (Failure(_end_of(self.process.exitcode)),) if gone else None

    def ask_to_end(self) -> None:
        self._connection.close()  # an idle process ends by that
        if self.task is not None:
            self.process.terminate()

    def end(self) -> None:
        self.process.join(GRACE_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _end_of(code: int | None) -> str:
    if code is not None and code < 0:
        return f"its process was killed ({signal.Signals(-code).name}), for want of memory perhaps: run fewer processes"
    return f"its process ended by itself with code {code}: start the command again"


def _serve(connection: Connection, work: Callable[[Any], Any], prepare: Callable[[], None]) -> None:
    """The life of a process that works."""
    os.setpgrp()  # Ctrl-C on a terminal reaches the first process alone, which asks the others to end
    threading.Thread(target=_leave_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    prepare()
    with contextlib.suppress(EOFError, OSError):  # the first process wants no more
        while True:
            connection.send(_attempt(work, connection.recv()))


def _attempt(work: Callable[[Any], Any], task: Any) -> Any:
    try:
        return work(task)
    except Exception as error:  # whatever it is, other tasks can be done
        return Failure(faults.answer(error).text)


def _leave_with(parent: Any) -> None:
    """End this process when its parent is gone: who was killed must not go on computing."""
    parent.join()
    os._exit(1)


@contextlib.contextmanager
def _asked_to_end() -> Iterator[None]:
    """Within, SIGTERM is an exception, as Ctrl-C is."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped("asked to end; the same command goes on from the checkpoints of its runs", 128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield  # where Python allows no handlers
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
