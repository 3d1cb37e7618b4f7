"""Reports that are kept: a model that was judged is not judged again while neither its weights nor the images change."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tracer import __version__
from tracer.data.datasets import Suite
from tracer.data.image_files import ImageFiles
from tracer.data.images import CorruptSample
from tracer.evaluation.report import evaluate
from tracer.models import clip
from tracer.models.dual_encoder import DualEncoder, Encoder
from tracer.storage import write_text
from tracer.tensor_files import digest


def kept_report(encoder: Encoder, suite: Suite, path: Path, workers: int = 0) -> dict[str, Any]:
    """The report of `evaluate`, from the file if it holds that of this model on this suite; else judged and kept there.

    Args:
        encoder: the model.
        suite: the sets.
        path: where the report is kept; a damaged file is written anew.
        workers: background processes that read images.
    """
    content = [__version__, state_of_model(encoder.model), state_of(suite)]
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["content"] == content:
            return dict(found["report"])
    except (FileNotFoundError, ValueError, TypeError, LookupError, RecursionError):
        pass  # nothing is lost by judging again
    report = evaluate(encoder, suite, workers)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({"content": content, "report": report}, indent=1) + "\n")
    return report


def state_of_model(model: DualEncoder) -> str:
    """All that the answers of a `Clip` depend on: its weights by their digest, its sizes, activation and preprocessing."""
    return json.dumps([digest(model.state_dict()), clip.configuration(model)])


def state_of(suite: Suite) -> str:
    """A hash of a suite: its words, labels and images, of files the path, size and time of change."""
    sha = hashlib.sha256()
    for name, images in suite.sets().items():
        words = (name, images.class_names, images.templates, images.accepted, len(images))
        sha.update(repr(words).encode(errors="surrogateescape"))
        sha.update(images.labels.tobytes())
        for part in state_of_images(images.images):
            sha.update(part)
    return sha.hexdigest()


def state_of_images(images: Sequence[np.ndarray] | np.ndarray) -> Iterator[bytes]:
    """What tells images from others: of files the path, size and time of change, else the pixels, or why they cannot be read."""
    if isinstance(images, ImageFiles):
        yield str(images.border).encode()
        for path in images.paths:
            state = path.stat()
            yield f"{path} {state.st_size} {state.st_mtime_ns}".encode(errors="surrogateescape")
    else:
        for position in range(len(images)):
            try:
                yield images[position].tobytes()
            except CorruptSample as error:
                yield str(error).encode(errors="surrogateescape")
