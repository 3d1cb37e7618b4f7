"""Fine-tuning strategies by name, each put together from parts: the runs that it begins with, what it trains, what holds what is
trained to the pretrained model, and what is made of it in the end.

A part says which settings of a configuration it reads, so that those of a strategy follow from its parts, and nothing else in the
package has to know the strategy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tracer.averaging import Beta, Exponential, Kernel, Static

PUBLISHED_DISTILLATION = {"crd": 1.0, "fd": 2000.0, "icl": 1.0, "cross_kd": 1.0}
Settings = Mapping[str, Any]
"""Values of a configuration's section `strategy` by key, those of its section `terms` by "terms.NAME"."""


@dataclass(frozen=True)
class Earlier:
    """A run that another one begins with.

    Attributes:
        folder: where it is kept, below the other's.
        strategy: its name.
        changes: what of the other's configuration it has otherwise, by key, of a section by the keys in it.
    """

    folder: str
    strategy: str
    changes: Mapping[str, Any]


class Part:
    """A part of a strategy."""

    @property
    def settings(self) -> frozenset[str]:
        """Keys of `Settings` that it reads."""
        return frozenset()

    def weights(self, settings: Settings) -> dict[str, float]:
        """Weight of each term that it adds to the objective."""
        return {}

    def earlier(self, seed: int, settings: Settings) -> list[Earlier]:
        """The runs that a run of this seed begins with because of it, in their order."""
        return []


@dataclass(frozen=True)
class Towers(Part):
    """What is trained: both towers, by the contrastive loss of images and captions."""

    def weights(self, settings: Settings) -> dict[str, float]:
        return {"contrastive": 1.0}


@dataclass(frozen=True)
class LinearHead(Part):
    """What is trained: a linear head that starts as the zero-shot classifier, by the cross-entropy of class labels.

    Attributes:
        image_tower: whether the image tower under it is trained too. The rest of the model is frozen.
    """

    image_tower: bool

    def weights(self, settings: Settings) -> dict[str, float]:
        return {"classification": 1.0}


@dataclass(frozen=True)
class Projections(Part):
    """What the last linear maps of the towers, W_I and W_T (k, width), are held to.

    Attributes:
        orthogonality: weight of |W_I W_I^T - I|, where the configuration names none.
        cross_projection_norm: weight of |W_I^T W_T|, where the configuration names none.
    """

    orthogonality: float = 0.0
    cross_projection_norm: float = 0.0

    @property
    def settings(self) -> frozenset[str]:
        return frozenset({"cross_projection_norm", "orthogonality"})

    def weights(self, settings: Settings) -> dict[str, float]:
        return {name: getattr(self, name) if settings[name] is None else settings[name] for name in sorted(self.settings)}


@dataclass(frozen=True)
class Distillation(Part):
    """A teacher, which averages the student's past weights, and what is distilled from it.

    Attributes:
        kernel: its averaging kernel, where the configuration names none.
        terms: distillation terms in use.
    """

    kernel: Kernel
    terms: frozenset[str] = frozenset(PUBLISHED_DISTILLATION)

    @property
    def settings(self) -> frozenset[str]:
        return frozenset({"strength", "kernel", "update_every_steps", "buffers", *(f"terms.{term}" for term in self.terms)})

    def weights(self, settings: Settings) -> dict[str, float]:
        return {term: settings["strength"] * settings[f"terms.{term}"] for term in sorted(self.terms)}


@dataclass(frozen=True)
class Anchoring(Part):
    """A pull of the weights towards the pretrained ones (L2-SP)."""

    @property
    def settings(self) -> frozenset[str]:
        return frozenset({"strength"})

    def weights(self, settings: Settings) -> dict[str, float]:
        return {"l2_sp": settings["strength"]}


@dataclass(frozen=True)
class First(Part):
    """A run that comes first, on whose result the strategy's own steps go on: its model and, if both have one, its head.

    Attributes:
        strategy: that of the run.
    """

    strategy: str

    @property
    def settings(self) -> frozenset[str]:
        return PRESETS[self.strategy].settings | {"probe_steps", "probe_learning_rate"}

    def earlier(self, seed: int, settings: Settings) -> list[Earlier]:
        given = {"total_steps": settings["probe_steps"], "learning_rate": settings["probe_learning_rate"]}
        changes = {key: value for key, value in given.items() if value is not None}
        return [Earlier("first", self.strategy, {"optimization": changes})]


