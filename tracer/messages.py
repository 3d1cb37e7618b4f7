"""What is wrong with a configuration, as short sentences: where, what, and what to do."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tracer.errors import nearest

LONGEST_VALUE = 80  # characters
WANTED = {
    "int": "a whole number",
    "float": "a number",
    "finite_number": "a finite number",
    "bool": "true or false",
    "string": "text",
    "path": "a path",
    "tuple": "a list, such as [a, b]",
    "list": "a list, such as [a, b]",
    "dict": "keys with values below it, indented",
    "model": "its keys with values below it, indented",
    "dataclass": "its keys with values below it, indented",
}
BOUNDS = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "above {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "below {lt}",
}


def several(origin: str, faults: Iterable[str]) -> str:
    """Faults of one origin, a line each, every one once."""
    return "\n".join(f"{origin}: {line}" for line in dict.fromkeys(faults))


def shown(value: Any) -> str:
    """A value as YAML has it, on one line and cut where it is long."""
    text = {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else repr(value)
    return shortened(text)


def shortened(text: str) -> str:
    """Text of one line, its middle left out where it is long."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 23]} ... {text[-18:]}"


def sentences(problems: Sequence[Any], schema: Any) -> Iterator[str]:
    """A sentence for each of pydantic's problems with a section of this schema; a list is not too short because of a wrong part."""
    places = [problem["loc"] for problem in problems]
    for problem in problems:
        place = problem["loc"]
        if problem["type"] != "too_short" or not any(other[: len(place)] == place != other for other in places):
            yield sentence(problem, schema)


def sentence(problem: Any, schema: Any) -> str:
    """One of pydantic's problems with a section of this schema in a sentence: where, what, and what to do."""
    path, given, kind = shortened(".".join(_place(problem["loc"], schema)[0])), problem["input"], problem["type"]
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        *section, last = problem["loc"]
        return f"there is no key {path!r}{_other_key(str(last), list(map(str, section)), schema)}; rename or remove it"
    if kind == "missing":
        return f"{path} is missing: give it a value"
    if kind == "literal_error":
        return f"{path} cannot be {_choice(given, problem['ctx']['expected'])}"
    if kind == "union_tag_invalid":
        return f"{path}.kind cannot be {_choice(given['kind'], problem['ctx']['expected_tags'])}"
    if kind == "union_tag_not_found":
        return f"{path} needs a key 'kind' that says which one it is: add it"
    if kind in BOUNDS:
        return f"{path} is {shown(given)}: it must be {BOUNDS[kind].format(**_plain(problem['ctx']))}"
    wanted = WANTED.get(kind) or WANTED.get(kind.split("_")[0])
    if wanted and kind != "value_error":
        return f"{path or 'the whole'} is {shown(given)}{_reading(given, wanted)}"
    if kind in ("too_short", "too_long"):
        few, many = problem["ctx"].get("min_length"), problem["ctx"].get("max_length")
        return f"{path} is {shown(given)}: it must hold {f'at least {few}' if few is not None else f'at most {many}'}"
    message = problem["msg"].removeprefix("Value error, ")
    return message if not path or message.startswith(f"{path}.") else f"{path} is {shown(given)}: {message}"


def _choice(given: Any, expected: str) -> str:
    """A value that is none of the expected ones, with the nearest, and what there is to choose from."""
    choices = [choice.strip(" '") for choice in expected.replace(" or ", ", ").split(",")]
    near = nearest(str(given)[:LONGEST_VALUE], choices)
    return f"{shown(given)}{near if 'did you mean' in near else ''}: choose one of {', '.join(choices)}"


def _plain(context: dict[str, Any]) -> dict[str, str]:
    """Bounds as people write them: 1, not 1.0."""
    return {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in context.items()}


def _reading(given: Any, wanted: str) -> str:
    """What YAML made of a value of another type than is wanted, and what to write."""
    if given is None:
        return f", as YAML reads null, ~ and nothing: write {wanted}, or remove the key"
    if isinstance(given, bool):
        words = "yes, on and true" if given else "no, off and false"
        cure = "put it in quotes if the word is meant" if wanted in (WANTED["string"], WANTED["path"]) else f"write {wanted}"
        return f", as YAML reads {words}: {cure}"
    if isinstance(given, int | float) and wanted in (WANTED["string"], WANTED["path"]):
        return ", a number to YAML: put it in quotes if text is meant"
    return f": write {wanted}"


def _other_key(last: str, section: list[str], schema: Any) -> str:
    """What may be meant by a key that there is not."""
    valid = _place(section, schema)[1]
    if not valid:
        return f" ({section[-1]} takes none: perhaps another kind is meant)"
    first, _, rest = last.partition(".")
    if rest and first in valid:
        return f" (in a file, {shortened(rest)} is a key in the section {first}: write it below, indented)"
    return nearest(last[:LONGEST_VALUE], valid)


def _place(location: Iterable[str | int], schema: Any) -> tuple[list[str], list[str]]:
    """The keys that lead to a section in the YAML, and the keys it takes.

    In pydantic's locations the kind of a section is a part of its own, which the YAML does not have.
    """
    path: list[str] = []
    node = schema
    for part in map(str, location):
        if part in node.get("tags", {}):
            node = node["tags"][part]
        else:
            path.append(part)
            node = _resolved(node.get("properties", {}).get(part, {}), schema.get("$defs", {}))
    return path, [key for key in node.get("properties", {}) if key != "kind"]


def _resolved(node: Any, definitions: Any) -> Any:
    """A schema's node with references followed; where the kind decides, the nodes by kind as `tags`."""
    options = [option for option in node.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        return _resolved(options[0], definitions)
    if "$ref" in node:
        return definitions[node["$ref"].rsplit("/", 1)[1]]
    if "discriminator" in node:
        return {"tags": {tag: definitions[ref.rsplit("/", 1)[1]] for tag, ref in node["discriminator"]["mapping"].items()}}
    return node
