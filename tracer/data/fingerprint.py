"""What images and texts are, wherever they lie: a run may go on from moved data, but not from others under the same path."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tracer.data.datasets import CaptionedImages, LabelledImages
from tracer.data.image_files import ImageFiles
from tracer.data.shards import Members, ShardCaptions, ShardImages

SHOWN = 5  # classes named
COUNTED = ("pairs", "images", "texts", "shards")
DIGESTS = ("files", "captions", "labels", "wording")

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
    further = data.captions.parts if isinstance(data, CaptionedImages) and isinstance(data.captions, ShardCaptions) else ()
    return told | _files(data.images, further, root)


def of_images(images: Sequence[np.ndarray] | np.ndarray, root: Path) -> Fingerprint:
    """As `fingerprint`, of images without captions and labels."""
    return {"images": len(images), **_files(images, (), root)}


def of_texts(texts: Sequence[str]) -> Fingerprint:
    """The number of texts, and a digest of them in order."""
    return {"texts": len(texts), "wording": _digest(texts)}


def changes(then: Fingerprint, now: Fingerprint) -> list[str]:
    """In words, how data differ from what they were; nothing if they do not."""
    told = [f"{then.get(what)} {what} then and {now.get(what)} now" for what in COUNTED if then.get(what) != now.get(what)]
    told += _classes(then.get("classes") or [], now.get("classes") or [])
    if not told:
        told = [f"other {what}" for what in DIGESTS if then.get(what) != now.get(what)]
    return told


def _files(images: Sequence[np.ndarray] | np.ndarray, further: Sequence[Members], root: Path) -> Fingerprint:
    """A digest of the paths below `root`, or of the shards' members; `further` are those of other parts of the samples."""
    if isinstance(images, ImageFiles):
        prefix = os.path.join(root, "")
        return {"files": _digest(os.fspath(path).removeprefix(prefix) for path in images.paths)}
    if isinstance(images, ShardImages):
        return {"shards": len(images.parts), "files": _digest(_members(part) for part in (*images.parts, *further))}
    return {}


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
