"""The two suites of a configuration: one to choose on, and one, of other images, to report on."""

import hashlib
from collections.abc import Iterator

from tracer.config.schema import AnySuite, EmbeddedSuite, IWildCamSuite, RunConfig
from tracer.data.datasets import LabelledImages, Suite
from tracer.data.image_files import ImageFiles
from tracer.errors import UserError
from tracer.runs.judging import suite_to_judge_on
from tracer.runs.sources import evaluation_suite, require_toy_is_meant


def suites(run: RunConfig, same_images: bool = False) -> tuple[Suite, Suite]:
    """The suite to choose on and the suite to report on, of the sections `validation` and `evaluation`.

    Args:
        run: names them; where `validation` is null, it is the validation split of the suite reported on, if that has one.
        same_images: choose on images that are reported on too, on all of them where no validation suite is named.

    Raises:
        UserError: if a suite is missing, both have images in common that are not asked for, or as `suite_to_judge_on` does.
    """
    reported = suite_to_judge_on(run)
    section = run.validation or _own_split(run.evaluation)
    if section is None:
        if same_images:
            return reported, reported
        raise UserError(
            "validation is null, so that there are no images to choose on but those of evaluation, on which what was chosen would"
            " look better than it is: name a suite of others, or give --same-images"
        )
    chosen_on = evaluation_suite(section)
    require_toy_is_meant(run, "validation", chosen_on.in_distribution)
    if not same_images:
        _require_other_images(chosen_on, reported)
    return chosen_on, reported


def is_named(run: RunConfig) -> bool:
    """Whether there is a suite to choose on beside that reported on: named, or a split of that one."""
    return (run.validation or _own_split(run.evaluation)) is not None


def _own_split(section: AnySuite | None) -> AnySuite | None:
    return section.model_copy(update={"split": "validation"}) if isinstance(section, EmbeddedSuite | IWildCamSuite) else None


def _require_other_images(chosen_on: Suite, reported: Suite) -> None:
    known = {image: name for name, images in reported.sets().items() for image in _identities(images)}
    for name, images in chosen_on.sets().items():
        shared = [known[image] for image in _identities(images) if image in known]
        if shared:
            raise UserError(
                f"{len(shared)} of {len(images)} images of the set {name} of validation are also in {shared[0]} of evaluation,"
                " where what was chosen on them would look better than it is: name others, or give --same-images"
            )


def _identities(images: LabelledImages) -> Iterator[str]:
    """What tells each image from others: its file, or a digest of its pixels."""
    if isinstance(images.images, ImageFiles):
        yield from (str(path.resolve()) for path in images.images.paths)
    else:
        yield from (hashlib.sha256(image.tobytes()).hexdigest() for image in images.images)
