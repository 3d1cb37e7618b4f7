"""Both towers trained, and both held: gradient descent of the two maps, each to its own teacher on its own replay pool."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg

from tracer.errors import UserError
from tracer.number_checks import Array
from tracer.theory.gradient_descent import descent_of
from tracer.theory.matrix_checks import matrix, positive_semidefinite
from tracer.theory.metrics import Inputs
from tracer.theory.modes import Modes, modes_of
from tracer.theory.path import Solution
from tracer.theory.recursion import MatrixRecursion, Stepping
from tracer.theory.strategies import Distillation
from tracer.theory.two_towers import TwoTowers

DIVERGED = 1e50
"""Size of a product of maps from which no descent comes back: the gradient of the next step may be its square."""


@dataclass(frozen=True, eq=False)
class TowerMaps:
    """The training of `TwoTowers` with the maps themselves as weights, side by side: W = [W_I, W_T], (k, d_I + d_T).

        L(W) + strength/2 (tr((W_I - Wbar_I) D_I (W_I - Wbar_I)^T) + tr((W_T - Wbar_T) D_T (W_T - Wbar_T)^T)),

    where L is the linearised loss of the product W_I^T W_T. The teacher averages the maps, not their product. `replay` makes the
    metric of a pool of images and a list of texts; the metric "parameter", and L2-SP, hold all weights alike.

        maps = theory.TowerMaps(theory.TwoTowers.from_pairs(images, texts, image_weights, text_weights))
        held = maps.replay(theory.second_moment(pool_images), theory.second_moment(pool_texts))
        path = theory.gradient_descent(maps, theory.Distillation(0.9, metric=held), learning_rate=0.1, steps=1000)
        image_weights, text_weights = maps.split(path.weights(1000))

    `gradient_descent` follows the trainer's recursion exactly. The loss being of degree 4 in the maps, descent has no modes, no
    largest stable step size that is known beforehand, and no closed limit: with a static teacher it ends where the gradient of the
    sum above vanishes, with one that keeps moving where that of L does. Source: this project.

    Attributes:
        towers: the problem.
    """

    towers: TwoTowers

    @cached_property
    def initial_weights(self) -> Array:
        """[W_I, W_T] where training starts, (k, d_I + d_T)."""
        return np.hstack([self.towers.image_weights, self.towers.text_weights])

    def split(self, weights: Array) -> tuple[Array, Array]:
        """W_I (..., k, d_I) and W_T (..., k, d_T) of weights (..., k, d_I + d_T)."""
        images = len(self.towers.cross_covariance)
        return weights[..., :images], weights[..., images:]

    def product(self, weights: Array) -> Array:
        """W_I^T W_T, (..., d_I, d_T), of weights (..., k, d_I + d_T)."""
        image_weights, text_weights = self.split(weights)
        return np.swapaxes(image_weights, -1, -2) @ text_weights

    def loss(self, weights: Array) -> float:
        """L of weights (k, d_I + d_T), without distillation.

        Raises:
            UserError: if the shape does not fit.
        """
        return self.towers.loss(self.product(matrix("weights", weights, *self.initial_weights.shape)))

    def gradient(self, weights: Array) -> Array:
        """Gradient of L at weights (k, d_I + d_T), of that shape.

        Raises:
            UserError: if the shape does not fit.
        """
        return np.hstack(self.towers.gradients(*self.split(matrix("weights", weights, *self.initial_weights.shape))))

    def replay(self, images: Array | None = None, texts: Array | None = None) -> Inputs:
        """The metric of replayed inputs of either tower, or of both: D_I and D_T as blocks of one matrix.

        Args:
            images: D_I, (d_I, d_I), second moment of the pool of images; None leaves the image map free.
            texts: D_T, (d_T, d_T), second moment of the list of texts; None leaves the text map free.

        Raises:
            UserError: if there is neither, or one is no second moment of its tower's width.
        """
        if images is None and texts is None:
            raise UserError("replay holds no tower without inputs: give it the second moment of images, of texts, or of both")
        widths = self.towers.cross_covariance.shape
        blocks = [
            np.zeros((width, width)) if moment is None else positive_semidefinite(f"the {name}' second moment", moment, width)
            for name, moment, width in zip(("images", "texts"), (images, texts), widths, strict=True)
        ]
        return Inputs(linalg.block_diag(*blocks))


class _MapsDescent(MatrixRecursion):
    """The recursion of both maps side by side."""

    def __init__(self, maps: TowerMaps, distillation: Distillation, stepping: Stepping) -> None:
        start = maps.initial_weights
        pull = distillation.strength * distillation.measured_by.matrix(maps)
        super().__init__(maps.gradient(start), pull, np.eye(start.shape[1]), stepping)
        self._maps = maps

    def _gradient_after(self, gradient: Array, student: Array, moved: Array) -> Array:
        weights = self._maps.initial_weights + student
        if not np.abs(self._maps.product(weights)).max() <= DIVERGED:
            raise UserError("gradient descent of two towers diverges at this step size: lower learning_rate, or strength")
        return self._maps.gradient(weights)


@modes_of.register
def _(posed: TowerMaps, distillation: Distillation) -> Modes:
    raise UserError("the maps of two towers have no modes, and so neither flow nor largest step size: run gradient_descent")


@descent_of.register
def _(posed: TowerMaps, distillation: Distillation, stepping: Stepping, allow_unstable: bool) -> Solution:
    """Whether steps are stable shows as it goes."""
    return _MapsDescent(posed, distillation, stepping)
