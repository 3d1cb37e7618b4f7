"""Every theorem of the theory as an object: its statement and source, its formula, a proof, and a numeric check that can fail.

    from tracer.theory.claims import claim

    claim("ema-budget").statement, claim("ema-budget").source, claim("ema-budget").latex()
    claim("ema-budget").residues()  # what is left of each step of the proof: zeros
    claim("ema-budget").check(np.random.default_rng(0))  # error, tolerance, null_error

Tests, documentation and notebooks read these instead of restating them. Importing this package imports sympy; `tracer.theory`
does not import it.
"""

from tracer.errors import UserError, nearest
from tracer.theory.claims import (
    batches,
    bounds,
    dominance,
    drift,
    ema,
    endpoints,
    linearisation,
    mixture,
    pareto,
    persistence,
    pretrained,
    proximal,
    replay,
    teachers,
    towers,
    wma,
)
from tracer.theory.claims.claim import Check, Claim

SUBJECTS = (
    linearisation,
    batches,
    pretrained,
    endpoints,
    replay,
    pareto,
    teachers,
    ema,
    wma,
    mixture,
    persistence,
    drift,
    towers,
    proximal,
    bounds,
    dominance,
)
"""Modules in the order of the theory."""
CLAIMS: dict[str, Claim] = {claim.id: claim for subject in SUBJECTS for claim in subject.CLAIMS}
"""Claims by id, in that order."""

__all__ = ["CLAIMS", "Check", "Claim", "claim"]


def claim(id: str) -> Claim:
    """The claim of that id.

    Raises:
        UserError: naming the nearest one, if there is none.
    """
    if id not in CLAIMS:
        raise UserError(f"unknown claim {id!r}{nearest(id, CLAIMS)}")
    return CLAIMS[id]
