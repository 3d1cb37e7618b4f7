"""Random instances for the claims' checks, and the plainest simulations of them, which use nothing of the theory."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tracer.averaging import Clock, Kernel
from tracer.theory.problem import Problem


class Mode(NamedTuple):
    """One eigenmode: sigma, l and eta, the first arguments of the closed forms."""

    curvature: float
    teacher_curvature: float
    learning_rate: float

    @property
    def x(self) -> float:
        """eta (sigma + l)."""
        return self.learning_rate * (self.curvature + self.teacher_curvature)

    @property
    def data_share(self) -> float:
        """q = sigma / (sigma + l)."""
        return self.curvature / (self.curvature + self.teacher_curvature)

    @property
    def teacher_share(self) -> float:
        """p = l / (sigma + l)."""
        return self.teacher_curvature / (self.curvature + self.teacher_curvature)


def random_mode(rng: np.random.Generator, x: tuple[float, float] = (0.2, 0.8), share: tuple[float, float] = (0.3, 0.7)) -> Mode:
    """A mode whose x and whose data share lie in the given ranges."""
    total, part = rng.uniform(0.5, 2.0), rng.uniform(*share)
    return Mode(part * total, (1 - part) * total, rng.uniform(*x) / total)


def simulate(mode: Mode, rates: Iterable[float]) -> tuple[np.ndarray, np.ndarray]:
    """Errors of student and teacher from 1, after 0, 1, ... steps, the teacher moving at the given rates."""
    student = teacher = 1.0
    path = [(student, teacher)]
    for rate in rates:
        student -= mode.learning_rate * (mode.curvature * student + mode.teacher_curvature * (student - teacher))
        teacher += rate * (student - teacher)
        path.append((student, teacher))
    students, teachers = np.array(path).T
    return students, teachers


def power_law_rates(beta: float, steps: int) -> list[float]:
    """beta / (beta + t) for t = 1 ... steps."""
    return [beta / (beta + step) for step in range(1, steps + 1)]


@dataclass(frozen=True, eq=False)
class Weighted(Kernel):
    """Any weights alpha_0, alpha_1, ... on the iterates."""

    alphas: np.ndarray

    def rates(self, clock: Clock, updates: np.ndarray) -> np.ndarray:
        return np.asarray((self.alphas / np.cumsum(self.alphas))[updates])

    @property
    def all_rates(self) -> np.ndarray:
        """omega_1, omega_2, ..., one for every step."""
        return self.rates(Clock(len(self.alphas)), np.arange(1, len(self.alphas)))


def streamed(rates: np.ndarray, iterates: np.ndarray) -> np.ndarray:
    """The last teacher of the streaming average, which starts at the first iterate."""
    teacher: np.ndarray = iterates[0]
    for rate, iterate in zip(rates, iterates[1:], strict=True):
        teacher = (1 - rate) * teacher + rate * iterate
    return teacher


def random_weights(rng: np.random.Generator, steps: int) -> Weighted:
    """Weights that follow no order, over some decades."""
    return Weighted(np.exp(2 * rng.standard_normal(steps + 1)))


def products(share: float, rates: np.ndarray) -> np.ndarray:
    """prod_{k <= t} (1 - share omega_k) for t = 0, 1, ...; for a share of 1 the anchor's weights."""
    return np.cumprod(np.concatenate([[1.0], 1 - share * rates]))


def extrapolated(coarse: ArrayLike, fine: ArrayLike) -> np.ndarray:
    """The limit of a quantity whose error halves from the first to the second."""
    return np.asarray(2 * np.asarray(fine) - np.asarray(coarse))


