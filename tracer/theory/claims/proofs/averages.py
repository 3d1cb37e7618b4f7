"""Formulas and proofs of the claims in `tracer.theory.claims.averages`."""

from collections.abc import Callable

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof, bound, equation

T, c_1, c_2 = sp.symbols("T c_1 c_2", positive=True)
t, k = sp.symbols("t k", positive=True, integer=True)


def streaming_rate(newest: sp.Expr, before: sp.Expr) -> sp.Expr:
    """omega_t."""
    return newest / (before + newest)


def average_residues(rate: Callable[[sp.Expr, sp.Expr], sp.Expr] = streaming_rate) -> list[sp.Expr]:
    """Induction: the teacher is the sum of alpha_k W_k over that of alpha_k, whatever W_t comes next with whatever weight.

    The rate is given the newest weight and the sum before it. At first the teacher is W_0, whatever alpha_0 > 0.
    """
    newest, before = sp.symbols("alpha_t S_{t-1}", positive=True)
    summed, iterate = sp.symbols("M_{t-1} W_t", commutative=False)
    share = rate(newest, before)
    return [(1 - share) * summed / before + share * iterate - (summed + newest * iterate) / (before + newest)]


def clock_residues(left: sp.Expr = (c_2 - c_1) / (T + c_2)) -> list[sp.Expr]:
    """1 - tau_T, less what is claimed to be left: its sign is that of c_2 - c_1."""
    return [1 - (T + c_1) / (T + c_2) - left]


def anchor_share(first: sp.Expr, total: sp.Expr) -> sp.Expr:
    """S_0 / S_t."""
    return first / total


def anchor_residues(share: Callable[[sp.Expr, sp.Expr], sp.Expr] = anchor_share) -> list[sp.Expr]:
    """Induction over updates of what the pretrained model keeps, for a sum of weights that starts at any value; then from 0.

    The share is given that value and the sum so far. Started at 0, the first rate is 1.
    """
    first, before, newest = sp.symbols("S_0 S_{t-1} alpha_t", positive=True)
    kept = share(first, before) * (1 - streaming_rate(newest, before))
    return [share(first, first) - 1, kept - share(first, before + newest), share(sp.Integer(0), newest)]


def following_bound(product: sp.Expr, before: sp.Expr, farthest: sp.Expr) -> sp.Expr:
    """Of |Wbar_t - W_infty|."""
    return product * before + farthest


def following_residues(bound: Callable[[sp.Expr, sp.Expr, sp.Expr], sp.Expr] = following_bound) -> list[sp.Expr]:
    """Induction over updates from s on: a bound on the teacher's distance from the limit, by its own at s and the students' since.

    It is given the product of 1 - omega_k, and these two. The product vanishes where the sum of omega does not end, since
    -log(1 - omega) - omega rises from 0; where it ends, as of 1/(t + 1)^2, the pretrained model keeps a share, here half.
    """
    product, before, farthest, rate, steps = sp.symbols("Pi e_s delta_s omega s", positive=True)
    updated = (1 - rate) * bound(product, before, farthest) + rate * farthest
    excess, kept = -sp.log(1 - rate) - rate, (steps + 2) / (2 * (steps + 1))
    falls = [excess.subs(rate, 0), excess.diff(rate) - rate / (1 - rate)]
    ends = [kept.subs(steps, 0) - 1, kept.subs(steps, steps + 1) - kept * (1 - 1 / (steps + 2) ** 2)]
    return [
        updated - bound(product * (1 - rate), before, farthest),
        *falls,
        *ends,
        sp.limit(kept, steps, sp.oo) - sp.Rational(1, 2),
    ]


def _average() -> sp.Rel:
    weight, iterate = sp.IndexedBase("alpha"), sp.IndexedBase("W")
    return equation(r"{\bar W_t}", sp.Sum(weight[k] * iterate[k], (k, 0, t)) / sp.Sum(weight[k], (k, 0, t)))


def _anchor() -> sp.Rel:
    weight, total = sp.IndexedBase("alpha"), sp.IndexedBase("S")
    return equation(sp.Product(1 - weight[k] / total[k], (k, 1, t)), total[0] / total[t])


def _following() -> sp.Rel:
    names = r"{\|\bar W_t - W_\infty\|}", r"{\|\bar W_s - W_\infty\|}", r"{\sup_{k > s}\|W_k - W_\infty\|}"
    now, before, farthest = map(sp.Symbol, names)
    kept = sp.Product(1 - sp.IndexedBase("omega")[k], (k, sp.Symbol("s", integer=True) + 1, t))
    return bound(now, following_bound(kept, before, farthest))


PROOFS = {
    "streaming-average": Proof(_average(), average_residues),
    "clock-offsets": Proof(equation(1 - (T + c_1) / (T + c_2), (c_2 - c_1) / (T + c_2)), clock_residues),
    "anchor-needs-a-first-weight": Proof(_anchor(), anchor_residues),
    "teacher-follows-student": Proof(_following(), following_residues),
}
