"""How fast a GPU trains: rates of the card, steps of three strategies against them, what the profile names, and a run that decodes.

Steps take batches that lie on the device already, so that they show what the card does; the last part trains from JPEG files, which
shows whether it is kept busy. Writes speed.json into a folder. It runs on a CPU too, with small numbers, to be tried before.
"""

import argparse
import gc
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from run import CAPTION, Contestant
from scipy.stats import hmean
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from tracer.config.loading import validate
from tracer.errors import Stopped
from tracer.runs.fine_tune import fine_tune
from tracer.training import distributed
from tracer.training.batches import Batch

WARM_UP, PROFILED, NAMED, DECODED = 4, 3, 25, 100
STRATEGIES = {"flyp": ("flyp", 0), "tracer": ("tracer", 0), "tracer with replay": ("tracer", 1)}
"""By name: the strategy, and replay images and texts a pair."""


class Resident(Contestant):
    """A strategy's trainer whose batch lies on the device."""

    def __init__(self, arguments: argparse.Namespace, strategy: str, replay: int):
        super().__init__(arguments, strategy, replay=replay)
        self.batch: Batch = self.trainer.batches[0].to(distributed.device(), torch.float32)
        self.trainer._remaining = self._again

    def compile(self) -> None:
        self.trainer.student.compile()
        if self.teacher:
            self.teacher.module.compile()

    def _again(self) -> Iterator[Batch]:
        while self.trainer.progress.step < self.trainer.loop.total_steps:
            yield self.batch


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--output", type=Path, required=True, help="folder of speed.json")
    options.add_argument("--architecture", default="ViT-B-16")
    options.add_argument("--batch-size", type=int, default=512)
    options.add_argument("--micro-batch-size", type=int, default=None)
    options.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    options.add_argument("--steps", type=int, default=20, help="steps that are timed")
    options.add_argument("--size", type=int, default=8192, help="of the matrices whose product gives the card's rate")
    options.add_argument("--workers", type=int, default=14, help="processes that decode")
    arguments = options.parse_args()
    found: dict[str, Any] = {"torch": torch.__version__, "device": device(), "setting": {**vars(arguments), "output": None}}
    for name, part in planned(arguments, found).items():
        start = time.perf_counter()
        try:
            found[name] = part()
        except Stopped:
            raise
        except Exception as error:  # what comes after it is worth its minutes
            found[name] = {"failed": repr(error)}
        print(f"{name}, {time.perf_counter() - start:.0f} s: {json.dumps(found[name], indent=1)}", flush=True)
        (arguments.output / "speed.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def planned(arguments: argparse.Namespace, found: Mapping[str, Any]) -> dict[str, Callable[[], Any]]:
    """What is measured, by name, from the most telling to what may be cut off; later parts know what earlier ones found."""
    first, second, third = STRATEGIES
    return {
        "card": lambda: card(arguments.size),
        **{f"{name}, eager": partial(paced, arguments, found, name, "eager") for name in STRATEGIES},
        **{f"{name}, profile": partial(profiled, arguments, *STRATEGIES[name]) for name in (first, second)},
        **{f"{name}, compiled": partial(paced, arguments, found, name, "compiled") for name in (first, second)},
        "from files": partial(decoded, arguments),
        f"{third}, compiled": partial(paced, arguments, found, third, "compiled"),
    }


def device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def card(size: int) -> dict[str, float]:
    """The rates to hold steps to: products of bfloat16 matrices, and copies, of which each byte is read and written."""
    left, right = (torch.randn(size, size, device=distributed.device(), dtype=torch.bfloat16) for _ in range(2))
    long = torch.randn(16 * size * size // 4, device=distributed.device())
    target = torch.empty_like(long)
    return {
        "matmul, TFLOP/s": 2 * size**3 / timed(lambda: left @ right, 20) / 1e12,
        "copy, GB/s": 2 * 4 * long.numel() / timed(lambda: target.copy_(long), 20) / 1e9,
    }


def paced(arguments: argparse.Namespace, found: Mapping[str, Any], name: str, how: str) -> dict[str, Any]:
    """A strategy's steps in the largest micro-batches that the card has room for, and how much longer they are than FLYP's."""
    fitting = found.get(f"{name}, eager", {}).get("micro-batch", arguments.micro_batch_size)
    setting = argparse.Namespace(**{**vars(arguments), "micro_batch_size": fitting})
    strategy, replayed = STRATEGIES[name]
    pace = within_memory(
        setting, partial(step, strategy=strategy, replayed=replayed, rates=found["card"], compiled=how == "compiled")
    )
    plain = found.get(f"flyp, {how}", pace).get("seconds a step")  # none where that part failed
    return {**pace, "times flyp's": plain and pace["seconds a step"] / plain}


def within_memory(arguments: argparse.Namespace, measure: Callable[[argparse.Namespace], dict[str, Any]]) -> dict[str, Any]:
    """A measurement in the largest micro-batches that the card has room for."""
    while True:
        release()
        try:
            return {"micro-batch": arguments.micro_batch_size, **measure(arguments)}
        except torch.OutOfMemoryError:
            half = (arguments.micro_batch_size or arguments.batch_size) // 2
        arguments = argparse.Namespace(**{**vars(arguments), "micro_batch_size": half})


def step(arguments: argparse.Namespace, strategy: str, replayed: int, rates: dict[str, float], compiled: bool) -> dict[str, float]:
    """A strategy's pace, memory and share of the card's rate; and the teacher's update beside a copy."""
    contestant = Resident(arguments, strategy, replayed * arguments.batch_size)
    per_pair = operations(contestant)
    if compiled:  # only now: after a batch of another size torch would compile for any size
        contestant.compile()
    contestant.steps(WARM_UP)
    seconds = timed(lambda: contestant.steps(arguments.steps), 1, warm_up=0) / arguments.steps
    rate = passes(arguments, strategy, replayed) * per_pair * arguments.batch_size / seconds / 1e12
    found = {
        "images/s": arguments.batch_size / seconds,
        "seconds a step": seconds,
        "peak memory, GiB": torch.cuda.max_memory_allocated() / 2**30,
        "TFLOP/s": rate,
        "share of the card's rate": rate / rates["matmul, TFLOP/s"],
    }
    if contestant.teacher is None:
        return found
    weights = sum(p.numel() for p in contestant.teacher.module.parameters())
    moved = 3 * 4 * weights / timed(contestant.teacher.update, 10) / 1e9  # two are read, one is written
    return {**found, "update, GB/s": moved, "update, share of the copy": moved / rates["copy, GB/s"]}


def passes(arguments: argparse.Namespace, strategy: str, replayed: int) -> int:
    """Forward passes of a pair that a step takes; a backward pass is two, and a gradient cache passes once more."""
    student = 3 + (arguments.micro_batch_size is not None)
    return student * (1 + replayed) + (strategy == "tracer") + replayed


def operations(contestant: Resident) -> float:
    """Floating-point operations of a pair's forward pass, counted; a multiplication with its addition is two."""
    few = Batch(contestant.batch.images[:2], contestant.batch.tokens[:2])
    with FlopCounterMode(display=False) as counter, torch.no_grad():  # still in train mode, where attention is not one fused call
        contestant.trainer._features(contestant.trainer.student.train(), few)
    return counter.get_total_flops() / 2


def profiled(arguments: argparse.Namespace, strategy: str, replayed: int) -> list[dict[str, Any]]:
    """What takes the most of the device's time, eager."""
    release()
    contestant = Resident(arguments, strategy, replayed * arguments.batch_size)
    contestant.steps(1)
    on = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    with profile(activities=on, acc_events=True) as record:
        contestant.steps(PROFILED)
        synchronize()
    spent = dict(spans(record))
    whole, first = sum(spent.values()), sorted(spent, key=lambda name: -spent[name])[:NAMED]
    return [{"what": name, "ms a step": spent[name] / 1e3 / PROFILED, "share": spent[name] / whole} for name in first]


def spans(record: profile) -> Iterator[tuple[str, float]]:
    """Microseconds by kernel, each told once, without the ranges that name many; of a CPU by operation."""
    for each in record.key_averages():
        if not torch.cuda.is_available():
            yield each.key, each.self_cpu_time_total
        elif each.device_type == DeviceType.CUDA and not each.is_user_annotation:
            yield each.key, each.self_device_time_total


def decoded(arguments: argparse.Namespace) -> dict[str, Any]:
    """Images a second of a run of FLYP's that reads JPEG files, without the first steps, whose batches lie ready."""
    release()
    with tempfile.TemporaryDirectory() as folder:
        drawn(Path(folder) / "photos", 2 * arguments.batch_size)
        run = validate(
            {
                "output": f"{folder}/run",
                "model": {"architecture": arguments.architecture, "pretrained": None},
                "data": {"kind": "folder", "path": f"{folder}/photos", "templates": [CAPTION]},
                "strategy": {"name": "flyp"},
                "optimization": {
                    "total_steps": DECODED,
                    "batch_size": arguments.batch_size,
                    "precision": arguments.precision,
                    "warmup_steps": 0,
                },
                "workers": arguments.workers,
            },
            "the run from files",
        )
        fine_tune(run)
        lines = [json.loads(line) for line in (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()]
    ready = 2 * arguments.workers  # a loader's processes fetch two batches each ahead
    late = [line for line in lines if line["step"] > ready + 10]
    return {"images/s": float(hmean([line["images_per_second"] for line in late])), "at steps": [line["step"] for line in late]}


def drawn(folder: Path, count: int) -> None:
    """JPEG files of smooth noise, 256 pixels wide, in eight classes."""
    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"thing {number % 8}"
        place.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(256, size=(16, 16, 3), dtype=np.uint8))
        small.resize((256, 256), Image.Resampling.BICUBIC).save(place / f"{number}.jpg", quality=90)


def timed(action: Callable[[], Any], repeats: int, warm_up: int = 3) -> float:
    """Seconds that an action takes, a mean."""
    for _ in range(warm_up):
        action()
    synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        action()
    synchronize()
    return (time.perf_counter() - start) / repeats


def synchronize() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def release() -> None:
    """Give back what the last contestant had, and count memory anew."""
    torch.compiler.reset()  # what was compiled is kept by code, not by model, and a second batch size makes it fit any
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


if __name__ == "__main__":
    main()
