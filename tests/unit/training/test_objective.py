import copy

import pytest
import torch

from tests.models import RandomBatches, TinyDualEncoder
from tests.tolerances import FLOAT64, POWER
from tracer.errors import UserError
from tracer.models.dual_encoder import Features
from tracer.training.objective import DISTILLATION_TERMS, FEATURE_TERMS, WEIGHT_TERMS, Objective, Pairing, trained_parameters

EVERY_TERM = {name: 0.5 + i for i, name in enumerate([*FEATURE_TERMS, *WEIGHT_TERMS])}


def embedded(model, replay=0):
    """One batch as a model embeds it, with that many replay images and texts."""
    batch = RandomBatches(1, replay=replay, replay_texts=replay)[0]
    pairs = model(batch.images, batch.tokens)
    if not replay:
        return pairs
    further = model(batch.replay, batch.replay_tokens)
    return pairs._replace(replay=further.image, replay_text=further.text)


@pytest.fixture
def pairing():
    return Pairing(embedded(TinyDualEncoder(seed=1), replay=3), embedded(TinyDualEncoder(seed=2), replay=3))


def test_total_is_the_weighted_sum_of_all_terms(pairing):
    objective, (model, anchor, teacher) = Objective(EVERY_TERM), (TinyDualEncoder(seed) for seed in (1, 2, 3))
    terms = {**objective.of_features(pairing), **objective.of_weights(model, anchor, teacher)}
    assert set(terms) == set(EVERY_TERM)
    expected = sum(EVERY_TERM[name] * value.item() for name, value in terms.items())
    assert objective.total(terms).item() == pytest.approx(expected, rel=1e-6)


def test_terms_without_weight_are_not_computed():
    """A distillation term of weight 0 would ask for the absent teacher."""
    objective = Objective({"contrastive": 1.0, "crd": 0.0, "l2_sp": 0.0, "l2_teacher": 0.0})
    assert list(objective.of_features(Pairing(embedded(TinyDualEncoder())))) == ["contrastive"]
    assert objective.of_weights(TinyDualEncoder(), None, None) == {}


@pytest.mark.parametrize("term", EVERY_TERM)
def test_needs(term):
    objective = Objective({term: 1.0})
    replays = term in {"replay_fd", "replay_text_fd", "replay_crd"}
    assert objective.needs_teacher == (replays or term in {"crd", "fd", "icl", "cross_kd", "lipsum", "l2_teacher"})
    assert objective.needs_anchor == (term == "l2_sp")
    anchored = Objective({term: 1.0}, replay_target="anchor")
    assert anchored.needs_teacher == (objective.needs_teacher and not replays)
    assert anchored.needs_anchor == (replays or term == "l2_sp")
    assert anchored.replays_anchor == replays
    assert anchored.compares_features == (objective.compares_features and not replays)


@pytest.mark.parametrize("term", sorted(DISTILLATION_TERMS & FEATURE_TERMS.keys()))
def test_distillation_without_teacher_is_refused(term):
    alone = Pairing(embedded(TinyDualEncoder(), replay=3))
    with pytest.raises(ValueError, match="no teacher"):
        Objective({term: 1.0}).of_features(alone)


@pytest.mark.parametrize(("student", "teacher"), [(0, 0), (0, 3), (3, 0)])
@pytest.mark.parametrize("term", ["replay_fd", "replay_text_fd", "replay_crd", "lipsum"])
def test_replay_of_nothing_is_refused(term, student, teacher):
    pairing = Pairing(embedded(TinyDualEncoder(), student), embedded(TinyDualEncoder(), teacher))
    with pytest.raises(UserError, match=r"replay_(text_)?fd .* the batch has none"):
        Objective({term: 1.0}).of_features(pairing)


