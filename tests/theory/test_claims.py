"""Every claim: its proof is carried out, wrong formulas fail the same proof, and its check tells it from null predictions."""

import re
import subprocess
import sys

import numpy as np
import pytest
import sympy as sp
from sympy.core.relational import Relational

from tests.tolerances import POWER
from tracer.errors import UserError
from tracer.theory.claims import CLAIMS, NUMBERED, SUBJECTS, by_number, claim
from tracer.theory.claims.claim import compare
from tracer.theory.claims.proofs import (
    averages,
    batches,
    bounds,
    coverage,
    dominance,
    drift,
    ema,
    emphasis,
    endpoints,
    linearisation,
    mixture,
    pareto,
    persistence,
    pretrained,
    proximal,
    quadratic,
    replay,
    strengths,
    surrogate,
    teachers,
    towers,
    wma,
)
from tracer.theory.claims.proofs.proof import Proof, simplified

SEEDS = range(3)

REQUIRED = """
target-matrix linearised-gradient clip-expansion clip-gradient-at-zero no-orthogonal-gradient
surrogate-loss published-scale published-target-growth cross-regulariser-forgets in-batch-factor in-batch-trajectory
pretrained-gradient pretrained-hessian pretrained-decoupling descent-limit
orthogonal-decomposition fine-tuning-limit weight-decay-limit l2-sp-limit static-distillation-limit spectral-limit wise-ft-limit
moving-teacher-limit anchor-bias-l2-sp anchor-bias-distillation anchor-bias-spectral
l2-sp-strength-limits distillation-interpolates l2-sp-keeps-orthogonal-part teachers-exert-no-orthogonal-force
replay-moves-orthogonal-part replay-schur-complement ema-replay pareto-function-space pareto-parameter-space
pareto-replay coverage-kappa coverage-falls coverage-share uncovered-replay held-error held-error-of-convex-losses
streaming-average clock-offsets anchor-needs-a-first-weight teacher-follows-student
power-law-rates ema-weights update-period teacher-displacement energy-never-rises gap-bound
exponential-kernel arcsine-newest-iterate sparse-updates
ema-eigenvalues ema-student ema-gap ema-collapse ema-budget ema-budget-with-period ema-gap-sign ema-stability ema-flow
wma-student wma-teacher wma-gap wma-flow wma-mixture wma-monotone wma-budget wma-stability passive-teacher
wma-persistence-exponent wma-persistence-constant wma-impulse-growth wma-horizon wma-end-of-horizon
orthogonal-drift-fine-tuning orthogonal-part-l2-sp orthogonal-drift-ema orthogonal-drift-wma
svd-optimum distilled-svd-optimum logistic-growth
proximal-step proximal-any-metric proximal-errors proximal-divergence kernel-that-keeps-its-bias proximal-limit
proximal-power-law proximal-horizon proximal-ema
persistence-is-bias finite-horizon-persistence persistence-needs-monotony persistence-bound-is-loose sharp-persistence
descent-persists-longer geometric-rate dominance printed-dominance-proof dominance-forgets
"""

DEFINITIONS = {"wise-ft-limit"}
"""What needs no proof."""


def shifted(formula, by):
    """A formula of two arguments, plus something."""
    return lambda *arguments: formula(*arguments) + by


