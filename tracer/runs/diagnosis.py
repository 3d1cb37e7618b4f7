"""What fine-tuning changed in a model and where it forgot, told for any two checkpoints of one architecture."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from torch.utils.data import ConcatDataset, Subset

from tracer import plotting
from tracer.config.data import PHOTO
from tracer.config.defaults import is_embedded
from tracer.config.replay import ImagePool
from tracer.config.schema import RunConfig
from tracer.data import label_tables
from tracer.data.datasets import CaptionedImages, Images, LabelledImages, Suite
from tracer.data.images import CorruptSample
from tracer.errors import UserError
from tracer.evaluation import diagnosis
from tracer.evaluation.forgetting import Shown, compared
from tracer.evaluation.similarity import MEASURES
from tracer.evaluation.task_subspace import Share, shares, together
from tracer.evaluation.zero_shot import classifier
from tracer.models.dual_encoder import Encoder
from tracer.runs import sources
from tracer.runs.build import corrupt_share, load_encoder
from tracer.runs.judging import write_json
from tracer.tensor_files import digest
from tracer.training.corrupt_samples import require_few

FEWEST = 10  # images of a set
SPANNED, LOOKED_INTO = 2048, 512  # at most so many images make up a subspace, and are compared block by block
Report = dict[str, Any]
Stage = Callable[[str], None]


@dataclass(frozen=True)
class Material:
    """What the models are shown.

    Attributes:
        task: the task's images, and what they are called; None where they are not known.
        sets: what the models answer.
        corrupt_share: the share of the task's images that may be corrupt and are left out, where they are the training data's.
    """

    task: tuple[str, Images] | None
    sets: Mapping[str, Shown]
    corrupt_share: float = 0.0

    @property
    def others(self) -> dict[str, Images]:
        """All but the task's."""
        return {name: shown.images for name, shown in self.sets.items() if name != "id" or not shown.labelled}

    @classmethod
    def of(cls, run: RunConfig, images: Path | None) -> Self:
        """A folder of images without classes, or else the sets of the run's suite; raises as `diagnose` does."""
        suite, data = _suite(run), _data(run)
        if images is not None:
            pool = sources.pool(ImagePool(kind="images", path=images), 0, run.seed)
            sets = {images.resolve().name or str(images): Shown(pool, _words(suite, data), labelled=False)}
        elif suite is not None:
            sets = {name: Shown(each.images, each, labelled=True) for name, each in suite.sets().items()}
        else:
            raise UserError(
                "no suite is named in evaluation, so there are no images to compare answers on: name one, or give --images"
            )
        by_id = ("the set id", suite.in_distribution.images) if suite else None
        made = cls(("data", data.images), sets, corrupt_share(run.data)) if data else cls(by_id, sets)
        for name, each in [*([made.task] if made.task else []), *((name, shown.images) for name, shown in sets.items())]:
            if len(each) < FEWEST:
                raise UserError(f"{name} holds {len(each)} images, fewer than the {FEWEST} that say anything: add some")
        return made


def diagnose(
    run: RunConfig,
    weights: Path,
    before: Path | None,
    images: Path | None,
    output: Path,
    stage: Stage = lambda what: None,
) -> Report:
    """Compare fine-tuned with pretrained weights: what moved, in which directions, what is represented and answered otherwise.

    Writes diagnosis.json and a figure, diagnosis.png and .svg.

    Args:
        run: names the architecture, the pretrained weights, the suite whose sets are looked at, and in `data` the task's images;
            where that is left out, those of the suite's ID set stand for the task.
        weights: the fine-tuned weights.
        before: the pretrained weights, instead of those that the configuration names.
        images: a folder of images to look at instead of the suite's; they need no classes.
        output: the folder.
        stage: told what begins.

    Returns:
        `before` and `after`, the weights; `task`, which images stood for it, None if there were none; `logit_scale` of both;
        `sets`, of each what `forgetting.compared` tells; `blocks`: of both towers what `diagnosis.blocks` tells, with what
        `task_subspace.together` tells and the `similarity` to the pretrained block on the `task`, on each of `sets`, and the mean
        over those that are not ID, `others`; `maps`, each a `task_subspace.Share`; `change`, all of them together; `verdict`.

    Raises:
        UserError: if weights do not fit or are the same, images are missing, too few or unreadable, or there is nothing to show.
    """
    shown = Material.of(run, images)
    models = _models(run, weights, before)
    stage(f"answers of both models on {len(shown.sets)} sets")
    told: Report = {
        "before": str(before or run.model.pretrained),
        "after": str(weights),
        "task": shown.task and shown.task[0],
        "logit_scale": [model.model.logit_scale.item() for model in models],
        "sets": _answers(models, shown.sets, run.workers),
        "blocks": diagnosis.blocks(models[0].model, models[1].model),
    }
    found = _shares(models, shown, run, stage)
    told |= {"maps": [each._asdict() for each in found], "change": together(found)}
    by_block, similar = diagnosis.shares_by_block(found), _similarity(models, told["blocks"], shown, run.seed, stage)
    for row in told["blocks"]:
        row |= by_block.get(row["name"], {}) | similar.get(row["name"], {})
    told["verdict"] = diagnosis.verdict(told)
    write_json(told, output / "diagnosis.json")
    plotting.save(plotting.diagnosis(told), output / "diagnosis")
    return told


