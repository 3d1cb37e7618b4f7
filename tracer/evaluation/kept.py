"""Reports that are kept: a model that was judged is not judged again while neither its weights nor the images change."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tracer import __version__
from tracer.data.files import ImageFiles
from tracer.data.sets import LabelledImages, Suite
from tracer.evaluation.suite import evaluate
from tracer.models.dual_encoder import Encoder
from tracer.storage import write_text


def kept_report(encoder: Encoder, suite: Suite, path: Path, workers: int = 0) -> dict[str, Any]:
    """The report of `evaluate`, from the file if it holds that of these weights on this suite; else judged and kept there.

    Args:
        encoder: the model.
        suite: the sets.
        path: where the report is kept; a damaged file is written anew.
        workers: background processes that read images.
    """
    content = _content(encoder, suite)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["content"] == content:
            return found["report"]
    except (FileNotFoundError, ValueError, TypeError, LookupError, RecursionError):
        pass  # nothing is lost by judging again
    report = evaluate(encoder, suite, workers)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({"content": content, "report": report}, indent=1) + "\n")
    return report


def _content(encoder: Encoder, suite: Suite) -> str:
    """A hash of the weights and of the suite: its words, labels and images, of files the path, size and time of change."""
    digest = hashlib.sha256(__version__.encode())
    for name, tensor in sorted(encoder.model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    for name, images in suite.sets().items():
        words = (name, images.class_names, images.templates, images.accepted, len(images))
        digest.update(repr(words).encode(errors="surrogateescape"))
        digest.update(images.labels.tobytes())
        for part in _pictures(images):
            digest.update(part)
    return digest.hexdigest()


def _pictures(images: LabelledImages) -> Iterator[bytes]:
    if isinstance(images.images, ImageFiles):
        yield str(images.images.border).encode()
        for path in images.images.paths:
            state = path.stat()
            yield f"{path} {state.st_size} {state.st_mtime_ns}".encode(errors="surrogateescape")
    else:
        for image in images.images:
            yield image.tobytes()
