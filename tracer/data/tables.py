"""Rows of CSV and Parquet files. What does not fit the header is refused with its line in the file, never guessed at."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tracer.errors import DISTRIBUTION, UserError, nearest
from tracer.storage import require_regular

SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}
_HEADER_WITHIN = 2**20  # characters
_SHOWN = 100  # characters of a value in a sentence


class Row(NamedTuple):
    """One row of a table: its first line in the file, counted from 1 (in a Parquet file its number), and its values by column."""

    line: int
    values: dict[str, str]


def csv_rows(path: Path, columns: Sequence[str], separator: str | None = None) -> list[Row]:
    """The rows of a CSV file with a header (RFC 4180, UTF-8), in which nothing is missing from the columns named.

    Lines end at \\n, \\r\\n or \\r; those with nothing on them are passed over. A field that is not in quotes may hold some, if
    they come in pairs and do not open it: `a "big" cat`.

    Args:
        path: the file.
        columns: those to read.
        separator: what stands between fields; None takes that of `SEPARATORS` with which the header has the columns.

    Raises:
        UserError: if the file, a column or a value is missing, a row has more or fewer fields than the header, or quotes are
            unbalanced.
    """
    text = _text(path)
    separator = separator or _recognised(text, columns)
    records = _records(path, text, separator)
    _, header = next(records, (1, []))
    if not header:
        raise UserError(f"{path} is empty: write a header and rows")
    _require_columns(path, columns, header)
    places = [(column, header.index(column)) for column in columns]
    rows = []
    for line, fields in records:
        if len(fields) != len(header):
            amount = "of the header's" if len(fields) < len(header) else "fields, more than the header's"
            raise UserError(
                f"{path} line {line} has {len(fields)} {amount} {len(header)}, with {_named(separator)} between them: complete it, "
                "and put text that holds such in quotes"
            )
        values = {column: fields[place] for column, place in places}
        for column, value in values.items():
            if not value or value.isspace():
                raise UserError(f"{path} line {line} has nothing in column {column!r}: fill it or take the line out")
        rows.append(Row(line, values))
    return rows


def parquet_rows(path: Path, columns: Sequence[str]) -> list[Row]:
    """The rows of a Parquet file, in which nothing is missing from the columns named, of text; they are counted as its lines.

    Raises:
        UserError: if pyarrow is not installed, or the file, a column or a value is missing, or a column holds no text.
    """
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise UserError(f"Parquet files need pyarrow: pip install '{DISTRIBUTION}[parquet]', or give a CSV file") from error
    require_regular(path)
    try:
        with parquet.ParquetFile(path) as file:
            _require_columns(path, columns, file.schema_arrow.names)
            if file.metadata.num_rows:  # without rows there may be no type
                _require_text(path, columns, file.schema_arrow)
            read = file.read(columns=list(columns)).to_pydict()
            table = [read[column] for column in columns]
    except (OSError, ArrowException) as error:
        reason = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise UserError(f"cannot read {path} ({reason}): check that it is a Parquet file") from error
    rows = [Row(number, dict(zip(columns, values, strict=True))) for number, values in enumerate(zip(*table, strict=True), 1)]
    for row in rows:
        for column, value in row.values.items():
            if not (value and value.strip()):
                raise UserError(f"{path} row {row.line} has no text in column {column!r}: fill it or take the row out")
    return rows


def _text(path: Path) -> str:
    try:
        content = require_regular(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): check that this user may") from error
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{path} is in UTF-16: save it as CSV in UTF-8")
    if (place := content.find(b"\0")) >= 0:
        raise UserError(f"{path} line {_line(content, place)} holds a zero byte, which no text has: check that it is a CSV file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} line {_line(content, error.start)} is not in UTF-8 ({error.reason}): save it in UTF-8") from error


def _line(content: bytes, place: int) -> int:
    return len(re.findall(rb"\r\n|\r|\n", content[:place])) + 1


def _recognised(text: str, columns: Sequence[str]) -> str:
    """The separator with which the header has the columns or, if none is, most of them."""
    headers = {separator: _header(text[:_HEADER_WITHIN], separator) for separator in SEPARATORS}
    fitting = [separator for separator, header in headers.items() if set(columns) <= set(header)]
    return fitting[0] if fitting else max(headers, key=lambda separator: len(headers[separator]))


def _header(text: str, separator: str) -> list[str]:
    try:
        return next(filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)), [])
    except csv.Error:
        return []


def _lines(text: str, kept: list[str]) -> Iterator[str]:
    """The lines of a text one after another, put into `kept` too."""
    for line in io.StringIO(text, newline=""):  # which ends lines at \n, \r\n and \r alone
        kept.append(line)
        yield line


def _records(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The first line and the fields of every row that is not blank, the header too."""
    kept: list[str] = []
    reader = csv.reader(_lines(text, kept), delimiter=separator, strict=True)
    quoted = re.compile(rf'(?:^|(?<={re.escape(separator)}))"(?:[^"]|"")*"(?={re.escape(separator)}|[\r\n]*\Z)')
    start = 1
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(f"{path} line {start} {_fault(str(error), start, reader.line_num)}") from error
        if fields:
            if '"' in "".join(fields):
                _require_paired(f"{path} line {start}", quoted.sub("", "".join(kept)).split(separator))
            yield start, fields
        kept.clear()
        start = reader.line_num + 1


def _fault(error: str, start: int, end: int) -> str:
    """What csv found in the row that starts and ends in these lines."""
    if "unexpected end" in error:
        return 'opens a quote that is never closed: close it, or write "" for a quote inside text'
    if "field limit" in error:
        return (
            f"has a field of more than {csv.field_size_limit()} characters, as a quote does that is not closed: mend or shorten it"
        )
    further = f" in line {end}" if end > start else ""
    return f'opens a quote that closes{further} in the middle of a field: close it at the end, and write "" for a quote inside text'


def _require_paired(place: str, fields: Sequence[str]) -> None:
    """Refuse quotes in fields without quotes around them that look as if such were meant."""
    for field in fields:
        if field.lstrip().startswith('"'):
            raise UserError(f"{place} has a space between a separator and a quote, {_shown(field)}: take the space out")
        if field.count('"') % 2:
            raise UserError(
                f'{place} has a stray quote in {_shown(field)}: remove it, or put the field in quotes and write "" for it'
            )


def _require_columns(path: Path, columns: Sequence[str], present: Sequence[str]) -> None:
    repeated = [column for column, number in Counter(present).items() if number > 1 and column]
    if repeated:
        raise UserError(f"{path} has several columns called {_shown(repeated[0])}: give each its own name")
    for column in columns:
        if column not in present:
            hint = nearest(column, [name[:_SHOWN] for name in present])
            raise UserError(f"{path} has no column {column!r}{hint}: name it in the configuration")


def _require_text(path: Path, columns: Sequence[str], schema: Any) -> None:
    from pyarrow import types

    for column in columns:
        kind = schema.field(column).type
        values = kind.value_type if types.is_dictionary(kind) else kind
        if not (types.is_string(values) or types.is_large_string(values) or types.is_string_view(values)):
            raise UserError(f"{path}: column {column!r} holds {kind}, not text: name another, or write it as text")


def _named(separator: str) -> str:
    return SEPARATORS.get(separator, repr(separator))


def _shown(value: str) -> str:
    return repr(value.rstrip("\r\n")[:_SHOWN])
