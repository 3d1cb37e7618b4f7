import copy

import pytest
import torch

from tests.models import RandomBatches, TinyDualEncoder
from tracer.training import distances, losses
from tracer.training.objective import Pairing


def test_distance_is_euclidean_over_all_weights():
    model, other = TinyDualEncoder(seed=1), TinyDualEncoder(seed=2)
    squares = [(a - b).square().sum() for a, b in zip(model.parameters(), other.parameters(), strict=True)]
    assert distances.distance(model, other).item() == pytest.approx(sum(squares).sqrt().item())
    assert distances.distance(model, copy.deepcopy(model)) == 0


def test_distance_leaves_out_frozen_weights():
    model = TinyDualEncoder(seed=1)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.words.weight += 5
        other.log_scale += 2
    model.words.weight.requires_grad_(False)
    assert distances.distance(model, other).item() == pytest.approx(2)


def test_distance_between_precisions_is_taken_in_the_others():
    model = TinyDualEncoder(seed=1)
    rounded = copy.deepcopy(model).to(torch.bfloat16)
    expected = distances.distance(copy.deepcopy(rounded).float(), model)
    assert distances.distance(rounded, model).item() == pytest.approx(expected.item())
    assert expected > 0


def test_batch_kl_is_that_of_the_distillation_term():
    batch = RandomBatches(1)[0][:2]
    pairing = Pairing(TinyDualEncoder(seed=1)(*batch), TinyDualEncoder(seed=2)(*batch))
    gap = distances.batch_kl(pairing)
    assert gap.item() == losses.contrastive_relational(pairing.logits, pairing.teacher_logits).item()
    assert gap > 0
    assert not gap.requires_grad
