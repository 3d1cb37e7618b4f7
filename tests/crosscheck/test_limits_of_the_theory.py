"""Where the theory is not exact but says how far off it is: small logits, random batches, small steps, the edge of stability."""

import math

import numpy as np
import open_clip
import pytest
import torch
from scipy import stats

from tests.models import RandomBatches, TinyDualEncoder
from tests.tolerances import FLOAT64, POWER
from tracer import theory
from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static, Uniform
from tracer.crosscheck.agreement import small_logit_errors
from tracer.crosscheck.gaps import share_travelled
from tracer.crosscheck.history import fitted_order
from tracer.crosscheck.training import Draws, train
from tracer.theory.closed_forms import ema
from tracer.training import objective
from tracer.training.objective import Objective
from tracer.training.teacher import Teacher
from tracer.training.trainer import Loop, Trainer

# An order is fitted over steps or logit scales that span a factor of 8 or more; its next term bends it by a few percent.
ORDER = 0.1
# Decay exponents are measured between steps 800 and 1600, where they have settled to about 1 / (x t).
EXPONENT = 0.02
# The EMA's second eigenvalue has died out to 1e-8 and less when its rate is measured.
RATE = 1e-6


def pairs(seed=5, n=24, d=6, k=3):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal((n, k)), rng.standard_normal((k, d))


class TestSmallLogits:
    """The CLIP loss itself, open_clip's, at logit scales that go to 0."""

    SCALES = 0.02 * 2.0 ** -np.arange(5)

    @pytest.fixture(autouse=True)
    def open_clips_own_loss(self, monkeypatch):
        loss = open_clip.ClipLoss()
        term = lambda pairing: loss(pairing.student.image, pairing.student.text, pairing.student.logit_scale)  # noqa: E731
        monkeypatch.setitem(objective.FEATURE_TERMS, "contrastive", term)

    @pytest.mark.parametrize("strategy", [theory.FineTuning(), theory.Distillation(0.9), theory.L2SP(0.5)], ids=repr)
    def test_deviation_is_of_first_order(self, strategy):
        problem = theory.Problem.from_pairs(*pairs())
        errors = small_logit_errors(problem, strategy, self.SCALES, learning_rate=0.2, steps=50)
        assert abs(fitted_order(self.SCALES, errors) - 1) <= ORDER
        assert POWER * errors[-1] <= 1  # the error of predicting that nothing moves


class TestRandomBatches:
    STEPS, RATE, SEEDS, SIZE = 30, 0.03, 100, 3

    @pytest.mark.parametrize("replacement", [False, True])
    @pytest.mark.parametrize("kernel", [None, Beta(0.5, 0.5)], ids=repr)
    def test_mean_trajectory(self, kernel, replacement):
        """Of each run the share of the predicted displacement that it went; its mean over seeds must be 1."""
        images, texts, start = pairs(n=7)
        problem = theory.Problem.from_pairs(images, texts, 0.1 * start)
        strategy = theory.Distillation(0.9, kernel) if kernel else theory.FineTuning()
        moved = [self.displacement(problem, strategy, replacement, seed) for seed in range(self.SEEDS)]
        right = problem.in_batches(self.SIZE, replacement=replacement)
        assert self.misses(moved, right, strategy) <= 1
        assert self.misses(moved, problem, strategy) >= 10
        assert self.misses(moved, problem.in_batches(self.SIZE, replacement=not replacement), strategy) >= 2

    def displacement(self, problem, strategy, replacement, seed):
        draws = Draws(self.SIZE, replacement, seed)
        run = train(problem, strategy, learning_rate=self.RATE, steps=self.STEPS, draws=draws)
        return run.student[-1] - problem.initial_weights

    def misses(self, moved, problem, strategy):
        """Distance of the mean share from 1, in half-widths of its 99.9 % confidence interval."""
        path = theory.gradient_descent(problem, strategy, learning_rate=self.RATE, steps=self.STEPS)
        predicted = path.weights(self.STEPS) - problem.initial_weights
        shares = share_travelled(np.array(moved), predicted)
        half_width = stats.t.ppf(0.9995, len(shares) - 1) * np.std(shares, ddof=1) / math.sqrt(len(shares))
        return abs(np.mean(shares) - 1) / half_width


class TestFlow:
    KERNELS = (Static(), Exponential(time_constant_progress=0.2), Uniform(), PowerLaw(0.4), Beta(0.5, 0.5), Beta(2.0, 0.7))

    @pytest.mark.parametrize("kernel", KERNELS, ids=repr)
    @pytest.mark.parametrize("strategy", ["distillation", "weight_decay"])
    def test_descent_is_first_order_in_the_step(self, kernel, strategy):
        problem = theory.Problem.from_pairs(*pairs(), weight_decay=0.1 if strategy == "weight_decay" else 0.0)
        distillation, duration = theory.Distillation(0.7, kernel), 12.0
        flowing = theory.gradient_flow(problem, distillation, duration=duration)
        end = flowing.weights(duration), flowing.teacher(duration)
        steps, errors = 4000 * 2 ** np.arange(4), []
        for count in steps:
            path = theory.gradient_descent(problem, distillation, learning_rate=duration / count, steps=int(count))
            errors.append(
                np.hypot(*(np.linalg.norm(a - b) for a, b in zip((path.weights(count), path.teacher(count)), end, strict=True)))
            )
        assert abs(fitted_order(duration / steps, errors) - 1) <= ORDER
        assert POWER * errors[-1] <= np.linalg.norm(end[0] - problem.initial_weights)


