"""The configuration of a run: strict YAML, every error of which is reported at once, a sentence each."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from tracer.averaging import Beta, Exponential, PowerLaw, Static, Uniform
from tracer.errors import UserError
from tracer.sentences import sentence
from tracer.strategies import PUBLISHED_DISTILLATION, STRATEGIES

if TYPE_CHECKING:  # type checkers want a literal's values written out
    StrategyName = str
else:
    StrategyName = Literal[tuple(STRATEGIES)]
AnyKernel = Annotated[Static | Exponential | Uniform | PowerLaw | Beta, Field(discriminator="kind")]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of a configuration: immutable, and without room for a misspelt key."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


AnySection = TypeVar("AnySection", bound=Section)


def _seed_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) else value


def _alone(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Templates = Annotated[tuple[str, ...], BeforeValidator(_alone)]


class Model(Section):
    """What is fine-tuned."""

    architecture: str = Field(
        "glyphs", description="'glyphs', the embedded model, or an open_clip name, hf-hub:organisation/name too"
    )
    pretrained: Annotated[str, BeforeValidator(_seed_as_text)] | None = Field(
        "0", description="for glyphs the seed of a shipped checkpoint or a file; else an open_clip tag or a file"
    )
    trust_archive: bool = Field(
        False, description="open TorchScript archives, as OpenAI's weights are: they may run what they hold"
    )
    batch_norm: Literal["frozen", "tracked"] = Field("frozen", description="what training does to batch-norm statistics")
    freeze: tuple[str, ...] = Field((), description="shell patterns of open_clip's parameter names that are not trained")
    gradient_checkpointing: bool = Field(False, description="compute activations twice instead of keeping them; not for ResNets")
    compile: bool = Field(False, description="torch.compile for student and teacher")

    @model_validator(mode="before")
    @classmethod
    def _own_weights(cls, values: Any) -> Any:
        """An architecture from the hub or a folder comes with weights."""
        architecture = str(values.get("architecture", "")) if isinstance(values, dict) else ""
        return {"pretrained": architecture, **values} if architecture.startswith(("hf-hub:", "local-dir:")) else values


class EmbeddedData(Section):
    """Scikit-learn's handwritten digits, the task of the embedded world."""

    kind: Literal["embedded"] = "embedded"


class ReadData(Section):
    """Pairs whose images are read from files, and may be damaged."""

    max_corrupt_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.01, description="corrupt pairs that are passed over, as a share of all; with more the run stops"
    )


class CsvData(ReadData):
    """Pairs from a CSV file."""

    kind: Literal["csv"]
    path: Path = Field(description="the file; image paths in it are relative to its folder")
    image_column: str = Field("filepath", description="the column with the images' paths")
    caption_column: str = Field("title", description="the column with their captions")


class ParquetData(ReadData):
    """Pairs from a Parquet file."""

    kind: Literal["parquet"]
    path: Path = Field(description="the file; image paths in it are relative to its folder")
    image_column: str = Field("filepath", description="the column with the images' paths")
    caption_column: str = Field("title", description="the column with their captions")


class CaptionedFolderData(ReadData):
    """Images with a text file of captions beside each, one a line."""

    kind: Literal["captioned_folder"]
    path: Path = Field(description="the folder; those below it are read too")


class FolderData(ReadData):
    """One folder of images a class, captioned by templates."""

    kind: Literal["folder"]
    path: Path = Field(description="the folder of class folders")
    templates: Templates = Field(("a photo of a {}.",), min_length=1, description="captions, {} being the class name, or openai")
    class_names: Literal["folders", "imagenet"] = Field(
        "folders", description="classes are called like their folders, or the folders are synsets and OpenAI's names for them hold"
    )


class WebDatasetData(ReadData):
    """WebDataset shards."""

    kind: Literal["webdataset"]
    path: str = Field(description="the tar files, with braces: shards/{00000..00012}.tar")
    caption: str = Field("txt", description="the member with the caption: txt, or json.KEY for a key in a JSON member")


class IWildCamData(ReadData):
    """The training split of iWildCam in WILDS' format."""

    kind: Literal["iwildcam"]
    path: Path = Field(description="the folder with metadata.csv")
    categories: Path = Field(Path("categories.csv"), description="table of the classes, relative to `path`")
    name_column: str = Field("name", description="the column of that table with the names for captions")
    templates: Templates = Field(
        ("a photo of {}.", "{} in the wild."), min_length=1, description="captions, {} being the class name, or openai"
    )


class EmbeddedSuite(Section):
    """The suite of the embedded world."""

    kind: Literal["embedded"] = "embedded"
    split: Literal["validation", "test"] = Field("test", description="validation has other fonts and images, to choose settings on")


