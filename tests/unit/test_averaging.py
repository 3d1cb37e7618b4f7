import dataclasses
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import special, stats

from tests.models import KERNELS
from tests.tolerances import BETA_WEIGHTS, CANCELLATION, FLOAT64, TAIL
from tracer import averaging
from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static, Uniform

shapes = st.floats(0.05, 20)
shares = st.one_of(st.just(0.0), st.floats(1e-6, 1))
momenta = st.floats(0, 0.999)
kernels = st.one_of(
    st.just(Static()),
    st.just(Uniform()),
    st.builds(PowerLaw, shapes),
    st.builds(Exponential, momenta, initial_momentum=momenta, warmup_progress=shares),
    st.builds(Exponential, time_constant_progress=st.floats(1e-3, 10), warmup_progress=shares),
    st.builds(Beta, shapes, shapes, st.sampled_from(["cdf", "pdf"])),
)


@st.composite
def clocks(draw, most_steps=300):
    total = draw(st.integers(1, most_steps))
    return Clock(total, draw(st.integers(1, total)))


def boundaries(clock, n):
    """b_0 ... b_n of theory section 4.1, written out one by one."""
    found = [((i + 0.5) * clock.update_every + 0.5) / (clock.total_steps + 1) for i in range(n + 1)]
    if n == clock.updates:
        found[n] = 1.0
    return np.array(found)


def age_slip(kernel, period, updates, done):
    """How far a teacher's mean age moves when it is updated every `period` steps instead of every step, in periods.

    Both are asked after the same `done * period` steps of a run of `updates * period`.
    """
    total = updates * period
    sparse = kernel.mean_age(Clock(total, period), done)
    dense = kernel.mean_age(Clock(total), done * period)
    return abs(sparse - dense) / (period / total)


class TestEveryKernel:
    @given(kernels, clocks(), st.data())
    def test_weights_are_a_convex_combination(self, kernel, clock, data):
        update = data.draw(st.integers(0, clock.updates))
        weights = kernel.weights(clock, update)
        assert weights.shape == (update + 1,)
        assert weights.min() >= 0
        assert weights.sum() == pytest.approx(1, abs=FLOAT64)

    @given(kernels, clocks(), st.data())
    def test_streaming_equals_batch_average(self, kernel, clock, data):
        update = data.draw(st.integers(0, clock.updates))
        students = np.random.default_rng(clock.total_steps).standard_normal((update + 1, 3))
        streamed = students[0]
        for n in range(1, update + 1):
            streamed = streamed + kernel.rate(clock, n) * (students[n] - streamed)
        np.testing.assert_allclose(streamed, kernel.weights(clock, update) @ students, atol=FLOAT64, rtol=0)

    @given(kernels, clocks())
    def test_rates_are_shares_and_vectorise(self, kernel, clock):
        updates = np.arange(1, clock.updates + 1)
        rates = kernel.rates(clock, updates)
        assert ((rates >= 0) & (rates <= 1)).all()
        assert rates.tolist() == [kernel.rate(clock, n) for n in updates]

    @given(kernels, clocks())
    def test_anchor_weight_and_mean_age_are_moments_of_the_weights(self, kernel, clock):
        weights = kernel.weights(clock)
        ages = [(clock.updates - j) * clock.update_every / clock.total_steps for j in range(clock.updates + 1)]
        assert kernel.anchor_weight(clock) == weights[0]
        assert kernel.mean_age(clock) == pytest.approx(sum(w * age for w, age in zip(weights, ages, strict=True)))

    @pytest.mark.parametrize(
        ("kernel", "kind", "shown"),
        [
            (Static(), "static", "Static()"),
            (Exponential(0.9), "exponential", "Exponential(momentum=0.9, time_constant_progress=None, initial_momentum=0.0, "),
            (PowerLaw(0.5), "power_law", "PowerLaw(beta=0.5)"),
            (Uniform(), "uniform", "Uniform()"),
            (Beta(), "beta", "Beta(a=0.5, b=0.5, weighting='cdf')"),
        ],
        ids=["static", "exponential", "power law", "uniform", "beta"],
    )
    def test_has_the_name_that_configurations_call_it(self, kernel, kind, shown):
        """It is the class's, so no argument by position, and says nothing where the class is named."""
        assert kernel.kind == kind
        assert repr(kernel).startswith(shown)
        assert "kind" not in repr(kernel)
        assert "kind" not in kernel.__match_args__
        fields = [getattr(kernel, field) for field in kernel.__match_args__]
        assert type(kernel)(*fields) == kernel
        with pytest.raises(TypeError):
            type(kernel)(*fields, kind)

    @pytest.mark.parametrize("kernel", KERNELS, ids=repr)
    def test_stays_what_it_is(self, kernel):
        """Teachers, caches and configurations share it."""
        assert {kernel: "found"}[dataclasses.replace(kernel)] == "found"
        for field in dataclasses.fields(kernel):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(kernel, field.name, 0.5)

    @pytest.mark.parametrize("kernel", KERNELS, ids=repr)
    def test_before_the_first_update_the_anchor_is_everything(self, kernel):
        assert kernel.weights(Clock(10), 0).tolist() == [1.0]


