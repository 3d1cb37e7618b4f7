"""What a user did wrong, as opposed to what this project did wrong."""

from collections.abc import Iterable
from difflib import get_close_matches

DISTRIBUTION = "tracer-clip"
"""What `pip install` calls this package: another project's distribution is called tracer."""
_LISTED = 30  # names


class UserError(ValueError):
    """Bad input: its text is one sentence that says what is wrong, where, and what to do. Commands print it and exit with 2."""


class Stopped(Exception):
    """A run that was asked to stop; str() says where it goes on.

    Attributes:
        code: the command's exit code.
    """

    def __init__(self, message: str, code: int):
        super().__init__(message, code)  # both are its args, so that it comes whole out of a worker process
        self.code = code

    def __str__(self) -> str:
        return str(self.args[0])


def nearest(name: str, valid: Iterable[str]) -> str:
    """' (did you mean X?)' for the closest valid name, or a list of the valid ones, the first of many, if nothing is close."""
    choices = sorted(valid)
    close = get_close_matches(name, choices, n=1, cutoff=0.5)
    listed = ", ".join(choices) if len(choices) <= _LISTED else f"{', '.join(choices[:_LISTED])} and {len(choices) - _LISTED} more"
    return f" (did you mean {close[0]!r}?)" if close else f" (valid: {listed})"