class FolderSuite(Section):
    """Sets of class folders."""

    kind: Literal["folder"]
    id: Path = Field(description="the task's own test images")
    ood: dict[str, Path] = Field(default_factory=dict, description="name and folder of each shifted set")
    knowledge: dict[str, Path] = Field(default_factory=dict, description="name and folder of other things the model knows")
    templates: tuple[str, ...] = Field(("a photo of a {}.",), min_length=1, description="captions, {} being the class name")


class ImageNetSuite(Section):
    """ImageNet's validation images, and data sets that shift them."""

    kind: Literal["imagenet"]
    root: Path = Field(description="where the data sets are, each in its published folder")
    sets: tuple[Literal["v2", "r", "a", "sketch", "objectnet"], ...] = Field(
        ("v2", "r", "a", "sketch", "objectnet"), description="the shifted sets to judge on"
    )
    folders: dict[Literal["id", "v2", "r", "a", "sketch", "objectnet"], Path] = Field(
        default_factory=dict, description="folders of data sets that are in other places, relative to `root`"
    )


class IWildCamSuite(Section):
    """The test splits of iWildCam in WILDS' format; ID are the cameras seen in training, OOD others."""

    kind: Literal["iwildcam"]
    path: Path = Field(description="the folder with metadata.csv")
    categories: Path = Field(Path("categories.csv"), description="table of the classes, relative to `path`")
    name_column: str = Field("name", description="the column of that table with the names for captions")
    templates: tuple[str, ...] = Field(
        ("a photo of {}.", "{} in the wild."), min_length=1, description="captions, {} being the class name"
    )


class Terms(Section):
    """Weights of the distillation terms, before they are scaled by `strength`."""

    crd: Weight = Field(PUBLISHED_DISTILLATION["crd"], description="KL from the teacher's softmax over the batch to the student's")
    fd: Weight = Field(PUBLISHED_DISTILLATION["fd"], description="a mean over embedding dimensions: it grows with the width")
    icl: Weight = Field(
        PUBLISHED_DISTILLATION["icl"], description="contrastive loss of the student's against the teacher's embeddings"
    )
    cross_kd: Weight = Field(
        PUBLISHED_DISTILLATION["cross_kd"],
        description="as crd, with the student's embeddings against the teacher's of the other tower",
    )


class StrategySection(Section):
    """How knowledge is kept."""

    name: StrategyName = Field("tracer", description="what is trained, and held by what")
    strength: Weight = Field(0.9, description="lambda: scales all distillation terms, or is the weight of L2-SP")
    terms: Terms = Field(Terms(), description="weights of the distillation terms; terms that the strategy lacks stay out")
    cross_projection_norm: Weight | None = Field(
        None, description="weight of |W_I^T W_T|, published as 0.05; default: that for carot, else 0"
    )
    orthogonality: Weight | None = Field(None, description="weight of |W_I W_I^T - I|; default: 0.2 for carot, else 0")
    kernel: AnyKernel | None = Field(None, description="the teacher's averaging kernel; default: the strategy's own")
    update_every_steps: Count = Field(1, description="optimiser steps between two updates of the teacher")
    buffers: Literal["average", "copy"] = Field("average", description="what the teacher does with batch-norm statistics")
    interpolation: float = Field(0.5, ge=0, le=1, description="wise_ft: share of the fine-tuned weights")
    probe_steps: Count | None = Field(None, description="lp_ft: steps of its linear probe; default: optimization.total_steps")
    probe_learning_rate: Positive | None = Field(None, description="lp_ft: of its probe; default: optimization.learning_rate")
    models: Annotated[int, Field(ge=2)] = Field(2, description="model_stock: how many models are fine-tuned and merged")

    def objective_weights(self) -> dict[str, float]:
        """Weight of each term of the objective."""
        preset = STRATEGIES[self.name]
        weights = {"classification" if preset.has_head else "contrastive": 1.0}
        if preset.kernel is not None:
            weights |= {name: self.strength * weight for name, weight in self.terms if name in preset.terms}
        if preset.anchored:
            weights["l2_sp"] = self.strength
        for name in ("cross_projection_norm", "orthogonality"):
            own = getattr(self, name)
            weights[name] = getattr(preset, name) if own is None else own
        return weights


class Optimization(Section):
    """AdamW and its schedule."""

    total_steps: Count = Field(300, description="optimiser steps of the run, the horizon")
    batch_size: Annotated[int, Field(ge=2)] = Field(128, description="pairs of a step, of all processes together")
    micro_batch_size: Count | None = Field(
        None, description="pairs that pass the towers of a process at once; gradients do not change"
    )
    learning_rate: Positive = Field(1e-3, description="the peak, which the schedule multiplies")
    weight_decay: Weight = Field(0.1, description="on matrices only: not on norms, biases and the logit scale")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.9, 0.98), description="AdamW's two momenta, each at least 0 and below 1"
    )
    warmup_steps: Annotated[int, Field(ge=0)] = Field(0, description="steps over which the learning rate rises to its peak")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="how the learning rate falls after that: to 0, or not")
    max_gradient_norm: Positive | None = Field(1.0, description="gradients are scaled down to this norm; null leaves them")
    max_logit_scale: Positive = Field(100.0, description="upper bound on a trained logit scale")
    precision: Literal["bf16", "fp32", "fp64"] = Field(
        "fp32", description="of the towers; weights are float32, or float64 with fp64"
    )


