"""Every loss against its formula, written out with loops, in both directions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.tolerances import FLOAT32, FLOAT64, POWER
from tracer.models.dual_encoder import Features
from tracer.training import losses
from tracer.training.objective import FEATURE_TERMS, Pairing

TOLERANCE = {torch.float32: FLOAT32, torch.float64: FLOAT64}
SIDES = ("image", "text")
LOGIT_TERMS = ("contrastive", "crd", "icl", "cross_kd")


def log_softmax(row):
    top = max(row)
    normaliser = top + math.log(sum(math.exp(value - top) for value in row))
    return [value - normaliser for value in row]


def logits(rows, columns, scale):
    return [[scale * sum(a * b for a, b in zip(row, column, strict=True)) for column in columns] for row in rows]


def transposed(matrix):
    return [list(column) for column in zip(*matrix, strict=True)]


def cross_entropy(matrix):
    return -sum(log_softmax(row)[i] for i, row in enumerate(matrix)) / len(matrix)


def divergence(student, teacher):
    """KL(teacher || student) of the rows' softmaxes, mean over rows."""
    total = 0.0
    for mine, theirs in zip(student, teacher, strict=True):
        for q, p in zip(log_softmax(mine), log_softmax(theirs), strict=True):
            total += math.exp(p) * (p - q)
    return total / len(student)


def mean_square(mine, theirs):
    pairs = [(a, b) for x, y in zip(mine, theirs, strict=True) for a, b in zip(x, y, strict=True)]
    return sum((a - b) ** 2 for a, b in pairs) / len(pairs)


def inner(mine, theirs):
    """Mean over rows of the inner product."""
    return sum(a * b for x, y in zip(mine, theirs, strict=True) for a, b in zip(x, y, strict=True)) / len(mine)


def centred(rows):
    means = [sum(column) / len(rows) for column in transposed(rows)]
    return [[value - mean for value, mean in zip(row, means, strict=True)] for row in rows]


def both_directions(of, *matrices):
    return (of(*matrices) + of(*map(transposed, matrices))) / 2


def written_out(s, t):
    """Each term by its formula; `s` and `t` hold lists "image", "text", "replay", "replay_text" of features, and a "scale"."""
    own = logits(s["image"], s["text"], s["scale"])
    teachers = logits(t["image"], t["text"], t["scale"])
    image_to_text = logits(s["image"], t["text"], s["scale"])
    text_to_image = logits(s["text"], t["image"], s["scale"])
    bank, teachers_bank = (logits(each["replay"], each["replay_text"], each["scale"]) for each in (s, t))
    random_texts = (logits(each["image"], t["replay_text"], t["scale"]) for each in (s, t))
    return {
        "contrastive": both_directions(cross_entropy, own),
        "classification": -inner([log_softmax([s["scale"] * value for value in row]) for row in s["image"]], s["text"]),
        "linearised_contrastive": -inner(s["image"], centred(s["text"])),
        "embedding_norm": inner(s["image"], s["image"]) / 2,
        "crd": both_directions(divergence, own, teachers),
        "fd": sum(mean_square(s[side], t[side]) for side in SIDES),
        "replay_fd": mean_square(s["replay"], t["replay"]),
        "replay_text_fd": mean_square(s["replay_text"], t["replay_text"]),
        "replay_crd": both_directions(divergence, bank, teachers_bank),
        "lipsum": mean_square(*random_texts) / 2,
        "icl": (cross_entropy(image_to_text) + cross_entropy(text_to_image)) / 2,
        "cross_kd": (divergence(image_to_text, teachers) + divergence(text_to_image, transposed(teachers))) / 2,
    }


def features(side, dtype, requires_grad=False):
    parts = (
        torch.tensor(side[name], dtype=dtype, requires_grad=requires_grad) for name in (*SIDES, "scale", "replay", "replay_text")
    )
    return Features(*parts)