WRONG = {
    "target-matrix, texts not centred": lambda: linearisation.target_matrix_residues(lambda texts, h: texts / linearisation.rho),
    "clip-expansion, twice the curvature": lambda: linearisation.clip_expansion_residues(
        lambda *norms: 2 * linearisation.small_logit_quadratic(*norms)
    ),
    "clip-expansion, rows only": lambda: linearisation.clip_expansion_residues(lambda n, rows, columns: rows / (2 * n**2)),
    "surrogate-loss, all combinations": lambda: surrogate.surrogate_residues(lambda pairs: pairs**2, surrogate.half_square),
    "surrogate-loss, equivalent": lambda: surrogate.surrogate_residues(lambda pairs: pairs * (pairs - 1), lambda embedded: 0),
    "published-scale, strengths kept": lambda: surrogate.scale_residues(surrogate.strength, surrogate.strength),
    "published-target-growth, with the square": lambda: surrogate.growth_residues(surrogate.m**2),
    "cross-regulariser-forgets, kept": lambda: surrogate.regulariser_residues(sp.Integer(1)),
    "descent-limit, nothing kept": lambda: quadratic.descent_residues(quadratic.inverse * quadratic.b),
    "in-batch-factor, that of drawing with replacement": lambda: batches.in_batch_factor_residues((batches.B - 1) / batches.B),
    "in-batch-trajectory, no factor": lambda: batches.in_batch_trajectory_residues(sp.Integer(1)),
    "pretrained-gradient, one direction": lambda: pretrained.gradient_residues(
        lambda softmaxes: (softmaxes.over_texts - sp.eye(softmaxes.pairs)) / softmaxes.pairs
    ),
    "pretrained-hessian, means not taken off": lambda: pretrained.hessian_residues(
        lambda softmaxes, direction: (
            softmaxes.over_texts.multiply_elementwise(direction),
            softmaxes.over_images.multiply_elementwise(direction),
        )
    ),
    "pretrained-decoupling, penalty alone": lambda: pretrained.decoupled_residues(pretrained.rho * pretrained.s + pretrained.mu),
    "fine-tuning-limit, penalty forgotten": lambda: endpoints.limit_residues(endpoints.cross / endpoints.s, sp.Integer(0)),
    "static-distillation-limit, that of L2-SP": lambda: endpoints.limit_residues(
        endpoints.held(endpoints.strength), endpoints.held_penalty(endpoints.strength * endpoints.s)
    ),
    "moving-teacher-limit, an anchor bias": lambda: endpoints.moving_teacher_residues(endpoints.held(endpoints.strength)),
    "anchor-bias-l2-sp, that of distillation": lambda: endpoints.anchor_bias_residues(
        endpoints.strength, endpoints.DISTILLATION_BIAS
    ),
    "anchor-bias-distillation, that of L2-SP": lambda: endpoints.anchor_bias_residues(
        endpoints.strength * endpoints.s, endpoints.L2_SP_BIAS
    ),
    "l2-sp-strength-limits, swapped": lambda: strengths.limit_residues(
        endpoints.held(endpoints.strength).subs(endpoints.mu, 0), endpoints.start, strengths.OPTIMUM
    ),
    "distillation-interpolates, by strength alone": lambda: strengths.interpolation_residues(1 / (1 + endpoints.strength)),
    "l2-sp-keeps-orthogonal-part, less the weaker": lambda: strengths.kept_by_l2_sp_residues(
        endpoints.strength / (1 + endpoints.strength)
    ),
    "teachers-exert-no-orthogonal-force, in the weights": lambda: strengths.force_residues(lambda images: sp.eye(images.rows)),
    "streaming-average, over the sum before": lambda: averages.average_residues(averages.newest / averages.before),
    "clock-offsets, both positive": lambda: averages.clock_residues(averages.c_1 / (averages.T + averages.c_2)),
    "anchor-needs-a-first-weight, kept in any case": lambda: averages.anchor_residues(1 / averages.before),
    "teacher-follows-student, the product alone": lambda: averages.following_residues(averages.product * averages.distance),
    "exponential-kernel, an EMA": lambda: emphasis.exponential_kernel_residues(1 - emphasis.m),
    "arcsine-newest-iterate, both ends alike": lambda: emphasis.emphasis_residues(1 / sp.cos(emphasis.theta)),
    "sparse-updates, steps from 1": lambda: emphasis.sparse_residues(emphasis.SPARSE_TERM.subs(emphasis.j, emphasis.j / 2)),
    "pareto, about the pretrained weights": lambda: pareto.pareto_residues(pareto.start),
    "pareto-replay, about nothing": lambda: pareto.replay_residues(sp.Integer(0)),
    "coverage-kappa, half": lambda: coverage.kappa_residues(coverage.kappa / 2),
    "coverage-falls, from a half": lambda: coverage.falls_residues(coverage.HELD / 2),
    "coverage-share, of the squares": lambda: coverage.share_residues(coverage.HELD**2),
    "uncovered-replay, nothing": lambda: coverage.uncovered_residues(sp.Integer(0)),
    "held-error, half the bound": lambda: coverage.held_error_residues(coverage.QUARTER / 2),
    "held-error-of-convex-losses, that of quadratics": lambda: coverage.convex_residues(coverage.QUARTER),
    "replay-moves-orthogonal-part, the other sign": lambda: replay.static_shift_residues(-replay.STATIC_SHIFT),
    "replay-schur-complement, no complement": lambda: replay.schur_complement_residues(replay.inner),
    "ema-replay, a budget without m": lambda: replay.ema_shift_residues(1 / (1 - replay.m)),
    "power-law-rates, from 1": lambda: teachers.kernel_residues(
        teachers.power_law_weight, teachers.power_law_total, teachers.beta / (teachers.beta + teachers.t - 1)
    ),
    "power-law-rates, another sum": lambda: teachers.kernel_residues(
        teachers.power_law_weight, teachers.power_law_weight, teachers.beta / (teachers.beta + teachers.t)
    ),
    "ema-weights, the momentum": lambda: teachers.kernel_residues(teachers.ema_weight, lambda j: teachers.m**-j, teachers.m),
    "update-period, one step more": lambda: teachers.update_period_residues(1 - teachers.a ** (teachers.k + 1)),
    "teacher-displacement, plain rates": lambda: teachers.displacement_residues(teachers.r),
    "energy-never-rises, one order of the step": lambda: teachers.energy_residues(teachers.eta * teachers.square),
    "gap-bound, without the root": lambda: teachers.gap_bound_residues(teachers.sigma / teachers.ell),
    "ema-eigenvalues, another sign": lambda: ema.eigenvalue_residues(ema.DISCRIMINANT - 4 * ema.m * (1 - ema.m) * ema.b),
    "ema-student, the gap": lambda: ema.path_residues(ema.GAP, (1, 0)),
    "ema-gap, the whole stiffness": lambda: ema.path_residues(ema.GAP * ema.c / ema.sigma, (1, -1)),
    "ema-gap, one step late": lambda: ema.path_residues(ema.GAP.subs(ema.t, ema.t - 1), (1, -1)),
    "ema-collapse, as if alone": lambda: ema.collapse_residues((1 - ema.m) * ema.eta * ema.sigma),
    "ema-budget, without m": lambda: ema.budget_residues(-1 / (1 - ema.m)),
    "ema-budget-with-period, k updates' worth": lambda: ema.period_budget_residues(-ema.k * ema.m / (1 - ema.m)),
    "ema-gap-sign, one eigenvalue": lambda: ema.gap_sign_residues(ema.TRACE / 2),
    "ema-stability, a static teacher's": lambda: ema.stability_residues(ema.c),
    "ema-flow, the other sign": lambda: ema.flow_residues(-ema.FLOW_GAP),
    "wma-student, the teacher": lambda: wma.recursion_residues(wma.teacher_coefficient, wma.teacher_coefficient),
    "wma-teacher, the student": lambda: wma.recursion_residues(wma.student_coefficient, wma.student_coefficient),
    "wma-gap, one step late": lambda: wma.gap_residues(lambda t, k: wma.gap_coefficient(t - 1, k)),
    "wma-flow, the student": lambda: wma.flow_residues(lambda power: wma.flow_coefficient(0, power)),
    "wma-mixture, the teacher's": lambda: mixture.mixture_residues(wma.KAPPA, wma.beta * wma.p + 1),
    "wma-monotone, rising": lambda: mixture.monotone_residues(-mixture.FACTOR_SLOPE),
    "wma-budget, an EMA's": lambda: mixture.budget_residues(-wma.beta / (wma.x * (wma.KAPPA - 1))),
    "wma-stability, half": lambda: mixture.stability_residues(sp.Integer(1)),
    "passive-teacher, one step late": lambda: mixture.passive_residues(mixture.PASSIVE_MEAN.subs(wma.t, wma.t - 1)),
    "wma-persistence-exponent, no pull": lambda: persistence.exponent_residues(persistence.beta),
    "wma-persistence-constant, 1": lambda: persistence.constant_residues(sp.Integer(1)),
    "wma-impulse-growth, of the errors": lambda: persistence.impulse_residues(persistence.IMPULSE / persistence.q),
    "wma-horizon, the power law": lambda: persistence.horizon_residues(
        persistence.CONSTANT * (persistence.x * persistence.T) ** -persistence.KAPPA
    ),
    "wma-end-of-horizon, half the lag": lambda: persistence.lag_residues(persistence.LAG / 2),
    "orthogonal-drift-fine-tuning, kept": lambda: drift.fine_tuning_residues(sp.Integer(1)),
    "orthogonal-part-l2-sp, kept": lambda: drift.l2_sp_residues(sp.Integer(1)),
    "orthogonal-drift-ema, one step late": lambda: drift.ema_residues(drift.SHRUNK.subs(drift.t, drift.t - 1)),
    "orthogonal-drift-wma, no pull": lambda: drift.wma_residues(drift.beta),
    "distilled-svd-optimum, no pull": lambda: towers.completed_square_residues(lambda cross, anchor: cross / towers.rho),
    "logistic-growth, half the rate": lambda: towers.logistic_residues(towers.LOGISTIC.subs(towers.time, towers.time / 2)),
    "proximal-step, roles exchanged": lambda: proximal.step_residues(
        proximal.solved(proximal.ell / (proximal.sigma + proximal.ell))
    ),
    "proximal-any-metric, roles exchanged": lambda: proximal.metric_residues(proximal.SHARES),
    "proximal-errors, a teacher on its student": lambda: proximal.error_residues(1 - proximal.omega),
    "proximal-divergence, a lower bound of e^-qS": lambda: proximal.divergence_residues(proximal.UPPER_LOG, proximal.UPPER_LOG),
    "proximal-divergence, an upper bound of p^S": lambda: proximal.divergence_residues(proximal.LOWER_LOG, proximal.LOWER_LOG),
    "kernel-that-keeps-its-bias, all terms": lambda: proximal.singular_residues(sp.zeta(sp.Rational(3, 2))),
    "proximal-limit, an anchor bias": lambda: proximal.limit_residues(proximal.solved(proximal.q).subs(proximal.before, 0)),
    "proximal-power-law, one step late": lambda: proximal.power_law_residues(proximal.POWER_LAW.subs(proximal.t, proximal.t - 1)),
    "proximal-horizon, the anchor's weight": lambda: proximal.horizon_residues(proximal.a),
    "proximal-ema, the momentum": lambda: proximal.ema_residues(proximal.m),
    "persistence-is-bias, all of the gradient": lambda: bounds.force_residues(sp.Integer(1)),
    "finite-horizon-persistence, twice the weight": lambda: bounds.monotone_residues(2 * bounds.anchor),
    "persistence-needs-monotony, the bound": lambda: bounds.overshoot_residues(sp.Integer(1)),
    "persistence-bound-is-loose, by a constant": lambda: bounds.loose_residues(bounds.q / sp.gamma(1 + bounds.beta * bounds.p)),
    "sharp-persistence, half the power": lambda: bounds.sharp_residues((1 - bounds.omega) ** (bounds.q / 2)),
    "descent-persists-longer, p for q": lambda: bounds.descent_residues(1 - bounds.p * bounds.omega),
    "geometric-rate, without a pull": lambda: bounds.rate_residues((1 - bounds.least) ** bounds.t),
    "dominance, roles exchanged": lambda: dominance.dominance_residues(dominance.q),
    "printed-dominance-proof, ordered": lambda: dominance.printed_residues(sp.Integer(0)),
    "dominance-forgets, the error": lambda: dominance.forgetting_residues(1 - dominance.DISPLACEMENT),
}
"""Formulas that are nearly right, by the claim that they would prove."""


