"""The mutants: small changes of the code, one at a time, that a good test must notice."""

import ast
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from math import ceil
from pathlib import Path
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

ROOT = Path(__file__).parents[2]
OPERATORS = (
    "ReplaceBinaryOperator_Add_Sub",
    "ReplaceBinaryOperator_Sub_Add",
    "ReplaceBinaryOperator_Mul_Div",
    "ReplaceBinaryOperator_Div_Mul",
    "ReplaceBinaryOperator_FloorDiv_Mul",
    "ReplaceBinaryOperator_Mod_Mul",
    "ReplaceBinaryOperator_Pow_Mul",
    "ReplaceBinaryOperator_BitAnd_BitOr",
    "ReplaceBinaryOperator_BitOr_BitAnd",
    "ReplaceComparisonOperator_Eq_NotEq",
    "ReplaceComparisonOperator_NotEq_Eq",
    "ReplaceComparisonOperator_Lt_LtE",
    "ReplaceComparisonOperator_LtE_Lt",
    "ReplaceComparisonOperator_Gt_GtE",
    "ReplaceComparisonOperator_GtE_Gt",
    "ReplaceComparisonOperator_Is_IsNot",
    "ReplaceComparisonOperator_IsNot_Is",
    "ReplaceUnaryOperator_USub_UAdd",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_Delete_Invert",
    "AddNot",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ExceptionReplacer",
    "NumberReplacer",
    "ZeroIterationForLoop",
)
"""Cosmic Ray's, without those whose mutants die of a TypeError wherever they are run, which would only flatter the score."""


class Mutant(NamedTuple):
    """One change of one line.

    Attributes:
        module: the file in `tracer`.
        line: its number, from 1.
        before, after: the line without its indentation.
        source: the whole file with the change.
    """

    module: str
    line: int
    before: str
    after: str
    source: str


def sample(modules: Sequence[str], size: int, seed: int) -> list[Mutant]:
    """At least so many mutants, from each file its share of all there are, drawn at random.

    Args:
        modules: files of `tracer`.
        size: of the sample.
        seed: of the draw.
    """
    rng = random.Random(seed)
    places = {module: list(_places((ROOT / "tracer" / module).read_text(encoding="utf-8"))) for module in modules}
    share = size / sum(map(len, places.values()))
    return [
        mutant
        for module, of_module in places.items()
        for mutant in islice(_mutants(module, rng.sample(of_module, len(of_module))), ceil(share * len(of_module)))
    ]


def files(names: Sequence[str]) -> list[str]:
    """The files in `tracer` of modules, and those that lie in a folder."""
    package = ROOT / "tracer"
    found = (path for name in names for path in (sorted((package / name).glob("*.py")) or [package / f"{name}.py"]))
    return [path.relative_to(package).as_posix() for path in found]


def _places(source: str) -> Iterator[tuple[str, int, int]]:
    """Operator, which of the places where it applies, and that place's line."""
    tree = get_ast(source)
    for name in OPERATORS:
        operator = get_operator(f"core/{name}")()
        starts = (start for node in ast_nodes(tree) for start, _ in operator.mutation_positions(node))
        for occurrence, (line, _) in enumerate(starts):
            yield name, occurrence, line


def _mutants(module: str, places: Iterable[tuple[str, int, int]]) -> Iterator[Mutant]:
    """The mutants at these places that differ from the file, and from one another, in what is run."""
    source = (ROOT / "tracer" / module).read_text(encoding="utf-8")
    seen = {_meaning(source), ""}
    for name, occurrence, line in places:
        mutated = mutate_code(source, get_operator(f"core/{name}")(), occurrence)
        meaning = _meaning(mutated)
        if meaning not in seen:
            seen.add(meaning)
            before, after = (text.splitlines()[line - 1].strip() for text in (source, mutated))
            yield Mutant(module, line, before, after, mutated)


def _meaning(source: str) -> str:
    """What is run: the syntax tree without its annotations, which nothing here reads; nothing for what is no Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # Cosmic Ray takes the stars of {**settings} for operators
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return ast.dump(tree)
