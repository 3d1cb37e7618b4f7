"""What a command answers when it fails: one sentence that says what to do, whatever was raised, and an exit code."""

import errno
import os
import signal
import tempfile
import traceback
from typing import NamedTuple

from tracer.errors import DISTRIBUTION, Stopped, UserError

BAD_INPUT, INTERNAL = 2, 1
BROKEN_PIPE = 128 + signal.SIGPIPE
SHOW = "TRACER_TRACEBACK"
"""Environment variable that has a command print the traceback of whatever ends it."""
LINES = 20  # of an answer; a screen shows no more
CHARACTERS = 950
PREFIX = "tracer: "
# what to do where the system names the reason, of which more than one sounds alike
ADVICE = {
    errno.ENOSPC: "free some space or choose another place",
    errno.EDQUOT: "your share of the disk is used up: free some of it or choose another place",
    errno.EACCES: "change its permissions or choose another place",
    errno.EPERM: "change its permissions or choose another place",
    errno.EROFS: "choose a place that can be written to",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is a file: choose another place",
    errno.EISDIR: "name a file in it",
    errno.EEXIST: "choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "its links lead in a circle: mend them",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n) or lower workers",
    errno.ENFILE: "the machine has too many files open: close other programs",
    errno.ENOMEM: "free some memory or lower workers",
    errno.EIO: "the disk or network drive fails: choose another place",
    errno.ESTALE: "the network drive went away: start again",
}
LESS_MEMORY = "lower optimization.micro_batch_size (gradients do not change), the model's size, or workers and processes"
# how torch words a lack of memory, or of another process, where its error has no class of its own; the system kills workers for it
ANOTHER_IS_GONE = ("Connection closed by peer", "Connection reset by peer", "Socket Timeout", "NCCL communicator was aborted")
OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "Cannot allocate memory",
    "insufficient shared memory",
    "is killed by signal: Killed",
)


class Answer(NamedTuple):
    """A sentence for stderr ("" for none), and an exit code."""

    text: str
    code: int


def answer(error: BaseException) -> Answer:
    """What a command says of the exception that ended it."""
    match error:
        case UserError():
            return Answer(str(error), BAD_INPUT)
        case Stopped():
            return Answer(str(error), error.code)
        case KeyboardInterrupt():
            return Answer("interrupted; the same command goes on from the last checkpoint", 128 + signal.SIGINT)
        case BrokenPipeError():
            return Answer("", BROKEN_PIPE)  # whoever read the output has enough of it
        case OSError():
            return Answer(_of_files(error), BAD_INPUT)
        case RecursionError():
            return Answer(f"something is nested too deeply, a configuration or a JSON file: flatten it{_kept(error)}", BAD_INPUT)
        case ModuleNotFoundError():
            return Answer(_of_packages(error), BAD_INPUT)
    if _lacks_memory(error):
        return Answer(f"out of memory: {LESS_MEMORY}", BAD_INPUT)
    if _lost_another(error):
        gone = "another process of this run is gone, as its own message may say: the same command goes on from the last checkpoint"
        return Answer(gone, INTERNAL)
    said = (str(error).strip() or "no more is known").splitlines()[0][: CHARACTERS // 4]
    return Answer(f"a fault of tracer's own, not of your input: {type(error).__name__}: {said}{_kept(error)}", INTERNAL)


def shown(text: str, lines: int = LINES, characters: int = CHARACTERS) -> str:
    """A message as it is printed, with a prefix on each line, cut to what a screen shows.

    Of more lines the first stay, and how many there are besides; of a long line both ends.
    """
    kept: list[str] = []
    found = text.splitlines()
    for line in found:
        line = PREFIX + (line if len(line) <= characters // 2 else f"{line[: characters // 3]} ... {line[-characters // 8 :]}")
        full = sum(map(len, kept)) + len(kept) + len(line) > characters
        if kept and (full or len(kept) == lines - 1 < len(found) - 1):
            return "\n".join([*kept, f"{PREFIX}and {len(found) - len(kept)} more: mend these first"])
        kept.append(line)
    return "\n".join(kept)


def _of_files(error: OSError) -> str:
    """What could not be used, why, and what to do. Errors of the network are OSErrors without a number of a file's."""
    names = " and ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    reason = error.strerror or str(error) or type(error).__name__
    return f"cannot use {names or 'a file or connection'}: {reason}; {ADVICE.get(error.errno or 0, 'choose another place')}"


def _of_packages(error: ModuleNotFoundError) -> str:
    """What to install: all of tracer's needs if it is one of them, as it is where tracer itself imports it."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    own = frame.f_globals.get("__name__", "").partition(".")[0] == "tracer"
    cure = f"pip install {DISTRIBUTION} brings all that the commands need" if own else f"pip install {error.name}"
    return f"the package {error.name} is not installed: {cure}"


def _lacks_memory(error: BaseException) -> bool:
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY))
    )


def _lost_another(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and any(words in str(error) for words in ANOTHER_IS_GONE)


def _kept(error: BaseException) -> str:
    """Where the traceback is now: in a file of its own, unless it is shown anyway."""
    if os.environ.get(SHOW):
        return ""
    try:
        with tempfile.NamedTemporaryFile("w", prefix="tracer-", suffix=".txt", delete=False, encoding="utf-8") as file:
            traceback.print_exception(error, file=file)
    except OSError:
        return f"; {SHOW}=1 shows more"
    return f"; {file.name} has the traceback ({SHOW}=1 shows it)"
