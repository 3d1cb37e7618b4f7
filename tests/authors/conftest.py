"""The authors' own code, imported from checkouts of their repositories. None of it is kept here."""

import ast
import importlib
import inspect
import os
import sys
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch
from torch import nn
from torch.nn import functional

# data, evaluation, logging, command line, and other models: not what is compared
STOOD_IN = (
    *("wandb", "pandas", "clip.clip", "src.args", "src.datasets_", "src.datasets_.common", "src.datasets_.laion"),
    *("src.models.eval", "src.models.modeling", "src.models.zeroshot"),
)


class Authors:
    """One checkout: its modules on a CPU, its training loops, and single expressions of them.

    Args:
        folder: the checkout.
        patch: undoes after the test what this changes.
    """

    def __init__(self, folder: str, patch: pytest.MonkeyPatch):
        patch.syspath_prepend(folder)
        patch.setattr(torch.Tensor, "cuda", lambda self, *_: self)
        patch.setattr(nn.Module, "cuda", lambda self, *_: self)
        patch.setattr(torch.cuda, "device_count", lambda: 1)

    def module(self, name: str) -> ModuleType:
        """A module by its name in the checkout."""
        with pytest.MonkeyPatch.context() as patch:
            for absent in STOOD_IN:
                patch.setitem(sys.modules, absent, MagicMock())
            return importlib.import_module(name)

    def value(self, module: str, name: str, containing: str = "", **values):
        """What the source of a module assigns to a name, with the given values in its expression."""
        source = inspect.getsource(self.module(module))
        found = [
            expression
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name
            if containing in (expression := ast.unparse(node.value)) and "torch.tensor(0)" not in expression
        ]
        assert len(found) == 1, found
        return eval(found[0], {"torch": torch, "F": functional, **values})

    def train(self, method: str, towers: nn.Module, batches: list, folder: str, **settings) -> tuple[dict, dict]:
        """Weights of student and teacher after an epoch of a training loop of theirs over the batches."""
        loop = getattr(self.module(f"src.models.{method}_loss"), f"{method}_loss")
        loop.__globals__["datasets"] = SimpleNamespace(Batches=lambda *_, **__: SimpleNamespace(train_loader=batches))
        loop.__globals__["get_data"] = lambda *_, **__: {"train_ft": SimpleNamespace(dataloader=batches)}
        fixed = {"train_dataset": "Batches", "data_location": "", "batch_size": 0, "epochs": 1, "model": "ViT-B/16", "save": folder}
        fixed |= {"clip_load": None, "exp_name": "", "run": 0, "trainable_layers": -1}
        off = ["use_fp16", "ls", "min_lr", "max_grad_norm", "grad_norm_multiplier"]
        off += ["freeze_text_encoder", "l_orth_wv", "ema_teacher"]
        off += [f"alpha_{term}" for term in ("crd", "fd", "mfd", "gd", "icl", "afd", "cross_kd", "temp_distil")]
        args = SimpleNamespace(**{**fixed, **dict.fromkeys(off, 0), **settings})
        loop(args, _AsTheirs(towers), nn.Identity(), MagicMock())
        return tuple(torch.load(f"{folder}/checkpoint_1{which}.pt") for which in ("", "_EMA"))


class _AsTheirs(nn.Module):
    """A dual encoder under the names that the authors' loops ask for."""

    train_preprocess = val_preprocess = None

    def __init__(self, towers: nn.Module):
        super().__init__()
        self.towers = towers

    @property
    def model(self) -> SimpleNamespace:
        image, text = self.towers.projections()
        visual = SimpleNamespace(proj=image.T, parameters=self.towers.parameters)
        return SimpleNamespace(visual=visual, text_projection=text.T, parameters=self.towers.parameters)

    def forward(self, images, tokens):
        features = self.towers(images, tokens)
        return features.image, features.text, features.logit_scale

    def save(self, path: str) -> None:
        torch.save(self.towers.state_dict(), path)


def _authors(variable: str):
    if variable not in os.environ:
        pytest.skip(f"{variable} does not name a checkout of the authors' repository")
    with pytest.MonkeyPatch.context() as patch:
        yield Authors(os.environ[variable], patch)
        for name in [name for name in sys.modules if name.split(".")[0] in ("src", "clip")]:
            del sys.modules[name]


@pytest.fixture
def tracer_authors():
    """TRACER's."""
    yield from _authors("TRACER_AUTHORS")


@pytest.fixture
def carot_authors():
    """CaRot's."""
    yield from _authors("CAROT_AUTHORS")
