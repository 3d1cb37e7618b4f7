"""What the theory asks of the matrices it is given; each fault is answered with one sentence."""

import numpy as np
from numpy.typing import ArrayLike

from tracer.errors import UserError
from tracer.number_checks import NOT_NEGATIVE, Array, array_of, number, real


def matrix(name: str, values: object, rows: int | None = None, columns: int | None = None, *, copy: bool = True) -> Array:
    """The values as a float64 matrix of the given shape (None: any length above zero); without `copy`, to be read only.

    Raises:
        UserError: if they are no finite matrix, or of another shape.
    """
    array = array_of("biuf", name, values, "a matrix of real numbers", copy=copy)
    expected = f"({'any' if rows is None else rows}, {'any' if columns is None else columns})"
    if array.ndim != 2 or array.size == 0:
        raise UserError(f"{name} must be a matrix of shape {expected} with at least one element, not of shape {array.shape}")
    if rows not in (None, array.shape[0]) or columns not in (None, array.shape[1]):
        raise UserError(f"{name} must have shape {expected} to fit the other arrays, and has shape {array.shape}")
    if not np.isfinite(array).all():
        row, column = np.argwhere(~np.isfinite(array))[0]
        raise UserError(f"{name} holds {array[row, column]} at row {row}, column {column}: remove or repair such samples")
    return array


def vector(name: str, values: ArrayLike) -> Array:
    """The values as a float64 vector with at least one element.

    Raises:
        UserError: if they are no finite vector.
    """
    array = real(name, values)
    if array.ndim != 1:
        raise UserError(f"{name} must be an array of one dimension, not of shape {array.shape}")
    row: Array = matrix(name, array[None], rows=1)[0]
    return row


def positive_semidefinite(name: str, values: object, size: int | None = None) -> Array:
    """The values as a symmetric positive semidefinite float64 matrix, round-off in its symmetry removed.

    Raises:
        UserError: as `matrix` does, and if it is not square, not symmetric, or has a negative eigenvalue.
    """
    array = matrix(name, values, size, size)
    if array.shape[0] != array.shape[1]:
        raise UserError(f"{name} must be square, and has shape {array.shape}")
    scale = np.abs(array).max()
    if np.abs(array - array.T).max() > 1e-8 * scale:
        raise UserError(f"{name} must be symmetric, and differs from its transpose by {np.abs(array - array.T).max():.2g}")
    symmetric = (array + array.T) / 2
    smallest = np.linalg.eigvalsh(symmetric)[0]
    if smallest < -1e-8 * scale:
        raise UserError(f"{name} must be positive semidefinite, and has the eigenvalue {smallest:.3g}: it is no second moment")
    return symmetric


def not_negative(**numbers: float) -> None:
    """Check that the named numbers are finite and not negative.

    Raises:
        UserError: naming the first that is not.
    """
    for name, value in numbers.items():
        number(name, value, NOT_NEGATIVE)
