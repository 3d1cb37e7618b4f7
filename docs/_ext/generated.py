"""Pages that are made from the code while the site is built: the configuration's keys, the strategies, the theory's claims."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml
from docutils import nodes
from sphinx.util.docutils import SphinxDirective
from symbols import SYMBOLS, unexplained

from tracer.config.schema import RunConfig
from tracer.runs.sweep import SweepConfig
from tracer.strategies import PRESETS
from tracer.theory.claims import SUBJECTS, by_number
from tracer.theory.claims.claim import Claim

Schema = dict[str, Any]
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
ATTRIBUTE = re.compile(r"^ {8}(\w[\w, ]*): (.+(?:\n {12}.+)*)", re.MULTILINE)


class Generated(SphinxDirective):
    """A directive whose content is reStructuredText from the code."""

    has_content = False

    def lines(self) -> Iterator[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes("\n".join(self.lines()), allow_section_headings=True)


class ConfigurationKeys(Generated):
    """Every key of a run's YAML, and of a sweep's."""

    def lines(self) -> Iterator[str]:
        for model, title, prefix in ((RunConfig, "A run", ""), (SweepConfig, "A sweep", "")):
            schema = model.model_json_schema()
            yield from sections(title, prefix, schema, schema.get("$defs", {}))


class Strategies(Generated):
    """Every strategy by name."""

    def lines(self) -> Iterator[str]:
        rows = ([f"``{name}``", plain(each.summary), plain(each.source)] for name, each in PRESETS.items())
        yield from table(("Name", "What it does", "Source"), (24, 52, 24), rows)


class Claims(Generated):
    """Every claim of the theory, after its symbols and an index by subject and by the paper's numbers."""

    def lines(self) -> Iterator[str]:
        if unexplained():
            raise self.error(f"symbols of the claims that docs/_ext/symbols.py does not explain: {sorted(unexplained())}")
        yield from heading("Symbols", "-")
        rows = ([", ".join(f":math:`{each}`" for each in found.split(", ")), meaning] for found, meaning in SYMBOLS.items())
        yield from table(("Symbol", "What it is"), (22, 78), rows)
        yield from heading("By subject", "-")
        yield from table(("Subject", "Claims"), (40, 60), ([plain(subject), links(found)] for subject, found in SUBJECTS.items()))
        yield from heading("By the numbers of TRACER's paper", "-")
        numbered = ([place, links(found)] for place, found in by_number().items())
        yield from table(("In the paper", "Stated, corrected or sharpened here by"), (22, 78), numbered)
        for subject, claims in SUBJECTS.items():
            yield from heading(plain(subject), "-")
            for claim in claims:
                yield from described(claim)


def links(claims: Iterable[Claim]) -> str:
    return ", ".join(f":ref:`{each.id} <claim-{each.id}>`" for each in claims)


def described(claim: Claim) -> Iterator[str]:
    evidence = "a proof by sympy and a numeric check" if claim.proof.steps else "a numeric check"
    yield from (f".. _claim-{claim.id}:", "")
    yield from heading(claim.id, "~")
    yield from (plain(claim.statement), "", ".. math::", "", f"   {' '.join(claim.proof.latex().split())}", "")
    places = f" In TRACER's paper: {', '.join(claim.paper)}." if claim.paper else ""
    yield from (f"Source: {plain(claim.source)}. Held by {evidence}.{places}", "")


def sections(title: str, prefix: str, section: Schema, definitions: Schema) -> Iterator[str]:
    """A section's table, then those of the sections within it, by kind where there are several."""
    yield from heading(title, "-" if not prefix else "~")
    summary, attributes = section["description"], dict(attribute_descriptions(section["description"]))
    yield from (plain(summary.split("\n")[0]), "")
    required = section.get("required", ())
    yield from table(
        ("Key", "Type", "Default", "What it is"),
        (32, 19, 15, 34),
        [row(prefix, name, value, name in required, attributes) for name, value in section["properties"].items()],
    )
    for name, value in section["properties"].items():
        inner = [definitions[reference] for reference in references(value)]
        for found in inner:
            kind = found["properties"].get("kind", {}).get("const")
            yield from sections(
                f"``{prefix}{name}``" + (f" of kind ``{kind}``" if kind else ""), f"{prefix}{name}.", found, definitions
            )


def row(prefix: str, name: str, value: Schema, required: bool, attributes: dict[str, str]) -> list[str]:
    description = value.get("description") or attributes.get(name) or ("which one it is" if name == "kind" else "")
    default = "required" if required else f"``{written(value['default'])}``" if "default" in value else "its own defaults"
    if list(references(value)) and not required:
        default = "``null``" if value.get("default", ...) is None else "see below"
    return [f"``{prefix}{name}``", plain(words(value)), default, plain(description)]


def references(value: Any) -> Iterator[str]:
    """Names of the sections that a value may be."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict) and "$ref" in value:
        yield value["$ref"].rsplit("/", 1)[1]
    for part in parts:
        yield from references(part)


def words(value: Schema) -> str:
    """The type of a value as a reader says it."""
    if "$ref" in value:
        return "section"
    if "oneOf" in value:
        return "section, by kind"
    if "anyOf" in value:
        return " or ".join(words(option) for option in value["anyOf"])
    if "const" in value:
        return str(value["const"])
    if "enum" in value:
        return "one of " + ", ".join(map(str, value["enum"]))
    if value.get("type") == "array":
        return f"list of {len(value['prefixItems'])}" if "prefixItems" in value else f"list of: {words(value['items'])}"
    if value.get("type") == "object":
        return (
            f"mapping to: {words(value['additionalProperties'])}" if isinstance(value["additionalProperties"], dict) else "mapping"
        )
    names = {"string": "path" if value.get("format") == "path" else "text", "boolean": "true or false", None: "any value"}
    bounds = [f"{sign} {value[bound]:g}" for bound, sign in BOUNDS.items() if bound in value]
    return " ".join([names.get(value.get("type"), value.get("type", "")), *bounds[:1], *(f"and {bound}" for bound in bounds[1:])])


def written(default: Any) -> str:
    """A default as YAML has it, on one line."""
    return yaml.safe_dump(default, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")


def attribute_descriptions(docstring: str) -> Iterator[tuple[str, str]]:
    """What a docstring says of each attribute."""
    for names, text in ATTRIBUTE.findall(docstring):
        for name in names.split(", "):
            yield name, " ".join(text.split())


def heading(title: str, mark: str) -> list[str]:
    return [title, mark * len(title), ""]


def table(head: Iterable[str], widths: Iterable[int], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield from (".. list-table::", f"   :widths: {' '.join(map(str, widths))}", "   :header-rows: 1", "   :class: keys", "")
    for cells in (head, *rows):
        for number, cell in enumerate(cells):
            yield f"   {'*' if number == 0 else ' '} - {cell}"
    yield ""


def plain(text: str) -> str:
    """Text in which only backticks mean anything."""
    return re.sub(r"([\\*|]|_(?!\w))", r"\\\1", text).replace("`", "``")


def setup(app):
    app.add_directive("configuration-keys", ConfigurationKeys)
    app.add_directive("strategies", Strategies)
    app.add_directive("claims", Claims)
    return {"parallel_read_safe": True}
