"""Dotted keys: settings from the command line, and from the grids of sweeps."""

import copy
from collections.abc import Sequence
from typing import Any

from tracer.config import strict_yaml
from tracer.errors import UserError
from tracer.messages import shortened


def merged(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Nested values with `section.key=value` overrides put into them, which are YAML; of equal keys the last holds.

    Raises:
        UserError: for an override that is none, that undoes another one, or whose key leads through something else than sections.
    """
    given: list[str] = []
    for override in overrides:
        key, separator, text = override.partition("=")
        origin = f"the override '{shortened(override)}'"
        if not separator or not key:
            raise UserError(f"{origin} has no {'key before the =' if separator else '='}: write section.key=value")
        for earlier in given:
            if earlier.startswith(f"{key}."):
                raise UserError(f"{origin} would undo {shortened(earlier)}, which is given before it: leave one out, or swap them")
        given.append(key)
        put(values, key, strict_yaml.parse(text, origin, key), origin)
    return values


def put(values: dict[str, Any], key: str, value: Any, origin: str) -> None:
    """Set a dotted key (section.key) in nested values; sections that are not there, or null, are made.

    Raises:
        UserError: for a key that has nothing between two dots, or leads through what is no section.
    """
    *sections, last = key.split(".")
    if not all([*sections, last]):
        raise UserError(f"{origin}: the key {shortened(key)!r} has nothing at one side of a dot: write section.key")
    for depth, section in enumerate(sections):
        if values.get(section) is None:
            values[section] = {}
        if not isinstance(values[section], dict):
            kind, place = ("a list" if isinstance(values[section], list) else "no section"), ".".join(sections[: depth + 1])
            raise UserError(
                f"{origin}: {shortened(place)} is {kind}, so it has no key {shortened(last)!r}: give {shortened(place)} whole"
            )
        values = values[section]
    values[last] = copy.deepcopy(value)  # a later key may reach into it


def remove(values: dict[str, Any], key: str) -> None:
    """Take a dotted key out of nested values, if it is there."""
    *sections, last = key.split(".")
    found: Any = values
    for section in sections:
        found = found.get(section) if isinstance(found, dict) else None
    if isinstance(found, dict):
        found.pop(last, None)
