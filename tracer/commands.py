"""What the commands do, from what was typed. Heavy imports happen inside them, so that --help answers at once."""

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracer import paths, storage
from tracer.errors import UserError

if TYPE_CHECKING:
    from tracer.config.schema import RunConfig
    from tracer.runs.averages import KeptAverages, Made


def _configuration(options: argparse.Namespace) -> "RunConfig":
    from tracer.config import loading

    first = options.config
    # the folders of a sweep's runs are called like overrides, so that their files are none
    if first and "=" in first and not os.path.isfile(os.path.expanduser(first)):
        return loading.load(None, [first, *options.overrides])
    return loading.load(paths.given(first, "the configuration") if first else None, options.overrides)


def demo(options: argparse.Namespace) -> None:
    output = paths.given(options.output, "--output")
    paths.require_folder(output, "--output")
    from tracer.demo.run import demo

    demo(output, options.seeds, options.steps, options.pretrain)


def pretrain(options: argparse.Namespace) -> None:
    text = f"runs/{options.architecture}-{options.seed}.safetensors" if options.output is None else options.output
    output = paths.given(text, "--output")
    paths.require_file(output, "--output")
    paths.require_folder(output.with_suffix(""), "the folder of checkpoints")
    from tracer.demo.pretrain import RECIPES, pretrain, require_sense
    from tracer.terminal import console

    require_sense(options.architecture, options.seed, output)
    with console.progress(f"pretraining, seed {options.seed}", RECIPES[options.architecture].steps) as advance:
        report = pretrain(options.seed, output, on_step=advance, architecture=options.architecture)
    console.report(report, output)


def train(options: argparse.Namespace) -> None:
    from tracer.config.loading import dump, remarks

    run = _configuration(options)
    if options.print_config:
        print(dump(run), end="")
        return
    paths.require_folder(run.output, "output")
    from tracer.runs import fine_tune as running
    from tracer.runs import judging
    from tracer.terminal import console
    from tracer.training import distributed

    console.console.quiet = logging.getLogger("tracer").disabled = not distributed.is_first()
    for remark in remarks(run):
        console.console.print(remark, markup=False, soft_wrap=True)
    with console.progress("fine-tuning", run.all_steps) as standing:
        result = running.fine_tune(run, standing, standing.stage, [standing])
        report = judging.verdict(run, result, standing.stage)
    console.skipped(result.skipped, run.output / "skipped.jsonl")
    console.report(report, run.output)
    distributed.leave()


def evaluate(options: argparse.Namespace) -> None:
    from tracer.config.loading import remarks_on_the_suite

    run = _configuration(options)
    weights, head = (_to_read(getattr(options, name), f"--{name}") for name in ("weights", "head"))
    coefficients = None if options.interpolations is None else _coefficients(options.interpolations)
    if coefficients is not None and weights is None:
        raise UserError("--interpolations mixes model.pretrained with other weights: name those by --weights")
    if coefficients is not None and head is not None:
        raise UserError("--interpolations classifies by the texts of both models, without a head: leave --head out")
    paths.require_folder(run.output, "output")
    from tracer.runs import judging
    from tracer.terminal import console

    for remark in remarks_on_the_suite(run):
        console.say(remark)
    suite = judging.suite_to_judge_on(run)
    if coefficients is None or weights is None:
        console.report(judging.judge_saved(run, suite, weights, head, console.say), run.output)
        return
    from tracer.runs import interpolations

    interpolations.require_both_ends(run, suite)
    with console.progress("interpolations", len(coefficients)) as advance:
        reports = interpolations.judge(run, weights, coefficients, suite, advance)
    console.interpolations(reports, run.output)


