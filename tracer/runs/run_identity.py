"""What a run is, which must not change between a checkpoint and its resumption: settings, and the content of what they name.

Content decides, places do not: data and weights may be moved, but others under the same path make another run.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from tracer.config.data import EmbeddedData, ReadData
from tracer.config.replay import FileBank
from tracer.config.schema import RunConfig
from tracer.data import fingerprint, text_banks
from tracer.data.datasets import CaptionedImages, LabelledImages
from tracer.tensor_files import digest
from tracer.training.run_changes import Identity

# where things lie, and how many corrupt pairs are allowed: a run that met too many may be allowed more
PLACES = {"path", "categories", "max_corrupt_share"}
FREE: dict[str, Any] = {
    "data": PLACES,
    "model": {"pretrained"},
    "replay": {"images": PLACES, "texts": {"path"}},
}
LOCAL = "local-dir:"  # what follows is a place


def of_run(run: RunConfig, data: CaptionedImages | LabelledImages | None, pool: Sequence[np.ndarray] | np.ndarray = ()) -> Identity:
    """Settings of a run and the content of what it reads; weights follow by `with_weights`.

    Args:
        run: its configuration.
        data: its training data; None: it has none.
        pool: the further images that it replays, if it does.
    """
    kept = {"seed", "model", "data", "strategy", "average", "optimization"} | ({"replay"} if run.replay else set())
    settings = run.model_dump(mode="json", include=kept, exclude=FREE)
    if run.model.architecture.startswith(LOCAL):
        settings["model"]["architecture"] = LOCAL
    content = {}
    if data is not None and not isinstance(run.data, EmbeddedData):
        content["data"] = fingerprint.fingerprint(data, _root(run.data.path))
    if run.replay and isinstance(run.replay.images, ReadData):
        content["images"] = fingerprint.of_images(pool, _root(run.replay.images.path))
    if run.replay and isinstance(run.replay.texts, FileBank):
        content["texts"] = fingerprint.of_texts([*text_banks.lines(run.replay.texts.path).values()])
    return {**settings, "content": content}


def _root(path: Path | str) -> Path:
    """The folder that data lie in."""
    path = Path(path)
    return path if path.is_dir() else path.parent


def with_weights(identity: Identity, named: str | None, model: nn.Module, configuration: Any) -> Identity:
    """The identity with a digest of the pretrained weights and of what else the model is built from.

    Args:
        identity: what is known before the model is loaded.
        named: what `model.pretrained` is; it is told when the weights have changed, and not compared.
        model: the model with these weights.
        configuration: its sizes and preprocessing, as JSON has them.
    """
    weights = {"named": named, "digest": digest(model.state_dict())}
    return {**identity, "content": {**identity["content"], "weights": weights, "model": configuration}}