class Instance(NamedTuple):
    """Pairs whose images span four of seven dimensions, with singular values within a factor of two, and pretrained weights."""

    images: np.ndarray
    texts: np.ndarray
    initial_weights: np.ndarray
    embedding_penalty: float
    weight_decay: float

    @property
    def problem(self) -> Problem:
        """The library's view."""
        penalties = {"embedding_penalty": self.embedding_penalty, "weight_decay": self.weight_decay}
        return Problem.from_pairs(self.images, self.texts, self.initial_weights, **penalties)

    @property
    def centred_texts(self) -> np.ndarray:
        """Z H, transposed, (n, k)."""
        return np.asarray(self.texts - self.texts.mean(axis=0))

    @property
    def second_moment(self) -> np.ndarray:
        """Sigma, (d, d)."""
        return np.asarray(self.images.T @ self.images / len(self.images))

    @property
    def cross_covariance(self) -> np.ndarray:
        """C, (k, d)."""
        return np.asarray(self.centred_texts.T @ self.images / len(self.images))

    @property
    def projector(self) -> np.ndarray:
        """P, (d, d), through the pseudo-inverse of the images."""
        return np.asarray(np.linalg.pinv(self.images) @ self.images)

    @property
    def optimum(self) -> np.ndarray:
        """W* P without weight decay, (k, d), through the pseudo-inverse of the images."""
        return np.asarray((np.linalg.pinv(self.images) @ self.centred_texts).T / self.embedding_penalty)

    def on_task(self, weights: np.ndarray) -> np.ndarray:
        """W P."""
        return np.asarray(weights @ self.projector)

    def off_task(self, weights: np.ndarray) -> np.ndarray:
        """W Q."""
        return np.asarray(weights - self.on_task(weights))

    def power(self, exponent: float) -> np.ndarray:
        """Sigma to a power taken on its range, from the singular values of the images."""
        _, values, rows = np.linalg.svd(self.images, full_matrices=False)
        kept = values > 1e-9 * values[0]
        return np.asarray((rows[kept].T * (values[kept] ** 2 / len(self.images)) ** exponent) @ rows[kept])


def random_instance(rng: np.random.Generator, weight_decay: float = 0.0) -> Instance:
    """An instance of eight pairs, seven features and three embedding dimensions."""
    left, right = (np.linalg.qr(rng.standard_normal((size, 4)))[0] for size in (8, 7))
    images = np.sqrt(8) * (left * rng.uniform(0.7, 1.3, 4)) @ right.T
    texts = rng.standard_normal((8, 3)) + rng.standard_normal(3)
    return Instance(images, texts, rng.standard_normal((3, 7)), rng.uniform(0.5, 1.5), weight_decay)


def random_second_moment(rng: np.random.Generator) -> np.ndarray:
    """Of inputs in all seven directions, unlike any other."""
    inputs = rng.standard_normal((21, 7))
    return np.asarray(inputs.T @ inputs / len(inputs))


def stable_learning_rate(instance: Instance, strength: float = 0.0, metric: np.ndarray | None = None) -> float:
    """One over a bound on the curvature, teacher at rest."""
    largest = instance.embedding_penalty * np.linalg.norm(instance.second_moment, 2) + instance.weight_decay
    return float(1 / (largest + strength * (1.0 if metric is None else np.linalg.norm(metric, 2))))


def descend(instance: Instance, rates: Iterable[float], strength: float = 0.0, metric: np.ndarray | None = None) -> np.ndarray:
    """The student (k, d) after a stable step of descent for each of the teacher's rates; the metric is by default the identity."""
    pull = strength * (np.eye(instance.images.shape[1]) if metric is None else metric)
    learning_rate = stable_learning_rate(instance, strength, metric)
    sigma, cross = instance.second_moment, instance.cross_covariance
    student = teacher = instance.initial_weights
    for rate in rates:
        slope = instance.embedding_penalty * student @ sigma + instance.weight_decay * student - cross
        student = student - learning_rate * (slope + (student - teacher) @ pull)
        teacher = teacher + rate * (student - teacher)
    return student


def solve(
    instance: Instance, rates: Iterable[float], strength: float, inputs: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Students and teachers after 0, 1, ... steps at each of which the student is solved by least squares, (steps + 1, k, d) each.

    The least change from where the student is; held to its teacher on the given inputs (m, d), by default on the images.
    """
    held = instance.images if inputs is None else inputs
    data, pull = np.sqrt(instance.embedding_penalty / len(instance.images)), np.sqrt(strength / len(held))
    decay = np.sqrt(instance.weight_decay) * np.eye(held.shape[1])
    rows = np.concatenate([data * instance.images, decay, pull * held])
    asked = data * instance.centred_texts / instance.embedding_penalty
    student = teacher = instance.initial_weights
    path = [(student, teacher)]
    for rate in rates:
        wanted = np.concatenate([asked, np.zeros((held.shape[1], len(student))), pull * held @ teacher.T])
        student = student + np.linalg.lstsq(rows, wanted - rows @ student.T, rcond=1e-9)[0].T
        teacher = teacher + rate * (student - teacher)
        path.append((student, teacher))
    students, teachers = zip(*path, strict=True)
    return np.array(students), np.array(teachers)
