"""Code that a model's files would run: found before the library that would run it is asked."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub

from tracer.errors import UserError
from tracer.models.loading import configurations

_FILES = (
    "tokenizer_config.json",
    "config.json",
)  # where transformers looks for auto_map, the names of classes in a model's own files


def refuse(architecture: str, configuration: dict[str, Any], folder: Path | None) -> None:
    """Refuse a configuration whose tokenizer or text tower would run code from its own files.

    Args:
        architecture: the model's name, for the error.
        configuration: its open_clip model_cfg.
        folder: the model's folder, if it has one; its tokenizer is read from there.

    Raises:
        UserError: if there is such code, which model.trust_remote_code would allow.
    """
    asking = next(_asking(configuration["text_cfg"], folder), None)
    if asking:
        raise UserError(f"{architecture} would run code of its own: {asking}; if you trust it, set model.trust_remote_code to true")


def _asking(text: dict[str, Any], folder: Path | None) -> Iterator[str]:
    if (text.get("tokenizer_kwargs") or {}).get("trust_remote_code"):
        yield "its tokenizer_kwargs ask for trust_remote_code"
    tokenizer = text.get("hf_tokenizer_name")
    for source in filter(None, (tokenizer and (folder or tokenizer), text.get("hf_model_name"))):
        for name in _FILES:
            path = _file(str(source), name)
            values = configurations.read_json(path) if path else None
            if isinstance(values, dict) and values.get("auto_map"):
                yield f"{path} names classes of its own in auto_map"


def _file(source: str, name: str) -> Path | None:
    """A file of a folder, else of the hub, where there is one."""
    if os.path.isdir(source):  # unlike Path's, it takes any text
        return Path(source, name) if Path(source, name).exists() else None
    try:
        return Path(huggingface_hub.hf_hub_download(source, name))
    except Exception:  # absent, or the hub does not answer, which whoever needs the file will tell
        return None
