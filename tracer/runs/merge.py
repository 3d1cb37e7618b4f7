"""Merging of fine-tuned models: every method's parameters chosen on one suite, what they make reported once on another."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer import plotting
from tracer.config.schema import RunConfig
from tracer.data.datasets import Suite
from tracer.errors import UserError, nearest
from tracer.evaluation.change import MEANS
from tracer.evaluation.merges import METHODS, Ingredients, Outcome
from tracer.evaluation.report import evaluate
from tracer.models import clip
from tracer.models.dual_encoder import DualEncoder, Encoder
from tracer.models.loading.origins import STUDENT
from tracer.runs import run_folder, validation
from tracer.runs.build import load_encoder
from tracer.runs.judging import write_json
from tracer.tensor_files import digest

PRETRAINED = "pretrained"
Report = dict[str, Any]
Stage = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What was merged and how it was judged.

    Attributes:
        models: reports of the pretrained and each fine-tuned model by name, on the suite that is reported on.
        chosen_on: their reports on the suite that is chosen on.
        outcomes: what each method tried and took there.
        reports: of what each method took, on the suite that is reported on.
    """

    models: Mapping[str, Report]
    chosen_on: Mapping[str, Report]
    outcomes: Mapping[str, Outcome]
    reports: Mapping[str, Report]

    def table(self) -> dict[str, Any]:
        """What is written: `rows`, each a model or method with its reports, and `candidates`, the means of all that was tried."""
        rows: list[dict[str, Any]] = [
            {"name": name, "validation": self.chosen_on[name], "report": report} for name, report in self.models.items()
        ]
        for name, outcome in self.outcomes.items():
            told = {"parameters": outcome.chosen.parameters, "candidates": len(outcome.candidates)}
            rows.append({"name": name, "method": name, **told, "validation": outcome.chosen.report, "report": self.reports[name]})
        tried = {
            name: [{"parameters": c.parameters, "validation": {kind: c.report[kind] for kind in MEANS}} for c in outcome.candidates]
            for name, outcome in self.outcomes.items()
        }
        return {"rows": rows, "candidates": tried}


def chosen_methods(named: Sequence[str] | None, models: int) -> list[str]:
    """The methods asked for by name, or all that merge so many models.

    Raises:
        UserError: if a name is unknown (with the nearest), or a method needs more models.
    """
    able = [name for name, method in METHODS.items() if method.fewest <= models]
    for name in named or ():
        if name not in METHODS:
            raise UserError(f"--methods: there is no method {name!r}{nearest(name, METHODS)}")
        if name not in able:
            raise UserError(
                f"{name} merges at least {METHODS[name].fewest} fine-tuned models, and --weights names {models}: name more, or"
                f" choose --methods {','.join(able)}"
            )
    return able if named is None else list(dict.fromkeys(named))


def merge(
    run: RunConfig,
    weights: Sequence[Path],
    methods: Sequence[str],
    output: Path,
    same_images: bool = False,
    stage: Stage = lambda what: None,
) -> dict[str, Any]:
    """Merge fine-tuned models by several methods, choose each method's parameters on one suite, and report on another.

    Writes merge.json, a figure of ID against OOD accuracy, merge.png and .svg, and for each method the model that it takes, in a
    folder of its name that open_clip loads.

    Args:
        run: names the pretrained model, and the suites (see `validation.suites`).
        weights: the fine-tuned weights.
        methods: names of `METHODS`.
        output: the folder.
        same_images: as in `validation.suites`.
        stage: told what begins.

    Returns:
        The `Comparison.table`.

    Raises:
        UserError: if weights do not fit the model, want images otherwise, moved nowhere or are named twice, if a suite is missing
            or has no OOD sets, the folder holds a run or what other methods made, or as `validation.suites` does.
    """
    if run.model.pretrained is None:
        raise UserError("model.pretrained is null, so there are no pretrained weights that the others came from: name them")
    for method in METHODS:
        if method in methods:
            run_folder.require_room_beside(output / method)
        elif (output / method).exists():
            raise UserError(f"{output / method} is of an earlier merge by other methods: delete it, or choose another --output")
    suites = validation.suites(run, same_images)
    for section, suite in zip(("validation", "evaluation"), suites, strict=True):
        if not suite.ood:
            raise UserError(f"merging compares ID with OOD accuracy, and {section} has no OOD sets: name some")
    anchor, students = _loaded(run, weights)
    compared = compare(anchor, students, methods, *suites, run.workers, stage)
    for name, outcome in compared.outcomes.items():
        clip.save_folder(outcome.chosen.build(), output / name)
    table = compared.table()
    write_json(table, output / "merge.json")
    plotting.save(plotting.merges(table), output / "merge")
    return table


def compare(
    anchor: Encoder,
    students: Mapping[str, DualEncoder],
    methods: Sequence[str],
    chosen_on: Suite,
    reported: Suite,
    workers: int = 0,
    stage: Stage = lambda what: None,
) -> Comparison:
    """Choose each method's parameters on one suite, and report on another what they make.

    Args:
        anchor: the pretrained model, with what makes inputs for all.
        students: the fine-tuned models, by name.
        methods: names of `METHODS`.
        chosen_on: the suite that is chosen on.
        reported: the suite that is reported on.
        workers: background processes that read images.
        stage: told what begins.
    """

    def judge(model: DualEncoder, suite: Suite = chosen_on) -> Report:
        return evaluate(dataclasses.replace(anchor, model=model), suite, workers)

    models = {PRETRAINED: anchor.model, **students}
    stage(f"judging the pretrained model and {len(students)} others")
    before = {name: judge(model) for name, model in models.items()}
    parts = Ingredients(anchor.model, students, before, clip.depths(anchor.model) if "lines" in methods else {})
    outcomes = {}
    for name in methods:
        stage(f"{name}: {METHODS[name].summary}")
        outcomes[name] = METHODS[name].search(parts, judge)
    stage("judging what was chosen, on other images")
    after = {name: judge(model, reported) for name, model in models.items()}
    return Comparison(after, before, outcomes, {name: judge(each.chosen.build(), reported) for name, each in outcomes.items()})


def _loaded(run: RunConfig, weights: Sequence[Path]) -> tuple[Encoder, dict[str, DualEncoder]]:
    """The pretrained model and the others, each by its run's or its file's name, or by its path where those are alike."""
    anchor = load_encoder(run)
    found = {digest(anchor.model.state_dict()): "the pretrained ones"}
    short = [path.parent.name if path.name == STUDENT and path.parent.name else path.stem for path in weights]
    students: dict[str, DualEncoder] = {}
    for path, name in zip(weights, short, strict=True):
        model = load_encoder(run, path).model
        clip.require_same_preprocessing(anchor.model, model, str(path))
        content = digest(model.state_dict())
        if content in found:
            raise UserError(f"the weights in {path} are {found[content]}, to which they add nothing: name others")
        found[content] = f"those in {path}"
        students[name if short.count(name) == 1 and name != PRETRAINED else str(path)] = model
    return anchor, students
