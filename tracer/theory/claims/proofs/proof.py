"""A proof that is run: a formula, and the steps that lead to it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import sympy as sp


class Proof(NamedTuple):
    """The formula of a claim, and why it holds.

    Attributes:
        formula: a sympy equation or inequality.
        steps: gives expressions each of which vanishes identically, for general symbols; None for a definition.
    """

    formula: sp.Rel
    steps: Callable[[], Sequence[sp.Expr]] | None = None

    def latex(self) -> str:
        """The formula in LaTeX, without delimiters."""
        return str(sp.latex(self.formula))

    def residues(self) -> list[sp.Expr]:
        """What is left of each step once simplified: zeros; an empty list for a definition."""
        return [simplified(step) for step in self.steps()] if self.steps else []


def simplified(expression: sp.Expr) -> sp.Expr:
    """The expression in simplest form; exactly 0 if sympy finds that it vanishes."""
    expanded = sp.expand(expression)
    return expanded if expanded == 0 else sp.simplify(sp.gammasimp(expanded))


def equation(left: sp.Expr | str, right: sp.Expr) -> sp.Rel:
    """Left = right as it is written, a name standing for its symbol."""
    return sp.Eq(sp.Symbol(left) if isinstance(left, str) else left, right, evaluate=False)


def bound(small: sp.Expr | str, large: sp.Expr) -> sp.Rel:
    """Small <= large as it is written."""
    return sp.Le(sp.Symbol(small) if isinstance(small, str) else small, large, evaluate=False)
