"""What training data are, wherever they lie: a run may go on from moved data, but not from others under the same path."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tracer.data.datasets import CaptionedImages, LabelledImages
from tracer.data.image_files import ImageFiles
from tracer.data.shards import Members, ShardCaptions, ShardImages

SHOWN = 5  # classes named

Fingerprint = dict[str, Any]


def fingerprint(data: CaptionedImages | LabelledImages, root: Path) -> Fingerprint:
    """Number of pairs, class names in order, and digests of what is listed: paths below `root`, labels, captions.

    Pixels are not read, which would take as long as an epoch. For shards the members' names and places stand for them and for the
    captions.

    Args:
        data: the training set as it is listed; arrays in memory count for nothing.
        root: where it lies; this part of a path is left out.
    """
    told: Fingerprint = {"pairs": len(data)}
    if isinstance(data, LabelledImages):
        told |= {"classes": list(data.class_names), "labels": _digest(map(str, data.labels.tolist()))}
    elif not isinstance(data.captions, ShardCaptions):
        told["captions"] = _digest(map(json.dumps, data.captions))
    if isinstance(data.images, ImageFiles):
        prefix = os.path.join(root, "")
        told["files"] = _digest(os.fspath(path).removeprefix(prefix) for path in data.images.paths)
    elif isinstance(data.images, ShardImages):
        told["shards"] = len(data.images.parts)
        captions = data.captions.parts if isinstance(data, CaptionedImages) and isinstance(data.captions, ShardCaptions) else ()
        told["files"] = _digest(_members(part) for part in (*data.images.parts, *captions))
    return told


def changes(then: Fingerprint, now: Fingerprint) -> list[str]:
    """In words, how data differ from what they were; nothing if they do not."""
    told = [
        f"{then.get(what)} {what} then and {now.get(what)} now" for what in ("pairs", "shards") if then.get(what) != now.get(what)
    ]
    told += _classes(then.get("classes") or [], now.get("classes") or [])
    if not told:
        told = [f"other {what}" for what in ("files", "captions", "labels") if then.get(what) != now.get(what)]
    return told


def _classes(then: list[str], now: list[str]) -> list[str]:
    if then == now:
        return []
    gone, new = [name for name in then if name not in set(now)], [name for name in now if name not in set(then)]
    told = [f"{len(then)} classes then and {len(now)} now" if len(then) != len(now) else f"{len(now)} classes"]
    told += [
        f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {how}" for names, how in ((gone, "gone"), (new, "new")) if names
    ]
    return told if gone or new else [*told, "in another order"]


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _members(part: Members) -> str:
    digest = hashlib.sha256(part.names.tobytes())
    digest.update(part.places.tobytes())
    return f"{part.path.name} {len(part.names)} {digest.hexdigest()}"


def _digest(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()