def test_replay_is_compared_with_what_it_is_held_to(pairing):
    """Another model than the teacher, where there is one."""
    student, kept = pairing.student, embedded(TinyDualEncoder(seed=3), replay=3)
    term = Objective({"replay_fd": 1.0}).of_features(Pairing(student, pairing.teacher, kept))["replay_fd"]
    assert term == (student.replay - kept.replay).square().mean()
    assert abs(term - Objective({"replay_fd": 1.0}).of_features(pairing)["replay_fd"]) > POWER * FLOAT64


@pytest.mark.parametrize(("term", "missing"), [("l2_sp", "anchor"), ("l2_teacher", "teacher")])
def test_distance_to_absent_weights_is_refused(term, missing):
    present = {"anchor": TinyDualEncoder(), "teacher": TinyDualEncoder()} | {missing: None}
    with pytest.raises(ValueError, match=f"{term} term an? {missing}"):
        Objective({term: 1.0}).of_weights(TinyDualEncoder(), **present)


def test_distances_are_taken_to_anchor_and_teacher_each():
    """By numpy, and neither model gets a gradient, even where its parameters would take one."""
    model, anchor, teacher = (TinyDualEncoder(seed).double() for seed in (1, 2, 3))
    terms = Objective({"l2_sp": 1.0, "l2_teacher": 1.0}).of_weights(model, anchor, teacher)
    for term, other in (("l2_sp", anchor), ("l2_teacher", teacher)):
        pairs = zip(model.parameters(), other.parameters(), strict=True)
        expected = sum(((p - o).detach().numpy() ** 2).sum() for p, o in pairs) / 2
        assert terms[term].item() == pytest.approx(expected, rel=FLOAT64)
    assert abs(terms["l2_sp"] - terms["l2_teacher"]) > POWER * FLOAT64
    (terms["l2_sp"] + terms["l2_teacher"]).backward()
    assert all(p.grad is None for other in (anchor, teacher) for p in other.parameters())
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("term", ["l2_sp", "l2_teacher"])
def test_distances_skip_frozen_parameters(term):
    model = TinyDualEncoder(seed=1)
    anchor = copy.deepcopy(model)
    with torch.no_grad():
        model.words.weight += 1
        model.log_scale += 2
    model.words.weight.requires_grad_(False)
    assert Objective({term: 1.0}).of_weights(model, anchor, anchor)[term].item() == pytest.approx(2.0)
    mine, theirs = trained_parameters(model, anchor)
    assert len(mine) == len(theirs) == len(list(model.parameters())) - 1


def test_penalties_see_the_models_projections():
    model = TinyDualEncoder()
    terms = Objective({"cross_projection_norm": 1.0, "product_norm": 1.0, "orthogonality": 1.0}).of_weights(model, None, None)
    image, text = model.image_projection.weight.double(), model.text_projection.weight.double()
    assert terms["cross_projection_norm"].item() == pytest.approx((image.T @ text).norm().item(), rel=1e-5)
    assert terms["product_norm"].item() == pytest.approx((image.T @ text).square().sum().item() / 2, rel=1e-5)
    gram = image @ image.T - torch.eye(len(image), dtype=torch.float64)
    assert terms["orthogonality"].item() == pytest.approx(gram.norm().item(), rel=1e-5)


def test_logits_are_shared_by_all_terms(pairing, monkeypatch):
    """Four matrices of logits serve all the terms but those of replay texts, of which two have two each."""
    products = []
    original = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: products.append(1) or original(a, b))
    Objective(dict.fromkeys(FEATURE_TERMS, 1.0)).of_features(pairing)
    assert len(products) == 8


def test_teachers_features_are_detached():
    live = Features(*(torch.ones(2, 2, requires_grad=True) for _ in range(5)))
    assert not any(part.requires_grad for part in Pairing(live, live).teacher)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"contrastve": 1.0}, "did you mean 'contrastive'"),
        ({"contrastive": 1.0, "cross-kd": 1.0}, "did you mean 'cross_kd'"),
        ({"contrastive": -1.0}, "negative"),
        ({"contrastive": float("nan")}, "negative"),
        ({}, "empty"),
        ({"contrastive": 0.0}, "empty"),
    ],
)
def test_impossible_objectives_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        Objective(weights)