@st.composite
def sides(draw):
    """Student and teacher features of one batch, of length at most 1, and their scales."""
    n, m, b, k = (draw(st.integers(least, most)) for least, most in ((2, 5), (1, 4), (1, 4), (1, 4)))

    def features(rows):
        raw = draw(arrays.arrays(np.float64, (rows, k), elements=st.floats(-1, 1, width=32)))
        return (raw / math.sqrt(k)).astype(np.float32).tolist()

    def side():
        scale = draw(st.floats(0.5, 20, width=32))
        rows = {"image": n, "text": n, "replay": m, "replay_text": b}
        return {**{name: features(number) for name, number in rows.items()}, "scale": scale}

    return side(), side()


def fixed_sides():
    rng = np.random.default_rng(3)

    def side(scale):
        rows = {"image": 4, "text": 4, "replay": 2, "replay_text": 3}
        return {**{name: (rng.standard_normal((n, 3)) / math.sqrt(3)).tolist() for name, n in rows.items()}, "scale": scale}

    return side(4.0), side(6.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("term", FEATURE_TERMS)
@given(sides())
def test_term_equals_its_formula(term, dtype, drawn):
    student, teacher = drawn
    value = FEATURE_TERMS[term](Pairing(features(student, dtype), features(teacher, dtype))).item()
    expected = written_out(student, teacher)[term]
    size = max(1.0, abs(expected), student["scale"], teacher["scale"])
    assert value == pytest.approx(expected, abs=TOLERANCE[dtype] * size, rel=0)


def one_direction(term):
    """The terms by wrong formulas: one direction of two, or one tower of two."""

    def wrong(s, t):
        own, teachers = (logits(x["image"], x["text"], x["scale"]) for x in (s, t))
        cross = logits(s["image"], t["text"], s["scale"])
        return {
            "contrastive": cross_entropy(own),
            "crd": divergence(own, teachers),
            "fd": mean_square(s["image"], t["image"]),
            "icl": cross_entropy(cross),
            "cross_kd": divergence(cross, teachers),
        }[term]

    return wrong


def swapped(term):
    return lambda s, t: written_out(t, s)[term]


def at_the_other_scale(term):
    return lambda s, t: written_out({**s, "scale": t["scale"]}, {**t, "scale": s["scale"]})[term]


NULLS = {
    **{f"{term}, one direction": (term, one_direction(term)) for term in (*LOGIT_TERMS, "fd")},
    **{f"{term}, student and teacher swapped": (term, swapped(term)) for term in FEATURE_TERMS if not term.endswith("fd")},
    **{f"{term}, scales swapped": (term, at_the_other_scale(term)) for term in LOGIT_TERMS},
    "classification by the contrast of a batch": (
        "classification",
        lambda s, t: cross_entropy(logits(s["image"], s["text"], s["scale"])),
    ),
    "classification without its scale": (
        "classification",
        lambda s, t: -inner([log_softmax(row) for row in s["image"]], s["text"]),
    ),
    "linearised_contrastive of texts as they are": ("linearised_contrastive", lambda s, t: -inner(s["image"], s["text"])),
    "linearised_contrastive, attracted by the mean": (
        "linearised_contrastive",
        lambda s, t: inner(s["image"], centred(s["text"])),
    ),
    "embedding_norm of texts": ("embedding_norm", lambda s, t: inner(s["text"], s["text"]) / 2),
    "embedding_norm without its half": ("embedding_norm", lambda s, t: inner(s["image"], s["image"])),
    "replay_fd of the pairs' images": ("replay_fd", lambda s, t: mean_square(s["image"], t["image"])),
    "replay_fd, a sum over dimensions": ("replay_fd", lambda s, t: 3 * mean_square(s["replay"], t["replay"])),
    "replay_text_fd of the pairs' texts": ("replay_text_fd", lambda s, t: mean_square(s["text"], t["text"])),
    "replay_crd, images alone": (
        "replay_crd",
        lambda s, t: divergence(*(logits(each["replay"], each["replay_text"], each["scale"]) for each in (s, t))),
    ),
    "replay_crd at one scale": (
        "replay_crd",
        lambda s, t: both_directions(divergence, *(logits(each["replay"], each["replay_text"], s["scale"]) for each in (s, t))),
    ),
    "lipsum of the student's texts": (
        "lipsum",
        lambda s, t: mean_square(*(logits(each["image"], s["replay_text"], t["scale"]) for each in (s, t))) / 2,
    ),
    "lipsum at each one's scale": (
        "lipsum",
        lambda s, t: mean_square(*(logits(each["image"], t["replay_text"], each["scale"]) for each in (s, t))) / 2,
    ),
    "cross_kd, images against texts transposed": (
        "cross_kd",
        lambda s, t: both_directions(
            divergence, logits(s["image"], t["text"], s["scale"]), logits(t["image"], t["text"], t["scale"])
        ),
    ),
}


@pytest.mark.parametrize("null", NULLS)
def test_formulas_that_are_nearly_right_are_told_apart(null):
    term, wrong = NULLS[null]
    student, teacher = fixed_sides()
    gap = abs(wrong(student, teacher) - written_out(student, teacher)[term])
    assert gap >= POWER * FLOAT32 * max(student["scale"], teacher["scale"])


@pytest.mark.parametrize("term", FEATURE_TERMS)
def test_gradients_equal_finite_differences(term):
    student, teacher = (features(side, torch.float64, requires_grad=True) for side in fixed_sides())
    target = Features(*(part.detach() for part in teacher))

    def loss(*parts):
        return FEATURE_TERMS[term](Pairing(Features(*parts), target))

    assert torch.autograd.gradcheck(loss, tuple(student))


LEARNING = {
    "contrastive": {"image", "text", "logit_scale"},
    "classification": {"image", "text", "logit_scale"},  # the texts are labels there
    "linearised_contrastive": {"image", "text"},
    "embedding_norm": {"image"},
    "crd": {"image", "text", "logit_scale"},
    "fd": {"image", "text"},
    "replay_fd": {"replay"},
    "replay_text_fd": {"replay_text"},
    "replay_crd": {"replay", "replay_text", "logit_scale"},
    "lipsum": {"image"},
    "icl": {"image", "text", "logit_scale"},
    "cross_kd": {"image", "text", "logit_scale"},
}


def learning(student):
    """Which of the student's parts got a gradient, none of them zero."""
    moved = {name for name, part in student._asdict().items() if part is not None and part.grad is not None}
    assert all(getattr(student, name).grad.abs().sum() > 0 for name in moved)
    return moved


@pytest.mark.parametrize("term", FEATURE_TERMS)
def test_a_term_moves_its_parts_of_the_student_and_nothing_of_the_teacher(term):
    student, teacher = (features(side, torch.float64, requires_grad=True) for side in fixed_sides())
    FEATURE_TERMS[term](Pairing(student, teacher)).backward()
    assert learning(student) == LEARNING[term]
    assert all(part.grad is None for part in teacher)


CROSSED = {
    "cross_kd, image to text alone": (lambda p: losses._batch_kl(p.image_to_teacher_text, p.teacher_logits), "image"),
    "cross_kd, text to image alone": (lambda p: losses._batch_kl(p.text_to_teacher_image, p.teacher_logits.T), "text"),
    "cross_kd, image to text and its transpose": (
        lambda p: losses.cross_kd(p.image_to_teacher_text, p.image_to_teacher_text.T, p.teacher_logits),
        "image",
    ),
    "icl, image to text and its transpose": (
        lambda p: losses.interactive_contrastive(p.image_to_teacher_text, p.image_to_teacher_text.T),
        "image",
    ),
}


@pytest.mark.parametrize("null", CROSSED)
def test_without_one_direction_a_tower_learns_nothing(null):
    """What the test above would see of a term across models that leaves out, or transposes, one of its directions."""
    term, only = CROSSED[null]
    student, teacher = (features(side, torch.float64, requires_grad=True) for side in fixed_sides())
    term(Pairing(student, teacher)).backward()
    assert learning(student) == {only, "logit_scale"}


def test_cross_kd_is_equations_25_to_27():
    """From the embeddings, index by index: h of student and teacher (S, T), images and texts (I, T), N pairs."""
    student, teacher = fixed_sides()
    n = len(student["image"])

    def probability(row, columns, scale, i, j):
        exponents = [math.exp(scale * sum(a * b for a, b in zip(row[i], column, strict=True))) for column in columns]
        return exponents[j] / sum(exponents)

    total = 0.0
    for i in range(n):
        for j in range(n):
            p_teacher = probability(teacher["image"], teacher["text"], teacher["scale"], i, j)
            p_across = probability(student["image"], teacher["text"], student["scale"], i, j)
            q_teacher = probability(teacher["text"], teacher["image"], teacher["scale"], i, j)
            q_across = probability(student["text"], teacher["image"], student["scale"], i, j)
            total += p_teacher * math.log(p_teacher / p_across) + q_teacher * math.log(q_teacher / q_across)
    pairing = Pairing(features(student, torch.float64), features(teacher, torch.float64))
    assert FEATURE_TERMS["cross_kd"](pairing).item() == pytest.approx(total / (2 * n), rel=FLOAT64)


@given(sides(), st.floats(0.1, 5))
def test_linearised_contrastive_with_embedding_norm_is_matrix_least_squares(drawn, rho):
    """Theory 1.3: L = (rho / 2n) |WX - M|^2 - |ZH|^2 / (2 n rho) with M = ZH / rho."""
    side, _ = drawn
    embedded, text = np.array(side["image"]).T, np.array(side["text"]).T
    n = text.shape[1]
    centred = text @ (np.eye(n) - np.ones((n, n)) / n)
    expected = rho / (2 * n) * np.linalg.norm(embedded - centred / rho) ** 2
    expected -= np.linalg.norm(centred) ** 2 / (2 * n * rho)
    image = torch.from_numpy(embedded.T)
    value = losses.linearised_contrastive(image, torch.from_numpy(text.T)) + rho * losses.embedding_norm(image)
    assert value.item() == pytest.approx(expected, abs=100 * FLOAT64)


@given(arrays.arrays(np.float64, (2, 3, 5), elements=st.floats(-2, 2, width=32)))
def test_penalties_of_weights_equal_numpy(projections):
    image, text = projections
    gram = image @ image.T - np.eye(3)
    ours_cross = losses.cross_projection_norm(torch.from_numpy(image), torch.from_numpy(text)).item()
    ours_product = losses.product_norm(torch.from_numpy(image), torch.from_numpy(text)).item()
    ours_gram = losses.orthogonality(torch.from_numpy(image)).item()
    # the square root turns round-off e in the square into sqrt(e) near zero: compare squares
    assert ours_cross**2 == pytest.approx(np.linalg.norm(image.T @ text) ** 2, abs=1000 * FLOAT64)
    assert ours_product == pytest.approx(np.linalg.norm(image.T @ text) ** 2 / 2, abs=1000 * FLOAT64)
    assert ours_gram == pytest.approx(np.linalg.norm(gram), abs=100 * FLOAT64)


@pytest.mark.parametrize("width", [3, 5])
def test_orthonormal_rows_leave_nothing_to_constrain(width):
    """The Gram matrix of the columns would leave sqrt(width - 3), and a gradient."""
    rows = torch.linalg.qr(torch.randn(width, 3, dtype=torch.float64))[0].T.contiguous().requires_grad_()
    value = losses.orthogonality(rows)
    value.backward()
    assert value.item() <= FLOAT64
    assert rows.grad.isfinite().all()
    of_columns = torch.linalg.matrix_norm(rows.T @ rows - torch.eye(width, dtype=torch.float64)).item()
    assert of_columns == pytest.approx(math.sqrt(width - 3), abs=FLOAT64)


def test_gradient_of_orthogonality():
    """|G| with G = W W^T - I changes by 2 G W / |G|; the square's gradient 4 G W, or that of W^T W - I, are others."""
    rows = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    losses.orthogonality(rows).backward()
    gram = (rows @ rows.T - torch.eye(3, dtype=torch.float64)).detach()
    expected = 2 * gram @ rows.detach() / gram.norm()
    torch.testing.assert_close(rows.grad, expected, rtol=0, atol=FLOAT64)
    of_columns = (rows.T @ rows - torch.eye(5, dtype=torch.float64)).detach()
    for wrong in (4 * gram @ rows.detach(), 2 * rows.detach() @ of_columns / of_columns.norm()):
        assert (wrong - expected).abs().max() >= POWER * FLOAT64


def test_squared_distance_sums_half_squares_over_all_tensors():
    mine = [torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])]
    anchor = [torch.tensor([0.0, 4.0]), torch.tensor([[0.0]])]
    assert losses.squared_distance(mine, anchor).item() == (1 + 4 + 9) / 2


