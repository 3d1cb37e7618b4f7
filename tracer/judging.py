"""Models that are judged as a configuration says: on which suite, by which weights, beside which others."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracer import processes
from tracer.config import PHOTO, AnySuite, FolderSuite, ImageNetSuite, IWildCamSuite, Run
from tracer.data import folder_suite, imagenet, iwildcam, sources, world
from tracer.data.images import CorruptSample
from tracer.data.sets import CaptionedImages, LabelledImages, Suite
from tracer.errors import UserError
from tracer.evaluation import change, choice
from tracer.evaluation.interpolation import interpolate
from tracer.evaluation.kept import kept_report
from tracer.evaluation.suite import evaluate
from tracer.models import clip, glyphs
from tracer.models.dual_encoder import Encoder
from tracer.models.head import Head
from tracer.storage import content_name, json_text, write_text

if TYPE_CHECKING:
    from tracer.run import Result


def evaluation_suite(section: AnySuite) -> Suite:
    """The suite that a configuration names.

    Raises:
        UserError: if something of its data is missing or wrong; images are not looked into here.
    """
    if isinstance(section, ImageNetSuite):
        return imagenet.suite(section.root, section.sets, section.folders)
    if isinstance(section, IWildCamSuite):
        return iwildcam.suite(section.path, section.categories, section.name_column, sources.templates(section.templates))
    if isinstance(section, FolderSuite):
        templates = sources.templates(section.templates or PHOTO)
        return folder_suite.suite(section.id, section.ood, section.knowledge, templates, section.class_names or "folders")
    return world.suite(section.split)


def suite_of(run: Run) -> Suite | None:
    """The suite that a run is judged on, if it is; raises as `evaluation_suite` and `require_toy_is_meant` do."""
    if run.evaluation is None:
        return None
    suite = evaluation_suite(run.evaluation)
    require_toy_is_meant(run, "evaluation", suite.in_distribution)
    return suite


def require_toy_is_meant(run: Run, section: str, data: CaptionedImages | LabelledImages) -> None:
    """Refuse the embedded model where nobody named it and the data are none that it could take, photographs say.

    Args:
        run: its model.
        section: where the configuration names the data.
        data: what the model would see; of pairs without labels the first is looked at.

    Raises:
        UserError: that says which model would be used, and what to write.
    """
    if "architecture" in run.model.model_fields_set or run.model.architecture != glyphs.ARCHITECTURE:
        return
    if isinstance(data, LabelledImages):
        captions = [template.format(name) for name in data.class_names for template in data.templates]
    else:
        captions = list(data.captions[0])
    try:
        glyphs.TOKENIZER(captions)
        glyphs.preprocess([data.images[0]])
    except CorruptSample:
        return  # what is corrupt says nothing of the others
    except UserError as error:
        raise UserError(
            f"model.architecture is missing, so that the embedded toy would be used, and {section} is not for it ({error}): write"
            " for example model: {architecture: ViT-B-16, pretrained: laion2b_s34b_b88k}"
        ) from error


def load_encoder(run: Run, weights: Path | None = None, head: Path | None = None) -> Encoder:
    """The model of a run on the device that this machine has, with other weights on top and a head if given."""
    model, device = run.model, processes.device()
    encoder = clip.create(
        model.architecture,
        model.pretrained,
        model.batch_norm,
        weights,
        trust_archive=model.trust_archive,
        trust_remote_code=model.trust_remote_code,
    )
    encoder.model.to(device)
    if head is None:
        return encoder
    return dataclasses.replace(encoder, head=Head.load(head, len(encoder.model.projections()[0])).to(device))


def judge(encoder: Encoder, suite: Suite, output: Path, name: str = "evaluation", workers: int = 0) -> dict[str, Any]:
    """The report of a model on a suite (see `evaluate`), also written to NAME.json in `output`."""
    report = evaluate(encoder, suite, workers)
    _write_json(report, output / f"{name}.json")
    return report


def verdict(run: Run, result: "Result", stage: Callable[[str], None] = lambda what: None) -> dict[str, Any] | None:
    """The student's report beside those of the pretrained model and the teacher (see `compare`); None if it was not judged."""
    if result.report is None or result.suite is None:
        return None
    anchor = dataclasses.replace(result.student, model=result.anchor, head=None) if run.model.pretrained is not None else None
    teacher = None if result.teacher is None else dataclasses.replace(result.student, model=result.teacher, head=None)
    return compare(run, result.report, result.suite, anchor, teacher, stage=stage)


def compare(
    run: Run,
    report: dict[str, Any],
    suite: Suite,
    pretrained: Encoder | None,
    teacher: Encoder | None = None,
    name: str = "evaluation",
    stage: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """A student's report with those of the models that it is compared with (see `change.compared`), also written to NAME.json.

    The pretrained model's is kept in pretrained.json in the run's folder, and taken from there by whoever asks again.
    """
    before = after = None
    if pretrained is not None:
        stage("judging the pretrained model")
        before = kept_report(pretrained, suite, run.output / "pretrained.json", run.workers)
    if teacher is not None:
        stage("judging the teacher")
        after = evaluate(teacher, suite, run.workers)
    whole = change.compared(report, before, after)
    _write_json(whole, run.output / f"{name}.json")
    return whole


def judge_interpolations(
    run: Run, weights: Path, coefficients: Sequence[float], suite: Suite, on_judged: Callable[[int], None] = lambda judged: None
) -> list[dict[str, Any]]:
    """Judge every interpolation between the pretrained and fine-tuned weights on a suite (WiSE-FT, arXiv 2109.01903).

    Args:
        run: names the model and the output folder, where interpolations-NAME.json is written (for NAME see `storage.content_name`).
        weights: the fine-tuned weights.
        coefficients: shares of the fine-tuned weights, in [0, 1].
        suite: what to judge on.
        on_judged: called with the number of interpolations judged.

    Returns:
        For each coefficient the report of `evaluate`, with the coefficient as `interpolation` and whether it is the one to take
        on this suite (see `choice.best`) as `taken`.

    Raises:
        UserError: if there are no pretrained weights, or the weights do not fit the model or want images otherwise.
    """
    if run.model.pretrained is None:
        raise UserError("model.pretrained is null, so there are no pretrained weights to interpolate with: name them")
    anchor, student = load_encoder(run), load_encoder(run, weights)
    clip.require_same_preprocessing(anchor.model, student.model)
    reports = []
    for judged, coefficient in enumerate(coefficients, 1):
        mixed = dataclasses.replace(student, model=interpolate(anchor.model, student.model, coefficient))
        reports.append({"interpolation": coefficient, **evaluate(mixed, suite, run.workers)})
        on_judged(judged)
    taken = choice.best(reports)
    reports = [{**report, "taken": position == taken} for position, report in enumerate(reports)]
    _write_json(reports, run.output / f"interpolations-{content_name(weights)}.json")
    return reports


def _write_json(values: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json_text(values))
