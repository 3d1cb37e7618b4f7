"""Second moments of features, gathered in chunks so that the number of samples is limited by patience, not by memory."""

from collections.abc import Iterable

import numpy as np

from tracer.errors import UserError
from tracer.number_checks import Array
from tracer.theory.matrix_checks import matrix


class Moments:
    """Running second moments of pairs (image x, text z): the second moment of x, the cross-covariance of z and x.

        moments = Moments()
        for images, texts in chunks:  # (m, d), (m, k)
            moments.add(images, texts)

    Sums are float64 whatever the chunks are; texts are summed relative to the first chunk's mean, so that a large common offset,
    which the centring removes, costs no digits.
    """

    def __init__(self) -> None:
        self.samples = 0

    @classmethod
    def of(cls, chunks: Iterable[tuple[Array, Array]]) -> "Moments":
        """Moments of all chunks of (images (m, d), texts (m, k))."""
        moments = cls()
        for images, texts in chunks:
            moments.add(images, texts)
        return moments

    def add(self, images: Array, texts: Array) -> None:
        """Take in a chunk of pairs: images (m, d), texts (m, k).

        Raises:
            UserError: if the arrays do not fit each other or earlier chunks, or hold values that are not finite.
        """
        first = self.samples == 0
        images = matrix("images", images, columns=None if first else self._squares.shape[0], copy=False)
        texts = matrix("texts", texts, rows=len(images), columns=None if first else len(self._offset), copy=False)
        if first:
            self._start(images, texts)
        shifted = texts - self._offset
        self._squares += images.T @ images
        self._products += shifted.T @ images
        self._image_sum += images.sum(axis=0)
        self._text_sum += shifted.sum(axis=0)
        self.samples += len(images)

    def _start(self, images: Array, texts: Array) -> None:
        d, k = images.shape[1], texts.shape[1]
        self._offset = texts.mean(axis=0)
        self._squares, self._products = np.zeros((d, d)), np.zeros((k, d))
        self._image_sum, self._text_sum = np.zeros(d), np.zeros(k)

    @property
    def second_moment(self) -> Array:
        """Sigma = X^T X / n of the images, (d, d), not centred.

        Raises:
            UserError: if there was no chunk.
        """
        self._require_samples()
        return self._squares / self.samples

    @property
    def cross_covariance(self) -> Array:
        """C = (Z - mean Z)^T X / n, (k, d).

        Raises:
            UserError: if there was no chunk.
        """
        self._require_samples()
        return (self._products - np.outer(self._text_sum, self._image_sum) / self.samples) / self.samples

    def _require_samples(self) -> None:
        if self.samples == 0:
            raise UserError("no pairs were added: give the moments at least one chunk of images and texts")


def second_moment(features: Array | Iterable[Array], name: str = "features") -> Array:
    """X^T X / n of features without labels, not centred, (d, d), in float64 whatever they are given in.

        >>> second_moment(np.array([[1.0, 0.0], [0.0, 2.0]]))
        array([[0.5, 0. ],
               [0. , 2. ]])

    Args:
        features: an array (n, d), or any number of batches (m, d), of which one is held at a time.
        name: what messages call them.

    Raises:
        UserError: if there is no row, a value is not finite, or a batch is no matrix or of another width than the first.
    """
    squares, samples = np.zeros((0, 0)), 0
    for batch in [features] if isinstance(features, np.ndarray) else features:
        batch = matrix(name, batch, columns=len(squares) if samples else None, copy=False)
        squares = batch.T @ batch + (squares if samples else 0.0)
        samples += len(batch)
    if samples == 0:
        raise UserError(f"{name} has no rows: give it at least one batch of features")
    return squares / samples