class TestBeta:
    @given(shapes, shapes, clocks(), st.data())
    def test_masses_equal_differences_of_scipys_cdf(self, a, b, clock, data):
        n = data.draw(st.integers(0, clock.updates))
        cumulated = stats.beta.cdf(boundaries(clock, n), a, b)
        assume(cumulated[-1] > 0)
        expected = np.diff(cumulated, prepend=0) / cumulated[-1]
        np.testing.assert_allclose(Beta(a, b).weights(clock, n), expected, atol=BETA_WEIGHTS, rtol=0)

    @given(shapes, shapes, st.integers(1, 300), st.data())
    def test_published_weights_every_step(self, a, b, total, data):
        n = data.draw(st.integers(0, total))
        density = stats.beta.pdf((np.arange(n + 1) + 0.5) / (total + 1), a, b)
        weights = Beta(a, b, weighting="pdf").weights(Clock(total), n)
        np.testing.assert_allclose(weights, density / density.sum(), atol=BETA_WEIGHTS, rtol=0)

    @given(st.floats(0.1, 10), st.floats(0.1, 10), st.integers(1, 200), st.integers(1, 100), st.data())
    def test_mean_age_moves_by_less_than_a_period(self, a, b, period, updates, data):
        done = data.draw(st.integers(1, updates))
        assert age_slip(Beta(a, b), period, updates, done) <= 1

    def test_point_sampling_breaks_that_bound(self):
        assert age_slip(Beta(0.5, 0.5), 500, 50, 25) < 1
        assert age_slip(Beta(0.5, 0.5, weighting="pdf"), 500, 50, 25) > 3

    def test_published_figures_of_the_anchor(self):
        """Theory 4.1, T = 25,020, period 500, mid-run: 76 % of a point-sampled teacher is the anchor, 13 % of ours."""
        clock = Clock(25020, 500)
        assert Beta(0.5, 0.5, weighting="pdf").anchor_weight(clock, 25) == pytest.approx(0.76, abs=0.005)
        assert Beta(0.5, 0.5).anchor_weight(clock, 25) == pytest.approx(0.13, abs=0.005)

    def test_weights_near_the_end_do_not_cancel(self):
        """The last of many updates: the mass left of 1 is known in closed form for a = 1, (1 - x)^b."""
        steps = 10**6
        kernel, clock = Beta(1.0, 4.0), Clock(steps)
        left, before = (1 / (steps + 1)) ** 4, (2 / (steps + 1)) ** 4
        assert kernel.rate(clock, steps) == pytest.approx(left, rel=CANCELLATION)
        assert kernel.rate(clock, steps - 1) == pytest.approx((before - left) / (1 - left), rel=CANCELLATION)

    @pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (0.5, 6.0), (7.0, 5.0), (60.0, 1.0)])
    def test_weights_of_both_tails_keep_their_digits(self, a, b):
        """Against 60 digits, each weight relative to itself, though the smallest are 1e-15 of the largest and less."""
        clock = Clock(400, 2)
        with mpmath.workdps(60):
            cumulated = [mpmath.betainc(a, b, 0, float(at), regularized=True) for at in boundaries(clock, clock.updates)]
            masses = [cumulated[0], *(after - before for before, after in pairwise(cumulated))]
            rates = [float(mass / so_far) for mass, so_far in zip(masses, cumulated, strict=True)][1:]
        found = Beta(a, b).rates(clock, np.arange(1, clock.updates + 1))
        np.testing.assert_allclose(found, rates, rtol=TAIL)

    def test_shapes_are_the_published_ones_unless_given(self):
        """CLIPood's Beta(1/2, 1/2), the arcsine law: half the mass lies within sin^2(pi / 8) = 0.146 of either end."""
        assert (Beta().a, Beta().b, Beta().weighting) == (0.5, 0.5, "cdf")
        assert (Beta(b=2.0).a, Beta(2.0).b) == (0.5, 0.5)
        weights = Beta().weights(Clock(10_000))
        assert weights[: int(10_000 * np.sin(np.pi / 8) ** 2)].sum() == pytest.approx(0.25, abs=1e-4)

    def test_density_rates_are_kept(self):
        """One at a time as all at once, though each needs the sum over the whole run before it; and not those of another run."""
        kernel, clock = Beta(0.3, 2.0, weighting="pdf"), Clock(3000, 3)
        nodes = (3 * np.arange(1001) + 0.5) / 3001
        density = stats.beta.pdf(nodes, 0.3, 2.0)
        expected = density / np.cumsum(density)
        np.testing.assert_allclose([kernel.rate(clock, n) for n in range(1, 1001)], expected[1:], rtol=BETA_WEIGHTS)
        assert kernel.rate(Clock(3000, 5), 1) != kernel.rate(clock, 1) != Beta(0.4, 2.0, weighting="pdf").rate(clock, 1)

    def test_a_long_run_sums_its_density_once(self):
        kernel, clock = Beta(weighting="pdf"), Clock(100_000)
        averaging._density_rates.cache_clear()
        for update in range(1, 2001):
            kernel.rate(clock, update)
        assert averaging._density_rates.cache_info().misses == 1

    @pytest.mark.parametrize("weighting", ["cdf", "pdf"])
    @pytest.mark.parametrize("shapes", [(100.0, 1.0), (500.0, 0.5), (200.0, 200.0)])
    def test_extreme_shapes_stay_finite(self, weighting, shapes):
        weights = Beta(*shapes, weighting=weighting).weights(Clock(25020))
        assert np.isfinite(weights).all()
        assert weights.sum() == pytest.approx(1)


