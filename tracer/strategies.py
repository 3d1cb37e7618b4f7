"""Fine-tuning strategies by name: what each adds to the contrastive loss, and which teacher it has."""

from dataclasses import dataclass

from tracer.averaging import Beta, Exponential, Kernel, Static

PUBLISHED_DISTILLATION = {"crd": 1.0, "fd": 2000.0, "icl": 1.0, "cross_kd": 1.0}


@dataclass(frozen=True)
class Strategy:
    """A way to fine-tune.

    Attributes:
        summary: what it does, in a line.
        source: where it comes from.
        kernel: the teacher's averaging kernel; None where nothing is distilled.
        anchored: whether the weights are pulled towards the pretrained ones (L2-SP).
        interpolated: whether the result is interpolated with the pretrained weights (WiSE-FT).
        trained: whether there are any steps at all.
    """

    summary: str
    source: str
    kernel: Kernel | None = None
    anchored: bool = False
    interpolated: bool = False
    trained: bool = True


STRATEGIES = {
    "zero_shot": Strategy("the pretrained model as it is", "CLIP, arXiv 2103.00020", trained=False),
    "flyp": Strategy("contrastive loss alone, captions made from class names", "arXiv 2212.00638"),
    "l2_sp": Strategy("weights pulled towards the pretrained ones", "arXiv 1802.01483", anchored=True),
    "static_distillation": Strategy("distillation from the pretrained model", "arXiv 2605.29380", Static()),
    "ema_distillation": Strategy("distillation from an exponential moving average", "arXiv 2605.29380", Exponential(0.9)),
    "tracer": Strategy("distillation from a weighted moving average (Beta kernel)", "arXiv 2605.29380", Beta(0.5, 0.5)),
    "wise_ft": Strategy("FLYP, then interpolated with the pretrained weights", "arXiv 2109.01903", interpolated=True),
}
