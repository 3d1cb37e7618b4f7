"""What cases write: files of weights that are sound but for one thing."""

import json
import os
import struct
import zipfile

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "open_clip_model.safetensors"
DEEP = "[" * 100_000


class Code:
    """An object whose pickle makes a folder when it is opened."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def tensors():
    return load_file(f"tiny/{WEIGHTS}")


def changed(**changes):
    """Writes the tiny model's weights with some tensors changed; None leaves one out, dots are double underscores."""

    def write(path):
        state = tensors()
        for name, change in changes.items():
            name = name.replace("__", ".")
            value = change(state[name]) if change else None
            state = {key: tensor for key, tensor in state.items() if key != name} | ({} if value is None else {name: value})
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)

    return write


def said(text):
    """Writes the tiny model's weights with these metadata, text or values."""
    return lambda path: save_file(tensors(), path, {"tracer": text if isinstance(text, str) else json.dumps(text)})


def torch_saved(make):
    return lambda path: torch.save(make(), path)


def cut(write, share):
    """Writes a file and keeps the first part of it."""

    def write_part(path):
        write(path)
        os.truncate(path, int(share * path.stat().st_size))

    return write_part


def archive(path):
    class Product(torch.nn.Module):
        def forward(self, x):
            return 2 * x

    torch.jit.save(torch.jit.trace(Product(), torch.ones(1)), path)


def zipped(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("word/document.xml", "<w/>")


def wide(path):
    state = tensors()
    save_file({name: tensor.repeat(*(2 for _ in tensor.shape)) if tensor.ndim else tensor for name, tensor in state.items()}, path)


def claiming(size):
    return struct.pack("<Q", size) + b'{"x":{"dtype":"F32"'


def head(weight, names=("bird", "cat", "dog")):
    return lambda path: save_file({"weight": weight}, path, {"tracer": json.dumps({"classes": names})})


def huge(value):
    return lambda tensor: torch.full(tensor.shape, value, dtype=torch.float64)
