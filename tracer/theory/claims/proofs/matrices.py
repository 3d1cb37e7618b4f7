"""Symbolic matrices: by name, for stating, and with an independent symbol for each entry, for proving."""

import sympy as sp

rho, tau = sp.symbols("rho tau", positive=True)
mu = sp.Symbol("mu", nonnegative=True)
n, B, d, k = sp.symbols("n B d k", positive=True, integer=True)
X, Z, H = sp.MatrixSymbol("X", d, n), sp.MatrixSymbol("Z", k, n), sp.MatrixSymbol("H", n, n)
W, C = sp.MatrixSymbol("W", k, d), sp.MatrixSymbol("C", k, d)
S = sp.MatrixSymbol("S", n, n)


def entries(name: str, rows: int, columns: int) -> sp.Matrix:
    """A matrix of independent real symbols."""
    return sp.Matrix(rows, columns, lambda i, j: sp.Symbol(f"{name}_{i + 1}{j + 1}", real=True))


def centring(size: int) -> sp.Matrix:
    """H = I - 1 1^T / n."""
    return sp.eye(size) - sp.ones(size, size) / size


def squared(matrix: sp.Matrix) -> sp.Expr:
    """Squared Frobenius norm."""
    return sum(entry**2 for entry in matrix)


def inner(a: sp.Matrix, b: sp.Matrix) -> sp.Expr:
    """Frobenius inner product."""
    return sum(x * y for x, y in zip(a, b, strict=True))


def clip_loss(logits: sp.Matrix) -> sp.Expr:
    """The symmetric contrastive loss of a matrix of logits."""
    size = logits.rows
    rows = sum(sp.log(sum(sp.exp(logits[i, j]) for j in range(size))) for i in range(size))
    columns = sum(sp.log(sum(sp.exp(logits[i, j]) for i in range(size))) for j in range(size))
    return ((rows + columns) / 2 - logits.trace()) / size