@dataclass(frozen=True)
class AsTrained(Part):
    """The result is what was trained."""


@dataclass(frozen=True)
class Interpolated(Part):
    """The result lies between the pretrained weights and those that were trained (WiSE-FT)."""

    @property
    def settings(self) -> frozenset[str]:
        return frozenset({"interpolation"})


@dataclass(frozen=True)
class Averaged(Part):
    """The result is a passive average of the student's weights: nothing is distilled from it, and the steps do not change.

    Source: CLIPood, arXiv 2302.00864, with the kernel Beta(1/2, 1/2); TRACER has its average as a teacher instead.

    Attributes:
        kernel: its averaging kernel, where the configuration names none.
    """

    kernel: Kernel


@dataclass(frozen=True)
class Merged(Part):
    """The result is merged, by the angles between them (Model Stock), from runs of seeds that no other seed's share.

    Attributes:
        strategy: that of the runs.
    """

    strategy: str

    @property
    def settings(self) -> frozenset[str]:
        return PRESETS[self.strategy].settings | {"models"}

    def earlier(self, seed: int, settings: Settings) -> list[Earlier]:
        seeds = [seed * settings["models"] + number for number in range(settings["models"])]
        return [Earlier(f"seed-{each}", self.strategy, {"seed": each}) for each in seeds]


@dataclass(frozen=True)
class Preset:
    """A way to fine-tune.

    Attributes:
        summary: what it does, in a line.
        source: where it comes from.
        first: the run that comes before its own steps, if there is one.
        trains: what its own steps change; None where it takes none.
        distillation: the teacher, if there is one.
        anchoring: the pull towards the pretrained weights, if there is one.
        projections: what the towers' last linear maps are held to, if a tower is trained.
        replay: values of the configuration's section `replay` that the strategy brings, whatever is written there beside them;
            None where it replays nothing unless it is told to.
        result: what is made of it all.

    Raises:
        ValueError: if a part needs steps that the strategy does not take.
    """

    summary: str
    source: str
    first: First | None = None
    trains: Towers | LinearHead | None = Towers()
    distillation: Distillation | None = None
    anchoring: Anchoring | None = None
    projections: Projections = Projections()
    replay: Mapping[str, Any] | None = None
    result: AsTrained | Interpolated | Averaged | Merged = AsTrained()

    def __post_init__(self) -> None:
        if self.trained and isinstance(self.result, Merged):
            raise ValueError("what other runs are merged into would replace what was trained: set trains to None")
        if not self.trained and (self.first or self.distillation or self.anchoring or self.average):
            raise ValueError("without steps of its own nothing comes before them, holds or follows them: take those parts out")

    @property
    def trained(self) -> bool:
        """Whether the run takes any steps of its own."""
        return self.trains is not None

    @property
    def learner(self) -> "Preset":
        """The strategy whose steps the result comes from: this one, or that of the runs that are merged."""
        return PRESETS[self.result.strategy].learner if isinstance(self.result, Merged) else self

    @property
    def has_head(self) -> bool:
        """Whether the result has a linear head, learnt from class labels."""
        return isinstance(self.learner.trains, LinearHead)

    @property
    def trains_head_alone(self) -> bool:
        """Whether the steps leave both towers as they are."""
        return self.learner.trains == LinearHead(image_tower=False)

    @property
    def moves_towers(self) -> bool:
        """Whether the steps that the result comes from change a tower."""
        return self.learner.trained and not self.trains_head_alone

    @property
    def kernel(self) -> Kernel | None:
        """The teacher's averaging kernel; None where nothing is distilled."""
        return self.distillation.kernel if self.distillation else None

    @property
    def average(self) -> Kernel | None:
        """Kernel of the passive average that is the result; None where it is none."""
        return self.result.kernel if isinstance(self.result, Averaged) else None

    @property
    def terms(self) -> frozenset[str]:
        """Distillation terms in use."""
        return self.distillation.terms if self.distillation else frozenset()

    @property
    def settings(self) -> frozenset[str]:
        """Keys of `Settings` that it reads, with those that the runs it begins with read."""
        return frozenset({"name"}).union(*(part.settings for part in self._parts))

    def weights(self, settings: Settings) -> dict[str, float]:
        """Weight of each term of the objective of its own steps; none where it takes none."""
        return {term: weight for part in self._parts for term, weight in part.weights(settings).items()}

    def earlier(self, seed: int, settings: Settings) -> list[Earlier]:
        """The runs that a run of this seed begins with, in their order."""
        return [run for part in self._parts for run in part.earlier(seed, settings)]

    @property
    def _parts(self) -> list[Part]:
        moves_towers = self.trained and not self.trains_head_alone  # projections that stay are not held to anything
        parts = (self.first, self.trains, self.distillation, self.anchoring, self.projections if moves_towers else None)
        return [*(part for part in parts if part is not None), self.result]


