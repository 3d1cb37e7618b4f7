"""The configuration of a run: its sections, what each key may be, and what it is where it is left out."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from tracer.config import defaults
from tracer.config.average import AverageSection
from tracer.config.data import AnyData, ClassNames, EmbeddedData, FolderData, IWildCam, Templates, embedded_by_default
from tracer.config.defaults import EMBEDDED, EMBEDDED_ARCHITECTURES, is_embedded
from tracer.config.fields import OWN_WEIGHTS, Count, HomeText, Location, Number, Positive, Section, Text, Weight, Whole
from tracer.config.replay import ReplaySection
from tracer.config.strategy import StrategySection
from tracer.errors import nearest
from tracer.messages import LONGEST_VALUE, shown
from tracer.strategies import PRESETS

AnySection = TypeVar("AnySection", bound=Section)


def _seed_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Model(Section):
    """What is fine-tuned."""

    architecture: HomeText = Field(
        EMBEDDED,
        description="'glyphs', the embedded model, glyphs-vit, glyphs-convnext, or an open_clip name, hf-hub:organisation/name too",
    )
    pretrained: Annotated[HomeText, BeforeValidator(_seed_as_text)] | None = Field(
        "0",
        description="for glyphs the seed of a shipped checkpoint or a file; else an open_clip tag or a file; null: random weights",
    )
    trust_archive: bool = Field(
        False, description="open TorchScript archives, as OpenAI's weights are: they may run what they hold"
    )
    trust_remote_code: bool = Field(
        False, description="let a tokenizer or text tower of transformers run code that the model's own files bring"
    )
    batch_norm: Literal["frozen", "tracked"] = Field("frozen", description="what training does to batch-norm statistics")
    freeze: tuple[Text, ...] = Field(
        (), description="what is not trained: image_tower, text_tower, or shell patterns of open_clip's parameter names"
    )
    gradient_checkpointing: bool = Field(False, description="compute activations twice instead of keeping them; not for ResNets")
    compile: bool = Field(False, description="torch.compile for student and teacher")

    @model_validator(mode="before")
    @classmethod
    def _own_weights(cls, values: Any) -> Any:
        """An architecture from the hub or a folder comes with weights; to the others of open_clip's some have to be named."""
        architecture = values.get("architecture", EMBEDDED) if isinstance(values, dict) else EMBEDDED
        if not isinstance(architecture, str) or architecture in (EMBEDDED, "") or "pretrained" in values:
            return values
        if architecture.startswith(OWN_WEIGHTS):
            return {"pretrained": architecture, **values}
        if is_embedded(architecture):
            made = f"name the file that tracer pretrain --architecture {architecture} wrote"
            raise ValueError(f"model.pretrained is missing for {architecture}: {made}, or write null for random weights")
        near = nearest(architecture[:LONGEST_VALUE], EMBEDDED_ARCHITECTURES)
        raise ValueError(
            f"model.pretrained is missing for {shown(architecture)}{near if 'did you mean' in near else ''}: name a tag of"
            " open_clip's or a file of weights, or write null for random ones"
        )


Split = Literal["validation", "test"]


class EmbeddedSuite(Section):
    """The suite of the embedded world."""

    kind: Literal["embedded"] = "embedded"
    split: Split = Field("test", description="validation has other fonts and images, to choose settings on")


class FolderSuite(Section):
    """Sets of class folders."""

    kind: Literal["folder"]
    id: Location = Field(description="the task's own test images")
    ood: dict[str, Location] = Field(default_factory=dict, description="name and folder of each shifted set")
    knowledge: dict[str, Location] = Field(default_factory=dict, description="name and folder of other things the model knows")
    templates: Annotated[Templates, Field(min_length=1)] | None = Field(
        None, description="captions, {} being the class name, or openai; default: those of data if it is class folders"
    )
    class_names: ClassNames | None = Field(
        None, description="what the folders of id and ood are called: folders or imagenet, as in data, whose choice is the default"
    )


class ImageNetSuite(Section):
    """ImageNet's validation images, and data sets that shift them."""

    kind: Literal["imagenet"]
    root: Location = Field(description="where the data sets are, each in its published folder")
    sets: tuple[Literal["v2", "r", "a", "sketch", "objectnet"], ...] = Field(
        ("v2", "r", "a", "sketch", "objectnet"), description="the shifted sets to judge on"
    )
    folders: dict[Literal["id", "v2", "r", "a", "sketch", "objectnet"], Location] = Field(
        default_factory=dict, description="folders of data sets that are in other places, relative to `root`"
    )


class IWildCamSuite(IWildCam):
    """Splits of iWildCam in WILDS' format; ID are the cameras seen in training, OOD others."""

    kind: Literal["iwildcam"]
    split: Split = Field("test", description="validation has other images, and other cameras for OOD, to choose settings on")


