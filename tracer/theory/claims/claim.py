"""A theorem as an object: what it says, whose it is, its formula, a proof that is run, and a numeric check that can fail."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import sympy as sp

TRACER = "TRACER, arXiv 2605.29380"
NAKADA = "Nakada et al., arXiv 2302.06232"
PROJECT = "this project"


class Check(NamedTuple):
    """How well a claim held on a random instance, and how well a wrong one would have.

    Attributes:
        error: difference between the claim's prediction (by the library) and an independent computation.
        tolerance: what it may be.
        null_error: difference of the best of the null predictions, which must be many tolerances.
    """

    error: float
    tolerance: float
    null_error: float


def compare(predicted, measured, tolerance: float, *nulls, scale=None) -> Check:
    """The check of a prediction against a measurement, by the largest entry of their difference.

    Args:
        predicted, measured: arrays or numbers of one shape.
        tolerance: what their difference may be, relative to the scale.
        nulls: wrong predictions; the one that comes closest counts.
        scale: by default the largest entry of what was measured.
    """
    size = np.max(np.abs(measured)) if scale is None else scale

    def error(prediction) -> float:
        return float(np.max(np.abs(np.asarray(prediction) - measured)) / size)

    return Check(error(predicted), tolerance, min(error(null) for null in nulls))


@dataclass(frozen=True, eq=False)
class Claim:
    """A theorem.

    Attributes:
        id: its name, kebab-case.
        statement: what it says, one sentence.
        source: whose result it is.
        symbolic: its formula, a sympy equation or inequality.
        check: a numeric check of a random instance.
        proof: expressions each of which vanishes identically, the steps of a proof for general symbols; None if there is none.
        paper: results of TRACER's paper (arXiv 2605.29380) that it states, corrects or sharpens, by number, as "Theorem 3.2"; what
            has none by its place: "Section C.4", "Equation (1)", "Algorithm 1".
    """

    id: str
    statement: str
    source: str
    symbolic: Callable[[], sp.Rel]
    check: Callable[[np.random.Generator], Check]
    proof: Callable[[], Sequence[sp.Expr]] | None = None
    paper: tuple[str, ...] = ()

    def latex(self) -> str:
        """The formula in LaTeX, without delimiters."""
        return sp.latex(self.symbolic())

    def residues(self) -> list[sp.Expr]:
        """What is left of each step of the proof once simplified: zeros; an empty list without a proof."""
        return [simplified(step) for step in self.proof()] if self.proof else []


def simplified(expression: sp.Expr) -> sp.Expr:
    """The expression in simplest form; exactly 0 if sympy finds that it vanishes."""
    expanded = sp.expand(expression)
    return expanded if expanded == 0 else sp.simplify(sp.gammasimp(expanded))
