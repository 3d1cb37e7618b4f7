"""The last linear map solved instead of trained, at every strength; one is chosen, and written as open_clip loads it."""

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tracer.config.replay import ReplaySection
from tracer.config.schema import RunConfig
from tracer.data.datasets import CaptionedImages, LabelledImages, Suite
from tracer.errors import UserError, nearest
from tracer.evaluation import change, choice
from tracer.evaluation.report import evaluate
from tracer.last_layer.features import Frozen, Listed
from tracer.last_layer.regression import Regression
from tracer.models import clip
from tracer.models.dual_encoder import Encoder
from tracer.models.last_maps import LastMaps
from tracer.runs import judging, run_folder, training_data, validation
from tracer.runs.training_data import TrainingData

METRICS = ("replay", "parameter", "data")
STRENGTHS = tuple(float(f"{value:.2g}") for value in np.geomspace(1e-2, 1e3, 21))
TOLERATED_LOSS = 0.01
"""Accuracy on the task that is given for more of the pretrained model, where nothing but the task is there to choose on."""
HELD_OUT = 5  # one in so many pairs is chosen on where no suite for that is named
CHOSEN_ON, REPORTED = "validation", "evaluation"


class Plan(NamedTuple):
    """What is read, and in which metric it is solved.

    Attributes:
        listed: images of the run and of its suites.
        metric: one of `METRICS`.
    """

    listed: Listed
    metric: str


def plan(run: RunConfig, metric: str, most_pairs: int, same_images: bool = False) -> Plan:
    """List what `solve` reads.

    Args:
        run: names model, data, the suites (see `validation.suites`) and what is replayed, by default `ReplaySection`'s.
        metric: one of `METRICS`.
        most_pairs: training pairs that are looked at.
        same_images: as in `validation.suites`.

    Raises:
        UserError: if there is no such metric, or data are missing, do not make a task, or lack labels and a suite to choose on.
    """
    if metric not in METRICS:
        raise UserError(f"--metric: there is no metric {metric!r}{nearest(metric, METRICS)}")
    if metric == "replay" and (run.replay is None or run.replay.images is None):
        run = run.model_copy(update={"replay": ReplaySection()})
    listed = Listed.of(run, _suites(run, same_images), most_pairs)
    _require_a_task(listed)
    return Plan(listed, metric)


def solve(planned: Plan, output: Path, on_image: Callable[[int], None] = lambda count: None) -> dict[str, Any]:
    """Solve the image tower's last map at every strength, take the one that is best on the suite to choose on, and save the model.

    Best is as `choice.best` says; where that suite has neither OOD nor knowledge sets, the largest strength whose accuracy is at
    most `TOLERATED_LOSS` below the best. Where no suite to choose on is named, one in `HELD_OUT` pairs is held out for that, and
    the map is solved again with all of them.

    Args:
        planned: what is read.
        output: folder for the model, as open_clip loads it, and solve.json.
        on_image: told how many images are done.

    Returns:
        `metric`, `strength`, `candidates` (each strength with its report on the suite to choose on) and, if there is a suite to
        report on, `report`, the student's beside the pretrained model's (see `change.compared`).

    Raises:
        UserError: as `Listed.gather` does, or if the folder holds a run or another model.
    """
    run_folder.require_room_beside(output)
    frozen = planned.listed.gather(on_image)
    suite = frozen.suites.get(CHOSEN_ON)
    shown, chosen_on = (frozen, suite) if suite else _held_out(frozen)
    regression = Regression(shown)
    tried = [(strength, evaluate(regression.solved(planned.metric, strength), chosen_on)) for strength in STRENGTHS]
    strength = STRENGTHS[_best([report for _, report in tried])]
    student = (regression if suite else Regression(frozen)).solved(planned.metric, strength)
    told: dict[str, Any] = {
        "metric": planned.metric,
        "strength": strength,
        "candidates": [{"strength": each, **{kind: report[kind] for kind in change.MEANS}} for each, report in tried],
    }
    if reported := frozen.suites.get(REPORTED):
        told["report"] = change.compared(evaluate(student, reported), evaluate(frozen.encoder, reported))
    clip.save_folder(whole(frozen, student), output)
    judging.write_json(told, output / "solve.json")
    return told


def _suites(run: RunConfig, same_images: bool) -> dict[str, Suite]:
    """The suite to report on, if there is one, and that to choose on, if it is named or its images may be those."""
    if run.evaluation is None:
        return {}
    if same_images or validation.is_named(run):
        return dict(zip((CHOSEN_ON, REPORTED), validation.suites(run, same_images), strict=True))
    return {REPORTED: judging.suite_to_judge_on(run)}


def whole(frozen: Frozen, student: Encoder) -> clip.Clip:
    """The whole model with the last maps of a model of features."""
    model = copy.deepcopy(clip.require_clip(frozen.model.model))
    assert isinstance(student.model, LastMaps)
    student.model.write_into(model)
    return model


def _best(reports: Sequence[Mapping[str, Any]]) -> int:
    if reports[0]["ood"] or reports[0]["knowledge"]:
        return choice.best(reports)
    accuracies = [report["id"]["accuracy"] for report in reports]
    return max(position for position, accuracy in enumerate(accuracies) if accuracy >= max(accuracies) - TOLERATED_LOSS)


def _held_out(frozen: Frozen) -> tuple[Frozen, Suite]:
    """The run without one in `HELD_OUT` pairs, and a suite of those."""
    labelled = frozen.data.labelled
    assert labelled is not None, "plan refuses pairs without labels where no suite is named"
    held = np.arange(len(labelled)) % HELD_OUT == HELD_OUT - 1
    captions = [captions for captions, out in zip(frozen.data.pairs.captions, held, strict=True) if not out]
    features = np.asarray(labelled.images)
    rest = TrainingData(CaptionedImages(features[~held], captions), _rows(labelled, ~held), frozen.data.pool)
    return dataclasses.replace(frozen, data=rest), Suite(_rows(labelled, held))


def _rows(images: LabelledImages, rows: np.ndarray) -> LabelledImages:
    return dataclasses.replace(images, images=np.asarray(images.images)[rows], labels=images.labels[rows])


def _require_a_task(listed: Listed) -> None:
    labelled = listed.labelled
    if labelled is None:
        if CHOSEN_ON not in listed.suites:
            raise UserError("without class labels a strength is chosen on a suite, and validation is null: name one")
        return
    training_data.require_classes(labelled)
    shown = labelled.labels_shown
    if CHOSEN_ON not in listed.suites and len(labelled) < HELD_OUT * shown:
        raise UserError(
            f"{len(labelled)} images of {shown} classes leave none of each class to choose a strength on, and validation is null:"
            " name a suite, or add images"
        )
    for suite in listed.suites.values():
        if not set(labelled.class_names) & set(suite.in_distribution.class_names):
            names = labelled.class_names[0], suite.in_distribution.class_names[0]
            raise UserError(
                f"training data and the suite's task have no class in common (one has {names[0]!r}, the other {names[1]!r}): name"
                " the suite of this task"
            )
