"""Where a command stands: a bar on a terminal, now and then a line elsewhere (a log file of nohup, Slurm or CI)."""

import datetime
import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

QUIET_SECONDS = 5.0  # between two lines
LONGEST_QUIET_SECONDS = 60.0  # a run of a week says something before its next percent
BAR_WIDTH = 12
SHOWN = {"loss": "loss {:.3f}", "learning_rate": "rate {:.1e}", "images_per_second": "{:.1f} images/s"}
"""What of a trainer's report is shown, and how."""


class Standing:
    """What a command tells of itself while it works. Called with the steps done it is an `on_step`; it is a `Tracker` as well.

    Args:
        console: where it is shown.
        what: the command's work, in a word or two.
        total: steps in all.
        clock: seconds from some beginning.
    """

    def __init__(self, console: Console, what: str, total: int, clock: Callable[[], float] = time.monotonic):
        self._console, self._what, self._total, self._clock = console, what, total, clock
        self._numbers = ""
        self._began: tuple[float, int] | None = None  # when this was first called, and with which step
        self._told = float("-inf"), -1  # when the last line was, and its step
        self._bar: Progress | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(BAR_WIDTH),
                MofNCompleteColumn(),
                TimeRemainingColumn(compact=True),
                TextColumn("{task.fields[numbers]}", markup=False),
            )
            self._bar = Progress(*columns, console=console)
            self._task = self._bar.add_task(what, total=total, numbers="")

    def __enter__(self) -> "Standing":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if self._bar:
            self._bar.stop()

    def __call__(self, done: int) -> None:
        """So many steps are done, those of earlier calls of the command included."""
        if self._bar:
            self._bar.update(self._task, completed=done, numbers=self._numbers)
            return
        now = self._clock()
        self._began = self._began or (now, done)
        if self._is_time(done, now):
            self._told = now, done
            self._line(f"step {done}/{self._total} ({self._percent(done)} %){self._numbers}{self._left(done, now)}")

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Scalars of the step that is told next."""
        self._numbers = "".join(f"  {text.format(values[name])}" for name, text in SHOWN.items() if name in values)

    def stage(self, what: str) -> None:
        """What begins now."""
        self._line(what)

    def _is_time(self, done: int, now: float) -> bool:
        told_at, told = self._told
        if done >= self._total:
            return told < done
        quiet = now - told_at
        return quiet >= QUIET_SECONDS and (self._percent(done) > self._percent(told) or quiet >= LONGEST_QUIET_SECONDS)

    def _percent(self, done: int) -> int:
        return 100 * done // max(self._total, 1)

    def _left(self, done: int, now: float) -> str:
        """The time that the steps left will take at the pace so far."""
        began_at, began = self._began or (now, done)
        if done >= self._total or done == began:
            return ""
        seconds = (self._total - done) * (now - began_at) / (done - began)
        return f"  {datetime.timedelta(seconds=round(seconds))} left"

    def _line(self, text: str) -> None:
        self._console.print(f"{self._what}: {text}", markup=False, highlight=False, soft_wrap=True)
