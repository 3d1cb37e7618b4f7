"""What fine-tuning did to the weights, split into the task subspace and its orthogonal complement."""

from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracer.errors import UserError
from tracer.number_checks import Array
from tracer.theory.matrix_checks import matrix, positive_semidefinite
from tracer.theory.optima import optimum
from tracer.theory.problem import RANK_TOLERANCE, Problem
from tracer.theory.subspace import Subspace

Value = TypeVar("Value", float, Array)
"""A number, of one matrix of weights; an array (m,) of numbers, along a path."""


class Geometry(NamedTuple, Generic[Value]):
    """Where weights W stand between the pretrained weights W_0 and the task's optimum W*: numbers, or arrays (m,) along a path.

    Attributes:
        task_displacement: |(W - W_0) P|.
        orthogonal_displacement: |(W - W_0) Q|; its square adds to that of the task's part to give |W - W_0|^2.
        bias: |(W - W*) P|.
        adaptation: 1 - (task error of W) / (task error of W_0), in the data's metric; 1 at W*, 0 at W_0 (if W_0 is at
            W*: minus infinity elsewhere).
        retention: <W Q, W_0 Q> / |W_0 Q|^2; 1 where the orthogonal part is kept.
        forgetting: half the mean squared change of the embeddings on the task's own inputs, 1/2 tr((W - W_0) Sigma (W - W_0)^T).
    """

    task_displacement: Value
    orthogonal_displacement: Value
    bias: Value
    adaptation: Value
    retention: Value
    forgetting: Value


class Risk(NamedTuple, Generic[Value]):
    """A quadratic risk and its parts, which sum to it: errors in the task subspace, in its complement, and their product.

    Numbers, or arrays (m,) along a path.
    """

    total: Value
    task: Value
    orthogonal: Value
    cross: Value


def describe(problem: Problem, weights: Array, subspace: Subspace | None = None) -> Geometry[float]:
    """The geometry of weights (k, d) in a problem.

        >>> problem = Problem.from_pairs(np.eye(4)[:3], np.array([[0.0], [1.0], [2.0]]), initial_weights=np.ones((1, 4)))
        >>> told = describe(problem, np.array([[1.0, 1.0, 1.0, 0.5]]))  # moved off the task subspace alone
        >>> told.adaptation, told.retention, told.forgetting
        (0.0, 0.5, 0.0)

    Source: TRACER, arXiv 2605.29380 (decomposition); adaptation and retention as this project defines them (1 where 0 / 0).

    Args:
        problem: gives W_0, W* and the second moment.
        weights: W, (k, d).
        subspace: what counts as the task's; by default the range of the data.

    Raises:
        UserError: if the weights have another shape or are not finite.
    """
    weights = matrix("weights", weights, *problem.initial_weights.shape)
    space = problem.task_subspace if subspace is None else fitting(subspace, weights)
    target, start = optimum(problem), problem.initial_weights
    moved, kept = weights - start, space.orthogonal(start)
    return Geometry(
        task_displacement=float(np.linalg.norm(space.task(moved))),
        orthogonal_displacement=float(np.linalg.norm(space.orthogonal(moved))),
        bias=float(np.linalg.norm(space.task(weights - target))),
        adaptation=1.0 - error_left(problem, weights, space),
        retention=float(
            share_beyond_round_off(
                np.sum(space.orthogonal(weights) * kept), float(np.sum(kept**2)), float(np.sum(start**2)), empty=1.0
            )
        ),
        forgetting=forgetting(weights, start, problem.second_moment),
    )


def error_left(problem: Problem, weights: Array, subspace: Subspace) -> float:
    """Task error of weights (k, d) over that of the initial weights, in the data's metric: 1 - adaptation, with all its digits.

        tr((W - W*) P Sigma P (W - W*)^T) / tr((W_0 - W*) P Sigma P (W_0 - W*)^T)

    If W_0 is at W*, it is 0 there and infinite elsewhere.
    """
    target, start, moment = optimum(problem), problem.initial_weights, problem.second_moment
    scale = _quadratic(target, moment) + _quadratic(start, moment)
    left, before = (_quadratic(subspace.task(at - target), moment) for at in (weights, start))
    return float(error_share(left, before, scale))


def error_share(left: ArrayLike, before: float, scale: float) -> Array:
    """Task errors over the one before: if that is no more than round-off, 0 where they are too and infinite elsewhere."""
    return share_beyond_round_off(left, before, scale, empty=np.where(_is_round_off(left, scale), 0.0, np.inf))


def share_beyond_round_off(part: ArrayLike, whole: float, scale: float, empty: ArrayLike) -> Array:
    """part / whole, in the part's shape; `empty` where the whole is no more than the round-off of quantities of this scale."""
    return np.broadcast_to(empty, np.shape(part)).copy() if _is_round_off(whole, scale) else np.asarray(part) / whole


def forgetting(weights: Array, initial_weights: Array, second_moment: Array) -> float:
    """Function-space forgetting 1/2 tr((W - W_0) D (W - W_0)^T) on inputs of second moment D.

    Args:
        weights, initial_weights: W and W_0, (k, d).
        second_moment: D, (d, d), of the inputs on which embeddings are compared.

    Raises:
        UserError: if shapes do not fit or D is not positive semidefinite.
    """
    start = matrix("initial_weights", initial_weights)
    moved = matrix("weights", weights, *start.shape) - start
    return 0.5 * _quadratic(moved, positive_semidefinite("second_moment", second_moment, start.shape[1]))


def ood_risk(weights: Array, ideal: Array, second_moment: Array, subspace: Subspace) -> Risk[float]:
    """Risk 1/2 tr((W - W_o) D (W - W_o)^T) on another distribution, with its parts in and out of the task subspace.

    Args:
        weights: W, (k, d).
        ideal: W_o, (k, d), what would be best there.
        second_moment: D, (d, d), of that distribution's inputs.
        subspace: the task's.

    Returns:
        Risk; its cross part is nonzero only where D mixes the subspaces.

    Raises:
        UserError: if shapes do not fit or D is not positive semidefinite.
    """
    ideal = matrix("ideal", ideal)
    error = matrix("weights", weights, *ideal.shape) - ideal
    moment = positive_semidefinite("second_moment", second_moment, ideal.shape[1])
    inside, outside = fitting(subspace, error).task(error), subspace.orthogonal(error)
    parts = 0.5 * _quadratic(inside, moment), 0.5 * _quadratic(outside, moment), float(np.sum((inside @ moment) * outside))
    return Risk(sum(parts), *parts)


def fitting(subspace: Subspace, weights: Array) -> Subspace:
    """The subspace.

    Raises:
        UserError: if it does not lie in the space of the weights' features.
    """
    lies_in, features = len(subspace.basis), weights.shape[1]
    if lies_in != features:
        raise UserError(f"subspace must lie in the {features} dimensions of the features, and lies in {lies_in}")
    return subspace


def _quadratic(weights: Array, moment: Array) -> float:
    return float(np.sum((weights @ moment) * weights))


def _is_round_off(square: ArrayLike, scale: float) -> NDArray[np.bool_]:
    return np.asarray(square) <= RANK_TOLERANCE**2 * scale
