"""Any passive average of a finished run, made from the snapshots that it kept (see `tracer.synthesis`)."""

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from tracer.averaging import Beta, Clock, Kernel, PowerLaw, Static
from tracer.config.loading import load
from tracer.config.schema import RunConfig
from tracer.config.strategy import AnyKernel
from tracer.errors import UserError
from tracer.models import clip
from tracer.models.dual_encoder import Encoder
from tracer.number_checks import Array
from tracer.runs import run_folder
from tracer.runs.build import AVERAGES, Learner, load_encoder
from tracer.runs.judging import write_json
from tracer.strategies import PRESETS
from tracer.synthesis import ANCHOR, STUDENT, Combination, Kept, combine
from tracer.tensor_files import load_metadata, load_tensors
from tracer.training.snapshots import LENGTHS

_LOG = logging.getLogger(__name__)
TOLERATED = 0.05  # estimated error of an average, as a share of the way from the pretrained weights to the last student's
AGES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
CANDIDATES: tuple[Kernel, ...] = (STUDENT, *(PowerLaw(1 / age - 1) for age in AGES), Static(), Beta(0.5, 0.5))
"""Kernels to choose from: the last student, power laws of many mean ages (as a share of the run), the pretrained model, and
CLIPood's average."""
_KERNEL: TypeAdapter[Any] = TypeAdapter(AnyKernel)


