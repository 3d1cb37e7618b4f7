"""Formulas and proofs of the claims in `tracer.theory.claims.proximal`."""

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof, bound, equation

q, omega, beta, a, t, T, m = sp.symbols("q omega beta a t T m", positive=True)
sigma, ell, best, before = sp.symbols(r"sigma ell w_* \bar{w}", positive=True)
k = sp.Symbol("k", integer=True, positive=True)
p = 1 - q
SHARES = sp.diag(*sp.symbols("q_1:3", positive=True))
TEACHER_SHARES = sp.eye(2) - SHARES
LOWER_LOG, UPPER_LOG = omega * sp.log(p), -q * omega
"""Of a factor 1 - q omega: what a rate costs at most, and at least."""
SINGULAR_TOTAL = (1 - 2 ** sp.Rational(-3, 2)) * sp.zeta(sp.Rational(3, 2))
"""Limit of the sum of the weights over the first, for tau^(-3/2)."""
POWER_LAW = sp.gamma(beta + 1) * sp.gamma(t + 1 + beta * p) / (sp.gamma(1 + beta * p) * sp.gamma(t + 1 + beta))
"""prod (1 - q beta / (beta + k)) over k = 1 ... t."""


def solved(data_share: sp.Expr) -> sp.Expr:
    """The student of a mode, between the optimum and the teacher before."""
    return (1 - data_share) * before + data_share * best


STUDENT = solved(sigma / (sigma + ell))


def step_residues(claimed: sp.Expr = STUDENT) -> list[sp.Expr]:
    """The loss of a mode, to its teacher held: its slope at the claimed student, and its curvature, which is positive.

    Where both sigma and l are 0 the loss is flat, and descent stays where it starts (lemma C.1).
    """
    w = sp.Symbol("w", real=True)
    loss = sigma / 2 * (w - best) ** 2 + ell / 2 * (w - before) ** 2
    return [loss.diff(w).subs(w, claimed), loss.diff(w, 2) - (sigma + ell), loss.diff(w).subs({sigma: 0, ell: 0})]


def metric_residues(claimed: sp.Matrix = TEACHER_SHARES) -> list[sp.Expr]:
    """Errors in coordinates y = e R^T, where K = R^T diag(q) R and L = R^T diag(p) R: what e_t (K + L) = ebar L says of them.

    Any pair of symmetric K, L >= 0 whose sum is invertible is of this form, here in two dimensions.
    """
    turn, teacher = sp.Matrix(2, 2, sp.symbols("R_1:5", real=True)), sp.Matrix(1, 2, sp.symbols("y_1:3", real=True))
    pull, back = turn.T * TEACHER_SHARES * turn, turn.T.inv()
    return list(sp.simplify(teacher * claimed * back * (turn.T * SHARES * turn + pull) - teacher * back * pull))


def error_residues(factor: sp.Expr = 1 - q * omega) -> list[sp.Expr]:
    """The student's error is p times the teacher's before it, and with it the teacher's takes the factor."""
    error, student = before - best, solved(q)
    return [student - best - p * error, (1 - omega) * before + omega * student - best - factor * error]


def divergence_residues(lower: sp.Expr = LOWER_LOG, upper: sp.Expr = UPPER_LOG) -> list[sp.Expr]:
    """Bounds on log(1 - q omega) for omega in [0, 1].

    It is concave and meets the lower one at both ends; the upper one meets it at 0 and rises from it. Summed over the steps they
    put the product between p^S and e^(-q S) for rates that add up to S. As -log(1 - omega) >= omega, the anchor's weight, the
    product of 1 - omega, then goes to 0 too; that it does suffices only where rates stay below 1 by some margin (a weight that
    dwarfs all before it takes the anchor's away in one step, and p of the bias stays).
    """
    below, above = sp.log(1 - q * omega) - lower, upper - sp.log(1 - q * omega)
    ends = sp.expand_log(below.subs(omega, 0), force=True), sp.simplify(below.subs(omega, 1)), above.subs(omega, 0)
    return [*ends, below.diff(omega, 2) + q**2 / (1 - q * omega) ** 2, above.diff(omega) - q**2 * omega / (1 - q * omega)]


def singular_residues(total: sp.Expr = SINGULAR_TOTAL) -> list[sp.Expr]:
    """Weights tau^(-3/2) at tau_k = (k + 1/2)/(T + 1), over the first: they know no horizon, and are the odd terms of zeta(3/2)."""
    weight = ((k + sp.Rational(1, 2)) / (T + 1)) ** sp.Rational(-3, 2)
    odd, whole = (2 * k + 1) ** sp.Rational(-3, 2), sp.zeta(sp.Rational(3, 2))
    ratio = sp.powsimp(sp.simplify(weight / weight.subs(k, 0) / odd), force=True)
    return [ratio - 1, whole - 2 ** sp.Rational(-3, 2) * whole - total]


