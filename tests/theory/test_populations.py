"""Named populations: their spectra, and how fast samples come to their moments."""

import numpy as np
import pytest

from tests.theory.power import assert_agrees
from tests.theory.tolerances import CLOSED_FORM, SAMPLING, SAMPLING_ORDER
from tests.tolerances import POWER
from tracer.theory import Moments, Population, Problem, optimum
from tracer.theory.populations import SPECTRA

EXPECTED = {
    "isotropic": [1.0] * 20,
    "power_law": [1 / j for j in range(1, 21)],
    "decades": [10 ** (-4 * j / 19) for j in range(20)],
    "spiked": [1.0] * 2 + [0.01] * 18,
    "low_rank": [1.0] * 10 + [0.0] * 10,
}


def population(name, features=20, embedding=3, **changes):
    return Population.named(name, features, embedding, **changes)


def squared_errors(people, pairs, seeds):
    """Mean squared errors of a sample's second moment and cross-covariance."""
    exact = people.problem(np.zeros_like(people.loadings))
    found = [Moments.of([people.sample(pairs, seed)]) for seed in range(seeds)]
    errors = [
        (np.sum((m.second_moment - exact.second_moment) ** 2), np.sum((m.cross_covariance - exact.cross_covariance) ** 2))
        for m in found
    ]
    return np.mean(errors, axis=0)


def test_every_spectrum_is_expected():
    assert set(EXPECTED) == set(SPECTRA)


@pytest.mark.parametrize("name", SPECTRA)
def test_spectrum_is_the_named_one(name):
    problem = population(name).problem(np.ones((3, 20)))
    nulls = {other: np.array(EXPECTED[other]) for other in EXPECTED if other != name}
    assert_agrees(problem.eigenvalues, np.array(EXPECTED[name]), CLOSED_FORM, nulls=nulls)
    assert problem.rank == np.count_nonzero(EXPECTED[name])


@pytest.mark.parametrize(
    ("name", "features", "strong"),
    [
        ("spiked", 1, 1),
        ("spiked", 9, 1),
        ("spiked", 19, 1),
        ("spiked", 30, 3),
        ("low_rank", 1, 1),
        ("low_rank", 3, 1),
        ("low_rank", 8, 4),
    ],
)
def test_strong_directions_are_counted_down_and_at_least_one(name, features, strong):
    assert np.count_nonzero(SPECTRA[name](features) == 1) == strong
    assert len(SPECTRA[name](features)) == features


@pytest.mark.parametrize("name", SPECTRA)
def test_problem_regresses_texts_on_images(name):
    """The optimum maps V sqrt(s) a to R a where the data reach, for all factors a at once."""
    people = population(name)
    found = optimum(people.problem(np.zeros((3, 20)), embedding_penalty=1.0))
    factors_to_images = people.eigenvectors * np.sqrt(people.eigenvalues)
    seen = people.eigenvalues > 0
    assert_agrees(found @ factors_to_images, people.loadings * seen, CLOSED_FORM, nulls={"nothing learned": 0 * people.loadings})


@pytest.mark.parametrize("name", SPECTRA)
def test_sample_moments_have_the_error_of_gaussian_pairs(name):
    """E|Sigma_n - Sigma|^2 = (tr(Sigma)^2 + tr(Sigma^2)) / n and E|C_n - C|^2 = (tr Cov(z) tr Sigma + |C|^2) / n + O(1 / n^2)."""
    people = population(name, features=6, embedding=2)
    s, loadings = people.eigenvalues, people.loadings
    text_variance = np.sum(loadings**2) + 2 * people.noise**2
    cross = np.sum((loadings * np.sqrt(s)) ** 2)
    expected = np.array([np.sum(s) ** 2 + np.sum(s**2), text_variance * np.sum(s) + cross])
    sizes, errors = 50 * 4 ** np.arange(4), []
    for pairs in sizes:
        errors.append(squared_errors(people, int(pairs), seeds=300))
        np.testing.assert_allclose(errors[-1] * pairs / expected, 1, atol=SAMPLING)
    orders = np.polyfit(np.log(sizes), np.log(errors) / 2, 1)[0]
    np.testing.assert_allclose(orders, -0.5, atol=SAMPLING_ORDER)
    wrong = population(name, features=6, embedding=2, seed=1).problem(np.zeros((2, 6)))
    assert np.sum((wrong.cross_covariance - people.problem(np.zeros((2, 6))).cross_covariance) ** 2) > POWER * errors[-1][1]


def test_noise_is_the_standard_deviation_that_the_images_do_not_explain():
    people = population("isotropic", features=4, embedding=2, noise=0.3)
    images, texts = people.sample(40_000)
    left = texts - images @ people.eigenvectors @ people.loadings.T
    assert np.std(left) == pytest.approx(0.3, rel=SAMPLING_ORDER)
    assert np.std(texts) > 2 * np.std(left)


def test_seeds_are_reproducible_and_independent():
    people, again, other = population("decades"), population("decades"), population("decades", seed=1)
    np.testing.assert_array_equal(people.eigenvectors, again.eigenvectors)
    assert np.abs(people.eigenvectors - other.eigenvectors).max() > 0.1
    np.testing.assert_array_equal(people.sample(7, seed=3)[0], again.sample(7, seed=3)[0])
    assert np.abs(people.sample(7, seed=3)[0] - people.sample(7, seed=4)[0]).max() > 0.1
    assert isinstance(people.problem(np.zeros((3, 20))), Problem)
