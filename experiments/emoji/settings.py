"""Runs in the world of drawings: pretraining of three architectures, and fine-tuning on its tasks.

The ViT and the ConvNeXt of the embedded world's glyphs are fine-tuned alike, on the digits.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from world import JUDGED, SHARDS, TASKS

from tracer.config.loading import validate
from tracer.config.schema import RunConfig
from tracer.demo.settings import COMMON
from tracer.strategies import PRESETS

HERE = Path(__file__).parent
ARCHITECTURES = ("resnet", "vit", "convnext")
AMONG_GLYPHS = ("glyphs-vit", "glyphs-convnext")  # of the embedded world, whose ResNet experiments/replay has
LEARNING_RATES = {"resnet": 2e-3, "vit": 1e-3, "convnext": 1e-3}  # of pretraining
TEMPLATES = ("{}", "a drawing of {}", "an emoji of {}")
STEPS = 300


def pretraining(architecture: str, seed: int, place: Path, output: Path) -> RunConfig:
    """Pretraining from random weights on the captioned drawings, judged on the validation suite of the first task."""
    return validate(
        {
            "output": str(output),
            "seed": seed,
            "model": {"architecture": named(architecture), "pretrained": None, "batch_norm": "tracked"},
            "data": {
                "kind": "webdataset",
                "path": f"{(place / 'pretraining').absolute()}/{{00000..{SHARDS - 1:05d}}}.tar",
                "caption": "json.captions",
            },
            "evaluation": suite(next(iter(TASKS)), "validation", place),
            "strategy": {"name": "flyp"},
            "optimization": {
                "total_steps": 3000,
                "batch_size": 128,
                "learning_rate": LEARNING_RATES[architecture],
                "weight_decay": 0.05,
                "warmup_steps": 100,
                "precision": "fp32",
            },
            "checkpoint_every_steps": 500,
            "keep_checkpoints": 1,
        },
        "pretraining",
    )


def tasks(architecture: str) -> list[str]:
    """What an architecture is fine-tuned on; settings are chosen on the first."""
    return ["digits"] if architecture in AMONG_GLYPHS else [*TASKS]


def weights(architecture: str, seed: int, models: Path) -> Path:
    """The file of a pretrained model, below the folder that all are in."""
    return models / f"{architecture}-{seed}" / "student.safetensors"


def suite(task: str, split: str, place: Path) -> dict[str, Any]:
    """What a task is judged by: its own drawings in other poses, other artists' drawings, and the other categories."""
    own = (place / "tasks" / task / split).absolute()
    others = [category for category in JUDGED if category != TASKS[task].category]
    return {
        "kind": "folder",
        "id": str(own / "id"),
        "ood": {folder.name: str(folder) for folder in sorted((own / "ood").iterdir())},
        "knowledge": {category: str((place / "knowledge" / split / category).absolute()) for category in others},
        "templates": TEMPLATES,
    }


def fine_tuning(
    method: str,
    task: str,
    architecture: str,
    pretrained: Path,
    seed: int,
    place: Path,
    output: Path,
    *,
    split: str = "test",
    optimization: Mapping[str, Any] | None = None,
    strategy: Mapping[str, Any] | None = None,
    replay: Mapping[str, Any] | None = None,
) -> RunConfig:
    """The run of a strategy on a task from a pretrained model, judged on a split's suite."""
    terms = COMMON["strategy"] if "fd" in PRESETS[method].terms else {}
    return validate(
        {
            "output": str(output),
            "seed": seed,
            "model": {"architecture": named(architecture), "pretrained": str(pretrained.absolute())},
            **(drawings(task, split, place) if task in TASKS else {"evaluation": {"split": split}}),
            "strategy": {"name": method, **terms, **(strategy or {})},
            "replay": replay,
            "optimization": {
                "total_steps": STEPS,
                "batch_size": 64,
                "learning_rate": 3e-4,
                "warmup_steps": 0,
                "precision": "fp32",
                **(optimization or {}),
            },
            "checkpoint_every_steps": 1000,
            "keep_checkpoints": 1,
        },
        "fine-tuning",
    )


def drawings(task: str, split: str, place: Path) -> dict[str, Any]:
    """The sections of a task among drawings."""
    train = str((place / "tasks" / task / "train").absolute())
    return {"data": {"kind": "folder", "path": train, "templates": TEMPLATES}, "evaluation": suite(task, split, place)}


def named(architecture: str) -> str:
    """How a configuration names a model: one described beside this file, or one of the embedded world's."""
    return architecture if architecture in AMONG_GLYPHS else f"local-dir:{(HERE / architecture).absolute()}"
