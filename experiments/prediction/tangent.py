"""The last rung of the ladder: replay's strategies on a model that is expanded in all its weights. Writes tangent.json.

The embeddings, before they are scaled to length 1, are the pretrained ones and their derivative along the weights' displacement;
loss, optimiser, teacher and replay are the run's own, and a moving average of weights is a moving average of such embeddings. It
costs more than training the network itself, so it says what an expansion can say, not what one would use.
"""

import argparse
import copy
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from run import HERE, REPLAY, Line, judge, module, write
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from tracer.config.schema import RunConfig
from tracer.models.dual_encoder import DualEncoder, Encoder
from tracer.models.merging import interpolate
from tracer.models.wrapped import Wrapped
from tracer.runs import build, training_data
from tracer.runs.build import Learner
from tracer.runs.sources import evaluation_suite
from tracer.strategies import PRESETS
from tracer.terminal import console


class Tangent(Wrapped):
    """A model expanded in its weights, which are trained, around those that it was made with."""

    def __init__(self, model: DualEncoder):
        super().__init__(model)
        self.towers = nn.ModuleDict({"image": _Tower(model, "encode_image"), "text": _Tower(model, "encode_text")})
        for name, parameter in model.named_parameters():
            self.register_buffer(_flat(name), parameter.detach().clone())

    def encode_image(self, images: Tensor) -> Tensor:
        return self._expanded("image", images)

    def encode_text(self, tokens: Tensor) -> Tensor:
        return self._expanded("text", tokens)

    def _expanded(self, tower: str, inputs: Tensor) -> Tensor:
        now = {f"model.{name}": parameter for name, parameter in self.model.named_parameters()}
        start = {name: self.get_buffer(_flat(name.removeprefix("model."))) for name in now}
        with sdpa_kernel(SDPBackend.MATH):  # the others have no forward derivative
            embeddings, change = jvp(
                lambda weights: functional_call(self.towers[tower], weights, (inputs,)),
                (start,),
                ({name: now[name] - start[name] for name in now},),
            )
        return embeddings + change


class _Tower(nn.Module):
    """A model whose call embeds by one tower, which is what `functional_call` can make."""

    def __init__(self, model: DualEncoder, method: str):
        super().__init__()
        self.model, self.method = model, method

    def forward(self, inputs: Tensor) -> Tensor:
        found: Tensor = getattr(self.model, self.method)(inputs)
        return found


def _flat(name: str) -> str:
    return f"start {name}".replace(".", " ")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=Path, default=Path("runs/prediction"), help="folder that configurations name")
    options.add_argument("--models", type=int, default=3, help="how many of the pretrained models")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    sys.path.insert(0, str(REPLAY))
    cells = [cell for cell in module("run").PARTS["strategies"](arguments) if PRESETS[cell.method].trained]
    planned = [(cell, model) for model in module("cells").MODELS[: arguments.models] for cell in cells]
    lines: list[Line] = []
    with console.progress("expanded models", len(planned)) as advance:
        for done, (cell, model) in enumerate(planned, start=1):
            lines += of_cell(cell, cell.job(model, 0, arguments.runs, "test").run)
            write(HERE / "tangent.json", lines)
            advance(done)


def of_cell(cell: Any, run: RunConfig) -> Iterator[Line]:
    """The lines of one cell and model, its interpolations among them."""
    suite = evaluation_suite(run.evaluation)
    student, start = trained(run)
    told = {"part": "strategies", "method": cell.method, "model": Path(str(run.model.pretrained)).stem.removeprefix("glyphs-")}
    yield {"name": cell.name, **told, **judge(student, suite)}
    for share in cell.interpolations:
        between = dataclasses.replace(student, model=interpolate(start, student.model, share))
        yield {"name": f"wise_ft {share:g} of {cell.name}", **told, **judge(between, suite)}


def trained(run: RunConfig) -> tuple[Encoder, DualEncoder]:
    """The result of a run whose model is expanded at its start, and that start."""
    torch.manual_seed(run.seed)
    encoder = build.load_encoder(run)
    student = dataclasses.replace(encoder, model=Tangent(encoder.model))
    start = copy.deepcopy(student.model).eval().requires_grad_(False)
    learner = Learner(student.model, start, student)
    data = training_data.of_run(run, None)
    assert data
    build.trainer(run, learner, build.batches(run, learner, data)).fit()
    return student, start


if __name__ == "__main__":
    main()
