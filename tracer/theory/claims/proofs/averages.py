"""Formulas and proofs of the claims in `tracer.theory.claims.averages`."""

import sympy as sp

from tracer.theory.claims.proofs.proof import Proof, bound, equation

T, c_1, c_2 = sp.symbols("T c_1 c_2", positive=True)
t, k = sp.symbols("t k", positive=True, integer=True)
first, before, newest = sp.symbols("S_0 S_{t-1} alpha_t", positive=True)
"""Sums of the weights at first and before the newest, and that one."""
product, distance, farthest = sp.symbols("Pi e_s delta_s", positive=True)
"""Of 1 - omega_k since s; the teacher's distance from the limit at s; the farthest student's since."""
RATE = newest / (before + newest)


def average_residues(rate: sp.Expr = RATE) -> list[sp.Expr]:
    """Induction: the teacher is the sum of alpha_k W_k over that of alpha_k, whatever W_t comes next with whatever weight.

    At first the teacher is W_0, whatever alpha_0 > 0.
    """
    summed, iterate = sp.symbols("M_{t-1} W_t", commutative=False)
    return [(1 - rate) * summed / before + rate * iterate - (summed + newest * iterate) / (before + newest)]


def clock_residues(left: sp.Expr = (c_2 - c_1) / (T + c_2)) -> list[sp.Expr]:
    """1 - tau_T, less what is claimed to be left: its sign is that of c_2 - c_1."""
    return [1 - (T + c_1) / (T + c_2) - left]


def anchor_residues(share: sp.Expr = first / before) -> list[sp.Expr]:
    """Induction over updates of what the pretrained model keeps, for a sum of weights that starts at any value; then from 0.

    Started at 0, the first rate is 1.
    """
    updated = share * (1 - RATE) - share.subs(before, before + newest)
    return [share.subs(before, first) - 1, updated, share.subs({first: 0, before: newest}, simultaneous=True)]


def following_residues(largest: sp.Expr = product * distance + farthest) -> list[sp.Expr]:
    """Induction over updates from s on: a bound on the teacher's distance from the limit, by its own at s and the students' since.

    The product of 1 - omega_k vanishes where the sum of omega does not end, since -log(1 - omega) - omega rises from 0; where it
    ends, as of 1/(t + 1)^2, the pretrained model keeps a share, here half.
    """
    rate, steps = sp.symbols("omega s", positive=True)
    updated = (1 - rate) * largest + rate * farthest - largest.subs(product, product * (1 - rate))
    excess, kept = -sp.log(1 - rate) - rate, (steps + 2) / (2 * (steps + 1))
    falls = [excess.subs(rate, 0), excess.diff(rate) - rate / (1 - rate)]
    ends = [kept.subs(steps, 0) - 1, kept.subs(steps, steps + 1) - kept * (1 - 1 / (steps + 2) ** 2)]
    return [updated, *falls, *ends, sp.limit(kept, steps, sp.oo) - sp.Rational(1, 2)]


def _average() -> sp.Rel:
    weight, iterate = sp.IndexedBase("alpha"), sp.IndexedBase("W")
    return equation(r"{\bar W_t}", sp.Sum(weight[k] * iterate[k], (k, 0, t)) / sp.Sum(weight[k], (k, 0, t)))


def _anchor() -> sp.Rel:
    weight, total = sp.IndexedBase("alpha"), sp.IndexedBase("S")
    return equation(sp.Product(1 - weight[k] / total[k], (k, 1, t)), total[0] / total[t])


def _following() -> sp.Rel:
    names = r"{\|\bar W_t - W_\infty\|}", r"{\|\bar W_s - W_\infty\|}", r"{\sup_{k > s}\|W_k - W_\infty\|}"
    now, at_first, since = map(sp.Symbol, names)
    kept = sp.Product(1 - sp.IndexedBase("omega")[k], (k, sp.Symbol("s", integer=True) + 1, t))
    return bound(now, kept * at_first + since)


PROOFS = {
    "streaming-average": Proof(_average(), average_residues),
    "clock-offsets": Proof(equation(1 - (T + c_1) / (T + c_2), (c_2 - c_1) / (T + c_2)), clock_residues),
    "anchor-needs-a-first-weight": Proof(_anchor(), anchor_residues),
    "teacher-follows-student": Proof(_following(), following_residues),
}
