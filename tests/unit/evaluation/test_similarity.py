import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tolerances import POWER, SIMILARITY
from tracer.errors import UserError
from tracer.evaluation.similarity import cka, svcca

SAMPLES, CHANNELS = 60, 5
MEASURES = pytest.mark.parametrize("measure", [cka, svcca])


def draw(seed, samples=SAMPLES, channels=CHANNELS):
    return np.random.default_rng(seed).standard_normal((samples, channels)) * np.arange(1, channels + 1) + 3


def related(seed, noise=0.5):
    """Two representations that share a part, with different numbers of channels."""
    rng = np.random.default_rng([seed, 1])
    one = draw(seed)
    return one, one @ rng.standard_normal((CHANNELS, 7)) + noise * rng.standard_normal((SAMPLES, 7))


def rotation(seed, channels=CHANNELS):
    return np.linalg.qr(np.random.default_rng([seed, 2]).standard_normal((channels, channels)))[0]


def hsic_cka(one, other):
    """Kornblith et al.: HSIC of the two Gram matrices over the root of each with itself, with the centring matrix H."""
    n = len(one)
    h = np.eye(n) - np.ones((n, n)) / n
    k, m = one @ one.T, other @ other.T

    def hsic(a, b):
        return np.trace(a @ h @ b @ h) / (n - 1) ** 2

    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


def canonical_correlations(one, other):
    """Roots of the eigenvalues of Sxx^-1 Sxy Syy^-1 Syx, from the covariances; the largest min(p, q) of them."""
    p = one.shape[1]
    covariance = np.cov(one, other, rowvar=False)
    sxx, sxy, syy = covariance[:p, :p], covariance[:p, p:], covariance[p:, p:]
    eigenvalues = np.linalg.eigvals(np.linalg.solve(sxx, sxy) @ np.linalg.solve(syy, sxy.T)).real
    return np.sqrt(np.sort(eigenvalues)[::-1][: min(p, other.shape[1])])


def leading(activations, variance):
    """The principal components that first reach that share of the variance, by the covariance's eigenvectors."""
    centred = activations - activations.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = next(m for m in range(1, len(values) + 1) if values[:m].sum() >= variance * values.sum())
    return centred @ vectors[:, :kept]


class TestBoth:
    @MEASURES
    @given(seed=st.integers(0, 1000))
    def test_of_a_representation_with_itself_is_one(self, measure, seed):
        assert measure(draw(seed), draw(seed)) == pytest.approx(1, abs=SIMILARITY)

    @MEASURES
    @given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100), shift=st.floats(-10, 10))
    def test_neither_rotation_scale_nor_shift_changes_it(self, measure, seed, scale, shift):
        one, other = related(seed)
        value = measure(one, other)
        assert measure(scale * one @ rotation(seed) + shift, other) == pytest.approx(value, abs=SIMILARITY)
        assert measure(other, one) == pytest.approx(value, abs=SIMILARITY)
        assert value < 1 - POWER * SIMILARITY

    @MEASURES
    def test_of_independent_representations_falls_to_zero_with_the_samples(self, measure):
        """Squared canonical correlations, and CKA, of n independent samples are of order channels / n."""
        few, many = (measure(draw(0, n), draw(1, n)) for n in (50, 20_000))
        assert many < 3 * np.sqrt(CHANNELS / 20_000)
        assert few > 5 * many

    @MEASURES
    def test_pairing_matters(self, measure):
        one = draw(0, 2000)
        assert measure(one, np.random.default_rng(5).permutation(one)) < 0.1

    @MEASURES
    def test_bad_activations_are_refused_in_a_sentence(self, measure):
        broken = draw(0)
        broken[3, 1] = np.nan
        for other, complaint in (
            (draw(0)[:-1], "60 and 59 samples"),
            (broken, "not finite"),
            (np.full((SAMPLES, 2), 0.1), "the same for all samples"),
        ):
            with pytest.raises(UserError, match=complaint):
                measure(draw(0), other)


class TestCka:
    @given(seed=st.integers(0, 1000))
    def test_is_that_of_the_centred_gram_matrices(self, seed):
        one, other = related(seed)
        assert cka(one, other) == pytest.approx(hsic_cka(one, other), abs=SIMILARITY)

    def test_uncentred_it_would_be_another_number(self):
        one, other = related(0)
        uncentred = np.linalg.norm(other.T @ one) ** 2 / (np.linalg.norm(one.T @ one) * np.linalg.norm(other.T @ other))
        assert abs(cka(one, other) - uncentred) > POWER * SIMILARITY

    def test_directions_of_more_variance_weigh_more(self):
        """So invertible maps change it: with variances 1 and s^2 of uncorrelated channels it is known."""
        one = np.linalg.qr(draw(0, channels=2) - draw(0, channels=2).mean(axis=0))[0]
        for s in (0.1, 1, 3):
            expected = (1 + s**2) / np.sqrt(2 * (1 + s**4))
            assert cka(one, one * [1, s]) == pytest.approx(expected, abs=SIMILARITY)


class TestSvcca:
    @given(seed=st.integers(0, 1000))
    def test_of_all_variance_is_cca_by_its_covariances(self, seed):
        one, other = related(seed)
        expected = canonical_correlations(one, other).mean()
        assert svcca(one, other, variance=1) == pytest.approx(expected, abs=SIMILARITY)

    @given(seed=st.integers(0, 1000))
    def test_of_all_variance_no_invertible_map_changes_it(self, seed):
        one, other = related(seed)
        stretched = one @ (rotation(seed) * [1, 2, 5, 10, 30]) @ rotation(seed + 1)
        assert svcca(stretched, other, variance=1) == pytest.approx(svcca(one, other, variance=1), abs=SIMILARITY)

    @given(seed=st.integers(0, 1000), variance=st.sampled_from([0.5, 0.8, 0.9, 0.99]))
    def test_is_cca_of_the_leading_components(self, seed, variance):
        one, other = related(seed)
        expected = canonical_correlations(leading(one, variance), leading(other, variance)).mean()
        assert svcca(one, other, variance) == pytest.approx(expected, abs=SIMILARITY)

    def test_faint_directions_are_left_out(self):
        one = draw(0)
        faint = np.column_stack([one, 1e-3 * np.random.default_rng(8).standard_normal(SAMPLES)])
        other = np.column_stack([one, 1e-3 * np.random.default_rng(9).standard_normal(SAMPLES)])
        assert svcca(faint, other) > 1 - 1e-3
        assert svcca(faint, other, variance=1) < 0.9

    def test_a_channel_twice_is_one_direction(self):
        one, other = related(0)
        twice = np.column_stack([one, one[:, :1]])
        assert svcca(twice, other, variance=1) == pytest.approx(svcca(one, other, variance=1), abs=SIMILARITY)

    @pytest.mark.parametrize("variance", [0, -0.1, 1.1])
    def test_the_share_must_be_a_share(self, variance):
        with pytest.raises(UserError, match="share of variance"):
            svcca(draw(0), draw(1), variance)
