"""What to say when a library fails: a sentence whose advice fits the cause."""

import errno
import re

import torch
from pydantic import BaseModel, ValidationError

from tracer.errors import UserError
from tracer.messages import sentence

_PACKAGE = re.compile(r"pip install (?:-\S+ )*([a-z][\w.-]*)|requires the (\w+) library", re.IGNORECASE)
_SHOWN = 60  # characters of a value
_LONGEST = 120  # characters of a library's own words


def told(error: Exception, what: str, subject: str, otherwise: str) -> UserError:
    """The user's error for an exception of a library.

    Args:
        error: the exception.
        what: what could not be done, to begin the sentence with: "cannot build ViT-B-16".
        subject: what it was done for: "ViT-B-16".
        otherwise: what to do if the cause is neither a missing package nor the memory nor the disk.
    """
    package = _missing_package(error)
    if package:
        return UserError(f"{subject} needs the package {package}: pip install {package}")
    if _is_memory(error):
        return UserError(f"{what}: there is not enough memory; free some, or take a smaller model or another machine")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return UserError(f"{what}: the disk is full; free some space")
    return UserError(f"{what} ({reason(error)}): {otherwise}")


def invalid(error: ValidationError, kind: type[BaseModel]) -> str:
    """What is wrong first with values that somebody else wrote: where, and why.

    Where a value may have several forms pydantic has a problem for each, and the one furthest in is that of the form meant.
    """
    problem = max(error.errors(), key=lambda each: len(each["loc"]))
    keys = tuple(key for key in problem["loc"] if isinstance(key, str) and key.isidentifier())  # not its words for forms
    if problem["type"] == "missing" and problem["loc"][-1] not in keys:
        return f"{'.'.join(keys)} has too few values"
    given = repr(problem["input"])
    shown = {"input": f"{given[:_SHOWN]}..."} if len(given) > _SHOWN else {}
    return sentence({**problem, "loc": keys, **shown}, kind.model_json_schema())


def reason(error: Exception) -> str:
    """The first line of an exception's own words, cut; its kind where it has none."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip().rstrip(".:")[:_LONGEST]


def _missing_package(error: Exception) -> str | None:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return error.name.partition(".")[0]
    words = _PACKAGE.search(str(error))
    return (words[1] or words[2]).lower().rstrip(".") if words else None


def _is_memory(error: Exception) -> bool:
    words = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in words or "allocate memory" in words
