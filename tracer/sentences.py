"""What pydantic finds wrong with a configuration, as sentences: where, what, and what to do."""

from collections.abc import Iterable
from typing import Any

from tracer.errors import nearest


def sentence(problem: Any, schema: Any) -> str:
    """One of pydantic's problems with a section of this schema in a sentence: where, what, and what to do."""
    path, given = ".".join(_place(problem["loc"], schema)[0]), problem["input"]
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        *section, last = problem["loc"]
        valid = _place(section, schema)[1]
        hint = nearest(str(last), valid) if valid else f" ({section[-1]} takes none: perhaps another kind is meant)"
        return f"there is no key {path!r}{hint}; rename or remove it"
    if problem["type"] == "missing":
        return f"{path} is missing: give it a value"
    if problem["type"] == "literal_error":
        choices = [choice.strip(" '") for choice in problem["ctx"]["expected"].replace(" or ", ", ").split(",")]
        return f"{path} cannot be {given!r}{nearest(str(given), choices)}; choose one of {', '.join(choices)}"
    if problem["type"] == "union_tag_invalid":
        choices = [choice.strip(" '") for choice in problem["ctx"]["expected_tags"].split(",")]
        return f"{path}.kind cannot be {problem['ctx']['tag']!r}{nearest(problem['ctx']['tag'], choices)}"
    if problem["type"] == "union_tag_not_found":
        return f"{path} needs a key 'kind' that says which one it is: add it"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{path} is {given!r}: {message[0].lower()}{message[1:]}" if path else message


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
