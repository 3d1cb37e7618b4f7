"""What fine-tuning did to a CLIP, block by block, and a paragraph that says where it forgot."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from tracer.data.datasets import Images
from tracer.evaluation.activations import activations
from tracer.evaluation.displacement import block, relative_displacement
from tracer.evaluation.similarity import MEASURES
from tracer.evaluation.task_subspace import Share, together
from tracer.models.dual_encoder import DualEncoder, Encoder

TOWER = "visual."  # what open_clip calls the image tower
POSITIONS = 4  # of each image, whose representations are compared
FOLLOWS = 0.8  # of a random change's part outside the task subspace: a change with less of it follows the task's images
LEFT = 0.95  # of CKA: a block below it has left the pretrained representation
Row = dict[str, Any]


def blocks(before: DualEncoder, after: DualEncoder) -> list[Row]:
    """The blocks of both towers, those of the image tower first, each tower's in the order in which its input passes them.

    Each has a `name`, its `tower`, image or text, and its `displacement` (see `relative_displacement`).
    """
    moved = relative_displacement(after, before)
    last = [block(_name(before, projection)) for projection in before.projections()]
    names = dict.fromkeys(block(name) for name, parameter in before.named_parameters() if parameter.ndim)
    rows = [{"name": name, "tower": "image" if name.startswith(TOWER) else "text", "displacement": moved[name]} for name in names]
    return sorted(rows, key=lambda row: (row["tower"], row["name"] in last, "embed" not in row["name"]))


def layers(model: DualEncoder, names: Sequence[str]) -> dict[str, str]:
    """Which module of the image tower puts out what a block says: of blocks that are modules they, of the projection the tower."""
    modules = {f"{TOWER}{name}": name for name, _ in model.image_tower().named_modules()}
    last = block(_name(model, model.projections()[0]))
    return {name: modules.get(name, "") for name in names if name in modules or name == last}


def similarity(models: Sequence[Encoder], images: Images, layers: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """`cka` and `svcca` of each block between two models of one architecture on the same images.

    Args:
        models: the two; put in eval mode.
        images: what they are shown, at least two.
        layers: the module of each block in the image tower.

    Raises:
        UserError: as `activations`, `cka` and `svcca` do.
    """
    one, other = (activations(model, images, list(layers.values()), positions=POSITIONS) for model in models)
    return {
        name: {measure: alike(one[layer], other[layer]) for measure, alike in MEASURES.items()} for name, layer in layers.items()
    }


def shares_by_block(found: Sequence[Share]) -> dict[str, Row]:
    """`task_subspace.together` of the maps of each block of the image tower."""
    by_block: dict[str, list[Share]] = {}
    for each in found:
        by_block.setdefault(block(f"{TOWER}{each.name}"), []).append(each)
    return {name: together(maps) for name, maps in by_block.items()}


def verdict(told: Mapping[str, Any]) -> str:
    """What a diagnosis says in plain words: what forgot most, where the model left the pretrained one, and in which directions."""
    parts = [_forgot(told["sets"]), _moved(told["blocks"]), _left(told["blocks"]), _directions(told["change"])]
    return " ".join(parts)


def _forgot(sets: Mapping[str, Row]) -> str:
    labelled = {name: row for name, row in sets.items() if row.get("right_before")}
    if labelled:
        name, row = max(labelled.items(), key=lambda item: item[1]["forgotten"] / item[1]["right_before"])
        if not row["forgotten"]:
            return "Nothing was forgotten: every image that was answered right still is."
        share = row["forgotten"] / row["right_before"]
        return (
            f"Most was forgotten on {name}: of {row['right_before']} images that were answered right {row['forgotten']}"
            f" ({_percent(share)}) are wrong now, and of the others {row['learnt']} are right; accuracy went from"
            f" {_percent(row['accuracy_before'])} to {_percent(row['accuracy_after'])}."
        )
    name, row = min(sets.items(), key=lambda item: item[1]["agreement"])
    if row["agreement"] == 1:
        return "Every image has the top answer that it had."
    return (
        f"Answers changed most on {name}: {_percent(1 - row['agreement'])} of the images have another top answer. Which was right"
        " does not show without labels."
    )


def _moved(rows: Sequence[Row]) -> str:
    most = max(rows, key=lambda row: row["displacement"])
    return f"The weights moved most in {most['name']}, by {_percent(most['displacement'])} of their norm."


def _left(rows: Sequence[Row]) -> str:
    """Where the representation went, on images other than the task's if there are any."""
    for where, words in (("others", "other images"), ("task", "the task's images")):
        seen = {row["name"]: row["similarity"][where]["cka"] for row in rows if row.get("similarity", {}).get(where)}
        if not seen:
            continue
        lowest = min(seen, key=seen.__getitem__)
        first = next((name for name, alike in seen.items() if alike < LEFT), None)
        if first is None:
            return f"On {words} every block stays close to the pretrained one (CKA at least {seen[lowest]:.2f})."
        return f"On {words} CKA falls below {LEFT} first in {first} and is lowest in {lowest} ({seen[lowest]:.2f})."
    return ""


def _directions(change: Mapping[str, float | None]) -> str:
    share, random, effect = (change[name] for name in ("inside", "random", "effect"))
    if share is None or random is None:
        return "How much of the change lies in the task subspace was not measured."
    told = (
        f"Of the image tower's change {_percent(share)} lies in the task subspace, where a random one would have {_percent(random)}"
    )
    follows = 1 - share < FOLLOWS * (1 - random)
    told += ": it follows the task's images." if follows else ": the task's images alone do not explain it."
    if effect is None:
        return told
    through = f"{told} Of what it does to the maps' outputs on other images {_percent(effect)} comes through the task subspace"
    if effect > 0.5:
        return f"{through}: mostly in directions that the task uses too, where showing other images (replay) can hold the model."
    return f"{through}: mostly in directions that the task hardly uses, so that weights held there would cost it little."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _name(model: nn.Module, tensor: Tensor) -> str:
    """What a model calls a parameter, of which this may be the transpose."""
    return next(name for name, parameter in model.named_parameters() if parameter.data_ptr() == tensor.data_ptr())