@dataclass(frozen=True)
class Made:
    """An average that was made from snapshots.

    Attributes:
        encoder: the model, with its head if the run has one.
        kernel: the averaging kernel.
        told: how it was made, as JSON has it: `kernel`, its `mean_age` (1 is the whole run), and in shares of the distance from the
            pretrained weights to the last student's, which is `moved`, the error's `bound` and `estimate` and the `rounding` that
            comes to them (see `synthesis.Certificate`); `most_negative`, the most negative weight of an iterate; `snapshots`, the
            bytes of all that the run kept.
    """

    encoder: Encoder
    kernel: Kernel
    told: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Save it in a folder that open_clip loads, with the head, and what is told of it in average.json.

        Raises:
            UserError: if the folder holds a run, or weights of another model.
        """
        folder.mkdir(parents=True, exist_ok=True)
        run_folder.require_room_beside(folder)
        clip.save_folder(self.encoder.model, folder)
        if self.encoder.head is not None:
            self.encoder.head.save(folder / "head.safetensors")
        write_json(self.told, folder / "average.json")


@dataclass(frozen=True)
class KeptAverages:
    """The snapshots of a finished run.

    Attributes:
        run: its configuration; `output` is where it lies now.
        clock: that of the averages.
        kept: what each file holds.
        lengths: of the student's moves from each update to the next, (updates,).
    """

    run: RunConfig
    clock: Clock
    kept: Mapping[Path, Kept]
    lengths: Array

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Those of the run in a folder.

        Raises:
            UserError: if there is no run, it kept no averages or is not finished, or files are absent or damaged.
        """
        if not (folder / run_folder.CONFIGURATION).exists():
            raise UserError(f"{folder} holds no run: name a folder that tracer train wrote")
        run = load(folder / run_folder.CONFIGURATION).model_copy(update={"output": folder})
        if not run.average.snapshots:
            raise UserError(f"the run in {folder} kept no averages: train it with average.snapshots = 8, say")
        lengths = folder / AVERAGES / LENGTHS
        if not lengths.exists():
            raise UserError(f"the run in {folder} is not finished: go on with it first")
        clock = load_metadata(lengths)
        kept = {path: _kept(path) for path in sorted(lengths.parent.glob("*.safetensors")) if path != lengths}
        for name, end in (("start", ANCHOR), ("end", Kept(STUDENT, Clock(**clock).updates))):
            if end not in kept.values():
                raise UserError(f"{lengths.parent} lacks the file that is called {name}: bring it back, or train again")
        return cls(run, Clock(**clock), kept, load_tensors(lengths)["lengths"].numpy())

    def combination(self, kernel: Kernel) -> tuple[Combination, dict[str, Any]]:
        """The nearest combination to a kernel's average, and what is to be told of it (see `Made`)."""
        found = combine(kernel, self.clock, [*self.kept.values()], self.lengths, self._noise)
        parts = found.certificate(self.lengths, self._noise)._asdict()
        shares = {name: value / self.moved if name != "most_negative" else value for name, value in parts.items()}
        size = sum(path.stat().st_size for path in self.kept)
        of_kernel = {"kernel": vars(kernel), "mean_age": kernel.mean_age(self.clock)}
        return found, {**of_kernel, **shares, "moved": self.moved, "snapshots": size}

    def make(self, kernel: Kernel) -> Made:
        """The average of the run with a kernel.

        Raises:
            UserError: if the snapshots cannot express it.
        """
        found, told = self.combination(kernel)
        if told["estimate"] > TOLERATED:
            off = f"about {told['estimate']:.0%} of the way that the run went, at most {told['bound']:.0%}"
            raise UserError(
                f"the averages in {self.folder} cannot express {kernel!r}, and would be off by {off}: let the run follow it by"
                " average.kernel, or train with more average.snapshots"
            )
        learner = copy.deepcopy(self._learner)
        learner.student.load_state_dict({**learner.student.state_dict(), **self._combined(found.coefficients)})
        return Made(learner.encoder_of(learner.student), kernel, told)

    def expressible(self, kernels: Sequence[Kernel]) -> list[Kernel]:
        """Those that the snapshots can express; the others are told."""
        off = {kernel: self.combination(kernel)[1]["estimate"] for kernel in kernels}
        if left_out := [kernel for kernel, estimate in off.items() if estimate > TOLERATED]:
            _LOG.warning(f"left out, for the snapshots cannot express them: {', '.join(map(repr, left_out))}")
        return [kernel for kernel in kernels if kernel not in left_out]

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self.run.output / AVERAGES

    @property
    def moved(self) -> float:
        """Distance of the last student's trained weights from the pretrained ones."""
        return self._sizes[0]

    @property
    def _noise(self) -> float:
        """What rounding to the stored precision does to a model, root mean square."""
        return self._sizes[1]

    @cached_property
    def _sizes(self) -> tuple[float, float]:
        start, end = (self._weights(self._path(each)) for each in (ANCHOR, Kept(STUDENT, self.clock.updates)))
        moved = torch.cat([(end[name].double() - tensor.double()).flatten() for name, tensor in start.items()])
        noise = [torch.finfo(tensor.dtype).eps / 2 * float(tensor.double().norm()) for tensor in end.values()]
        return max(float(moved.norm()), np.finfo(np.float64).tiny), float(np.linalg.norm(noise))

    @cached_property
    def _learner(self) -> Learner:
        """The run's result, for its shape and what is not averaged."""
        head = self.run.output / "head.safetensors" if PRESETS[self.run.strategy.name].has_head else None
        encoder = load_encoder(self.run, self.run.output / "student.safetensors", head)
        return Learner.of(self.run, encoder, encoder.model)

    def _path(self, wanted: Kept) -> Path:
        return next(path for path, kept in self.kept.items() if kept == wanted)

    def _weights(self, path: Path) -> dict[str, Tensor]:
        """The trained weights in a file."""
        weights = dict(self._learner.student.named_parameters())
        return {name: tensor for name, tensor in load_tensors(path).items() if name in weights}

    def _combined(self, coefficients: Array) -> dict[str, Tensor]:
        """Averaged tensors as sums of those in the files; all others as they were in the end."""
        end = load_tensors(self._path(Kept(STUDENT, self.clock.updates)))
        names = _averaged(self._learner.student, end, self.run.average.buffers == "average")
        sums = {name: torch.zeros_like(end[name], dtype=torch.float64) for name in names}
        for path, coefficient in zip(self.kept, coefficients, strict=True):
            tensors = load_tensors(path)
            for name, total in sums.items():
                total += coefficient * tensors[name].double()
        return {**end, **{name: total.to(end[name].dtype) for name, total in sums.items()}}


def _averaged(module: nn.Module, tensors: Mapping[str, Tensor], buffers: bool) -> list[str]:
    """Names of the tensors that averages average: the weights and, with `buffers`, all others that are no counts."""
    weights = dict(module.named_parameters())
    return [name for name, tensor in tensors.items() if tensor.is_floating_point() and (buffers or name in weights)]


def kernel_of(values: Mapping[str, Any]) -> Kernel:
    """The kernel of such attributes; raises pydantic's `ValidationError` if there is none."""
    kernel: Kernel = _KERNEL.validate_python(values)
    return kernel


def _kept(path: Path) -> Kept:
    """What a snapshot holds."""
    metadata = load_metadata(path)
    try:
        return Kept(kernel_of(metadata["kernel"]), int(metadata["update"]))
    except (ValidationError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path} does not say which average it holds: remove it, for the others may do without") from error


def name_of(kernel: Kernel) -> str:
    """A kernel as the name of a folder, such as power_law-beta-2; what is 0 or absent is left out."""
    values = {key: f"{value:g}" if isinstance(value, float) else value for key, value in vars(kernel).items() if value}
    return "-".join([values["kind"], *(f"{key}-{value}" for key, value in values.items() if key != "kind")])
