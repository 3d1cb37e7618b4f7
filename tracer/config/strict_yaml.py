"""YAML as configurations need it: what readers of YAML disagree on is refused, with its key and line, instead of guessed.

Numbers are YAML 1.2's, so that 1e-4 is one, and 1:30 is none. The words yes, no, on and off are booleans as in YAML 1.1, which is
what most readers make of them: a place that takes text refuses them, so that nobody gets another value than was meant.
"""

import codecs
import re
import stat
from pathlib import Path
from typing import Any, ClassVar

import yaml

from tracer.errors import UserError
from tracer.messages import several, shortened
from tracer.paths import located

MOST_BYTES = 2**17
MOST_VALUES = 50_000  # with every alias written out
DEEPEST = 20
YAML = "tag:yaml.org,2002:"
MERGE, DATE, LEADING_ZERO = f"{YAML}merge", "date", "leading zero"
READ_AS = {
    f"{YAML}int": "a number",
    f"{YAML}float": "a number",
    f"{YAML}bool": "true or false",
    f"{YAML}null": "null",
    MERGE: "a merge",
    DATE: "a date",
    LEADING_ZERO: "a number of base 8",
}
DIGITS = "-+.0123456789"


class _Loader(yaml.SafeLoader):
    """PyYAML's parser with rules of its own for what plain words are."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if getattr(event, "tag", None) not in (None, f"{YAML}str"):
            name = event.tag.replace(YAML, "!!")
            raise yaml.MarkedYAMLError(
                problem=f"has the tag {shortened(name)}: remove it, or put text that begins with ! in quotes",
                problem_mark=event.start_mark,
            )
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    """PyYAML's writer, which quotes what either PyYAML or this module would read as something else than text."""


for _tag, _pattern, _first in (
    (f"{YAML}bool", r"(?i:yes|no|true|false|on|off)$", "yYnNtTfFoO"),
    (f"{YAML}null", r"(?i:~|null|)$", ["~", "n", "N", ""]),
    (MERGE, r"<<$", "<"),
    (DATE, r"\d{4}-\d\d?-\d\d?(?:(?:[Tt]|\s+)\d\d?:\d\d.*)?$", "0123456789"),
    (LEADING_ZERO, r"[-+]?0[0-9_]+$", DIGITS),
    (f"{YAML}int", r"[-+]?(?:[0-9][0-9_]*|0x[0-9a-fA-F_]+)$", DIGITS),
    (f"{YAML}float", r"[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?$", DIGITS),
    (f"{YAML}float", r"(?i:[-+]?\.inf|\.nan)$", DIGITS),
):
    for _kind in (_Loader, _Dumper):
        _kind.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))


def read(path: Path) -> Any:
    """What a file holds; {} if it holds nothing.

    Raises:
        UserError: if it cannot be read, is no file of text, or `parse` refuses what it holds.
    """
    values = parse(_text(path), str(path))
    return {} if values is None else values


