"""Formulas and proofs of the claims in `tracer.theory.claims.batches`."""

import sympy as sp

from tracer.theory.claims.proofs.matrices import B, n, rho
from tracer.theory.claims.proofs.proof import Proof, equation

FACTOR = (B - 1) * n / (B * (n - 1))
"""What batches of B of n pairs, drawn without replacement, make of the cross-covariance."""


def in_batch_factor_residues(factor: sp.Expr = FACTOR) -> list[sp.Expr]:
    """Coefficients of z_i x_i and z_i x_j in E C_B less the factor times those in C, by the chance that a batch holds one or both.

    Then the same with replacement, where each of B draws is any pair, and the factor is (B - 1) / B.
    """
    one, both = (sp.binomial(n - drawn, B - drawn) / sp.binomial(n, B) for drawn in (1, 2))
    own, other, repeated = (1 - 1 / n) / n, -1 / n**2, (B - 1) / B
    without = [one * (1 - 1 / B) / B - factor * own, -both / B**2 - factor * other]
    return [*without, 1 / n - (1 / n + (B - 1) / n**2) / B - repeated * own, -(B - 1) / n**2 / B - repeated * other]


def in_batch_trajectory_residues(factor: sp.Expr = FACTOR) -> list[sp.Expr]:
    """One step of student and teacher, averaged over a batch that is independent of where they stand.

    Base: the start is known. Step: two batches a and b, and independently of them two states a and b, each with chance 1/2; the
    symbols are matrices, whose products do not commute.
    """
    eta, strength, rate = sp.symbols("eta lambda r", positive=True)
    cross, moment, w, v = (sp.symbols(f"{name}_a {name}_b", commutative=False) for name in ("C", "Sigma", "W", "Wbar"))

    def step(weights: sp.Expr, teacher: sp.Expr, c: sp.Expr, s: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
        student = weights - eta * (rho * weights * s - c + strength * (weights - teacher) * s)
        return student, teacher + rate * (student - teacher)

    stepped = [step(w[i], v[i], cross[j], moment[j]) for i in range(2) for j in range(2)]
    c = sp.Symbol("C", commutative=False)
    of_means = step(sum(w) / 2, sum(v) / 2, factor * c, sum(moment) / 2)
    known = {cross[1]: 2 * FACTOR * c - cross[0]}
    return [(sum(part) / 4).subs(known) - whole for part, whole in zip(zip(*stepped, strict=True), of_means, strict=True)]


SHRUNK = FACTOR * sp.Symbol("C")
PROOFS = {
    "in-batch-factor": Proof(equation(r"\mathbb{E}\,C_B", SHRUNK), in_batch_factor_residues),
    "in-batch-trajectory": Proof(equation(r"\mathbb{E}\,W_t^{(C_B)}", sp.Function("W_t")(SHRUNK)), in_batch_trajectory_residues),
}