def test_every_required_claim_is_there_once_and_in_the_order_of_the_theory():
    assert list(CLAIMS) == REQUIRED.split()
    assert sum(map(len, SUBJECTS.values())) == len(CLAIMS)


@pytest.mark.parametrize("id", CLAIMS)
def test_says_what_it_claims(id):
    found = claim(id)
    assert found.id == id
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", id)
    assert re.fullmatch(r"[A-Z][^\n]*[^.\s]\.", found.statement)
    assert re.search(r"arXiv \d{4}\.\d{5}|this project", found.source)
    assert isinstance(found.proof.formula, Relational)
    latex = found.proof.latex()
    assert len(latex) > 4
    assert not re.search(r"\w\*\w", latex), "sympy printed some part as code"
    assert latex.count("{") == latex.count("}")
    assert latex.count(r"\left") == latex.count(r"\right")


@pytest.mark.parametrize("id", [id for id in CLAIMS if id not in DEFINITIONS])
def test_proof_leaves_nothing(id):
    residues = claim(id).proof.residues()
    assert residues
    assert all(residue == 0 for residue in residues), residues


def test_only_definitions_have_no_proof():
    assert {id for id, found in CLAIMS.items() if found.proof.steps is None} == DEFINITIONS
    assert all(claim(id).proof.residues() == [] for id in DEFINITIONS)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_formula_is_not_proved(name):
    assert any(simplified(residue) != 0 for residue in WRONG[name]())


