"""What must not change between a checkpoint and its resumption, compared: the sentences that say what did."""

from typing import Any

from tracer.data import fingerprint

Identity = dict[str, Any]
READ = {
    "data": "data.path has other pairs",
    "images": "replay.images.path has other images",
    "texts": "replay.texts.path has other texts",
}
"""What is read from files, by its name in the content of an identity, and what to say if it has changed."""


def changes(then: Identity, now: Identity, when: str) -> str:
    """In words, how a run differs from what it was when `when` was so; empty if it does not.

    Content that is not known now is not compared.
    """
    before, content = (identity.get("content") or {} for identity in (then, now))
    told = _settings({**then, "content": None}, {**now, "content": None})
    if "model" in content:
        told += _settings(before.get("model"), content["model"], "model")
    sentences = [f"other settings than when {when} ({'; '.join(told)})"] if told else []
    for name, told_so in READ.items():
        if name in content and (differences := fingerprint.changes(before.get(name, {}), content[name])):
            sentences.append(f"{told_so} than when {when}: {', '.join(differences)}")
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