def _embedded_by_default(values: Any) -> Any:
    return {"kind": "embedded", **values} if isinstance(values, dict) else values


AnySuite = Annotated[
    EmbeddedSuite | FolderSuite | ImageNetSuite | IWildCamSuite, Field(discriminator="kind"), BeforeValidator(_embedded_by_default)
]
AnyData = Annotated[
    EmbeddedData | CsvData | ParquetData | CaptionedFolderData | FolderData | WebDatasetData | IWildCamData,
    Field(discriminator="kind"),
    BeforeValidator(_embedded_by_default),
]


class Run(Section):
    """One fine-tuning run."""

    output: Path = Field(Path("runs/latest"), description="folder for everything the run writes")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="of all that is random: order, captions, crops, dropout")
    model: Model = Field(Model(), description="what is fine-tuned")
    data: AnyData = Field(EmbeddedData(), description="what it is trained on")
    evaluation: AnySuite | None = Field(EmbeddedSuite(), description="what the result is judged on; null judges nothing")
    strategy: StrategySection = Field(StrategySection(), description="how knowledge is kept")
    optimization: Optimization = Field(Optimization(), description="optimiser and schedule")
    log_every_steps: Count = Field(10, description="steps between two lines of metrics.jsonl")
    checkpoint_every_steps: Count = Field(500, description="steps between two checkpoints; step 50 and the last always have one")
    keep_checkpoints: Count = Field(2, description="newest checkpoints that are kept")
    workers: Annotated[int, Field(ge=0)] = Field(0, description="background processes that read images")
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = Field((), description="services that get the metrics too")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """What no section can check alone."""
        optimization, steps = self.optimization, self.optimization.total_steps
        if STRATEGIES[self.strategy.name].goes_on_from:
            steps = min(steps, self.strategy.probe_steps or steps)
        if optimization.schedule == "cosine" and optimization.warmup_steps >= steps:
            raise ValueError(f"optimization.warmup_steps = {optimization.warmup_steps} leaves none of {steps} steps: lower it")
        if optimization.schedule == "constant" and optimization.warmup_steps:
            raise ValueError("optimization.warmup_steps needs optimization.schedule = cosine: set it to 0")
        if self.strategy.update_every_steps > steps:
            raise ValueError(f"strategy.update_every_steps = {self.strategy.update_every_steps} exceeds {steps} steps: lower it")
        if self.strategy.kernel is not None and STRATEGIES[self.strategy.name].kernel is None:
            raise ValueError(f"strategy.kernel is given, but {self.strategy.name} has no teacher: remove it or choose tracer")
        if optimization.micro_batch_size and self.model.batch_norm == "tracked":
            raise ValueError("optimization.micro_batch_size needs model.batch_norm = frozen: batch statistics span the batch")
        return self


def load(path: Path | None, overrides: Sequence[str] = ()) -> Run:
    """A run from a YAML file (None: the defaults) and `section.key=value` overrides.

    Raises:
        UserError: with every error of the configuration, a line each.
    """
    return validate(_merged(read(path) if path else {}, overrides), str(path or "the command line"))


def validate(values: dict[str, Any], origin: str) -> Run:
    """A run from nested values; `origin` says in error messages where they came from."""
    return parse(Run, values, origin)


def parse(kind: type[AnySection], values: Any, origin: str) -> AnySection:
    """A section of any kind from nested values, with errors as those of `validate`."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        schema = kind.model_json_schema()
        raise UserError("\n".join(f"{origin}: {sentence(problem, schema)}" for problem in error.errors())) from None


def dump(run: Run) -> str:
    """The YAML that `load` turns back into this run."""
    return yaml.safe_dump(run.model_dump(mode="json"), sort_keys=False)


def read(path: Path) -> dict[str, Any]:
    """The nested values of a YAML file.

    Raises:
        UserError: if it cannot be read, or holds no keys.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UserError(f"cannot read the configuration {path}: {error.strerror}; check the path") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        raise UserError(f"{path} is not YAML{f' (line {place.line + 1})' if place else ''}: mend its syntax") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds a {type(values).__name__}, not sections with keys: write lines such as 'seed: 0'")
    return values


def _merged(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise UserError(f"{override!r} is not an override: write section.key=value")
        try:
            put(values, key, yaml.safe_load(text))
        except yaml.YAMLError:
            raise UserError(f"the value in {override!r} is not YAML: mend its brackets or quote it") from None
    return values


def put(values: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key (section.key) in nested values."""
    *sections, last = key.split(".")
    for section in sections:
        if not isinstance(values.get(section), dict):
            values[section] = {}
        values = values[section]
    values[last] = value
