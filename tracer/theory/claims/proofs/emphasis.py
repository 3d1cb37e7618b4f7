"""Formulas and proofs of the claims in `tracer.theory.claims.emphasis`."""

from collections.abc import Callable

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof
from tracer.theory.claims.proofs.teachers import kernel_residues

a, b, m, T = sp.symbols("a b m T", positive=True)

t, j, n, N, k = sp.symbols("t j n N k", positive=True, integer=True)

theta = sp.Symbol("theta", positive=True)


def exponential_kernel_rate(steps: sp.Expr) -> sp.Expr:
    """omega_t of weights m^-k from k = 0 on: EMA's, corrected for its start as in Adam."""
    return (1 - m) / (1 - m ** (steps + 1))


def exponential_kernel_residues(rate: sp.Expr) -> list[sp.Expr]:
    """Weights m^-k and their sum, a geometric series."""
    return kernel_residues(lambda j: m**-j, lambda j: (m**-j - m) / (1 - m), rate)


def newest_emphasis() -> sp.Expr:
    """Density at progress sin^2 theta over its mean up to there, of Beta(1/2, 1/2)."""
    return sp.tan(theta) / (2 * theta)


def emphasis_residues(newest: sp.Expr) -> list[sp.Expr]:
    """The distribution function 2 theta / pi at c = sin^2 theta, by its slope and start; and c times the density over it."""
    c = sp.sin(theta) ** 2
    density = 1 / (sp.pi * sp.sin(theta) * sp.cos(theta))
    distribution = 2 * theta / sp.pi
    return [
        (sp.pi * density) ** 2 * c * (1 - c) - 1,
        distribution.diff(theta) - density * c.diff(theta),
        distribution.subs(theta, 0),
        c * density / distribution - newest,
    ]


def sparse_term(update: sp.Expr) -> sp.Expr:
    """k^(1 - a) alpha_j / alpha_0 of a point-sampled Beta(a, b), as the updates lie ever further apart."""
    return (2 * update) ** (a - 1) * ((N - update) / N) ** (b - 1)


def sparse_residues(term: Callable[[sp.Expr], sp.Expr]) -> list[sp.Expr]:
    """Progress of update j and what is left after it, over those of the start, in k = 1/x; their powers at x = 0.

    Then where the stretch of an update ends, by which its mass is counted, which tends to its place among the N updates.
    """
    x = sp.Symbol("x", positive=True)
    node = (j / x + sp.Rational(1, 2)) / (N / x + 1)
    start = node.subs(j, 0)
    done, left = (2 * j + x) / x, (N - j + x / 2) / (N + x / 2)
    ratio = sp.cancel(done * x) ** (a - 1) * left ** (b - 1)
    end = ((j + sp.Rational(1, 2)) * k + sp.Rational(1, 2)) / (N * k + 1)
    return [
        node / start - done,
        (1 - node) / (1 - start) - left,
        ratio.subs(x, 0) - term(j),
        sp.limit(end, k, sp.oo) - (j + sp.Rational(1, 2)) / N,
    ]


def _emphasis() -> sp.Rel:
    rate, progress = sp.Function("omega"), sp.Symbol("c")
    at = sp.Limit(T * progress * rate(T * progress), T, sp.oo).subs(progress, sp.sin(theta) ** 2)
    return sp.Eq(at, newest_emphasis(), evaluate=False)


def _sparse() -> sp.Rel:
    share = sp.Function(r"\omega_{0|n}")(k)
    return sp.Eq(sp.Limit(k ** (1 - a) * (1 / share - 1), k, sp.oo), sp.Sum(sparse_term(j), (j, 1, n)), evaluate=False)


PROOFS = {
    "exponential-kernel": Proof(
        sp.Eq(sp.Symbol("omega_t"), exponential_kernel_rate(t), evaluate=False),
        lambda: exponential_kernel_residues(exponential_kernel_rate(t)),
    ),
    "arcsine-newest-iterate": Proof(_emphasis(), lambda: emphasis_residues(newest_emphasis())),
    "sparse-updates": Proof(_sparse(), lambda: sparse_residues(sparse_term)),
}
