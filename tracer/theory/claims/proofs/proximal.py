"""Formulas and proofs of the claims in `tracer.theory.claims.proximal`."""

from collections.abc import Callable

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof

q, omega, beta, a, t, T, m = sp.symbols("q omega beta a t T m", positive=True)

sigma, ell, best, before = sp.symbols(r"sigma ell w_* \bar{w}", positive=True)

p = 1 - q

RATE = sp.IndexedBase("omega")

k = sp.Symbol("k", integer=True, positive=True)


def solved(data_share: sp.Expr) -> sp.Expr:
    """The student of a mode, between the optimum and the teacher before."""
    return (1 - data_share) * before + data_share * best


def step_residues(claimed: sp.Expr) -> list[sp.Expr]:
    """The loss of a mode, to its teacher held: its slope at the claimed student, and its curvature, which is positive.

    Where both sigma and l are 0 the loss is flat, and descent stays where it starts (lemma C.1).
    """
    w = sp.Symbol("w", real=True)
    loss = sigma / 2 * (w - best) ** 2 + ell / 2 * (w - before) ** 2
    return [loss.diff(w).subs(w, claimed), loss.diff(w, 2) - (sigma + ell), loss.diff(w).subs({sigma: 0, ell: 0})]


def metric_residues(claimed: sp.Matrix) -> list[sp.Expr]:
    """Errors in coordinates y = e R^T, where K = R^T diag(q) R and L = R^T diag(p) R: what e_t (K + L) = ebar L says of them.

    Any pair of symmetric K, L >= 0 whose sum is invertible is of this form, here in two dimensions.
    """
    turn = sp.Matrix(2, 2, sp.symbols("R_1:5", real=True))
    shares = sp.diag(*sp.symbols("q_1:3", positive=True))
    teacher = sp.Matrix(1, 2, sp.symbols("y_1:3", real=True))
    curvature, teacher_curvature = turn.T * shares * turn, turn.T * (sp.eye(2) - shares) * turn
    student = teacher * claimed
    return list(sp.simplify(student * turn.T.inv() * (curvature + teacher_curvature) - teacher * turn.T.inv() * teacher_curvature))


def teacher_shares() -> sp.Matrix:
    """diag(p) of `metric_residues`."""
    return sp.eye(2) - sp.diag(*sp.symbols("q_1:3", positive=True))


def error_residues(factor: sp.Expr) -> list[sp.Expr]:
    """The student's error is p times the teacher's before it, and with it the teacher's takes the factor."""
    error = before - best
    student = solved(q)
    return [student - best - p * error, (1 - omega) * before + omega * student - best - factor * error]


def divergence_residues(lower: sp.Expr, upper: sp.Expr) -> list[sp.Expr]:
    """Bounds on log(1 - q omega) for omega in [0, 1].

    It is concave and meets the lower one at both ends; the upper one meets it at 0 and rises from it. Summed over the steps they
    put the product between p^S and e^(-q S) for rates that add up to S. As -log(1 - omega) >= omega, the anchor's weight, the
    product of 1 - omega, then goes to 0 too; that it does suffices only where rates stay below 1 by some margin (a weight that
    dwarfs all before it takes the anchor's away in one step, and p of the bias stays).
    """
    log_factor = sp.log(1 - q * omega)
    below, above = log_factor - lower, upper - log_factor
    return [
        sp.expand_log(below.subs(omega, 0), force=True),
        sp.simplify(below.subs(omega, 1)),
        below.diff(omega, 2) + q**2 / (1 - q * omega) ** 2,
        above.subs(omega, 0),
        above.diff(omega) - q**2 * omega / (1 - q * omega),
    ]


def lower_log() -> sp.Expr:
    """Of a factor: what a rate costs at most."""
    return omega * sp.log(p)


def upper_log() -> sp.Expr:
    """Of a factor: what a rate costs at least."""
    return -q * omega


def singular_residues(total: sp.Expr) -> list[sp.Expr]:
    """Weights tau^(-3/2) at tau_k = (k + 1/2)/(T + 1), over the first: they know no horizon, and are the odd terms of zeta(3/2)."""
    weight = ((k + sp.Rational(1, 2)) / (T + 1)) ** sp.Rational(-3, 2)
    odd = (2 * k + 1) ** sp.Rational(-3, 2)
    even_share = ((2 * k) / k) ** sp.Rational(-3, 2)
    whole = sp.zeta(sp.Rational(3, 2))
    return [sp.powsimp(sp.simplify(weight / weight.subs(k, 0) / odd), force=True) - 1, whole - even_share * whole - total]


def singular_total() -> sp.Expr:
    """Limit of the sum of the weights over the first, for tau^(-3/2)."""
    return (1 - 2 ** sp.Rational(-3, 2)) * sp.zeta(sp.Rational(3, 2))


def limit_residues(limit: sp.Expr) -> list[sp.Expr]:
    """Where student and teacher stand still together, a moving teacher has no choice."""
    return [solved(q).subs(before, limit) - limit]


