"""The section `replay` of a configuration: further images and texts, on which a model in training is held to a teacher."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tracer.config.data import PHOTO, DataKinds, ReadData, Templates
from tracer.config.fields import Count, Location, Section, Share, Weight
from tracer.messages import shown

NEEDS = {"fd": ("images",), "text_fd": ("texts",), "crd": ("images", "texts")}  # what each term compares


Longest = Annotated[Count, Field(le=1000, description="words of the longest texts; the number of each text's is drawn too")]


class NoisePool(Section):
    """Random coloured grids, drawn as they are needed."""

    kind: Literal["noise"] = "noise"


class PhotographPool(Section):
    """Random square crops of the two photographs that scikit-learn ships, drawn as they are needed."""

    kind: Literal["photographs"] = "photographs"


class ImagePool(ReadData):
    """Images in a folder, without captions and classes."""

    kind: Literal["images"]
    path: Location = Field(description="the folder; those below it are read too")


class NameBank(Section):
    """The names of ImageNet's 1000 classes in templates."""

    kind: Literal["names"] = "names"
    templates: Templates = Field(PHOTO, min_length=1, description="texts, {} being the class name, or openai")


class WordBank(Section):
    """Random words of the model's tokenizer one after another, as in Lipsum-FT (arXiv 2404.00860)."""

    kind: Literal["words"] = "words"
    longest: Longest = 6


class CaptionBank(Section):
    """The captions that the run learns, drawn at random, and random words as `WordBank` has them between them."""

    kind: Literal["captions"]
    words: Share = Field(0.5, description="share of the texts that are random words")
    longest: Longest = 6


class FileBank(Section):
    """Texts from a file."""

    kind: Literal["file"]
    path: Location = Field(description="the text file in UTF-8, one text a line")


AnyPool = Annotated[NoisePool | PhotographPool | ImagePool | DataKinds, Field(discriminator="kind")]
AnyBank = Annotated[NameBank | WordBank | CaptionBank | FileBank, Field(discriminator="kind")]


class ReplayTerms(Section):
    """Weights of the terms on further images and texts, before they are scaled by `strength`."""

    fd: Weight = Field(
        2000.0, description="mean squared difference of the images' embeddings from the teacher's: it grows with the width"
    )
    text_fd: Weight = Field(2000.0, description="as fd, of the texts' embeddings")
    crd: Weight = Field(
        0.0, description="KL from the teacher's softmax over the similarities of images and texts to the student's, both ways"
    )


class ReplaySection(Section):
    """Further images and texts, of no pairs, on which the model is held to a teacher at every step."""

    images: AnyPool | None = Field(
        PhotographPool(),
        description="where the images come from; of data with captions the images alone; default: photographs; null: none",
    )
    images_per_step: Count | None = Field(None, description="images of a step; default: optimization.batch_size")
    texts: AnyBank | None = Field(WordBank(), description="where the texts come from; default: words; null: none")
    texts_per_step: Count | None = Field(None, description="texts of a step; default: optimization.batch_size")
    teacher: Literal["pretrained", "strategy"] = Field(
        "pretrained", description="what the model is held to: itself as pretrained, or the strategy's teacher as it is then"
    )
    strength: Weight = Field(1.0, description="scales all terms")
    terms: ReplayTerms = Field(ReplayTerms(), description="weights of the terms; what lacks its images or texts stays out")

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        """Settings that would do nothing are refused; defaults may be written, as a run's own copy of its settings has them."""
        if self.images is None and self.texts is None:
            raise ValueError("replay.images and replay.texts are both null: give one of them, or leave replay out")
        needs = {f"terms.{term}": needed for term, needed in NEEDS.items()}
        needs |= {"images_per_step": ("images",), "texts_per_step": ("texts",)}
        written, defaults = _by_key(self), {f"terms.{term}": weight for term, weight in ReplayTerms()}
        for key, needed in needs.items():
            absent = [each for each in needed if getattr(self, each) is None]
            if absent and written[key] not in (None, 0, defaults.get(key)):
                raise ValueError(
                    f"replay.{key} is {shown(written[key])}, but replay.{absent[0]} is null: give {absent[0]}, or remove the key"
                )
        return self

    def weights(self) -> dict[str, float]:
        """The weight of each term of the objective, scaled by `strength`, of those alone whose images and texts are there."""
        there = {name for name in ("images", "texts") if getattr(self, name) is not None}
        return {f"replay_{term}": self.strength * weight for term, weight in self.terms if there.issuperset(NEEDS[term])}


def _by_key(section: ReplaySection) -> dict[str, Any]:
    return {key: value for key, value in section if key != "terms"} | {f"terms.{term}": weight for term, weight in section.terms}