def merge(options: argparse.Namespace) -> None:
    from tracer.runs import merge as merging

    settings = [word for word in options.weights if "=" in word and not Path(word).exists()]  # argparse takes them for weights
    options.overrides = [*options.overrides, *settings]
    run = _configuration(options)
    weights = [_weights(text) for text in options.weights if text not in settings]
    if not weights:
        raise UserError("--weights names no weights: give files, or folders of runs")
    methods = merging.chosen_methods(options.methods.split(",") if options.methods is not None else None, len(weights))
    output = run.output / "merged" if options.output is None else paths.given(options.output, "--output")
    paths.require_folder(output, "--output")
    from tracer.terminal import console

    console.merges(merging.merge(run, weights, methods, output, options.same_images, console.say), output)


def calibrate(options: argparse.Namespace) -> None:
    run = _configuration(options)
    weights, head = _weights(options.weights), _to_read(options.head, "--head")
    paths.require_folder(run.output, "output")
    from tracer.runs import calibration
    from tracer.terminal import console

    told = calibration.calibrate(run, weights, head, options.same_images, console.say)
    console.calibration(told, calibration.verdict(told), run.output)


def predict(options: argparse.Namespace) -> None:
    _require_pairs(options)
    if options.sweep is not None and (options.config or options.overrides):
        raise UserError(f"--sweep has a configuration of its own, its base: leave {options.config or options.overrides[0]} out")
    from tracer.config.loading import remarks
    from tracer.last_layer import grid

    if options.sweep is None:
        run = _configuration(options)
        runs = grid.settings(run)
    else:
        run, runs = grid.of_sweep(paths.given(options.sweep, "--sweep"))
    output = run.output / "prediction" if options.output is None else paths.given(options.output, "--output")
    paths.require_folder(output, "--output")
    from tracer.last_layer import prediction
    from tracer.last_layer.simulation import LAST_MAPS
    from tracer.terminal import console

    for remark in remarks(run):
        console.say(remark)
    listed = prediction.listed(run, options.pairs)
    with console.progress("features", listed.count) as advance:
        frozen = listed.gather(advance)
    paces = LAST_MAPS if options.last_maps else prediction.measured_paces(listed, frozen)
    with console.progress("settings", len(runs)) as advance:
        told = prediction.predict(frozen, runs, paces, advance)
    prediction.write(told, runs, output)
    console.prediction(told.rows, told.recommended, told.reason, output)


def solve(options: argparse.Namespace) -> None:
    _require_pairs(options)
    run = _configuration(options)
    output = run.output / "solved" if options.output is None else paths.given(options.output, "--output")
    paths.require_folder(output, "--output")
    from tracer.last_layer import solve
    from tracer.terminal import console

    planned = solve.plan(run, options.metric, options.pairs, options.same_images)
    with console.progress("features", planned.listed.count) as advance:
        told = solve.solve(planned, output, advance)
    console.solved(told, output)


def diagnose(options: argparse.Namespace) -> None:
    run = _configuration(options)
    weights = _weights(options.weights)
    before = None if options.before is None else _weights(options.before, "--before")
    images = None if options.images is None else paths.given(options.images, "--images")
    output = run.output / "diagnosis" if options.output is None else paths.given(options.output, "--output")
    paths.require_folder(output, "--output")
    from tracer.runs import diagnosis
    from tracer.terminal import console

    console.diagnosis(diagnosis.diagnose(run, weights, before, images, output, console.say), output)


def _require_pairs(options: argparse.Namespace) -> None:
    if options.pairs < 2:
        raise UserError(f"--pairs is {options.pairs}: choose at least 2")


def _weights(text: str, option: str = "--weights") -> Path:
    """The weights that an option names by their file or by a run's folder."""
    path = paths.given(text, option)
    path = path / "student.safetensors" if path.is_dir() else path
    return storage.require_regular(path, f"{option} is {path}, which")