class Optimization(Section):
    """AdamW and its schedule."""

    total_steps: Count = Field(300, description="optimiser steps of the run, the horizon")
    batch_size: Annotated[Whole, Field(ge=2)] = Field(128, description="pairs of a step, of all processes together")
    micro_batch_size: Count | None = Field(
        None, description="pairs that pass the towers of a process at once; gradients do not change"
    )
    learning_rate: Positive = Field(
        1e-3, description="the peak, which the schedule multiplies; with open_clip's models 1e-5 by default, for a head alone 1e-3"
    )
    weight_decay: Weight = Field(0.1, description="on matrices only: not on norms, biases and the logit scale")
    betas: tuple[Annotated[Number, Field(ge=0, lt=1)], Annotated[Number, Field(ge=0, lt=1)]] = Field(
        (0.9, 0.98), description="AdamW's two momenta, each at least 0 and below 1"
    )
    warmup_steps: Whole = Field(
        0,
        description="steps in which the rate rises to its peak; with open_clip's models 500 by default, or a tenth of the run",
    )
    schedule: Literal["cosine", "constant"] = Field("cosine", description="how the learning rate falls after that: to 0, or not")
    max_gradient_norm: Positive | None = Field(1.0, description="gradients are scaled down to this norm; null leaves them")
    max_logit_scale: Positive | None = Field(
        None, description="upper bound on a trained logit scale; default: 100, or the pretrained scale where that is larger"
    )
    precision: Literal["bf16", "fp32", "fp64"] = Field(
        "fp32", description="of the towers; weights are float32, or float64 with fp64; with open_clip's models bf16 by default"
    )


AnySuite = Annotated[
    EmbeddedSuite | FolderSuite | ImageNetSuite | IWildCamSuite, Field(discriminator="kind"), BeforeValidator(embedded_by_default)
]


