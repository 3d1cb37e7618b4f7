"""Formulas and proofs of the claims in `tracer.theory.claims.pretrained`."""

from collections.abc import Callable

import sympy as sp

from tracer.theory.claims.proofs.matrices import W, X, Z, clip_loss, entries, inner, mu, n, rho, tau
from tracer.theory.claims.proofs.proof import Proof, equation

omega, s = sp.symbols("omega_i s_j", nonnegative=True)
DECOUPLED = (rho + omega / tau) * s + mu
"""sigma_ij of tau times the loss, and the penalties, at zero logits."""


class Softmaxes:
    """Logits of some pairs as symbols, in terms of their exponentials, in which all is rational."""

    def __init__(self, pairs: int):
        self.pairs = pairs
        self.exponentials = sp.Matrix(pairs, pairs, lambda i, j: sp.Symbol(f"e_{i + 1}{j + 1}", positive=True))
        self.over_texts = sp.Matrix(pairs, pairs, lambda i, j: self.exponentials[i, j] / sum(self.exponentials[i, :]))
        self.over_images = sp.Matrix(pairs, pairs, lambda i, j: self.exponentials[i, j] / sum(self.exponentials[:, j]))

    def derivative(self, expression: sp.Expr, direction: sp.Matrix) -> sp.Expr:
        """As the logits move in a direction."""
        return sum(d * e * expression.diff(e) for d, e in zip(direction, self.exponentials, strict=True))


def gradient_in_logits(softmaxes: Softmaxes) -> sp.Matrix:
    """((P + R)/2 - I) / n."""
    return ((softmaxes.over_texts + softmaxes.over_images) / 2 - sp.eye(softmaxes.pairs)) / softmaxes.pairs


def gradient_residues(gradient: Callable[[Softmaxes], sp.Matrix] = gradient_in_logits) -> list[sp.Expr]:
    """Slopes of the loss in all logits, for 2 and 3 pairs; then the chain rule for logits X^T W^T Z / tau: -Z Lambda X^T / (n tau).

    A pair's slopes involve its own row and column alone, with terms of the same form whatever their number.
    """
    steps: list[sp.Expr] = []
    for softmaxes in (Softmaxes(2), Softmaxes(3)):
        loss = clip_loss(softmaxes.exponentials.applyfunc(sp.log))
        steps += [e * loss.diff(e) - claimed for e, claimed in zip(softmaxes.exponentials, gradient(softmaxes), strict=True)]
    weights, images, texts, p, r = (entries(name, 2, 2) for name in "wxzpr")
    logits = images.T * weights.T * texts / tau
    chained = weights.applyfunc(lambda w: inner(((p + r) / 2 - sp.eye(2)) / 2, logits.diff(w)))
    return [*steps, *(chained + texts * (sp.eye(2) - (p + r).T / 2) * images.T / (2 * tau))]


def softmax_changes(softmaxes: Softmaxes, direction: sp.Matrix) -> tuple[sp.Matrix, sp.Matrix]:
    """dP and dR as the logits move in a direction."""
    ones, p, r = sp.ones(softmaxes.pairs, softmaxes.pairs), softmaxes.over_texts, softmaxes.over_images
    rows, columns = p.multiply_elementwise(direction), r.multiply_elementwise(direction)
    return rows - p.multiply_elementwise(rows * ones), columns - r.multiply_elementwise(ones * columns)


Changes = Callable[[Softmaxes, sp.Matrix], tuple[sp.Matrix, sp.Matrix]]


def hessian_residues(changes: Changes = softmax_changes) -> list[sp.Expr]:
    """Derivatives of both softmaxes of 3 pairs along any direction; S being linear in W, the Hessian is no more than that.

    A row of n logits has n terms of the same form as these three.
    """
    softmaxes, direction = Softmaxes(3), entries("d", 3, 3)
    steps = []
    for softmax, change in zip((softmaxes.over_texts, softmaxes.over_images), changes(softmaxes, direction), strict=True):
        steps += [softmaxes.derivative(entry, direction) - claimed for entry, claimed in zip(softmax, change, strict=True)]
    return steps


def decoupled_residues(curvature: sp.Expr = DECOUPLED) -> list[sp.Expr]:
    """At equal logits dP + dR = 2 delta / n if delta has no row and column means, as it has none with centred X and Z: for 3 pairs.

    Then the Hessian of Delta is Omega Delta Sigma / tau^2, Omega = Z Z^T / n, for matrices of any shape as products that do not
    commute; so that in their eigenvectors tau times it, with the penalties, is the curvature claimed.
    """
    uniform, centred = Softmaxes(3), sp.eye(3) - sp.ones(3, 3) / 3
    change = centred * entries("d", 3, 3) * centred
    p, r = softmax_changes(uniform, change)
    doubled = (p + r).subs(dict.fromkeys(uniform.exponentials, 1)) - 2 * change / 3
    texts, back_texts, moved, images, back_images = sp.symbols("Z Z^T Delta X X^T", commutative=False)
    hessian = texts * (2 * back_texts * moved * images / n) * back_images / (2 * n * tau**2)
    claimed = (texts * back_texts / n) * moved * (images * back_images / n) / tau**2
    return [*doubled, hessian - claimed, tau * omega * s / tau**2 + rho * s + mu - curvature]


def _gradient() -> sp.Rel:
    p, r = (sp.MatrixSymbol(name, n, n) for name in "PR")
    weighed = Z * (sp.Identity(n) - (p + r).T / 2) * X.T
    return equation(sp.MatrixSymbol(r"\nabla\ell", *W.shape), -weighed / (n * tau))


def _hessian() -> sp.Rel:
    changes = sp.MatrixSymbol("{dP}", n, n) + sp.MatrixSymbol("{dR}", n, n)
    return equation(sp.MatrixSymbol(r"\mathcal{H}[\Delta]", *W.shape), Z * changes.T * X.T / (2 * n * tau**2))


PROOFS = {
    "pretrained-gradient": Proof(_gradient(), gradient_residues),
    "pretrained-hessian": Proof(_hessian(), hessian_residues),
    "pretrained-decoupling": Proof(equation("sigma_ij", DECOUPLED), decoupled_residues),
}
