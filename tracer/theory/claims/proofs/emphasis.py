"""Formulas and proofs of the claims in `tracer.theory.claims.emphasis`."""

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof, equation
from tracer.theory.claims.proofs.teachers import kernel_residues

a, b, m, T, theta = sp.symbols("a b m T theta", positive=True)
t, j, n, N, k = sp.symbols("t j n N k", positive=True, integer=True)
CORRECTED = (1 - m) / (1 - m ** (t + 1))
"""omega_t of weights m^-k from k = 0 on: EMA's, corrected for its start as in Adam."""
NEWEST = sp.tan(theta) / (2 * theta)
"""Density at progress sin^2 theta over its mean up to there, of Beta(1/2, 1/2)."""
SPARSE_TERM = (2 * j) ** (a - 1) * ((N - j) / N) ** (b - 1)
"""k^(1 - a) alpha_j / alpha_0 of a point-sampled Beta(a, b), as the updates lie ever further apart."""


def exponential_kernel_residues(rate: sp.Expr = CORRECTED) -> list[sp.Expr]:
    """Weights m^-k and their sum, a geometric series."""
    return kernel_residues(lambda j: m**-j, lambda j: (m**-j - m) / (1 - m), rate)


def emphasis_residues(newest: sp.Expr = NEWEST) -> list[sp.Expr]:
    """The distribution function 2 theta / pi at c = sin^2 theta, by its slope and start; and c times the density over it."""
    c, density, distribution = sp.sin(theta) ** 2, 1 / (sp.pi * sp.sin(theta) * sp.cos(theta)), 2 * theta / sp.pi
    slope = distribution.diff(theta) - density * c.diff(theta)
    return [(sp.pi * density) ** 2 * c * (1 - c) - 1, slope, distribution.subs(theta, 0), c * density / distribution - newest]


def sparse_residues(term: sp.Expr = SPARSE_TERM) -> list[sp.Expr]:
    """Progress of update j and what is left after it, over those of the start, in k = 1/x; their powers at x = 0.

    Then where the stretch of an update ends, by which its mass is counted, which tends to its place among the N updates.
    """
    x, half = sp.Symbol("x", positive=True), sp.Rational(1, 2)
    node = (j / x + half) / (N / x + 1)
    start = node.subs(j, 0)
    done, left = (2 * j + x) / x, (N - j + x / 2) / (N + x / 2)
    ratio = sp.cancel(done * x) ** (a - 1) * left ** (b - 1)
    end = sp.limit(((j + half) * k + half) / (N * k + 1), k, sp.oo)
    return [node / start - done, (1 - node) / (1 - start) - left, ratio.subs(x, 0) - term, end - (j + half) / N]


def _emphasis() -> sp.Rel:
    progress = sp.Symbol("c")
    at = sp.Limit(T * progress * sp.Function("omega")(T * progress), T, sp.oo).subs(progress, sp.sin(theta) ** 2)
    return equation(at, NEWEST)


def _sparse() -> sp.Rel:
    share = sp.Function(r"\omega_{0|n}")(k)
    return equation(sp.Limit(k ** (1 - a) * (1 / share - 1), k, sp.oo), sp.Sum(SPARSE_TERM, (j, 1, n)))


PROOFS = {
    "exponential-kernel": Proof(equation("omega_t", CORRECTED), exponential_kernel_residues),
    "arcsine-newest-iterate": Proof(_emphasis(), emphasis_residues),
    "sparse-updates": Proof(_sparse(), sparse_residues),
}