def test_gradients_of_penalties_equal_finite_differences():
    a, b = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(losses.cross_projection_norm, (a, b))
    assert torch.autograd.gradcheck(losses.product_norm, (a, b))
    assert torch.autograd.gradcheck(losses.orthogonality, (a,))
    assert torch.autograd.gradcheck(lambda p: losses.squared_distance([p], [b.detach()]), (a,))


SQUARE, WIDE, ROW, VECTOR, EMPTY = (torch.ones(shape) for shape in ((4, 4), (4, 5), (1, 4), (4,), (0, 0)))
MISFITS = {
    "logits that are not square": lambda: losses.contrastive(WIDE),
    "logits of one image": lambda: losses.contrastive(VECTOR),
    "no logits": lambda: losses.contrastive(EMPTY),
    "labels of other classes": lambda: losses.classification(SQUARE, WIDE),
    "labels that broadcast": lambda: losses.classification(SQUARE, ROW),
    "one text for all images": lambda: losses.linearised_contrastive(SQUARE, ROW),
    "texts of another width": lambda: losses.linearised_contrastive(SQUARE, WIDE),
    "an embedding without a batch": lambda: losses.embedding_norm(VECTOR),
    "a teacher of other logits": lambda: losses.contrastive_relational(SQUARE, ROW),
    "students that are not square": lambda: losses.contrastive_relational(WIDE, WIDE),
    "features that broadcast": lambda: losses.feature(SQUARE, ROW),
    "no features": lambda: losses.feature(EMPTY, EMPTY),
    "two directions of other sizes": lambda: losses.interactive_contrastive(SQUARE, WIDE),
    "directions that are not square": lambda: losses.interactive_contrastive(WIDE, WIDE),
    "a teacher across that broadcasts": lambda: losses.cross_kd(SQUARE, SQUARE, ROW),
    "two directions across of other sizes": lambda: losses.cross_kd(SQUARE, ROW, SQUARE),
    "weights that broadcast": lambda: losses.squared_distance([SQUARE], [ROW]),
    "no weights": lambda: losses.squared_distance([], []),
    "weights more than others": lambda: losses.squared_distance([SQUARE, SQUARE], [SQUARE]),
    "projections of other embeddings": lambda: losses.cross_projection_norm(SQUARE, ROW),
    "a product of other embeddings": lambda: losses.product_norm(SQUARE, ROW),
    "a projection that is a vector": lambda: losses.cross_projection_norm(VECTOR, VECTOR),
    "a text projection that is a vector": lambda: losses.cross_projection_norm(SQUARE, VECTOR),
    "rows of a vector": lambda: losses.orthogonality(VECTOR),
    "no rows": lambda: losses.orthogonality(EMPTY),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_shapes_that_do_not_fit_are_refused(misfit):
    """Most of them torch would broadcast to a number that means nothing."""
    with pytest.raises(ValueError, match=r"^\w+ [^\n]{15,200}$"):
        MISFITS[misfit]()


def test_projections_may_have_other_widths():
    assert losses.cross_projection_norm(torch.eye(4), torch.eye(4, 5)).item() == pytest.approx(2)