def test_every_proof_that_takes_a_formula_is_shown_to_fail():
    of_no_formula = {"linearised-gradient", "clip-gradient-at-zero", "no-orthogonal-gradient", "orthogonal-decomposition"}
    of_the_same_proof = {
        "weight-decay-limit": "fine-tuning-limit",
        "l2-sp-limit": "static-distillation-limit",
        "spectral-limit": "static-distillation-limit",
        "anchor-bias-spectral": "anchor-bias-distillation",
        "pareto-function-space": "pareto",
        "pareto-parameter-space": "pareto",
        "svd-optimum": "distilled-svd-optimum",
    }
    shown = {name.split(",")[0] for name in WRONG}
    left = {of_the_same_proof.get(id, id) for id in CLAIMS} - of_no_formula - DEFINITIONS
    assert shown == left


def test_a_false_claim_keeps_its_residues():
    t = sp.Symbol("t")
    false = Proof(sp.Eq(t**2, t**3), lambda: [t**2 - t**3])
    assert false.residues() != [0]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("id", CLAIMS)
def test_check_tells_the_claim_from_its_nulls(id, seed):
    found = claim(id).check(np.random.default_rng(seed))
    assert found.error <= found.tolerance
    assert found.null_error >= POWER * found.tolerance


def test_every_numbered_result_of_the_paper_is_answered():
    found = by_number()
    assert tuple(found)[: len(NUMBERED)] == NUMBERED
    assert [place for place in NUMBERED if not found[place]] == []
    assert all(re.match(r"(Section|Equation|Algorithm) ", place) for place in tuple(found)[len(NUMBERED) :])
    assert {each.id for claims in found.values() for each in claims} == {id for id, each in CLAIMS.items() if each.paper}