def _suite(run: RunConfig) -> Suite | None:
    """The suite that the configuration names: of a model of open_clip's the embedded one, if it is left out, says nothing."""
    if "evaluation" not in run.model_fields_set and not is_embedded(run.model.architecture):
        return None
    return sources.suite_of(run)


def _data(run: RunConfig) -> LabelledImages | CaptionedImages | None:
    """What the task is trained on, if the configuration says so: of a model of open_clip's the embedded world is not the task."""
    if "data" not in run.model_fields_set and not is_embedded(run.model.architecture):
        return None
    listed = sources.labelled_images(run.data) or sources.training_pairs(run.data)
    sources.require_toy_is_meant(run, "data", listed)
    return listed


def _words(suite: Suite | None, data: LabelledImages | CaptionedImages | None) -> LabelledImages:
    """The classes to answer images by that have none: those of the suite's ID set, of the data, or ImageNet's."""
    if suite is not None:
        return suite.in_distribution
    if isinstance(data, LabelledImages):
        return data
    return LabelledImages([], np.zeros(0, dtype=np.int64), label_tables.imagenet_class_names(), PHOTO)


def _models(run: RunConfig, weights: Path, before: Path | None) -> tuple[Encoder, Encoder]:
    if before is None and run.model.pretrained is None:
        raise UserError("model.pretrained is null, so there are no weights to compare with: name them there, or by --before")
    start, end = load_encoder(run, before), load_encoder(run, weights)
    if digest(start.model.state_dict()) == digest(end.model.state_dict()):
        raise UserError(
            f"the weights in {weights} are those in {before or run.model.pretrained}, so there is nothing to diagnose: name others"
        )
    return start, end


def _answers(models: tuple[Encoder, Encoder], sets: Mapping[str, Shown], workers: int) -> dict[str, Report]:
    words = {(shown.words.class_names, shown.words.templates) for shown in sets.values()}
    classifiers = {each: [classifier(model, *each) for model in models] for each in words}
    return {
        name: compared(name, models, shown, classifiers[shown.words.class_names, shown.words.templates], workers)
        for name, shown in sets.items()
    }


def _shares(models: tuple[Encoder, Encoder], shown: Material, run: RunConfig, stage: Stage) -> list[Share]:
    """What of each map's change lies in the task subspace; nothing where the task is not known."""
    if shown.task is None:
        return []
    task = _some([shown.task[1]], SPANNED, run.seed, shown.corrupt_share)
    others = _some([*shown.others.values()], SPANNED, run.seed) if shown.others else None
    stage(f"the task subspace of each linear map, by {len(task)} images of {shown.task[0]}")
    return shares(models[0], models[1].model, task, others, run.workers)


def _similarity(
    models: tuple[Encoder, Encoder], blocks: Sequence[Report], shown: Material, seed: int, stage: Stage
) -> dict[str, Report]:
    """How alike each block of the image tower is to the pretrained one."""
    layers = diagnosis.layers(models[0].model, [row["name"] for row in blocks])

    def look(name: str, images: Images, bearable: float = 0.0) -> dict[str, dict[str, float]]:
        some = _some([images], LOOKED_INTO, seed, bearable)
        stage(f"representations of {len(some)} images of {name}")
        return diagnosis.similarity(models, some, layers)

    on_task = look(*shown.task, shown.corrupt_share) if shown.task else {}
    on_sets = {name: look(name, each.images) for name, each in shown.sets.items()}
    found: dict[str, Report] = {}
    for block in layers:
        by_set = {name: seen[block] for name, seen in on_sets.items()}
        others = [by_set[name] for name in shown.others]
        mean = {measure: float(np.mean([each[measure] for each in others])) for measure in MEASURES} if others else None
        found[block] = {"similarity": {"task": on_task.get(block), "others": mean, "sets": by_set}}
    return found


def _some(parts: Sequence[Images], most: int, seed: int, bearable: float = 0.0) -> Images:
    """At most so many images, drawn at random from all parts alike, read when they are asked for.

    Where a share of all is bearable, corrupt ones are left out.
    """
    together: Any = ConcatDataset(cast(Any, parts))
    drawn = np.sort(np.random.default_rng(seed).permutation(len(together))[:most]).tolist()
    return cast(Images, Subset(together, _readable(together, drawn, bearable) if bearable else drawn))


def _readable(images: Any, positions: Sequence[int], bearable: float) -> list[int]:
    kept, corrupt = [], []
    for position in positions:
        try:
            images[position]
            kept.append(position)
        except CorruptSample as error:
            corrupt.append(error)
            require_few(corrupt, bearable, len(images))
    return kept