class TestNamedKernels:
    @given(clocks())
    def test_power_law_of_one_is_uniform(self, clock):
        n = clock.updates
        np.testing.assert_allclose(PowerLaw(1.0).weights(clock), np.full(n + 1, 1 / (n + 1)), atol=FLOAT64, rtol=0)
        np.testing.assert_allclose(Uniform().weights(clock), np.full(n + 1, 1 / (n + 1)), atol=FLOAT64, rtol=0)

    @given(shapes, st.integers(0, 100))
    def test_power_law_weights_are_rising_factorials(self, beta, n):
        alphas = special.poch(beta, np.arange(n + 1)) / special.factorial(np.arange(n + 1))
        weights = PowerLaw(beta).weights(Clock(max(n, 1)), n)
        np.testing.assert_allclose(weights, alphas / alphas.sum(), atol=BETA_WEIGHTS, rtol=0)

    @given(momenta, st.integers(0, 100))
    def test_exponential_weights_are_geometric(self, m, n):
        expected = [m**n, *((1 - m) * m ** (n - j) for j in range(1, n + 1))]
        np.testing.assert_allclose(Exponential(m).weights(Clock(max(n, 1)), n), expected, atol=FLOAT64, rtol=0)

    def test_static_never_moves(self):
        assert Static().weights(Clock(5)).tolist() == [1, 0, 0, 0, 0, 0]

    def test_uniform_is_torchs_averaged_model(self):
        students = [torch.nn.Linear(2, 3).double() for _ in range(9)]
        average = torch.optim.swa_utils.AveragedModel(students[0])
        for student in students:
            average.update_parameters(student)
        weights = Uniform().weights(Clock(8))
        ours = sum(w * student.weight for w, student in zip(weights, students, strict=True))
        torch.testing.assert_close(ours, average.module.weight, atol=FLOAT64, rtol=0)

    def test_exponential_warms_its_momentum_up(self):
        """Published: momentum from 0.05 to 0.9, linearly over the first 20 % of the run."""
        kernel, clock = Exponential(0.9, initial_momentum=0.05, warmup_progress=0.2), Clock(1000, 10)
        assert 1 - kernel.rate(clock, 1) == pytest.approx(0.05 + 0.85 * 0.01 / 0.2)
        assert 1 - kernel.rate(clock, 10) == pytest.approx(0.475)
        assert [1 - kernel.rate(clock, n) for n in (20, 21, 100)] == pytest.approx([0.9] * 3)

    @given(st.floats(0.01, 5), clocks())
    def test_time_constant_follows_horizon_and_period(self, memory, clock):
        rate = Exponential(time_constant_progress=memory).rate(clock, 1)
        assert rate == pytest.approx(1 - np.exp(-clock.update_every / (memory * clock.total_steps)))


