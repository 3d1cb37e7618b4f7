"""Terms, teachers and whole runs against the authors' own code, where checkouts of it are at hand.

    git clone https://github.com/HesamAsad/TRACER /tmp/TRACER
    git clone https://github.com/MLAI-Yonsei/CaRot /tmp/CaRot
    TRACER_AUTHORS=/tmp/TRACER CAROT_AUTHORS=/tmp/CaRot python -m pytest tests/authors -rP

Without them every test is skipped. `-rP` shows the differences: relative, of norms, and behind each the smallest that a wrong
variant leaves, which has to be `POWER` times the tolerance.
"""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.models import EMBEDDING, RandomBatches, TinyDualEncoder
from tests.tolerances import FLOAT32, FLOAT64, POWER
from tracer.averaging import Beta, Clock, Exponential, Kernel
from tracer.models.dual_encoder import Features
from tracer.schedules import cosine
from tracer.strategies import PRESETS, PUBLISHED_DISTILLATION
from tracer.theory.update_indexed import UpdateIndexed
from tracer.training import losses
from tracer.training.objective import FEATURE_TERMS, Objective, Pairing
from tracer.training.teacher import Teacher
from tracer.training.trainer import Loop, Trainer

TOLERANCE = {torch.float32: FLOAT32, torch.float64: FLOAT64}
PRECISION = {torch.float32: "fp32", torch.float64: "fp64"}
PAIRS, STEPS, WARMUP = 6, 10, 3
STUDENT_SCALE, TEACHER_SCALE = 4.0, 6.0
WARMED_UP = PRESETS["carot"].kernel
both_precisions = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=PRECISION.get)


def difference(mine, theirs):
    """|mine - theirs| / |theirs| of two lists of tensors."""
    mine, theirs = (torch.cat([tensor.detach().flatten().double() for tensor in tensors]) for tensors in (mine, theirs))
    return ((mine - theirs).norm() / theirs.norm()).item()


def assert_equal(what, mine, theirs, wrongs, dtype=torch.float64):
    """Equal up to round-off, as none of the wrong variants is."""
    gap, null = difference(mine, theirs), min(difference(wrong, theirs) for wrong in wrongs)
    print(f"{what:<62} {PRECISION[dtype]}  {gap:.1e}  {null:.1e}")
    assert gap <= TOLERANCE[dtype]
    assert null >= POWER * TOLERANCE[dtype]


def with_gradients(term, dtype):
    """A term of the embeddings (student image, student text, teacher image, teacher text), and its gradients by the student's.

    These are taken before the normalisation, which TRACER's module repeats; zero where there is none.
    """
    generator = torch.Generator().manual_seed(5)
    raw = [torch.randn(PAIRS, EMBEDDING, generator=generator, dtype=torch.float64).to(dtype) for _ in range(4)]
    student = [part.requires_grad_() for part in raw[:2]]
    value = term(*(functional.normalize(part, dim=-1) for part in raw))
    return [value, *torch.autograd.grad(value, student, allow_unused=True, materialize_grads=True)]


def paired(term, student_scale=STUDENT_SCALE, teacher_scale=TEACHER_SCALE):
    """A term of a `Pairing`, as one of the four embeddings."""
    scales = torch.tensor(student_scale), torch.tensor(teacher_scale)
    return lambda si, st, ti, tt: term(Pairing(Features(si, st, scales[0]), Features(ti, tt, scales[1])))


def assert_equal_with_gradients(what, mine, theirs, wrongs, dtype):
    mine, theirs, *wrongs = (with_gradients(each, dtype) for each in (mine, theirs, *wrongs))
    for number, part in enumerate(("value", "gradient by student images", "gradient by student texts")):
        assert_equal(f"{what}: {part}", [mine[number]], [theirs[number]], [[wrong[number]] for wrong in wrongs], dtype)


def transposed_cross_kd(pairing):
    """With student images against teacher texts in both directions."""
    return losses.cross_kd(pairing.image_to_teacher_text, pairing.image_to_teacher_text.T, pairing.teacher_logits)


WRONG = {
    "crd": [paired(lambda p: losses.contrastive_relational(p.teacher_logits, p.logits)), paired(FEATURE_TERMS["crd"], 4.0, 4.0)],
    "fd": [paired(lambda p: EMBEDDING * FEATURE_TERMS["fd"](p)), paired(lambda p: FEATURE_TERMS["fd"](p) / 2)],
    "icl": [
        paired(FEATURE_TERMS["icl"], 6.0, 4.0),
        paired(lambda p: losses.interactive_contrastive(p.image_to_teacher_text, p.image_to_teacher_text.T)),
    ],
    "cross_kd": [
        paired(FEATURE_TERMS["cross_kd"], 6.0, 4.0),
        paired(transposed_cross_kd),
    ],
}