def limit_residues(limit: sp.Expr = best) -> list[sp.Expr]:
    """Where student and teacher stand still together, a moving teacher has no choice."""
    return [solved(q).subs(before, limit) - limit]


def power_law_residues(product: sp.Expr = POWER_LAW) -> list[sp.Expr]:
    """Start, ratio of neighbours, and the exponent to which t (1 - ratio) tends."""
    ratio = sp.gammasimp(product.subs(t, t + 1) / product)
    exponent = sp.limit(t * (1 - ratio), t, sp.oo)
    return [sp.gammasimp(product.subs(t, 0)) - 1, ratio - (1 - q * beta / (beta + t + 1)), exponent - beta * q]


def horizon_residues(exponent: sp.Expr = a * q) -> list[sp.Expr]:
    """A factor over that of the anchor's weight to the power q is 1 + O(omega^2), so their product tends to a constant.

    Early, where F is a power a of time, omega_k = 1 - (k/(k+1))^a whatever b; later the squares add up to O(1/T). The anchor's
    weight is F(1/(T + 1)), of which the integral of the leading density is T^-a / (a B): its exponent times q is the claimed one.
    """
    tau, normaliser = sp.symbols("tau B", positive=True)
    quotient = sp.log(1 - q * omega) - q * sp.log(1 - omega)
    anchor, early = sp.integrate(tau ** (a - 1) / normaliser, (tau, 0, 1 / T)), tau**a
    return [
        sp.limit(quotient / omega**2, omega, 0) - q * p / 2,
        1 - (early.subs(tau, k) / early.subs(tau, k + 1)) - (1 - (k / (k + 1)) ** a),
        sp.simplify(-T * sp.log(anchor**q).diff(T)) - exponent,
    ]


def ema_residues(kept: sp.Expr = p + q * m) -> list[sp.Expr]:
    """An EMA's rate is 1 - m at every step."""
    return [1 - q * (1 - m) - kept]


def _matrices(*names: str) -> tuple[sp.Symbol, ...]:
    return tuple(sp.Symbol(name, commutative=False) for name in names)


def _step() -> sp.Rel:
    now, old, teacher, optimum, task, rest = _matrices("W_t", "W_{t-1}", r"\bar{W}_{t-1}", "W_*", "P", "Q")
    return equation(now, old * rest + P * teacher * task + q * optimum * task)


def _metric() -> sp.Rel:
    now, teacher, optimum, metric, curvature = _matrices("W_t", r"\bar{W}_{t-1}", "W_*", "D", "K")
    pull = sp.Symbol("lambda") * metric
    return equation((now - optimum) * (curvature + pull), (teacher - optimum) * pull)


def _limit() -> sp.Rel:
    optimum, first, task, rest = _matrices("W_*", "W_0", "P", "Q")
    return equation(sp.Limit(sp.Function("W")(t), t, sp.oo), optimum * task + first * rest)


P, RATES = sp.Symbol("p"), sp.Sum(sp.IndexedBase("omega")[k], (k, 1, T))
NOW, LAST, FIRST, END = sp.symbols("E_{t} E_{t-1} E_{0} E_{T}")
SINGULAR = equation(sp.Limit(1 / sp.Symbol(r"\omega_{0|T}"), T, sp.oo), SINGULAR_TOTAL)
PRODUCT = equation(sp.Product(1 - q * beta / (beta + k), (k, 1, t)), POWER_LAW.subs(p, P))
HORIZON = equation(sp.Limit(-sp.log(sp.Abs(sp.Function("E")(T))) / sp.log(T), T, sp.oo), a * q)
PROOFS = {
    "proximal-step": Proof(_step(), step_residues),
    "proximal-any-metric": Proof(_metric(), metric_residues),
    "proximal-errors": Proof(equation(NOW, (1 - q * sp.Symbol("omega_t")) * LAST), error_residues),
    "proximal-divergence": Proof(bound(P**RATES, sp.Abs(END / FIRST)), divergence_residues),
    "kernel-that-keeps-its-bias": Proof(SINGULAR, singular_residues),
    "proximal-limit": Proof(_limit(), limit_residues),
    "proximal-power-law": Proof(PRODUCT, power_law_residues),
    "proximal-horizon": Proof(HORIZON, horizon_residues),
    "proximal-ema": Proof(equation(NOW, (P + q * m) ** t * FIRST), ema_residues),
}
