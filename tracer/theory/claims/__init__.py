"""Every theorem of the theory as an object: its statement and source, its formula, a proof, and a numeric check that can fail.

    from tracer.theory.claims import by_number, claim

    claim("ema-budget").statement, claim("ema-budget").source
    claim("ema-budget").check(np.random.default_rng(0))  # error, tolerance, null_error
    claim("ema-budget").proof.residues()  # what is left of each step of the proof: zeros
    by_number()["Theorem 3.2"]  # what answers that result of TRACER's paper

Tests, documentation and notebooks read these instead of restating them. Proofs alone need sympy, and are imported when asked for.
"""

from importlib import import_module

from tracer.errors import UserError, nearest
from tracer.theory.claims.claim import Check, Claim

_NAMES = (
    "linearisation surrogate batches pretrained quadratic endpoints strengths replay pareto coverage averages teachers emphasis "
    "ema wma mixture persistence drift towers proximal bounds dominance"
)
_MODULES = [import_module(f"{__name__}.{name}") for name in _NAMES.split()]
SUBJECTS: dict[str, tuple[Claim, ...]] = {
    str(module.__doc__).splitlines()[0].removesuffix("."): tuple(each for each in vars(module).values() if isinstance(each, Claim))
    for module in _MODULES
}
"""Claims by subject, in the order of the theory."""
CLAIMS: dict[str, Claim] = {claim.id: claim for subject in SUBJECTS.values() for claim in subject}
"""Claims by id, in that order."""
NUMBERED = (
    "Definition 3.1",
    "Theorem 3.2",
    "Definition 3.3",
    "Theorem 3.4",
    "Lemma C.1",
    "Theorem C.2",
    "Definition C.3",
    "Definition C.4",
    "Remark C.5",
    "Theorem C.6",
    "Proposition C.7",
    "Theorem C.8",
    "Corollary C.9",
    "Proposition C.10",
)
"""Every numbered result of TRACER's paper, arXiv 2605.29380, in its order; 3.2, 3.3 and 3.4 return as C.2, C.4 and C.8."""

__all__ = ["CLAIMS", "NUMBERED", "SUBJECTS", "Check", "Claim", "by_number", "claim"]


def claim(id: str) -> Claim:
    """The claim of that id.

    Raises:
        UserError: naming the nearest one, if there is none.
    """
    if id not in CLAIMS:
        raise UserError(f"unknown claim {id!r}{nearest(id, CLAIMS)}")
    return CLAIMS[id]


def by_number() -> dict[str, tuple[Claim, ...]]:
    """The claims that answer each numbered result of TRACER's paper, in its order; then those of its passages without a number.

    >>> [found.id for found in by_number()["Remark C.5"]]
    ['streaming-average']
    """
    passages = sorted({place for found in CLAIMS.values() for place in found.paper} - set(NUMBERED))
    return {place: tuple(found for found in CLAIMS.values() if place in found.paper) for place in (*NUMBERED, *passages)}
