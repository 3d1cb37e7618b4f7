"""What does a step of TRACER, or with replay, cost beside one of FLYP? Writes results.json beside this file.

The trainer's own step, on random weights and synthetic pairs: forward and backward pass of the student, AdamW, and for TRACER the
teacher's forward pass, the distillation terms and the average; with replay the further images and texts, which the pretrained model
sees too. Two take turns, so that what else the machine does meets both, and each pair of turns gives one ratio. Besides: the
teacher's update against a plain copy of its weights, and FLYP's step with captions cut to the longest of the batch against one with
all 77 tokens.
"""

import argparse
import copy
import dataclasses
import json
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.stats import binom
from torch.utils.data import Dataset

from tracer.averaging import Clock
from tracer.config.replay import ReplaySection
from tracer.config.schema import StrategySection
from tracer.models import clip
from tracer.models.dual_encoder import Encoder
from tracer.strategies import PRESETS
from tracer.training import distributed
from tracer.training.batches import Batch
from tracer.training.objective import Objective
from tracer.training.optimizer import parameter_groups
from tracer.training.teacher import Teacher
from tracer.training.trainer import Loop, Trainer

RESULTS = Path(__file__).parent / "results.json"
TOTAL_STEPS = 1000
CAPTION = "a photo of a {}, seen from afar."


class Synthetic(Dataset):
    """One batch of noise images and captions, again at every step, with so many further ones."""

    def __init__(self, encoder: Encoder, size: int, image_size: int, tokens: int | None, replay: int):
        images = torch.randn(size + replay, 3, image_size, image_size)
        captions = encoder.tokenize([CAPTION.format(i) for i in range(size + replay)])
        further = (images[size:], captions[size:]) if replay else ()
        self.batch = Batch(images[:size], captions[:size], *further)
        if tokens:
            missing = tokens - self.batch.tokens.shape[1]
            self.batch = self.batch._replace(tokens=torch.nn.functional.pad(self.batch.tokens, (0, missing)))

    def __len__(self) -> int:
        return TOTAL_STEPS

    def __getitem__(self, step: int) -> Batch:
        return self.batch


class Contestant:
    """A strategy's trainer, that takes one step at a time; `replay` images and texts are replayed at each."""

    def __init__(self, arguments: argparse.Namespace, strategy: str, tokens: int | None = None, replay: int = 0):
        torch.manual_seed(0)
        encoder = clip.create(arguments.architecture, None)
        kernel = PRESETS[strategy].kernel
        size = encoder.model.get_submodule("clip").visual.image_size[0]
        self.teacher = Teacher(encoder.model, kernel, Clock(TOTAL_STEPS)) if kernel else None
        weights = StrategySection(name=strategy).objective_weights() | (ReplaySection().weights() if replay else {})
        self.trainer = Trainer(
            encoder.model,
            Synthetic(encoder, arguments.batch_size, size, tokens, replay),
            Objective(weights, "anchor"),
            torch.optim.AdamW(parameter_groups(encoder.model, 0.1), lr=1e-5, fused=True),
            Loop(
                TOTAL_STEPS, precision=arguments.precision, micro_batch_size=arguments.micro_batch_size, log_every_steps=TOTAL_STEPS
            ),
            teacher=self.teacher,
            anchor=copy.deepcopy(encoder.model).eval().requires_grad_(False) if replay else None,
        )

    def steps(self, count: int) -> None:
        """Go on by so many steps, none of them logged."""
        done = self.trainer.progress.step
        self.trainer.loop = dataclasses.replace(self.trainer.loop, total_steps=done + count)
        self.trainer.fit()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--architecture", default="ViT-B-32")
    options.add_argument("--batch-size", type=int, default=8)
    options.add_argument("--micro-batch-size", type=int, default=None)
    options.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    options.add_argument("--pairs", type=int, default=15, help="pairs of turns")
    options.add_argument("--steps", type=int, default=1, help="steps a turn")
    options.add_argument("--threads", type=int, default=1, help="of the CPU")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    results = measured(arguments)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


def measured(arguments: argparse.Namespace) -> dict:
    """All comparisons, with what they were made on."""
    flyp, tracer, padded = Contestant(arguments, "flyp"), Contestant(arguments, "tracer"), Contestant(arguments, "flyp", tokens=77)
    size = arguments.batch_size
    replayed = {
        "replay / flyp": Contestant(arguments, "flyp", replay=size),
        "replay of a quarter / flyp": Contestant(arguments, "flyp", replay=size // 4),
        "tracer with replay / flyp": Contestant(arguments, "tracer", replay=size),
    }
    weights = [p.detach() for p in flyp.trainer.student.parameters()]
    assert tracer.teacher

    def copied() -> None:
        torch._foreach_copy_(target, weights)

    target = [torch.empty_like(weight) for weight in weights]
    turns = {
        name: (lambda one=one: one.steps(arguments.steps)) for name, one in (("flyp", flyp), ("tracer", tracer), ("77", padded))
    }
    return {
        "setting": {
            **vars(arguments),
            "torch": torch.__version__,
            "device": _device(),
            "parameters": sum(w.numel() for w in weights),
        },
        "tracer / flyp": paired(turns["tracer"], turns["flyp"], arguments.pairs),
        **{name: paired(partial(one.steps, arguments.steps), turns["flyp"], arguments.pairs) for name, one in replayed.items()},
        "77 tokens / cut": paired(turns["77"], turns["flyp"], arguments.pairs),
        # a copy is the floor: it moves no more memory than the average, which reads two tensors and writes one
        "copy / teacher update": paired(copied, tracer.teacher.update, arguments.pairs),
    }


def paired(one: Callable[[], None], other: Callable[[], None], pairs: int) -> dict:
    """Ratio of the times of two turns, pair by pair: its median, with a 95 % interval by the sign test."""
    one(), other()
    times = np.array([[_seconds(one), _seconds(other)] if i % 2 else [_seconds(other), _seconds(one)][::-1] for i in range(pairs)])
    ratios = np.sort(times[:, 0] / times[:, 1])
    low, high = _median_interval(pairs)
    return {
        "median": round(float(np.median(ratios)), 4),
        "low": round(float(ratios[low]), 4),
        "high": round(float(ratios[high]), 4),
        "seconds": [round(float(t), 4) for t in np.median(times, axis=0)],
        "pairs": pairs,
    }


def _median_interval(count: int) -> tuple[int, int]:
    """Positions, in order, of the values between which the median lies with a probability of at least 95 %."""
    low = max(int(binom.ppf(0.025, count, 0.5)) - 1, 0)
    return low, count - 1 - low


def _seconds(turn: Callable[[], None]) -> float:
    """On a CPU the processor's time, which other work on the machine does not lengthen by making a turn wait."""
    if not torch.accelerator.is_available():
        start = time.process_time()
        turn()
        return time.process_time() - start
    torch.accelerator.synchronize()
    start = time.perf_counter()
    turn()
    torch.accelerator.synchronize()
    return time.perf_counter() - start


def _device() -> str:
    device = distributed.device()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"


if __name__ == "__main__":
    main()
