"""Division where what is divided by may be zero."""

import numpy as np
from numpy.typing import ArrayLike

from tracer.number_checks import Array


def ratio(part: ArrayLike, whole: ArrayLike, otherwise: float = 0.0) -> Array:
    """part / whole, and another value where the whole, which is not negative, is 0; of the broadcast shape."""
    part, whole = np.broadcast_arrays(part, whole)
    found: Array = np.divide(part, whole, out=np.full(whole.shape, otherwise), where=whole > 0)
    return found
