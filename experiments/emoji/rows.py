"""Rows of tables in Markdown."""

from collections.abc import Iterator, Sequence


def heading(first: str, names: Sequence[str]) -> Iterator[str]:
    """The row of a table's names, and the rule below it."""
    yield row(first, names)
    yield f"|---|{'---|' * len(names)}"


def row(first: str, cells: Sequence[str]) -> str:
    """One row."""
    return f"| {first} | {' | '.join(cells)} |"
