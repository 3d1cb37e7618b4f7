"""Paths whose modes do not interact: one scalar a mode and time, from which weights are made, and scalars without them."""

from collections.abc import Callable
from functools import cached_property, lru_cache

import numpy as np

from tracer.number_checks import Array
from tracer.theory.closed_forms.ratio import ratio
from tracer.theory.recursion import Propagators

FEW_TIMES = 32
"""Up to so many times each is turned back into weights on its own: the ranks of longer paths are about as large."""
ROUND_OFF = 1e-15
"""Share of the largest singular value up to which a mixture of responses, each time's scaled to length 1, is round-off."""


class DecoupledModes:
    """A solution whose modes do not interact: scalars per mode multiply the initial gradient.

    Args:
        gradient: G_0 in the modes, (rows, modes).
        basis: a column for each mode, (columns, modes), into which displacements turn back; rows x columns is k x d.
        propagate: propagators at the given times.
    """

    def __init__(self, gradient: Array, basis: Array, propagate: Callable[[Array], Propagators]) -> None:
        self._gradient, self.basis = gradient, basis
        self._propagate = lru_cache(maxsize=4)(lambda key: propagate(np.array(key)))

    @cached_property
    def lengths(self) -> Array:
        """Norm of the initial gradient in each mode, (modes,)."""
        lengths: Array = np.linalg.norm(self._gradient, axis=0)
        return lengths

    @cached_property
    def directions(self) -> Array:
        """The initial gradient's direction in each mode, (rows, modes): columns of length 1, or 0 where there is no gradient."""
        return ratio(self._gradient, self.lengths)

    def response(self, times: Array) -> Propagators:
        """Propagators at the given times, (m, modes) each."""
        return self._propagate(tuple(times.tolist()))

    def student(self, times: Array) -> Array:
        return self._summed(self.response(times).student_response)

    def teacher(self, times: Array) -> Array:
        return self._summed(self.response(times).teacher_response)

    def gap(self, times: Array) -> Array:
        return self._displacement(self.response(times).gap_response)

    def impulse(self, times: Array) -> Array:
        return self._displacement(self.response(times).response_impulse)

    def _displacement(self, responses: Array) -> Array:
        """Minus the gradient times the responses (m, modes), (m, rows, columns), every element accurate relative to itself."""
        moved = -self._gradient * responses[:, None, :]
        (rows, modes), columns = self._gradient.shape, len(self.basis)
        return (moved.reshape(len(moved) * rows, modes) @ self.basis.T).reshape(len(moved), rows, columns)

    def _summed(self, responses: Array) -> Array:
        """The same, each time's accurate relative to its largest: at many times a sum of the few displacements that span them."""
        if len(responses) <= FEW_TIMES or not np.isfinite(responses).all():
            return self._displacement(responses)
        weighted = responses * self.lengths
        scaled = ratio(weighted, np.linalg.norm(weighted, axis=1, keepdims=True))
        _, sizes, spanning = np.linalg.svd(scaled, full_matrices=False)
        spanning = spanning[sizes > ROUND_OFF * sizes.max(initial=0.0)]
        parts = self._displacement(ratio(spanning, self.lengths))
        rows, columns = parts.shape[1:]
        coefficients = weighted @ spanning.T
        summed: Array = coefficients @ parts.reshape(len(parts), rows * columns)
        return summed.reshape(len(responses), rows, columns)
