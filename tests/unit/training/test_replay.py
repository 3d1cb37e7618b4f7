import numpy as np
import pytest
import torch

from tests.models import tiny_encoder
from tests.processes import in_processes
from tracer.data.datasets import CaptionedImages
from tracer.data.images import CorruptSample
from tracer.errors import UserError
from tracer.training.batches import Batches, load
from tracer.training.replay import Replay

STEPS = 12


class Pool:
    """Images of one number each, some of which cannot be read."""

    def __init__(self, count, corrupt=()):
        self.count, self.corrupt = count, set(corrupt)

    def __len__(self):
        return self.count

    def __getitem__(self, position):
        if position in self.corrupt:
            raise CorruptSample(f"{position}.png", "it is empty")
        return np.full((1, 2, 3), position, dtype=np.uint8)


def replay(count=9, corrupt=(), images=4, texts=3, seed=0, **parts):
    return Replay(Pool(count, corrupt), images, [f"{n % 10} 1 4" for n in range(7)], texts, seed, **parts)


def numbers(drawn):
    images, _ = drawn
    return [int(image[0, 0, 0]) for image in images]


def batches(shown, seed=0):
    images = np.random.default_rng(1).integers(256, size=(10, 1, 2, 3), dtype=np.uint8)
    return Batches(CaptionedImages(images, [(f"{n} 2 3",) for n in range(10)]), tiny_encoder(), 4, STEPS, seed, replay=shown)


def test_draws_depend_on_seed_and_step_alone():
    first, again, other = (replay(seed=seed) for seed in (0, 0, 1))
    for step in range(STEPS):
        assert numbers(first.images_of(step, {})) == numbers(again.images_of(step, {}))
        assert first.texts_of(step) == again.texts_of(step)
    drawn = [[numbers(each.images_of(step, {})) for step in range(STEPS)] for each in (first, other)]
    assert drawn[0] != drawn[1]
    assert len(set(map(tuple, drawn[0]))) > STEPS / 2


def test_no_step_shows_anything_twice_and_all_steps_show_everything():
    seen, texts = set(), set()
    for step in range(STEPS):
        shown = numbers(replay().images_of(step, {}))
        assert len(set(shown)) == len(shown) == 4
        seen |= set(shown)
        texts |= set(replay().texts_of(step))
    assert seen == set(range(9))
    assert len(texts) == 7


def test_pairs_are_the_same_with_and_without():
    for step in range(STEPS):
        alone, beside = batches(None)[step], batches(replay())[step]
        assert torch.equal(alone.images, beside.images)
        assert torch.equal(alone.tokens, beside.tokens)
        assert beside.replay.shape == (4, 6)
        assert beside.replay_tokens.shape == (3, 3)
        assert alone.replay is alone.replay_tokens is None


@pytest.mark.parametrize(("images", "texts"), [(0, 3), (4, 0)])
def test_either_may_be_absent(images, texts):
    batch = batches(replay(images=images, texts=texts))[0]
    assert (batch.replay is None, batch.replay_tokens is None) == (images == 0, texts == 0)


def test_images_are_augmented_by_seeds_of_their_own():
    """The tiny encoder adds noise: the same image has another at another step."""
    shown = [batches(replay(count=1, images=1))[step].replay for step in (0, 1, 0)]
    assert torch.equal(shown[0], shown[2])
    assert not torch.equal(shown[0], shown[1])


def test_captions_and_texts_are_as_long():
    """Tokenised together: a tokenizer may cut them after the longest."""
    data, seen = batches(replay()), []
    data.tokenize = lambda texts: seen.append(len(texts)) or tiny_encoder().tokenize(texts)
    batch = data[0]
    assert seen == [7]
    assert batch.tokens.shape[1] == batch.replay_tokens.shape[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_another_image_stands_in_for_a_corrupt_one(workers):
    shown = replay(corrupt={2, 5}, max_corrupt_share=0.3)
    skipped = {}
    for step in range(STEPS):
        drawn = numbers(shown.images_of(step, skipped))
        sound = numbers(replay().images_of(step, {}))
        assert len(drawn) == 4
        assert not {2, 5} & set(drawn)
        assert all(mine == theirs for mine, theirs in zip(drawn, sound, strict=True) if theirs not in (2, 5))
    assert set(skipped) == {"2.png", "5.png"}
    met = set()

    class Noted:
        def add(self, corrupt, step, replayed=False):
            met.update((each.sample, replayed) for each in corrupt)

    list(load(batches(shown), 0, STEPS, workers, Noted()))
    assert met == {("2.png", True), ("5.png", True)}


def test_one_image_does_not_search_beyond_the_share():
    with pytest.raises(UserError, match=r"2 of the 9 replay images met so far are corrupt, .*replay\.images\.max_corrupt_share"):
        replay(corrupt=range(8), max_corrupt_share=0.2).images_of(0, {})
    with pytest.raises(UserError, match="none of the replay images can be read"):
        replay(corrupt=range(9), max_corrupt_share=1.0).images_of(0, {})


@pytest.mark.parametrize(
    ("parts", "told"), [({"images": 10}, "9 replay images, fewer than the 10"), ({"texts": 8}, "7 replay texts")]
)
def test_too_few_for_a_step_are_refused(parts, told):
    with pytest.raises(UserError, match=told):
        replay(**parts)


def test_processes_share_what_one_would_show(tmp_path):
    def shown(index):
        mine = batches(replay(images=4, texts=2)).share()
        return [(mine[step].replay, mine[step].replay_tokens) for step in range(3)]

    parts = in_processes(tmp_path, shown)
    for step in range(3):
        whole = batches(replay(images=4, texts=2))[step]
        for place, part in enumerate((whole.replay, whole.replay_tokens)):
            assert torch.equal(torch.cat([each[step][place] for each in parts]), part)


def test_unequal_shares_are_refused(tmp_path):
    answers = in_processes(tmp_path, lambda index: batches(replay(images=4, texts=3)).share())
    assert answers == ["UserError: replay.texts_per_step is 3, which 2 processes cannot share equally: make it a multiple of 2"] * 2
