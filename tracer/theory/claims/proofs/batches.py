"""Formulas and proofs of the claims in `tracer.theory.claims.batches`."""

import sympy as sp

from tracer.theory.claims.proofs.matrices import B, n, rho
from tracer.theory.claims.proofs.proof import Proof


def in_batch_factor() -> sp.Expr:
    """What batches of B of n pairs, drawn without replacement, make of the cross-covariance."""
    return (B - 1) * n / (B * (n - 1))


def in_batch_factor_residues(factor: sp.Expr) -> list[sp.Expr]:
    """Coefficients of z_i x_i and z_i x_j in E C_B less the factor times those in C, by the chance that a batch holds one or both.

    Then the same with replacement, where each of B draws is any pair, and the factor is (B - 1) / B.
    """
    one, both = (sp.binomial(n - drawn, B - drawn) / sp.binomial(n, B) for drawn in (1, 2))
    own, other = (1 - 1 / n) / n, -1 / n**2
    repeated = 1 / n - (1 / n + (B - 1) / n**2) / B, -(B - 1) / n**2 / B
    return [
        one * (1 - 1 / B) / B - factor * own,
        -both / B**2 - factor * other,
        repeated[0] - (B - 1) / B * own,
        repeated[1] - (B - 1) / B * other,
    ]


def in_batch_trajectory_residues(factor: sp.Expr) -> list[sp.Expr]:
    """One step of student and teacher, averaged over a batch that is independent of where they stand.

    Base: the start is known. Step: two batches a and b, and independently of them two states a and b, each with chance 1/2; the
    symbols are matrices, whose products do not commute.
    """
    eta, strength, rate = sp.symbols("eta lambda r", positive=True)
    cross, moment, w, v = (sp.symbols(f"{name}_a {name}_b", commutative=False) for name in ("C", "Sigma", "W", "Wbar"))

    def step(weights, teacher, c, s):
        student = weights - eta * (rho * weights * s - c + strength * (weights - teacher) * s)
        return student, teacher + rate * (student - teacher)

    def mean(values):
        return sum(values) / len(values)

    stepped = [step(w[i], v[i], cross[j], moment[j]) for i in range(2) for j in range(2)]
    c = sp.Symbol("C", commutative=False)
    of_means = step(mean(w), mean(v), factor * c, mean(moment))
    known = {cross[1]: 2 * in_batch_factor() * c - cross[0]}
    return [mean(part).subs(known) - whole for part, whole in zip(zip(*stepped, strict=True), of_means, strict=True)]


def _expected(weights: str) -> sp.Symbol:
    return sp.Symbol(rf"\mathbb{{E}}\,{weights}")


PROOFS = {
    "in-batch-factor": Proof(
        sp.Eq(_expected("C_B"), in_batch_factor() * sp.Symbol("C"), evaluate=False),
        lambda: in_batch_factor_residues(in_batch_factor()),
    ),
    "in-batch-trajectory": Proof(
        sp.Eq(_expected(r"W_t^{(C_B)}"), sp.Function("W_t")(in_batch_factor() * sp.Symbol("C")), evaluate=False),
        lambda: in_batch_trajectory_residues(in_batch_factor()),
    ),
}