def parse(text: str, origin: str, key: str = "") -> Any:
    """The value of a YAML text, which may hold aliases and merge keys.

    Args:
        text: the YAML.
        origin: where it comes from, for messages.
        key: the key whose value it is, where it is no file.

    Raises:
        UserError: for anything but one document of keys that are text, each given once, and values that all readers of YAML agree
            on; and for a text that would grow out of bounds or is nested too deeply.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        raise UserError(f"{origin} holds the character U+{error.character:04X}, which is no text: remove it") from None
    except yaml.MarkedYAMLError as error:
        raise UserError(_mistake(error, text, origin, bool(key))) from None
    except RecursionError:
        raise UserError(f"{origin} is nested more than {DEEPEST} levels deep: make it flatter") from None
    tree = _Tree(origin, with_lines=not key)
    if key and root is not None and text[root.end_mark.index :].strip():
        raise UserError(f"{origin} holds a comment or more than one value: put all of it in quotes")
    value = None if root is None else tree.value(root, key)
    if key and root is None:
        tree.faults.append(f"{key} has no value: write null if none is meant")
    if tree.faults:
        raise UserError(several(origin, tree.faults))
    return value


def dump(values: dict[str, Any]) -> str:
    """The YAML that `parse`, and every other reader, turns back into these values."""
    return str(yaml.dump(values, Dumper=_Dumper, sort_keys=False))


class _Tree:
    """The values of a tree of nodes, and what is wrong with them.

    Every alias is written out anew, so that no two places share a value.
    """

    def __init__(self, origin: str, with_lines: bool):
        self.origin = origin
        self.with_lines = with_lines
        self.faults: list[str] = []
        self.count = 0

    def value(self, node: yaml.Node, place: str, depth: int = 0) -> Any:
        """The value of a node at a dotted place."""
        self.count += 1
        if self.count > MOST_VALUES:
            raise UserError(f"{self.origin} holds more than {MOST_VALUES} values when its aliases are written out: make it smaller")
        if depth > DEEPEST:
            raise UserError(f"{self.origin} is nested more than {DEEPEST} levels deep at {shortened(place)}: make it flatter")
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, f"{place}.{number}", depth + 1) for number, child in enumerate(node.value)]
        return self.mapping(node, place, depth)

    def mapping(self, node: yaml.MappingNode, place: str, depth: int) -> dict[str, Any]:
        """A section: its own keys over those that it merges."""
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, list[int]] = {}
        for key_node, value_node in node.value:
            if key_node.tag == MERGE:
                merged |= self.merged(value_node, place, depth)
                lines.setdefault("<<", []).append(_line(key_node))
                continue
            key = self.key(key_node, place)
            if key is not None:
                lines.setdefault(key, []).append(_line(key_node))
                values[key] = self.value(value_node, f"{place}.{key}".lstrip("."), depth + 1)
        for key, found in lines.items():
            if len(found) > 1:
                name = shortened(f"{place}.{key}".lstrip("."))
                self.faults.append(f"{name} is given {_times(len(found))}{self.on(*found)}: keep one")
        return merged | values

    def merged(self, node: yaml.Node, place: str, depth: int) -> dict[str, Any]:
        """What a merge key adds: of several sections the first one's values hold."""
        sections = node.value if isinstance(node, yaml.SequenceNode) else [node]
        values: dict[str, Any] = {}
        for section in sections:
            if not isinstance(section, yaml.MappingNode):
                self.faults.append(f"<<{self.within(place)}{self.on(_line(node))} takes a section, or a list of sections")
                return {}
            self.count += 1
            values = self.value(section, place, depth + 1) | values
        return values

    def key(self, node: yaml.Node, place: str) -> str | None:
        """The text of a key; None, and a fault, if it is none."""
        if not isinstance(node, yaml.ScalarNode) or not node.value:
            self.faults.append(
                f"a key{self.within(place)}{self.on(_line(node))} is no text: put what begins with {{ or [ in quotes"
            )
            return None
        if node.tag != f"{YAML}str":
            self.doubt(node, f"the key {shortened(node.value)}{self.within(place)}")
            return None
        return str(node.value)

    def doubt(self, node: yaml.ScalarNode, what: str) -> None:
        """Note a word that readers of YAML take for something else."""
        cure = f"put it in quotes, '{shortened(node.value)}', if it is text"
        if node.tag == LEADING_ZERO:
            cure += ", or write the number without the zero"
        self.faults.append(f"{what}{self.on(_line(node))} is read as {READ_AS[node.tag]} by YAML: {cure}")

    def scalar(self, node: yaml.ScalarNode, place: str) -> Any:
        """The value of a word, if there is no doubt about it."""
        raw, kind = node.value, node.tag.removeprefix(YAML)
        if kind == "bool":
            return raw.lower() in ("yes", "true", "on")
        try:
            if kind == "int":
                return int(raw.replace("_", ""), 16 if "x" in raw else 10)
            if kind == "float":
                return float(raw.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:  # more digits than Python converts
            self.faults.append(f"{_named(place)} is a number of {len(raw)} digits{self.on(_line(node))}: write fewer")
        if kind == "null" and not raw:
            self.faults.append(f"{_named(place)} has no value{self.on(_line(node))}: write null if none is meant, or remove it")
        if node.tag in (DATE, LEADING_ZERO):
            self.doubt(node, f"{_named(place)} = {shortened(raw)}")
        return None if kind == "null" else raw

    def within(self, place: str) -> str:
        """' in' a place, unless that is the top."""
        return f" in {_named(place)}" if place else ""

    def on(self, *lines: int) -> str:
        """Lines in brackets, where there are any to speak of."""
        if not self.with_lines:
            return ""
        *others, last = sorted({*lines})
        return f" (lines {', '.join(map(str, others))} and {last})" if others else f" (line {last})"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _named(place: str) -> str:
    return shortened(place) if place else "the whole file"


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"


def _mistake(error: yaml.MarkedYAMLError, text: str, origin: str, alone: bool) -> str:
    """What is wrong with the syntax, and where."""
    problem, mark = error.problem or "", error.problem_mark or error.context_mark
    row = _row(text, mark)
    if not row and error.context_mark:  # a bracket or quote that is never closed is noticed at the end
        mark = error.context_mark
        row = _row(text, mark)
    where = origin if alone else f"{origin}: line {mark.line + 1}"
    if problem.startswith("has the tag"):
        return f"{where} {problem}"
    if "another document" in problem:
        return f"{where} begins a second document: keep one, without ---"
    if problem.startswith("found undefined alias"):
        name = shortened(problem.split("'")[1])
        return f"{where} refers to *{name}, which is not there: put text that begins with * in quotes"
    if "\t" in row[: len(row) - len(row.lstrip())] or "\\t" in problem:
        return f"{where} has a tab: indent by spaces"
    return f"{where} is not YAML, {shortened(row)!r}: mend its brackets, quotes, colons or indentation"


def _row(text: str, mark: Any) -> str:
    """The line of a text that a mark lies in."""
    end = text.find("\n", mark.index)
    return text[text.rfind("\n", 0, mark.index) + 1 : end if end >= 0 else None].rstrip()


def _text(path: Path) -> str:
    """The text of a file, or a sentence on why it has none; nothing that is endless is read."""
    place, content = f"cannot read the configuration {shortened(str(path))}", b""
    try:
        path = located(path)
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            with path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"{place}: {error.strerror}; check the path") from None
    except ValueError as error:
        raise UserError(f"{place}: {error}") from None
    if not stat.S_ISREG(mode):
        raise UserError(f"{place}: it is {'a folder' if stat.S_ISDIR(mode) else 'no regular file'}; name a file")
    if len(content) > MOST_BYTES:
        raise UserError(f"{path} is larger than {MOST_BYTES // 1024} KiB, which no configuration is: check the path")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UserError(f"{path} is written in UTF-16 or UTF-32: save it as UTF-8")
    if b"\0" in content:
        raise UserError(f"{path} is no text, but a file of bytes: check the path")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path} is not written in UTF-8 (line {line}): save it as UTF-8") from None
