"""A theorem as an object: what it says, whose it is, a numeric check that can fail, and its proof, for which sympy is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike

from tracer.errors import UserError
from tracer.theory.claims.tolerances import EXACT

if TYPE_CHECKING:
    from tracer.theory.claims.proofs.proof import Proof

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


def compare(
    predicted: ArrayLike, measured: ArrayLike, *nulls: ArrayLike, tolerance: float = EXACT, scale: float | None = None
) -> Check:
    """The check of a prediction against a measurement, by the largest entry of their difference.

    Args:
        predicted, measured: arrays or numbers of one shape.
        nulls: wrong predictions; the one that comes closest counts.
        tolerance: what their difference may be, relative to the scale.
        scale: by default the largest entry of what was measured.
    """
    size = np.max(np.abs(measured)) if scale is None else scale

    def error(prediction: ArrayLike) -> float:
        return float(np.max(np.abs(np.asarray(prediction) - np.asarray(measured))) / size)

    return Check(error(predicted), tolerance, min(error(null) for null in nulls))


@dataclass(frozen=True, eq=False)
class Claim:
    """A theorem.

    Attributes:
        id: its name, kebab-case.
        statement: what it says, one sentence.
        source: whose result it is.
        paper: results of TRACER's paper (arXiv 2605.29380) that it states, corrects or sharpens, by number, as "Theorem 3.2"; what
            has none by its place: "Section C.4", "Equation (1)", "Algorithm 1".
        check: a numeric check of a random instance.
        subject: the module that states it; of the proofs, the module of that name has its own.
    """

    id: str
    statement: str
    source: str
    paper: tuple[str, ...]
    check: Callable[[np.random.Generator], Check]
    subject: str

    @property
    def proof(self) -> Proof:
        """Its formula and the steps of its proof.

        Raises:
            UserError: without sympy.
        """
        try:
            proofs = import_module(f"tracer.theory.claims.proofs.{self.subject}")
        except ModuleNotFoundError as error:
            if error.name != "sympy":
                raise
            raise UserError(f"the proof of {self.id!r} needs the package sympy: pip install sympy") from None
        return cast("Proof", proofs.PROOFS[self.id])


def theorem(source: str, *paper: str) -> Callable[[Callable[[np.random.Generator], Check]], Claim]:
    """Makes a claim of its numeric check, whose name is the claim's id and whose docstring begins with the statement.

    Args:
        source: whose result it is.
        paper: places in TRACER's paper, as `Claim` has them.
    """

    def claimed(check: Callable[[np.random.Generator], Check]) -> Claim:
        statement = (check.__doc__ or "").split("\n\n")[0]
        id, subject = check.__name__.replace("_", "-"), check.__module__.rpartition(".")[2]
        return Claim(id, " ".join(statement.split()), source, paper, check, subject)

    return claimed
