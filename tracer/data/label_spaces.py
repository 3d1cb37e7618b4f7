"""Published label spaces and caption templates, from the packages that carry them."""

from functools import cache

from timm.data import ImageNetInfo

from tracer.models import clip


@cache
def imagenet_synsets() -> tuple[str, ...]:
    """The WordNet ids of ImageNet's 1000 classes in the order of its labels, "n01440764" first."""
    return tuple(ImageNetInfo().label_names())


def imagenet_class_names() -> tuple[str, ...]:
    """What OpenAI calls the 1000 classes in captions, in the same order; two names stand for two classes each."""
    return clip.IMAGENET_CLASS_NAMES


def openai_templates() -> tuple[str, ...]:
    """OpenAI's 80 caption templates for ImageNet, with `{}` for the class name (arXiv 2103.00020)."""
    return clip.OPENAI_TEMPLATES