class RunConfig(Section):
    """One fine-tuning run."""

    output: Location = Field(Path("runs/latest"), description="folder for everything the run writes")
    seed: Whole = Field(0, description="of all that is random: order, captions, crops, dropout")
    model: Model = Field(Model(), description="what is fine-tuned")
    data: AnyData = Field(EmbeddedData(), description="what it is trained on")
    evaluation: AnySuite | None = Field(
        EmbeddedSuite(), description="what the result is judged on; null judges nothing, the default with data of one's own"
    )
    validation: AnySuite | None = Field(
        None,
        description="a suite of other images than evaluation's, on which merge and calibrate choose; null: its own validation"
        " split, if it has one",
    )
    strategy: StrategySection = Field(StrategySection(), description="how knowledge is kept")
    replay: ReplaySection | None = Field(
        None, description="what knowledge is kept on beside the task's own images; null: nothing, unless the strategy brings it"
    )
    average: AverageSection = Field(AverageSection(), description="what follows the student without being seen by it")
    optimization: Optimization = Field(Optimization(), description="optimiser and schedule")
    log_every_steps: Count = Field(10, description="steps between two lines of metrics.jsonl")
    checkpoint_every_steps: Count = Field(500, description="steps between two checkpoints; step 50 and the last always have one")
    keep_checkpoints: Count = Field(2, description="newest checkpoints that are kept")
    workers: Annotated[Whole, Field(le=256)] = Field(0, description="background processes that read images")
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = Field((), description="services that get the metrics too")

    def earlier(self) -> list["RunConfig"]:
        """The runs that it begins with, each whole and resumable in a folder of its own below this one's."""
        return [
            _changed(
                self,
                {
                    "output": self.output / each.folder,
                    "strategy": {"name": each.strategy},
                    "average": AverageSection(),
                    "evaluation": None,
                    "replay": self.replay if PRESETS[each.strategy].moves_towers else None,
                    **each.changes,
                },
            )
            for each in PRESETS[self.strategy.name].earlier(self.seed, self.strategy.by_key())
        ]

    @property
    def all_steps(self) -> int:
        """Optimiser steps that it takes, with those of the runs that it begins with."""
        own = self.optimization.total_steps if PRESETS[self.strategy.name].trained else 0
        return own + sum(part.all_steps for part in self.earlier())

    @property
    def shortest_stage(self) -> int:
        """Steps of its shortest part."""
        return min([self.optimization.total_steps, *(part.shortest_stage for part in self.earlier())])

    @model_validator(mode="after")
    def _suits_the_model(self) -> Self:
        """Settings that were left out are those of the embedded world, or what suits other data and open_clip's models."""
        # not by model_copy, after which these would count as written
        if self.data.kind != "embedded" and "evaluation" not in self.model_fields_set:
            self.__dict__["evaluation"] = None
        if is_embedded(self.model.architecture):
            return self
        name, schedule = self.strategy.name, self.optimization.schedule
        self.__dict__["optimization"] = _filled(self.optimization, defaults.of_optimization(name, schedule, self.shortest_stage))
        self.__dict__["strategy"] = _filled(self.strategy, defaults.of_strategy(name))
        return self

    @model_validator(mode="after")
    def _replays_as_its_strategy(self) -> Self:
        """What a strategy replays where that is left out; a head is learnt under a text tower that needs no holding."""
        preset = PRESETS[self.strategy.name]
        if self.replay is None and preset.replay is None:
            return self
        given = {**(preset.replay or {}), **({"texts": None} if preset.has_head else {})}
        self.__dict__["replay"] = _filled(self.replay or ReplaySection(), given)
        return self

    @model_validator(mode="after")
    def _judged_as_trained(self) -> Self:
        """Suites of class folders have the class names and templates of class folders trained on, unless they say others."""
        if not isinstance(self.data, FolderData):
            return self
        suites = {name: suite for name in ("evaluation", "validation") if isinstance(suite := getattr(self, name), FolderSuite)}
        data = self.data
        inherited = {
            name: suite.model_copy(update={key: getattr(suite, key) or getattr(data, key) for key in ("templates", "class_names")})
            for name, suite in suites.items()
        }
        return self.model_copy(update=inherited) if inherited else self

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """What no section can check alone."""
        self.strategy.require_use()
        self._require_use_of_replay()
        optimization, steps = self.optimization, self.shortest_stage
        if optimization.schedule == "cosine" and optimization.warmup_steps >= steps:
            raise ValueError(f"optimization.warmup_steps = {optimization.warmup_steps} leaves none of {steps} steps: lower it")
        if optimization.schedule == "constant" and optimization.warmup_steps:
            raise ValueError("optimization.warmup_steps needs optimization.schedule = cosine: set it to 0")
        if self.strategy.update_every_steps > steps:
            raise ValueError(f"strategy.update_every_steps = {self.strategy.update_every_steps} exceeds {steps} steps: lower it")
        self.average.require_use(self.strategy.name, optimization.total_steps)
        if optimization.micro_batch_size and self.model.batch_norm == "tracked":
            raise ValueError("optimization.micro_batch_size needs model.batch_norm = frozen: batch statistics span the batch")
        return self

    def _require_use_of_replay(self) -> None:
        name, preset, replay = self.strategy.name, PRESETS[self.strategy.name], self.replay
        if "lipsum" in preset.terms and (replay is None or replay.texts is None):
            raise ValueError(f"{name} compares images with replay.texts, which is null: name some")
        if replay is None:
            return
        if not preset.moves_towers:
            raise ValueError(f"replay holds the towers where they were, and {name} leaves both there: remove replay")
        if preset.has_head and replay.texts is not None:
            raise ValueError(f"replay.texts holds the text tower where it was, and {name} leaves it there: set it to null")
        if replay.teacher == "strategy" and preset.learner.kernel is None:
            raise ValueError(f"replay.teacher is strategy, and {name} has no teacher: write pretrained")
        if not any(replay.weights().values()) and "lipsum" not in preset.terms:
            raise ValueError("replay does nothing, since all its weights are 0: raise one of replay.terms, or remove replay")

    @property
    def images_replayed(self) -> int:
        """Further images of a step."""
        if self.replay is None or self.replay.images is None:
            return 0
        return self.replay.images_per_step or self.optimization.batch_size

    @property
    def texts_replayed(self) -> int:
        """Further texts of a step."""
        if self.replay is None or self.replay.texts is None:
            return 0
        return self.replay.texts_per_step or self.optimization.batch_size

    def objective_weights(self) -> dict[str, float]:
        """Weight of each term of the objective, the strategy's and those of what is replayed."""
        return {**self.strategy.objective_weights(), **(self.replay.weights() if self.replay else {})}

    def effect(self) -> str:
        """What it computes, wherever it writes: the settings in force, without those that are not used. Equal for equal runs."""
        others = self.model_dump(mode="json", exclude={"output", "strategy", "validation"})
        if not self.all_steps:
            del others["data"], others["optimization"]
        return json.dumps([others, self.strategy.in_force()], sort_keys=True)


def _filled(section: AnySection, values: Mapping[str, Any]) -> AnySection:
    """A section with values for what was not written in it, in the sections within it too."""
    inner = {key: _filled(getattr(section, key), value) for key, value in values.items() if isinstance(value, Mapping)}
    missing = {key: value for key, value in values.items() if key not in section.model_fields_set}
    return section.model_copy(update={**missing, **inner})


def _changed(section: AnySection, changes: Mapping[str, Any]) -> AnySection:
    """A section with other values, in the sections within it too."""
    inner = {key: _changed(getattr(section, key), value) for key, value in changes.items() if isinstance(value, Mapping)}
    return section.model_copy(update={**changes, **inner})