def test_comparison_takes_the_best_null_relative_to_what_was_measured():
    found = compare(np.array([1.0, 2.5]), np.array([1.0, 2.0]), 0.0, np.array([2.0, 2.0]), tolerance=0.1)
    assert found == (0.25, 0.1, 0.5)
    assert compare(1.0, 2.0, 0.0, tolerance=0.1, scale=4.0) == (0.25, 0.1, 0.5)


def test_unknown_claim_names_the_nearest():
    with pytest.raises(UserError, match=r"unknown claim 'ema-bugdet' \(did you mean 'ema-budget'\?\)"):
        claim("ema-bugdet")


WITHOUT_SYMPY = """
import sys
import numpy as np
sys.modules["sympy"] = None  # as if it were not installed
from tracer.errors import UserError
from tracer.theory.claims import CLAIMS, by_number, claim
assert all(each.id and each.statement and each.source for each in CLAIMS.values())
assert claim("ema-collapse") in by_number()["Corollary C.9"]
found = [each.check(np.random.default_rng(0)) for each in CLAIMS.values()]
assert all(check.error <= check.tolerance for check in found)
try:
    claim("ema-budget").proof
except UserError as error:
    print(error)
"""


def test_only_proofs_need_sympy():
    found = subprocess.run([sys.executable, "-c", WITHOUT_SYMPY], capture_output=True, text=True, check=True)
    assert found.stdout == "the proof of 'ema-budget' needs the package sympy: pip install sympy\n"