class TestClock:
    def test_follows_every_step_unless_told_otherwise(self):
        assert Clock(7).updates == 7
        assert [step for step in range(8) if Clock(7, 3).updates_at(step)] == [3, 6]

    def test_numpys_whole_numbers_are_whole_numbers(self):
        assert Clock(np.int64(7), np.int32(2)) == Clock(7, 2)

    @given(clocks())
    def test_updates_are_counted_as_they_happen(self, clock):
        happening = [step for step in range(clock.total_steps + 1) if clock.updates_at(step)]
        assert len(happening) == clock.updates
        assert clock.progress(np.arange(1, clock.updates + 1)) == pytest.approx(np.array(happening) / clock.total_steps)


INVALID = {
    "beta of zero": lambda: Beta(0.0, 0.5),
    "negative beta": lambda: Beta(0.5, -1.0),
    "beta that is no number": lambda: Beta(float("nan"), 0.5),
    "infinite beta": lambda: Beta(0.5, float("inf")),
    "unknown weighting": lambda: Beta(weighting="area"),
    "power law of zero": lambda: PowerLaw(0.0),
    "power law that is no number": lambda: PowerLaw(float("nan")),
    "momentum of one": lambda: Exponential(1.0),
    "negative momentum": lambda: Exponential(-0.1),
    "momentum that is no number": lambda: Exponential(float("nan")),
    "momentum and time constant": lambda: Exponential(0.9, time_constant_progress=0.1),
    "neither momentum nor time constant": lambda: Exponential(),
    "time constant of zero": lambda: Exponential(time_constant_progress=0.0),
    "infinite time constant": lambda: Exponential(time_constant_progress=float("inf")),
    "negative initial momentum": lambda: Exponential(0.9, initial_momentum=-0.5),
    "negative warm-up": lambda: Exponential(0.9, warmup_progress=-0.5),
    "initial momentum of one": lambda: Exponential(0.9, initial_momentum=1.0),
    "warm-up beyond the run": lambda: Exponential(0.9, warmup_progress=1.1),
    "true for a number": lambda: PowerLaw(True),
    "text for a number": lambda: Exponential("0.9"),
    "complex beta": lambda: Beta(1j),
    "initial momentum that is no number": lambda: Exponential(0.9, initial_momentum=float("nan")),
    "warm-up that is no number": lambda: Exponential(0.9, warmup_progress=float("nan")),
    "no steps": lambda: Clock(0),
    "true for a count": lambda: Clock(True),
    "floats for counts": lambda: Clock(np.float64(10)),
    "steps that are no number": lambda: Clock(float("nan")),
    "half an update": lambda: Exponential(0.9).rate(Clock(10), 1.5),
    "update nought": lambda: PowerLaw(1.0).rate(Clock(10), 0),
    "update that is no number": lambda: Static().rate(Clock(10), float("nan")),
    "weights before the start": lambda: Uniform().weights(Clock(10), -1),
    "step that is no number": lambda: Clock(10).updates_at(float("nan")),
    "period of zero": lambda: Clock(10, 0),
    "period beyond the run": lambda: Clock(10, 11),
    "update beyond the horizon (cdf)": lambda: Beta().rate(Clock(10, 2), 6),
    "update beyond the horizon (pdf)": lambda: Beta(weighting="pdf").weights(Clock(10, 2), 6),
}