@both_precisions
@pytest.mark.parametrize("term", PUBLISHED_DISTILLATION)
def test_terms_of_tracer(tracer_authors, term, dtype):
    weights = {f"alpha_{name}": 0 for name in (*PUBLISHED_DISTILLATION, "mfd", "gd", "afd", "temp_distil")}
    make = tracer_authors.module("src.models.clip_knowledge_distillation").create_clip_kd_module
    module = make(SimpleNamespace(**weights | {f"alpha_{term}": 1}), EMBEDDING)
    scales = torch.tensor(STUDENT_SCALE), torch.tensor(TEACHER_SCALE)

    def theirs(*embeddings):
        return module(*embeddings, *scales, torch.arange(PAIRS))["total_kd_loss"]

    assert_equal_with_gradients(term, paired(FEATURE_TERMS[term]), theirs, WRONG[term], dtype)


@both_precisions
def test_contrastive_loss(tracer_authors, dtype):
    loss = tracer_authors.module("clip.loss").ClipLoss()
    half = paired(lambda p: functional.cross_entropy(p.logits, torch.arange(PAIRS)))
    mine, scale = paired(FEATURE_TERMS["contrastive"]), torch.tensor(STUDENT_SCALE)
    assert_equal_with_gradients("contrastive", mine, lambda si, st, *_: loss(si, st, scale)[0], [half], dtype)


@both_precisions
def test_distillation_of_carot(carot_authors, dtype):
    """A cross-entropy with the teacher's softmax, summed over the directions: the entropy of that aside, twice CRD."""

    def theirs(si, st, ti, tt):
        student, teacher = STUDENT_SCALE * si @ st.T, TEACHER_SCALE * ti @ tt.T
        logits = {"logits_per_image": student, "logits_per_text": student.T}
        logits |= {"logits_per_image_t": teacher, "logits_per_text_t": teacher.T}
        entropy = sum(torch.special.entr(each.softmax(1)).sum(1).mean() for each in (teacher, teacher.T))
        return carot_authors.value("src.models.carot_loss", "dist_loss", **logits) - entropy

    mine, once = paired(lambda p: 2 * FEATURE_TERMS["crd"](p)), paired(FEATURE_TERMS["crd"])
    assert_equal_with_gradients("carot's distillation = 2 crd", mine, theirs, [once], dtype)