TRACER = Preset(
    "distillation from a weighted moving average (Beta kernel)",
    "arXiv 2605.29380; the average is CLIPood's, 2302.00864",
    distillation=Distillation(Beta(0.5, 0.5)),
)
# the momentum's warm-up is the published one of EMA teachers
WARMED_UP = Exponential(0.9, initial_momentum=0.05, warmup_progress=0.2)

PRESETS = {
    "zero_shot": Preset("the pretrained model as it is", "CLIP, arXiv 2103.00020", trains=None),
    "linear_probe": Preset(
        "a linear head on frozen image features, from the zero-shot one", "arXiv 2103.00020", trains=LinearHead(image_tower=False)
    ),
    "ft": Preset("image tower and a zero-shot-initialised head", "arXiv 2109.01903", trains=LinearHead(image_tower=True)),
    "lp_ft": Preset(
        "linear probe, then image tower and head",
        "arXiv 2202.10054",
        first=First("linear_probe"),
        trains=LinearHead(image_tower=True),
    ),
    "flyp": Preset("contrastive loss alone, captions made from class names", "arXiv 2212.00638"),
    "l2_sp": Preset("weights pulled towards the pretrained ones", "arXiv 1802.01483", anchoring=Anchoring()),
    "static_distillation": Preset(
        "distillation from the pretrained model", "arXiv 2605.29380", distillation=Distillation(Static())
    ),
    "ema_distillation": Preset(
        "distillation from an exponential moving average", "arXiv 2605.29380", distillation=Distillation(Exponential(0.9))
    ),
    # weights and momenta of example_scripts/carot.sh and src/args.py in its authors' repository; its strength, 1.5 on the sum of
    # both directions (crd is their mean), and its period, 500 steps, go with the length of a run and are for configurations to name
    "carot": Preset(
        "distillation of an EMA's logits alone, orthogonal image projection",
        "arXiv 2311.01723",
        distillation=Distillation(WARMED_UP, frozenset({"crd"})),
        projections=Projections(orthogonality=0.2, cross_projection_norm=0.05),
    ),
    "tracer": TRACER,
    **{
        f"tracer_without_{term}": replace(
            TRACER, summary=f"tracer without its term {term}", distillation=Distillation(Beta(0.5, 0.5), TRACER.terms - {term})
        )
        for term in PUBLISHED_DISTILLATION
    },
    "replay_distillation": Preset(
        "held to the pretrained model on other images and texts than the task's", "this project", replay={}
    ),
    # its authors' temperature is 2, they average every 100 steps, and show images of ImageNet and texts of Conceptual Captions
    "zscl": Preset(
        "similarities of other images and texts held to the pretrained model's",
        "arXiv 2303.06628",
        replay={"terms": {"fd": 0.0, "text_fd": 0.0, "crd": 1.0}},
    ),
    "lipsum_ft": Preset(
        "similarities of the task's images to random texts held to the pretrained model's",
        "arXiv 2404.00860",
        distillation=Distillation(Static(), frozenset({"lipsum"})),
        replay={"images": None, "texts_per_step": 80, "terms": {"fd": 0.0, "text_fd": 0.0}},
    ),
    "wise_ft": Preset("FLYP, then interpolated with the pretrained weights", "arXiv 2109.01903", result=Interpolated()),
    "averaged": Preset(
        "FLYP, whose result is a passive weighted moving average (Beta kernel)",
        "CLIPood, arXiv 2302.00864",
        result=Averaged(Beta(0.5, 0.5)),
    ),
    "model_stock": Preset(
        "FLYP from several seeds, merged by their angles", "arXiv 2403.19522", trains=None, result=Merged("flyp")
    ),
}
"""Every strategy, by the name that a configuration calls it."""
