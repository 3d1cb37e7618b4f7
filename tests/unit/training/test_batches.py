from collections.abc import Sequence

import numpy as np
import pytest
import torch

from tests.models import RandomBatches, tiny_encoder, tiny_preprocess
from tracer.data.datasets import CaptionedImages
from tracer.errors import UserError
from tracer.models.dual_encoder import Encoder
from tracer.training.batches import Batches, load


def pairs(count=10):
    images = np.arange(count, dtype=np.uint8)[:, None, None, None].repeat(2, axis=2).repeat(3, axis=3)
    return CaptionedImages(images, [(f"{i} 0 0", f"{i} 1 1") for i in range(count)])


def batches(seed=0, count=10, size=3, steps=20):
    return Batches(pairs(count), tiny_encoder(), size, steps, seed)


def same(one, other):
    return all(a is b is None or torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_batch_depends_on_seed_and_step_alone():
    torch.manual_seed(1)
    first = [batches()[step] for step in range(20)]
    torch.manual_seed(2)
    again = [batches()[step] for step in reversed(range(20))][::-1]
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert not same(batches(seed=1)[0], first[0])
    assert not same(first[1], first[0])


def test_preparing_a_batch_leaves_torchs_generator_alone():
    state = torch.get_rng_state()
    batches()[3]
    assert torch.equal(torch.get_rng_state(), state)


def test_each_epoch_shows_each_pair_once_as_far_as_whole_batches_go():
    data = batches()
    for epoch in range(3):
        seen = [int(i) for step in range(3) for i in data[3 * epoch + step].tokens[:, 0]]
        assert len(set(seen)) == 9
    orders = [[int(i) for i in data[3 * epoch].tokens[:, 0]] for epoch in range(5)]
    assert len({tuple(order) for order in orders}) > 1


def test_images_stay_with_their_captions():
    """Image i has the value i everywhere, and captions that start with it."""
    encoder = tiny_encoder()
    data = Batches(pairs(), Encoder(encoder.model, tiny_preprocess, tiny_preprocess, encoder.tokenize), 3, 20, 0)
    for batch in load(data, 0, 20):
        assert torch.equal(batch.images, batch.tokens[:, :1] / 128 - torch.ones(3, 6))


def test_all_captions_of_an_image_are_drawn():
    drawn = {tuple(row.tolist()) for step in range(20) for row in batches()[step].tokens}
    assert len(drawn) == 20


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_starts_where_it_is_told(workers):
    data = batches()
    loaded = list(load(data, 15, 20, workers))
    assert len(loaded) == 5
    assert all(same(batch, data[15 + i]) for i, batch in enumerate(loaded))


@pytest.mark.parametrize("workers", [0, 2])
def test_replay_images_are_loaded_with_their_batch(workers):
    data = RandomBatches(3, replay=4)
    loaded = list(load(data, 0, 3, workers))
    assert [batch.replay.shape for batch in loaded] == [(4, 6)] * 3
    assert all(same(batch, data[step]) for step, batch in enumerate(loaded))


def test_loading_leaves_torchs_generator_alone():
    state = torch.get_rng_state()
    list(load(batches(), 0, 3))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_loop_over_all_ends():
    assert sum(1 for _ in batches(steps=7)) == 7
    for step in (7, -1):
        with pytest.raises(IndexError):
            batches(steps=7)[step]


class Counted(Sequence):
    """Captions that are read when asked for, of which pair i has i + 1; `read` are those that were."""

    def __init__(self, count):
        self.count, self.read = count, []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.read.append(int(index))
        return tuple(f"{index} {number} 0" for number in range(index + 1))


def test_captions_of_other_rows_are_not_read():
    """Every process prepares its own rows, and they are those that one process would prepare."""
    whole = Batches(CaptionedImages(pairs().images, Counted(10)), tiny_encoder(), 4, 20, 0)
    parts = []
    for rows in (slice(0, 2), slice(2, 4)):
        part = Batches(CaptionedImages(pairs().images, Counted(10)), tiny_encoder(), 4, 20, 0)
        part.rows = rows
        parts.append(part)
    drawn = set()
    for step in range(20):
        expected, mine = whole[step], [part[step] for part in parts]
        assert torch.equal(expected.tokens, torch.cat([batch.tokens for batch in mine]))
        assert torch.equal(expected.images, torch.cat([batch.images for batch in mine]))
        drawn |= {tuple(row.tolist()[:2]) for row in expected.tokens}
    assert [len(part.pairs.captions.read) for part in parts] == [40, 40]
    assert len({number for index, number in drawn if index == 9}) > 3


class Faulty(Batches):
    def __getitem__(self, step):
        if step == 2:
            raise UserError("image 2 is broken: repair it")
        return super().__getitem__(step)


@pytest.mark.parametrize("workers", [0, 2])
def test_faults_of_users_keep_their_sentence(workers):
    data = Faulty(pairs(), tiny_encoder(), 3, 20, 0)
    with pytest.raises(UserError) as refused:
        list(load(data, 0, 20, workers))
    assert str(refused.value) == "image 2 is broken: repair it"


@pytest.mark.parametrize(("count", "size", "message"), [(10, 1, "at least 2"), (10, 11, "10 pairs, fewer than")])
def test_impossible_batches_are_refused(count, size, message):
    with pytest.raises(UserError, match=message):
        batches(count=count, size=size)


def test_every_step_has_random_numbers_of_its_own():
    """Within one epoch too, where only the position moves."""
    encoder = tiny_encoder()
    noise = Encoder(encoder.model, tiny_preprocess, lambda images: torch.randn(len(images), 6), encoder.tokenize)
    data = Batches(pairs(), noise, 3, 20, 0)
    assert len({tuple(data[step].images[0].tolist()) for step in range(20)}) == 20


def test_going_through_all_batches_ends():
    seen = list(batches(steps=7))
    assert len(seen) == 7
    assert all(same(batch, batches()[step]) for step, batch in enumerate(seen))