def power_law_residues(product: Callable[[sp.Expr], sp.Expr]) -> list[sp.Expr]:
    """Start, ratio of neighbours, and the exponent to which t (1 - ratio) tends."""
    ratio = sp.gammasimp(product(t + 1) / product(t))
    return [
        sp.gammasimp(product(sp.Integer(0))) - 1,
        ratio - (1 - q * beta / (beta + t + 1)),
        sp.limit(t * (1 - ratio), t, sp.oo) - beta * q,
    ]


def power_law(steps: sp.Expr) -> sp.Expr:
    """prod (1 - q beta / (beta + k)) over k = 1 ... steps."""
    return sp.gamma(beta + 1) * sp.gamma(steps + 1 + beta * p) / (sp.gamma(1 + beta * p) * sp.gamma(steps + 1 + beta))


def horizon_residues(exponent: sp.Expr) -> list[sp.Expr]:
    """A factor over that of the anchor's weight to the power q is 1 + O(omega^2), so their product tends to a constant.

    Early, where F is a power a of time, omega_k = 1 - (k/(k+1))^a whatever b; later the squares add up to O(1/T). The anchor's
    weight is F(1/(T + 1)), of which the integral of the leading density is T^-a / (a B): its exponent times q is the claimed one.
    """
    tau, normaliser = sp.symbols("tau B", positive=True)
    quotient = sp.log(1 - q * omega) - q * sp.log(1 - omega)
    anchor = sp.integrate(tau ** (a - 1) / normaliser, (tau, 0, 1 / T))
    early = tau**a
    return [
        sp.limit(quotient / omega**2, omega, 0) - q * p / 2,
        1 - (early.subs(tau, k) / early.subs(tau, k + 1)) - (1 - (k / (k + 1)) ** a),
        sp.simplify(-T * sp.log(anchor**q).diff(T)) - exponent,
    ]


def ema_residues(kept: sp.Expr) -> list[sp.Expr]:
    """An EMA's rate is 1 - m at every step."""
    return [1 - q * (1 - m) - kept]


def _matrix(name: str) -> sp.Symbol:
    return sp.Symbol(name, commutative=False)


def _step() -> sp.Rel:
    old, teacher, optimum, task, rest = map(_matrix, ("W_{t-1}", r"\bar{W}_{t-1}", "W_*", "P", "Q"))
    return sp.Eq(_matrix("W_t"), old * rest + sp.Symbol("p") * teacher * task + q * optimum * task, evaluate=False)


def _metric() -> sp.Rel:
    metric = sp.Symbol("lambda") * _matrix("D")
    whole = _matrix("K") + metric
    return sp.Eq((_matrix("W_t") - _matrix("W_*")) * whole, (_matrix(r"\bar{W}_{t-1}") - _matrix("W_*")) * metric, evaluate=False)


def _error(step: str) -> sp.Symbol:
    return sp.Symbol(f"E_{{{step}}}")


def _product(term: sp.Expr, last: sp.Expr) -> sp.Expr:
    return sp.Product(term, (k, 1, last))


PROOFS = {
    "proximal-step": Proof(_step(), lambda: step_residues(solved(sigma / (sigma + ell)))),
    "proximal-any-metric": Proof(_metric(), lambda: metric_residues(teacher_shares())),
    "proximal-errors": Proof(
        sp.Eq(_error("t"), (1 - q * sp.Symbol("omega_t")) * _error("t-1"), evaluate=False), lambda: error_residues(1 - q * omega)
    ),
    "proximal-divergence": Proof(
        sp.Le(sp.Symbol("p") ** sp.Sum(RATE[k], (k, 1, T)), sp.Abs(_error("T") / _error("0")), evaluate=False),
        lambda: divergence_residues(lower_log(), upper_log()),
    ),
    "kernel-that-keeps-its-bias": Proof(
        sp.Eq(sp.Limit(1 / sp.Symbol(r"\omega_{0|T}"), T, sp.oo), singular_total(), evaluate=False),
        lambda: singular_residues(singular_total()),
    ),
    "proximal-limit": Proof(
        sp.Eq(
            sp.Limit(sp.Function("W")(t), t, sp.oo), _matrix("W_*") * _matrix("P") + _matrix("W_0") * _matrix("Q"), evaluate=False
        ),
        lambda: limit_residues(best),
    ),
    "proximal-power-law": Proof(
        sp.Eq(_product(1 - q * beta / (beta + k), t), power_law(t).subs(p, sp.Symbol("p")), evaluate=False),
        lambda: power_law_residues(power_law),
    ),
    "proximal-horizon": Proof(
        sp.Eq(sp.Limit(-sp.log(sp.Abs(sp.Function("E")(T))) / sp.log(T), T, sp.oo), a * q, evaluate=False),
        lambda: horizon_residues(a * q),
    ),
    "proximal-ema": Proof(
        sp.Eq(_error("t"), (sp.Symbol("p") + q * m) ** t * _error("0"), evaluate=False), lambda: ema_residues(p + q * m)
    ),
}
