"""The trainer on two linear towers, each held on a replay pool of its own, as `tracer.theory.TowerMaps` says."""

import numpy as np
import torch
from torch.utils.data import Dataset

from tracer.averaging import Clock
from tracer.crosscheck.history import WeightHistory
from tracer.models.linear import LinearTowers
from tracer.number_checks import Array
from tracer.schedules import Schedule, constant
from tracer.theory import Distillation, TowerMaps
from tracer.training.batches import Batch
from tracer.training.objective import Objective
from tracer.training.teacher import Teacher
from tracer.training.trainer import Loop, Trainer


class SameBatch(Dataset[Batch]):
    """The whole of a problem as the batch of every step."""

    def __init__(self, batch: Batch, steps: int) -> None:
        self.batch, self.steps = batch, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        return self.batch


def train_towers(
    maps: TowerMaps,
    pairs: tuple[Array, Array],
    strategy: Distillation,
    *,
    replay: Array | None = None,
    replay_texts: Array | None = None,
    learning_rate: float,
    steps: int,
    update_every: int = 1,
    schedule: Schedule = constant,
    heavy_ball: float = 0.0,
) -> WeightHistory:
    """Fine-tune both maps with plain SGD in float64, as `tracer.theory.gradient_descent` says of `maps` with the same arguments.

    The strategy gives strength and kernel. In place of its metric the trainer sees the replayed inputs themselves, of whose second
    moments `maps.replay` makes that metric.

    Args:
        maps: what is learned.
        pairs: images (n, d_I) and texts (n, d_T) that `maps.towers` was made from, in float64 like the pools.
        strategy: how.
        replay: pool of images (m, d_I); None leaves the image map free.
        replay_texts: list of texts (m', d_T); None leaves the text map free.
        learning_rate, steps, update_every, schedule, heavy_ball: as for `tracer.crosscheck.training.train`.

    Returns:
        Weights [W_I, W_T], (k, d_I + d_T).

    Raises:
        UserError: if a number is out of its range, or the loss stops being finite.
    """
    towers = maps.towers
    model = LinearTowers(torch.from_numpy(towers.image_weights.copy()), torch.from_numpy(towers.text_weights.copy()))
    teacher = Teacher(model, strategy.kernel, Clock(steps, update_every))
    images, texts = map(torch.from_numpy, pairs)
    pool, text_pool = (None if each is None else torch.from_numpy(each) for each in (replay, replay_texts))
    batch = Batch(images, texts, pool, text_pool)
    per_element = strategy.strength * towers.rank / 2  # FD is a mean over m k elements
    held = {term: per_element for term, part in (("replay_fd", replay), ("replay_text_fd", replay_texts)) if part is not None}
    history = [(_weights(model), _weights(teacher.module))]
    Trainer(
        model,
        SameBatch(batch, steps),
        Objective({"linearised_contrastive": 1.0, "product_norm": towers.embedding_penalty, **held}),
        torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=heavy_ball),
        Loop(steps, schedule, precision="fp64"),
        teacher=teacher,
        on_step=lambda step: history.append((_weights(model), _weights(teacher.module))),
    ).fit()
    students, teachers = map(np.stack, zip(*history, strict=True))
    return WeightHistory(students, teachers, students[-1])


def _weights(model: LinearTowers) -> Array:
    side_by_side: Array = np.hstack([part.detach().cpu().numpy() for part in model.projections()])
    return side_by_side