class TestStability:
    """Just below the predicted largest step size the trainer settles, just above it runs away."""

    KERNELS = (Static(), Exponential(0.9), Exponential(0.5), Uniform(), PowerLaw(0.5), Beta(0.5, 0.5))

    @pytest.mark.parametrize("update_every", [1, 2, 3])
    @pytest.mark.parametrize("kernel", KERNELS, ids=repr)
    def test_edge(self, kernel, update_every):
        problem, strategy = theory.Problem.from_pairs(*pairs(d=3)), theory.Distillation(1.5, kernel)
        largest = theory.max_learning_rate(problem, strategy, update_every=update_every)
        assert self.growth(problem, strategy, 0.97 * largest, update_every) < 1
        assert self.growth(problem, strategy, 1.03 * largest, update_every) > POWER

    def growth(self, problem, strategy, learning_rate, update_every):
        """The largest step of the second half of a run over that of the first, in the stiffest direction."""
        trained = train(problem, strategy, learning_rate=learning_rate, steps=600, update_every=update_every)
        taken = np.linalg.norm(np.diff(trained.student @ problem.eigenvectors[:, 0], axis=0), axis=1)
        return taken[300:].max() / taken[:300].max()


class TestDecay:
    """A single mode, trained: how fast its error and its gap go."""

    CURVATURE, STRENGTH, RATE = 1.0, 1.5, 0.3

    def run(self, kernel, steps):
        rng = np.random.default_rng(3)
        images = np.sqrt(2.0) * np.array([[1.0], [-1.0], [1.0], [-1.0]]) / np.sqrt(2.0)
        problem = theory.Problem.from_pairs(images, rng.standard_normal((4, 1)), np.array([[2.0]]))
        trained = train(problem, theory.Distillation(self.STRENGTH, kernel), learning_rate=self.RATE, steps=steps)
        optimum = theory.optimum(problem)
        return trained.student[:, 0, 0] - optimum.item(), (trained.student - trained.teacher)[:, 0, 0]

    @pytest.mark.parametrize("beta", [0.3, 0.5, 1.0, 2.0])
    def test_wma_persists_with_its_exponent(self, beta):
        errors, gaps = self.run(PowerLaw(beta), 1600)
        exponent = beta * self.CURVATURE / (self.CURVATURE + self.STRENGTH)
        for values in (errors, gaps):
            assert abs(np.log(values[800] / values[1600]) / np.log(2) - exponent) <= EXPONENT * exponent

    def test_ema_collapses_at_its_rate(self):
        _, gaps = self.run(Exponential(0.9), 150)
        slow, _ = ema.eigenvalues(self.CURVATURE, self.STRENGTH, self.RATE, 0.9)
        assert abs(gaps[101] / gaps[100] - slow) <= RATE
        assert abs(gaps[101] / gaps[100] - 0.9) >= POWER * RATE  # the momentum itself is not the rate
        assert abs(gaps[101] / gaps[100] - (1 - self.RATE * self.CURVATURE)) >= POWER * RATE  # nor is the student's own


class TestDisplacementIdentity:
    """sum over updates of r / (1 - r) (student - teacher) = teacher - start, whatever moves the student."""

    @pytest.mark.parametrize("kernel", [Exponential(0.8), Uniform(), PowerLaw(0.4), Beta(0.5, 0.5)], ids=repr)
    @pytest.mark.parametrize("update_every", [1, 3])
    def test_nonlinear_network_with_adamw(self, kernel, update_every):
        steps, clock = 30, Clock(30, update_every)
        model = TinyDualEncoder(seed=1).double()
        teacher = Teacher(model, kernel, clock)
        start = self.flat(model)
        summed, wrong = np.zeros_like(start), np.zeros_like(start)

        def add(step):
            nonlocal summed, wrong
            if clock.updates_at(step):
                rate = kernel.rate(clock, step // update_every)
                gap = self.flat(model) - self.flat(teacher.module)
                summed, wrong = summed + rate / (1 - rate) * gap, wrong + rate * gap

        optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
        terms = {"contrastive": 1.0, "crd": 1.0, "fd": 3.0, "icl": 0.5}
        Trainer(
            model, RandomBatches(steps), Objective(terms), optimizer, Loop(steps, precision="fp64"), teacher=teacher, on_step=add
        ).fit()
        moved = self.flat(teacher.module) - start
        assert np.linalg.norm(summed - moved) <= FLOAT64 * np.linalg.norm(moved)
        assert np.linalg.norm(wrong - moved) >= POWER * FLOAT64 * np.linalg.norm(moved)

    @staticmethod
    def flat(module):
        return np.concatenate([parameter.detach().cpu().numpy().ravel() for parameter in module.parameters()])
