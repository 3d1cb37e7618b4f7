"""Random problems, metrics and strategies for the theory's tests, and quadratic minimisation by a route of its own."""

import numpy as np
from hypothesis import strategies as st

from tracer import theory
from tracer.theory import Problem

KINDS = ("generic", "rank-deficient", "repeated", "decades")
seeds = st.integers(0, 2**32 - 1)


def images_of(kind: str, rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Features (n, d) whose second moment is well conditioned; so on half of its directions; flat; or spans four decades."""
    left, plain, right = np.linalg.svd(rng.standard_normal((n, d)), full_matrices=False)
    r = len(plain)
    roots = {
        "generic": rng.uniform(0.4, 1.6, r),
        "rank-deficient": rng.uniform(0.4, 1.6, r) * (np.arange(r) < max(1, r // 2)),
        "repeated": np.ones(r),
        "decades": np.logspace(0, -2, r),
    }[kind]
    return np.sqrt(n) * (left * roots) @ right


def random_problem(seed: int, kind: str = "generic", n: int = 12, d: int = 5, k: int = 3, **penalties) -> Problem:
    rng = np.random.default_rng(seed)
    return Problem.from_pairs(images_of(kind, rng, n, d), rng.standard_normal((n, k)), rng.standard_normal((k, d)), **penalties)


def random_moment(seed: int, d: int, rank: int | None = None) -> np.ndarray:
    """A second moment (d, d) that commutes with no other."""
    inputs = np.random.default_rng(seed).standard_normal((rank or d + 2, d))
    return inputs.T @ inputs / len(inputs)


@st.composite
def problems(draw, kinds=KINDS, weight_decays=(0.0, 0.1)) -> Problem:
    n, d, k = draw(st.integers(2, 12)), draw(st.integers(1, 8)), draw(st.integers(1, 4))
    return random_problem(
        draw(seeds),
        draw(st.sampled_from(kinds)),
        n,
        d,
        k,
        embedding_penalty=draw(st.sampled_from([0.3, 1.0, 2.5])),
        weight_decay=draw(st.sampled_from(weight_decays)),
    )


def commuting(spectrum: np.ndarray, problem: Problem) -> theory.Inputs:
    """The metric with this spectrum in the problem's eigenbasis."""
    return theory.Inputs((problem.eigenvectors * spectrum) @ problem.eigenvectors.T)


def diagonal_problem(eigenvalues, seed: int = 0, k: int = 3, **penalties) -> Problem:
    """A problem whose eigenvectors are the unit vectors, largest eigenvalue first."""
    eigenvalues = np.asarray(eigenvalues, dtype=float)
    assert np.all(np.diff(eigenvalues) <= 0)
    cross, start = np.random.default_rng(seed).standard_normal((2, k, len(eigenvalues)))
    return Problem(np.diag(eigenvalues), cross * np.sqrt(eigenvalues), start, **penalties)


def nearest_minimiser(problem: Problem, strength: float = 0.0, metric: np.ndarray | None = None) -> np.ndarray:
    """The minimiser of L(W) + strength / 2 tr((W - W_0) D (W - W_0)^T) nearest to W_0, as least squares on the pairs."""
    images, start = problem.pairs[0], problem.initial_weights
    metric = np.zeros_like(problem.second_moment) if metric is None else metric
    root_values, root_vectors = np.linalg.eigh(metric)
    root = np.sqrt(strength * np.maximum(root_values, 0))[:, None] * root_vectors.T
    data, decay = np.sqrt(problem.embedding_penalty / len(images)), np.sqrt(problem.weight_decay)
    rows = np.concatenate([data * images, decay * np.eye(images.shape[1]), root])
    asked = [data * (problem.target_matrix - images @ start.T), -decay * start.T, np.zeros((len(root), len(start)))]
    return start + np.linalg.lstsq(rows, np.concatenate(asked), rcond=1e-7)[0].T


def quadratic(weights: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """tr(W D W^T) of each (..., k, d)."""
    return np.einsum("...ki,ij,...kj->...", weights, moment, weights)
