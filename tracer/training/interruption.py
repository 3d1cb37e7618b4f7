"""Ctrl-C and SIGTERM, which a run answers between two steps."""

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

from tracer.training import distributed

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO_SECONDS = 1.0
LINGER_SECONDS = 10  # a batch that the run waits for comes in that time, and a program that ends amid its batches waits so long


class Interruption:
    """Within, the first SIGINT or SIGTERM is only noted, as `signal`; a second one does what it would have done.

    A launcher passes on a Ctrl-C that the terminal gave to all processes already: among several, what comes within a second of
    the first is taken for that. Outside the main thread, where Python hands out no signals, nothing is noted.
    """

    signal: int | None = None

    def __enter__(self) -> Self:
        main = threading.current_thread() is threading.main_thread()
        # what is ignored, as Ctrl-C is in a shell's background, stays so
        heard = [number for number in SIGNALS if main and signal.getsignal(number) != signal.SIG_IGN]
        self._before: dict[int, Any] = {number: signal.signal(number, self._note) or signal.SIG_DFL for number in heard}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal, self._noted = number, time.monotonic()
        elif distributed.count() == 1 or time.monotonic() - self._noted > ECHO_SECONDS:
            signal.signal(number, self._before[number])
            signal.raise_signal(number)


def leave_to_parent() -> None:
    """Outlive, in a process that a run started, the signals that a terminal or scheduler gives to all processes of it.

    Ctrl-C is for the run alone. SIGTERM is too, but may also be the run's own, so that this process ends some time after it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(LINGER_SECONDS))
    signal.signal(signal.SIGALRM, lambda number, frame: os._exit(0))
