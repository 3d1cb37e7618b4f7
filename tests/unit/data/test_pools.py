import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tracer.data import pools
from tracer.data.pools import Noise, Photographs

KINDS = pytest.mark.parametrize("kind", [Noise, Photographs])
sizes, seeds, places = st.integers(1, 48), st.integers(0, 2**32 - 1), st.integers(0, pools.COUNT - 1)
WIDTH, HEIGHT, STEP = 640, 427, 3  # of a photograph, and how many pixels share a value in `measured`


@KINDS
@given(size=sizes, seed=seeds, place=places)
def test_images_depend_on_seed_and_number_alone(kind, size, seed, place):
    pool = kind(size, seed)
    image = pool[place]
    assert (image.shape, image.dtype) == ((size, size, 3), np.uint8)
    pool[place - 1]
    for same in (pool, kind(size, seed), pickle.loads(pickle.dumps(pool))):
        assert np.array_equal(same[place], image)


@KINDS
@given(seed=seeds, other=seeds, place=st.integers(0, pools.COUNT - 5))
def test_no_two_seeds_are_alike(kind, seed, other, place):
    mine, theirs = ([kind(16, each)[place + step] for step in range(4)] for each in (seed, other))
    assert np.array_equal(mine, theirs) == (seed == other)


@KINDS
def test_all_images_of_a_pool_differ(kind):
    assert len({image.tobytes() for image in kind(32, 0, 300)}) == 300


@KINDS
def test_a_pool_ends(kind):
    pool = kind(8, 0, 5)
    assert len(pool) == len(list(pool)) == 5
    assert np.array_equal(pool[-1], pool[4])
    with pytest.raises(IndexError):
        pool[5]


def colors(image):
    return len(np.unique(image.reshape(-1, 3), axis=0))


def edges(image):
    """Rows that differ from the one before."""
    return int((image[1:] != image[:-1]).any(axis=(1, 2)).sum())


class TestNoise:
    def test_is_sharp_or_smooth_alike_often(self):
        sharp = [colors(image) <= pools.MOST for image in Noise(64, 0, 400)]
        assert 160 <= sum(sharp) <= 240

    def test_has_few_cells_and_many(self):
        sharp = [image for image in Noise(64, 0, 600) if colors(image) <= pools.MOST]
        assert {edges(image) + 1 for image in sharp} == {*range(pools.FEWEST, pools.MOST + 1)} | {1}  # of cells that are alike
        assert {colors(image) for image in sharp} >= {*range(pools.FEWEST, pools.MOST + 1)}

    def test_has_all_colors(self):
        pixels = np.concatenate([image.reshape(-1, 3) for image in Noise(32, 0, 300)])
        assert np.histogramdd(pixels, bins=4, range=[(0, 256)] * 3)[0].min() > 0


@pytest.fixture
def measured(monkeypatch):
    """Photographs whose red and green are places, and whose blue tells one from the other."""
    across, down = np.meshgrid(np.arange(WIDTH) // STEP, np.arange(HEIGHT) // STEP)
    images = tuple(Image.fromarray(np.dstack([across, down, np.full_like(down, blue)]).astype(np.uint8)) for blue in (0, 255))
    monkeypatch.setattr(pools, "_photographs", lambda: images)
    return [image.astype(int) for image in Photographs(64, 0, 600)]


class TestPhotographs:
    def test_are_scikit_learns(self):
        assert [photograph.size for photograph in pools._photographs()] == [(WIDTH, HEIGHT)] * 2

    def test_are_read_once(self, monkeypatch):
        read = []
        load = pools.load_sample_image
        pools._photographs.cache_clear()
        monkeypatch.setattr(pools, "load_sample_image", lambda name: read.append(name) or load(name))
        for image in Photographs(32, 0, 20):
            assert image.std() >= 0
        assert read == [*pools.PHOTOGRAPHS]

    def test_show_both_and_mirror_half(self, measured):
        for share in (
            np.mean([image[..., 2].max() == 0 for image in measured]),
            np.mean([image[0, 0, 0] > image[0, -1, 0] for image in measured]),
        ):
            assert 0.4 <= share <= 0.6
        assert all(image[0, 0, 1] < image[-1, 0, 1] for image in measured)  # none stands on its head

    def test_are_squares_of_every_scale(self, measured):
        sides = np.array([np.ptp(image[..., :2], axis=(0, 1)) * STEP for image in measured])
        assert np.abs(sides[:, 0] - sides[:, 1]).max() <= 3 * STEP
        assert sides.min() >= pools.SMALLEST_CROP - 3 * STEP
        assert sides.max() >= HEIGHT - 5 * STEP
        middle = np.sqrt(pools.SMALLEST_CROP * HEIGHT)  # as many are smaller as are larger, on a logarithmic scale
        assert 0.43 <= np.mean(sides[:, 0] < middle) <= 0.57

    def test_are_from_everywhere(self, measured):
        centers = np.array([image.mean(axis=(0, 1))[:2] * STEP for image in measured])
        assert (centers.min(axis=0) < 40).all()
        assert (centers.max(axis=0) > [WIDTH - 40, HEIGHT - 40]).all()