@both_precisions
def test_penalties_of_projections(tracer_authors, dtype):
    """Their projections are (width, k) both, ours (k, width)."""
    generator = torch.Generator().manual_seed(6)
    image, text = (torch.randn(3, 5, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for _ in range(2))
    visual = SimpleNamespace(proj=image.T)
    model = SimpleNamespace(module=SimpleNamespace(model=SimpleNamespace(visual=visual, text_projection=text.T)))

    def theirs(product, norm):
        value = tracer_authors.value("src.models.tracer_loss", product, "visual.proj", model=model)
        return tracer_authors.value("src.models.tracer_loss", norm, product, **{product: value})

    of_columns = torch.linalg.matrix_norm(image.T @ image - torch.eye(5, dtype=dtype))
    for what, mine, of_theirs, wrong in (
        ("cross-projection norm", losses.cross_projection_norm(image, text), theirs("cov_vl", "fnorm_val"), (image * text).norm()),
        ("orthogonality", losses.orthogonality(image), theirs("covv", "orth_val"), of_columns),
    ):
        values = [[value, torch.autograd.grad(value, image)[0]] for value in (mine, of_theirs, wrong)]
        for number, part in enumerate(("value", "gradient by the image projection")):
            ours, others, null = ([pair[number]] for pair in values)
            assert_equal(f"{what}: {part}", ours, others, [null], dtype)


def wander(student, teachers, steps):
    """Move a student at random, and teachers by what is to be called after each step."""
    generator = torch.Generator().manual_seed(7)
    for step in range(1, steps + 1):
        with torch.no_grad():
            for parameter in student.parameters():
                parameter += torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        for update in teachers:
            update(step)


@pytest.mark.parametrize("beta", [0.2, 0.5, 0.7, 1.0, 1.5])
def test_teacher_of_tracer(tracer_authors, beta):
    """Weights, and parameters over a run, at period 1."""
    theirs = tracer_authors.module("src.models.beta_moving_average")
    density, kernel, steps = theirs.create_beta_weight_function(beta, 40), Beta(beta, beta, weighting="pdf"), 40
    weights = np.array([density(step) for step in range(steps + 1)])
    mass = Beta(beta, beta) if beta != 1 else Beta(0.9, 0.9)  # both weightings are nearly uniform at 1
    clock = Clock(steps)
    mine, wrong = (torch.from_numpy(each.weights(clock)) for each in (kernel, mass))
    assert_equal(f"beta {beta}: weights", [mine], [torch.from_numpy(weights / weights.sum())], [[wrong]])
    student = TinyDualEncoder().double()
    average = theirs.GeneralMovingAverage(student, density)
    teacher, other = (Teacher(student, each, clock) for each in (kernel, mass))
    wander(student, [lambda step: (average.update(), teacher.update(), other.update())], steps)
    models = (teacher.module, average.moving_avg, other.module)
    ours, others, null = ([*model.parameters()] for model in models)
    assert_equal(f"beta {beta}: parameters after {steps} steps", ours, others, [null])


@pytest.mark.parametrize("period", [1, 4, 10])
def test_teachers_with_a_period(tracer_authors, period):
    """Theirs after n updates weighs as a kernel indexed by updates does, and so as ours of period 1 does after step n.

    It is theirs that is called every `period` steps here; their loop calls it after steps 1, k + 1, 2 k + 1, ... and the last.
    """
    theirs, steps = tracer_authors.module("src.models.beta_moving_average"), 40
    student, kernel = TinyDualEncoder().double(), Beta(0.5, 0.5, weighting="pdf")
    average = theirs.GeneralMovingAverage(student, theirs.create_beta_weight_function(0.5, steps))
    clock = Clock(steps, period)
    teacher, other = Teacher(student, UpdateIndexed(kernel), clock), Teacher(student, Beta(0.5, 0.5), clock)
    wander(student, [lambda step: (step % period or average.update(), teacher.update(), other.update())], steps)
    models = (teacher.module, average.moving_avg, other.module)
    ours, others, null = ([*model.parameters()] for model in models)
    assert_equal(f"period {period}: parameters, indexed by updates", ours, others, [null])
    rows = [UpdateIndexed(kernel).weights(clock), kernel.weights(Clock(steps), clock.updates), Beta(0.5, 0.5).weights(clock)]
    ours, others, null = ([torch.from_numpy(row)] for row in rows)
    assert_equal(f"period {period}: weights are those of step {clock.updates}", ours, others, [null])


@pytest.mark.parametrize("period", [1, 4])
def test_ema_with_its_warm_up(tracer_authors, period):
    """Their momentum at the global step that ours has; their loop is one step behind it."""
    theirs, steps = tracer_authors.module("src.models.beta_moving_average"), 40
    student, clock = TinyDualEncoder().double(), Clock(steps, period)
    momentum = theirs.create_linear_warmup_ema_momentum(0.05, 0.9, 0.2, steps)
    average = theirs.ExponentialMovingAverage(student, momentum)
    teacher, other = Teacher(student, WARMED_UP, clock), Teacher(student, OneStepBehind(WARMED_UP), clock)
    wander(student, [lambda step: (step % period or average.update(step), teacher.update(), other.update())], steps)
    models = (teacher.module, average.moving_avg, other.module)
    ours, others, null = ([*model.parameters()] for model in models)
    assert_equal(f"EMA every {period}: parameters after {steps} steps", ours, others, [null])
    updates = np.arange(1, clock.updates + 1)
    rates = [WARMED_UP.rates(clock, updates), [1 - momentum(n * period) for n in updates], Exponential(0.9).rates(clock, updates)]
    ours, others, null = ([torch.tensor(np.array(row))] for row in rates)
    assert_equal(f"EMA every {period}: rates", ours, others, [null])


@dataclass(frozen=True)
class OneStepBehind(Kernel):
    """An EMA with a warm-up whose rate after step n is that of step n - 1, as in the authors' loops; at 0 the warm-up starts."""

    kernel: Exponential

    def rates(self, clock, updates):
        before = np.asarray(updates) * clock.update_every - 1
        rates = self.kernel.rates(Clock(clock.total_steps), np.maximum(before, 1))
        return np.where(before > 0, rates, 1 - self.kernel.initial_momentum)


TERMS = PUBLISHED_DISTILLATION | {"fd": 2000 * EMBEDDING / 512}  # a mean over dimensions: its weight goes with their number
PENALTIES = {"contrastive": 1.0, "cross_projection_norm": 0.05}
RUNS = {
    "tracer": {
        "loop": {"distil_coef": 0.9, "cross_fnorm": 0.05, "beta": 0.5, "ema_up_freq": 0},
        "kernel": Beta(0.5, 0.5, weighting="pdf"),
        "penalties": PENALTIES,
        "distillation": {name: 0.9 * weight for name, weight in TERMS.items()},
    },
    "tracer, EMA teacher": {
        "loop": {"distil_coef": 0.9, "cross_fnorm": 0.05, "l_orth_wv": 0.2, "ema_teacher": True, "ema_up_freq": 1},
        "kernel": OneStepBehind(WARMED_UP),
        "penalties": PENALTIES | {"orthogonality": 0.2},
        "distillation": {name: 0.9 * weight for name, weight in TERMS.items()},
    },
    "carot": {
        "loop": {"distil_coef": 1.5, "cross_fnorm": 0.05, "l_orth_wv": 0.2, "ema_up_freq": 1},
        "kernel": OneStepBehind(WARMED_UP),
        "penalties": PENALTIES | {"orthogonality": 0.2},
        "distillation": {"crd": 2 * 1.5},
    },
}
LOOP = {"lr": 3e-2, "wd": 0.1, "warmup_length": WARMUP, "m_sche_src": 0.05, "m_sche_tar": 0.9, "m_warm_up": 0.2}


def trained(dtype, kernel, penalties, distillation, from_the_first=False):
    """Parameters of student and teacher after our run, with what the authors' loops have and a configuration has not.

    Decay on all parameters, and no distillation in the first step.
    """
    student = TinyDualEncoder(seed=1)
    teacher = Teacher(student, kernel, Clock(STEPS))
    trainer = Trainer(
        student,
        RandomBatches(STEPS, PAIRS),
        Objective(penalties | distillation if from_the_first else penalties),
        torch.optim.AdamW(student.parameters(), lr=LOOP["lr"], weight_decay=LOOP["wd"]),
        Loop(STEPS, cosine(STEPS, WARMUP), PRECISION[dtype]),
        teacher=teacher,
        on_step=lambda _: setattr(trainer, "objective", Objective(penalties | distillation)),
    )
    trainer.fit()
    return [*student.parameters()], [*teacher.module.parameters()]


def wrong_runs(dtype, run, monkeypatch):
    """Runs that differ in one thing each: the teacher's weights, a term, or the first step, where only ICL has a gradient."""
    yield trained(dtype, **run | {"kernel": Beta(0.5, 0.5) if isinstance(run["kernel"], Beta) else WARMED_UP})
    yield trained(dtype, **run | {"penalties": run["penalties"] | {"cross_projection_norm": 0.0}})
    yield trained(dtype, **run | {"distillation": {name: weight / 2 for name, weight in run["distillation"].items()}})
    if "icl" in run["distillation"]:
        yield trained(dtype, **run, from_the_first=True)
        with monkeypatch.context() as patch:
            patch.setitem(FEATURE_TERMS, "cross_kd", transposed_cross_kd)
            yield trained(dtype, **run)


@both_precisions
@pytest.mark.parametrize("name", RUNS)
@pytest.mark.filterwarnings("ignore")
def test_whole_runs(request, tmp_path, monkeypatch, name, dtype):
    """The authors' loop against our trainer, ten steps on the same batches."""
    method = name.split(",")[0]
    authors = request.getfixturevalue(f"{method}_authors")
    run = {key: value for key, value in RUNS[name].items() if key != "loop"}
    monkeypatch.chdir(tmp_path)
    towers = TinyDualEncoder(seed=1).to(dtype)
    batches = [(batch.images.to(dtype), batch.tokens) for batch in map(RandomBatches(STEPS, PAIRS).__getitem__, range(STEPS))]
    terms = {f"alpha_{term}": weight for term, weight in TERMS.items()} if method == "tracer" else {}
    theirs = authors.train(method, towers, batches, str(tmp_path), **LOOP, **terms, **RUNS[name]["loop"])
    mine, wrongs = trained(dtype, **run), [*wrong_runs(dtype, run, monkeypatch)]
    for number, model in enumerate(("student", "teacher")):
        others = [theirs[number][key] for key, _ in towers.named_parameters()]
        assert_equal(f"{name}: {model} after {STEPS} steps", mine[number], others, [wrong[number] for wrong in wrongs], dtype)
