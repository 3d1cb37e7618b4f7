"""Fine-tuning strategies by name: what each trains, what it adds to the loss, and which teacher it has."""

from dataclasses import dataclass, replace
from typing import Literal

from tracer.averaging import Beta, Exponential, Kernel, Static

PUBLISHED_DISTILLATION = {"crd": 1.0, "fd": 2000.0, "icl": 1.0, "cross_kd": 1.0}
Trained = Literal["nothing", "towers", "head", "image_tower_and_head"]


@dataclass(frozen=True)
class Preset:
    """A way to fine-tune.

    Attributes:
        summary: what it does, in a line.
        source: where it comes from.
        trains: what the run's own steps change. Towers learn by the contrastive loss, a linear head (and the image tower under
            it) by the cross-entropy of class labels.
        kernel: the teacher's averaging kernel; None where nothing is distilled.
        terms: distillation terms in use, if there is a teacher.
        orthogonality: weight of the constraint |W_I W_I^T - I| on the image projection W_I (k, width), where the configuration
            names none.
        cross_projection_norm: weight of |W_I^T W_T|, where the configuration names none.
        anchored: whether the weights are pulled towards the pretrained ones (L2-SP).
        interpolated: whether the result is interpolated with the pretrained weights (WiSE-FT).
        goes_on_from: the strategy that a run of this one begins with, and whose head it starts from.
        merges: the strategy of the runs whose weights are merged into the result.
    """

    summary: str
    source: str
    trains: Trained = "towers"
    kernel: Kernel | None = None
    terms: frozenset[str] = frozenset(PUBLISHED_DISTILLATION)
    orthogonality: float = 0.0
    cross_projection_norm: float = 0.0
    anchored: bool = False
    interpolated: bool = False
    goes_on_from: str | None = None
    merges: str | None = None

    @property
    def trained(self) -> bool:
        """Whether the run takes any steps of its own."""
        return self.trains != "nothing"

    @property
    def has_head(self) -> bool:
        """Whether the result has a linear head, learnt from class labels."""
        return self.trains in ("head", "image_tower_and_head")

    @property
    def settings(self) -> frozenset[str]:
        """Keys of a configuration's section `strategy` that it uses, those of its section `terms` as "terms.NAME"."""
        used = {"name"}
        if self.kernel is not None:
            used |= {"strength", "kernel", "update_every_steps", "buffers", *(f"terms.{term}" for term in self.terms)}
        if self.anchored:
            used |= {"strength"}
        if self.interpolated:
            used |= {"interpolation"}
        if self.goes_on_from:
            used |= {"probe_steps", "probe_learning_rate"}
        if self.merges:
            used |= {"models"}
        if self.merges or self.trains not in ("nothing", "head"):  # projections that are not trained are not held to anything
            used |= {"cross_projection_norm", "orthogonality"}
        return frozenset(used)


TRACER = Preset(
    "distillation from a weighted moving average (Beta kernel)",
    "arXiv 2605.29380; the average is CLIPood's, 2302.00864",
    kernel=Beta(0.5, 0.5),
)
# the momentum's warm-up is the published one of EMA teachers
WARMED_UP = Exponential(0.9, initial_momentum=0.05, warmup_progress=0.2)

PRESETS = {
    "zero_shot": Preset("the pretrained model as it is", "CLIP, arXiv 2103.00020", trains="nothing"),
    "linear_probe": Preset("a linear head on frozen image features, from the zero-shot one", "arXiv 2103.00020", trains="head"),
    "ft": Preset("image tower and a zero-shot-initialised head", "arXiv 2109.01903", trains="image_tower_and_head"),
    "lp_ft": Preset(
        "linear probe, then image tower and head", "arXiv 2202.10054", trains="image_tower_and_head", goes_on_from="linear_probe"
    ),
    "flyp": Preset("contrastive loss alone, captions made from class names", "arXiv 2212.00638"),
    "l2_sp": Preset("weights pulled towards the pretrained ones", "arXiv 1802.01483", anchored=True),
    "static_distillation": Preset("distillation from the pretrained model", "arXiv 2605.29380", kernel=Static()),
    "ema_distillation": Preset("distillation from an exponential moving average", "arXiv 2605.29380", kernel=Exponential(0.9)),
    # weights and momenta of example_scripts/carot.sh and src/args.py in its authors' repository; its strength, 1.5 on the sum of
    # both directions (crd is their mean), and its period, 500 steps, go with the length of a run and are for configurations to name
    "carot": Preset(
        "distillation of an EMA's logits alone, orthogonal image projection",
        "arXiv 2311.01723",
        kernel=WARMED_UP,
        terms=frozenset({"crd"}),
        orthogonality=0.2,
        cross_projection_norm=0.05,
    ),
    "tracer": TRACER,
    **{
        f"tracer_without_{term}": replace(TRACER, summary=f"tracer without its term {term}", terms=TRACER.terms - {term})
        for term in PUBLISHED_DISTILLATION
    },
    "wise_ft": Preset("FLYP, then interpolated with the pretrained weights", "arXiv 2109.01903", interpolated=True),
    "model_stock": Preset("FLYP from several seeds, merged by their angles", "arXiv 2403.19522", trains="nothing", merges="flyp"),
}
"""Every strategy, by the name that a configuration calls it."""
