"""What the strength of a pull decides, from vanishing to boundless, and what it does not: the orthogonal part."""

import numpy as np

from tracer import theory
from tracer.theory.claims.claim import PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.endpoints import descended
from tracer.theory.claims.instances import descend, random_instance, random_second_moment

STRENGTHS = (1e-2, 1.0, 1e2)


@theorem(TRACER, "Theorem 3.2", "Theorem C.2", "Section C.4")
def l2_sp_strength_limits(rng: np.random.Generator) -> Check:
    """Without weight decay L2-SP ends where direct fine-tuning does as its strength vanishes, and at the pretrained weights as it
    grows.
    """
    # The nulls are the limits swapped, and strengths that are merely small and large.
    case = random_instance(rng)
    weak, strong, small, large = (theory.limit(case.problem, theory.L2SP(strength)) for strength in (1e-12, 1e12, 1e-3, 1e3))
    measured = np.stack([descended(case), case.initial_weights])
    return compare(np.stack([weak, strong]), measured, np.stack([strong, weak]), np.stack([small, large]))


@theorem(f"{TRACER} (both parts); {PROJECT} (that it is WiSE-FT)", "Theorem 3.2", "Theorem C.2", "Section C.4")
def distillation_interpolates(rng: np.random.Generator) -> Check:
    """Without weight decay static distillation on the data ends where WiSE-FT with the share rho/(rho + lambda) stands, in all
    modes alike: from direct fine-tuning for a vanishing strength to the pretrained weights for a growing one.
    """
    # The nulls are the share for rho = 1, and L2-SP.
    case = random_instance(rng)
    penalty, strengths = case.embedding_penalty, rng.uniform(0.2, 3.0, 3)

    def ends(*strategies: theory.Strategy) -> np.ndarray:
        return np.stack([theory.limit(case.problem, strategy) for strategy in strategies])

    predicted, of_one = (ends(*map(theory.WiSEFT, rho / (rho + strengths))) for rho in (penalty, 1.0))
    measured = np.stack([descended(case, strength, case.second_moment) for strength in strengths])
    return compare(predicted, measured, of_one, ends(*map(theory.L2SP, strengths)))


@theorem(f"{PROJECT} (the paper's own second term says so too)", "Theorem 3.2", "Theorem C.2", "Section C.4")
def l2_sp_keeps_orthogonal_part(rng: np.random.Generator) -> Check:
    """Without weight decay L2-SP keeps what the data do not see exactly, at every strength and step, as distillation does: they
    differ by mode within the task subspace alone, against the paper's text and Figure 2b.
    """
    # By 50 steps of descent and by the library; the nulls keep less the weaker the pull, or nothing.
    case = random_instance(rng)
    walked = [descend(case, [0.0] * 50, strength) for strength in STRENGTHS]
    ends = [theory.limit(case.problem, theory.L2SP(strength)) for strength in STRENGTHS]
    start = case.off_task(case.initial_weights)
    weaker = [strength / (1 + strength) * start for strength in STRENGTHS] * 2
    return compare(np.stack([start] * 6), case.off_task(np.stack([*walked, *ends])), np.stack(weaker), 0.0)


@theorem(f"{TRACER} (that the part is kept); {PROJECT} (that no strength weakens it)", "Section 3.4", "Section C.6")
def teachers_exert_no_orthogonal_force(rng: np.random.Generator) -> Check:
    """Distillation on the fine-tuning data exerts no force off the task subspace, whatever teacher, strength and distance of
    embeddings: without weight decay it neither damps drift there nor keeps less as its strength falls, against sections 3.4 and
    C.6.
    """
    # A teacher that moves at random, at three strengths; the distance of embeddings is part of the proof.
    # The nulls keep less the weaker the pull, as the published text has it, or what distillation on other inputs keeps.
    case, rates = random_instance(rng), rng.uniform(0, 1, 30)
    start, metrics = case.off_task(case.initial_weights), (case.second_moment, random_second_moment(rng))
    ends, elsewhere = (
        case.off_task(np.stack([descend(case, rates, strength, metric) for strength in STRENGTHS])) for metric in metrics
    )
    weaker = [strength / (case.embedding_penalty + strength) * start for strength in STRENGTHS]
    return compare(np.stack([start] * 3), ends, np.stack(weaker), elsewhere)
