"""What a run is, which must not change between a checkpoint and its resumption: settings, and the content of what they name.

Content decides, places do not: data and weights may be moved, but others under the same path make another run.
"""

from pathlib import Path
from typing import Any

from torch import nn

from tracer.config.schema import EmbeddedData, RunConfig
from tracer.data import fingerprint
from tracer.data.datasets import CaptionedImages, LabelledImages
from tracer.tensor_files import digest
from tracer.training.run_changes import Identity

# where things lie, and how many corrupt pairs are allowed: a run that met too many may be allowed more
FREE = {"data": {"path", "categories", "max_corrupt_share"}, "model": {"pretrained"}}
LOCAL = "local-dir:"  # what follows is a place


def of_run(run: RunConfig, data: CaptionedImages | LabelledImages | None) -> Identity:
    """Settings of a run and the content of its training data (None: it has none); weights follow by `with_weights`."""
    kept = {"seed", "model", "data", "strategy", "average", "optimization"}
    settings = run.model_dump(mode="json", include=kept, exclude=FREE)
    if run.model.architecture.startswith(LOCAL):
        settings["model"]["architecture"] = LOCAL
    content = {}
    if data is not None and not isinstance(run.data, EmbeddedData):
        path = Path(run.data.path)
        content["data"] = fingerprint.fingerprint(data, path if path.is_dir() else path.parent)
    return {**settings, "content": content}


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
