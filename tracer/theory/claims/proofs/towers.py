"""Formulas and proofs of the claims in `tracer.theory.claims.towers`."""

from collections.abc import Callable

import sympy as sp

from tracer.theory.claims.proofs.matrices import entries, inner, rho, squared
from tracer.theory.claims.proofs.proof import Proof, equation

c, start, time = sp.symbols("c s_0 t", positive=True)
strength = sp.Symbol("lambda", nonnegative=True)
LOGISTIC = (c / rho) / (1 + (c / (rho * start) - 1) * sp.exp(-2 * c * time))
"""s(t) of a mode with singular value c."""
Target = Callable[[sp.Matrix, sp.Matrix], sp.Matrix]


def completed_square_residues(
    target: Target = lambda cross, anchor: (cross + strength * anchor) / (rho + strength), weight: sp.Expr = rho + strength
) -> list[sp.Expr]:
    """Loss and pull less weight/2 |G - target|^2, for all entries of 2 x 2 matrices (others have more terms alike): no G is left.

    The nearest matrix of a given rank is the truncated singular value decomposition (Eckart and Young).
    """
    product, cross, anchor = (entries(name, 2, 2) for name in ("g", "c", "a"))
    loss = rho / 2 * squared(product) - inner(product, cross) + strength / 2 * squared(product - anchor)
    rest = sp.expand(loss - weight / 2 * squared(product - target(cross, anchor)))
    return [rest.diff(g) for g in product]


def optimum_residues() -> list[sp.Expr]:
    """The same without a pull."""
    return [step.subs(strength, 0) for step in completed_square_residues(lambda cross, _: cross / rho, rho)]


def logistic_residues(growth: sp.Expr = LOGISTIC) -> list[sp.Expr]:
    """From maps diag(a_1, a_2) both slopes are diagonal and alike, so they stay so, with a' = a (c - rho a^2), s = a^2.

    So s' = 2 s (c - rho s), which with s(0) the claimed growth solves.
    """
    sizes, values = sp.symbols("a_1 a_2", positive=True), sp.symbols("c_1 c_2", positive=True)
    maps = entries("a", 4, 2)
    product = maps[:2, :].T * maps[2:, :]
    loss = rho / 2 * squared(product) - inner(product, sp.diag(*values))
    aligned = dict(zip(maps, [sizes[0], 0, 0, sizes[1]] * 2, strict=True))
    slopes = maps.applyfunc(lambda entry: -loss.diff(entry).subs(aligned))
    expected = sp.diag(*(a * (value - rho * a**2) for a, value in zip(sizes, values, strict=True)))
    obeyed = growth.diff(time) - 2 * growth * (c - rho * growth)
    return [*(slopes[:2, :] - expected), *(slopes[2:, :] - expected), growth.subs(time, 0) - start, obeyed]


def _truncated(inside: sp.Expr, weight: sp.Expr) -> sp.Rel:
    return equation(r"G_\infty", sp.Function(r"\mathrm{SVD}_k")(inside) / weight)


CROSS, ANCHOR = sp.symbols("C_2 G_0")
PROOFS = {
    "svd-optimum": Proof(_truncated(CROSS, rho), optimum_residues),
    "distilled-svd-optimum": Proof(_truncated(CROSS + strength * ANCHOR, rho + strength), completed_square_residues),
    "logistic-growth": Proof(equation(sp.Function("s")(time), LOGISTIC), logistic_residues),
}