def average(options: argparse.Namespace) -> None:
    from tracer.config import loading

    if options.choose == (options.kernel is not None):
        raise UserError("tracer average takes either --kernel or --choose: give one of them")
    if options.overrides and not options.choose:
        raise UserError(f"--kernel takes no keys such as {options.overrides[0]!r}: leave them out")
    if options.same_images and not options.choose:
        raise UserError("--kernel chooses on no images: leave --same-images out")
    kernel = None if options.kernel is None else loading.kernel(options.kernel, "--kernel")
    folder = paths.given(options.run, "RUN")
    output = None if options.output is None else paths.given(options.output, "--output")
    if output:
        paths.require_folder(output, "--output")
    from tracer.runs import averages, run_folder
    from tracer.terminal import console

    if output:
        run_folder.require_room_beside(output)
    kept = averages.KeptAverages.of(folder)
    made = _chosen(kept, options.overrides, options.same_images) if kernel is None else kept.make(kernel)
    output = output or kept.folder / averages.name_of(made.kernel)
    made.save(output)
    console.average(made.told, output)


def _chosen(kept: "KeptAverages", overrides: Sequence[str], same_images: bool) -> "Made":
    """The average that is best on a validation suite, judged on the run's own."""
    from tracer.runs import average_choice
    from tracer.runs.averages import CANDIDATES
    from tracer.terminal import console

    chosen_on, suite = average_choice.suites(kept, overrides, same_images)
    with console.progress("averages", len(CANDIDATES)) as advance:
        reports = average_choice.judge(kept, chosen_on, advance)
    console.averages(reports)
    made = kept.make(average_choice.taken(reports))
    console.report(average_choice.report(kept, made, suite, console.say), kept.folder)
    return made


def _to_read(text: str | None, option: str) -> Path | None:
    """The file that an option names, if it is given."""
    if text is None:
        return None
    path = paths.given(text, option)
    return storage.require_regular(path, f"{option} is {path}, which")


def _coefficients(text: str) -> list[float]:
    """Shares given as "0,0.5,1", in order."""
    try:
        coefficients = sorted({float(word) for word in text.split(",")})
    except ValueError:
        coefficients = []
    if not coefficients or not all(0 <= coefficient <= 1 for coefficient in coefficients):
        raise UserError(f"--interpolations is {text!r}: give numbers from 0 to 1 with commas between them, such as 0,0.5,1")
    return coefficients


def strategies(options: argparse.Namespace) -> None:
    from tracer.strategies import PRESETS

    for name, strategy in PRESETS.items():
        print(f"{name:<24}{strategy.summary} ({strategy.source})")


def sweep(options: argparse.Namespace) -> None:
    if options.processes is not None and options.processes < 1:
        raise UserError(f"--processes is {options.processes}: choose at least 1")
    from tracer.runs import lock, sweep
    from tracer.runs.jobs import try_all
    from tracer.runs.pool import Failure
    from tracer.terminal import console

    plan, points = sweep.load(paths.given(options.grid, "the sweep's file"))
    paths.require_folder(plan.output, "output")
    jobs = sweep.jobs(points)
    processes = plan.processes if options.processes is None else options.processes
    total = sum(job.steps for job in jobs)
    with lock.held(plan.output), console.progress(f"{len(jobs)} runs", total) as advance:
        advance.stage(f"{processes} at once, kept in {plan.output / 'runs'}")
        rows = [each if isinstance(each, Failure) else each[0] for each in try_all(jobs, processes, advance)]
        summaries, failed = sweep.summarise(plan, points, rows), sum(isinstance(row, Failure) for row in rows)
        print(sweep.table(summaries, plan.published))
        if failed < len(rows):  # else what an earlier call has written is worth more
            sweep.write(plan, summaries, rows)
            print(f"written to {plan.output}")
    if failed:
        raise UserError(f"{failed} of {len(rows)} runs failed, as the table says: mend them, and the same command runs those alone")


def explore(options: argparse.Namespace) -> None:
    output = paths.given(options.output, "--output")
    paths.require_file(output, "--output")
    from tracer import explorer

    explorer.write(output)
    print(f"written to {output}: open it in a browser")
