import copy

import pytest
import torch

from tests.models import RandomBatches, TinyDualEncoder
from tracer import losses
from tracer.models.dual_encoder import Features
from tracer.objective import DISTILLATION_TERMS, FEATURE_TERMS, WEIGHT_TERMS, Objective, Pairing, trained_parameters

EVERY_TERM = {name: 0.5 + i for i, name in enumerate([*FEATURE_TERMS, *WEIGHT_TERMS, "linearised_contrastive"])}


@pytest.fixture
def pairing():
    batch = RandomBatches(1)[0]
    return Pairing(TinyDualEncoder(seed=1)(*batch), TinyDualEncoder(seed=2)(*batch))


def test_total_is_the_weighted_sum_of_all_terms(pairing):
    objective, model, anchor = Objective(EVERY_TERM), TinyDualEncoder(seed=1), TinyDualEncoder(seed=2)
    terms = {**objective.of_features(pairing), **objective.of_weights(model, anchor)}
    assert set(terms) == set(EVERY_TERM)
    expected = sum(EVERY_TERM[name] * value.item() for name, value in terms.items())
    assert objective.total(terms).item() == pytest.approx(expected, rel=1e-6)


def test_terms_without_weight_are_not_computed():
    """A distillation term of weight 0 would ask for the absent teacher."""
    objective = Objective({"contrastive": 1.0, "crd": 0.0, "l2_sp": 0.0})
    batch = RandomBatches(1)[0]
    assert list(objective.of_features(Pairing(TinyDualEncoder()(*batch)))) == ["contrastive"]
    assert objective.of_weights(TinyDualEncoder(), None) == {}


@pytest.mark.parametrize("term", [*FEATURE_TERMS, *WEIGHT_TERMS, "linearised_contrastive"])
def test_needs(term):
    objective = Objective({term: 1.0})
    assert objective.needs_teacher == (term in {"crd", "fd", "icl", "cross_kd"})
    assert objective.needs_anchor == (term == "l2_sp")


@pytest.mark.parametrize("term", sorted(DISTILLATION_TERMS))
def test_distillation_without_teacher_is_refused(term):
    alone = Pairing(TinyDualEncoder()(*RandomBatches(1)[0]))
    with pytest.raises(ValueError, match="no teacher"):
        Objective({term: 1.0}).of_features(alone)


def test_embedding_penalty_reaches_the_linearised_loss(pairing):
    value = Objective({"linearised_contrastive": 1.0}, embedding_penalty=3.0).of_features(pairing)
    expected = losses.linearised_contrastive(pairing.student.image, pairing.student.text, 3.0)
    assert value["linearised_contrastive"].item() == expected.item()


def test_l2_sp_skips_frozen_parameters():
    model = TinyDualEncoder(seed=1)
    anchor = copy.deepcopy(model)
    with torch.no_grad():
        model.words.weight += 1
        model.log_scale += 2
    model.words.weight.requires_grad_(False)
    assert Objective({"l2_sp": 1.0}).of_weights(model, anchor)["l2_sp"].item() == pytest.approx(2.0)
    mine, theirs = trained_parameters(model, anchor)
    assert len(mine) == len(theirs) == len(list(model.parameters())) - 1


def test_penalties_see_the_models_projections():
    model = TinyDualEncoder()
    terms = Objective({"cross_projection_norm": 1.0, "orthogonality": 1.0}).of_weights(model, None)
    image, text = model.image_projection.weight.double(), model.text_projection.weight.double()
    assert terms["cross_projection_norm"].item() == pytest.approx((image.T @ text).norm().item(), rel=1e-5)
    gram = image.T @ image - torch.eye(image.shape[1], dtype=torch.float64)
    assert terms["orthogonality"].item() == pytest.approx(gram.norm().item(), rel=1e-5)


def test_logits_are_shared_by_all_terms(monkeypatch):
    """Four matrices of logits serve all five terms."""
    batch = RandomBatches(1)[0]
    pairing = Pairing(TinyDualEncoder(seed=1)(*batch), TinyDualEncoder(seed=2)(*batch))
    products = []
    original = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: products.append(1) or original(a, b))
    Objective(dict.fromkeys(FEATURE_TERMS, 1.0)).of_features(pairing)
    assert len(products) == 4


def test_teachers_features_are_detached():
    live = Features(*(torch.ones(2, 2, requires_grad=True) for _ in range(3)))
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
