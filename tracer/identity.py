"""What a run is, which must not change between a checkpoint and its resumption: settings, and the content of what they name.

Content decides, places do not: data and weights may be moved, but others under the same path make another run.
"""

from pathlib import Path
from typing import Any

from torch import nn

from tracer.config import EmbeddedData, Run
from tracer.data import fingerprint
from tracer.data.sets import CaptionedImages, LabelledImages
from tracer.storage import digest

Identity = dict[str, Any]
# where things lie, and how many corrupt pairs are allowed: a run that met too many may be allowed more
FREE = {"data": {"path", "categories", "max_corrupt_share"}, "model": {"pretrained"}}
LOCAL = "local-dir:"  # what follows is a place


def of_run(run: Run, data: CaptionedImages | LabelledImages | None) -> Identity:
    """Settings of a run and the content of its training data (None: it has none); weights follow by `with_weights`."""
    kept = {"seed", "model", "data", "strategy", "optimization"}
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


def changes(then: Identity, now: Identity, when: str) -> str:
    """In words, how a run differs from what it was when `when` was so; empty if it does not.

    Content that is not known now is not compared.
    """
    before, content = (identity.get("content") or {} for identity in (then, now))
    told = _settings({**then, "content": None}, {**now, "content": None})
    if "model" in content:
        told += _settings(before.get("model"), content["model"], "model")
    sentences = [f"other settings than when {when} ({'; '.join(told)})"] if told else []
    if "data" in content and (pairs := fingerprint.changes(before.get("data", {}), content["data"])):
        sentences.append(f"data.path has other pairs than when {when}: {', '.join(pairs)}")
    if "weights" in content:
        old, new = before.get("weights", {}), content["weights"]
        if old.get("digest") != new["digest"]:
            names = "" if old.get("named") == new["named"] else f" (it was {old.get('named')!r} and is {new['named']!r})"
            sentences.append(f"model.pretrained holds other weights than when {when}{names}")
    return "; ".join(sentences)


def _settings(then: Any, now: Any, path: str = "") -> list[str]:
    if not (isinstance(then, dict) and isinstance(now, dict)):
        return [] if then == now else [f"{path} was {then!r} and is {now!r}"]
    keys = sorted({*then, *now})
    return [change for key in keys for change in _settings(then.get(key), now.get(key), f"{path}.{key}".lstrip("."))]