@pytest.mark.parametrize("mistake", INVALID)
def test_invalid_parameters_are_refused_in_one_sentence(mistake):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        INVALID[mistake]()
    assert len(str(refused.value)) > 20


@given(kernels, clocks())
def test_weighted_gaps_sum_to_the_teachers_displacement(kernel, clock):
    """Of any students: a random walk here. The null weighs gaps by the rates."""
    rates = kernel.rates(clock, np.arange(1, clock.updates + 1))
    assume(np.all(rates < 0.999))
    students = np.cumsum(np.random.default_rng(0).standard_normal(clock.updates))
    teacher, gaps = 0.0, []
    for student, rate in zip(students, rates, strict=True):
        teacher += rate * (student - teacher)
        gaps.append(student - teacher)
    size = np.sum(kernel.gap_weights(clock) * np.abs(gaps)) * FLOAT64 + FLOAT64
    assert abs(kernel.gap_weights(clock) @ gaps - teacher) <= size
    if np.max(rates) > 1e-3 and abs(teacher) > 1e-3:
        assert abs(rates @ gaps - teacher) > 1e3 * FLOAT64 * abs(teacher)


def test_a_teacher_on_its_student_has_no_gaps_to_weigh():
    with pytest.raises(ValueError, match="no gap to sum"):
        Exponential(0.0).gap_weights(Clock(3))


@pytest.mark.parametrize("kernel", [*KERNELS, Exponential(time_constant_progress=0.4, warmup_progress=0.2)], ids=repr)
@pytest.mark.parametrize("period", [1, 4])
def test_summed_rates_without_bound_grow_with_the_run(kernel, period):
    """By at least as much for every ten times more steps: a power law's by its exponent times log 10."""
    summed = [
        kernel.rates(clock, np.arange(1, clock.updates + 1)).sum() for clock in (Clock(s, period) for s in (10**3, 10**4, 10**5))
    ]
    assert kernel.summed_rates == (0 if kernel == Static() else np.inf)
    assert np.all(np.diff(summed) > 0.6) if kernel != Static() else summed == [0, 0, 0]


@pytest.mark.parametrize("period", [1, 4])
def test_summed_rates_of_a_memory_that_follows_the_run(period):
    clock, kernel = Clock(10**6, period), Exponential(time_constant_progress=0.4)
    summed = kernel.rates(clock, np.arange(1, clock.updates + 1)).sum()
    assert kernel.summed_rates == pytest.approx(summed, rel=1e-5)  # 1 - e^-x is x (1 - x / 2), with x of 1e-5


def test_constant_momentum_is_that_of_every_clock():
    assert Exponential(0.9).constant_momentum == 0.9
    assert Exponential(0.0).constant_momentum == 0.0
    for other in (Exponential(time_constant_progress=0.5), Exponential(0.9, warmup_progress=0.5), Uniform(), Static(), Beta()):
        assert other.constant_momentum is None
