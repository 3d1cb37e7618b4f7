"""The command line. Heavy imports happen inside the commands, so that --help answers at once."""

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracer import __version__, paths, storage
from tracer.errors import UserError

if TYPE_CHECKING:
    from tracer.config.schema import RunConfig
    from tracer.runs.averages import KeptAverages, Made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code. Whatever fails is one sentence on stderr: code 2 for bad input, 1 for a fault of tracer's."""
    # OpenMP threads that spin while they wait stall one another when runs share a machine
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names need not be text that a terminal can show
    try:
        try:
            options = _options(_parser(), arguments)
            logging.getLogger("tracer").handlers = [_Notes()]
            options.command(options)
        finally:
            _flush()
    except (Exception, KeyboardInterrupt) as error:
        return _told(error)
    return 0


class _Notes(logging.Handler):
    """Prints what the package logs, files that are left out say, as a line on stderr each, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"tracer: {record.getMessage()}", file=sys.stderr)


def _flush() -> None:
    """Write what was printed, so that a full disk or a closed pipe is told now and not when Python ends."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (Python flushes the old one when it ends, and would complain)
        raise


def _told(error: BaseException) -> int:
    """Say what ended a command; its exit code."""
    import traceback

    from tracer.terminal import faults

    if os.environ.get(faults.SHOW):
        traceback.print_exception(error)
    text, code = faults.answer(error)
    if text:
        print(faults.shown(text), file=sys.stderr)
    return code


def _options(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parsed arguments, where key=value may also stand after an option (which argparse alone does not allow)."""
    options, rest = parser.parse_known_args(arguments)
    misplaced = [word for word in rest if word.startswith("-") or "=" not in word or not hasattr(options, "overrides")]
    if misplaced:
        parser.error(f"there is no argument {' '.join(misplaced)}: see --help")
    if rest:
        options.overrides = [*options.overrides, *rest]
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("tracer", description="Robust fine-tuning of CLIP models.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="fine-tune a small real CLIP with every strategy and compare them")
    demo.add_argument("--output", default="demo", help="folder for results.json, figures and report.html")
    demo.add_argument("--seeds", type=int, default=3, help="pairs of a pretraining and a fine-tuning seed (default: 3)")
    demo.add_argument("--steps", type=int, default=None, help="fine-tuning steps of each run")
    demo.add_argument("--pretrain", action="store_true", help="pretrain the checkpoints anew instead of using the shipped ones")
    demo.set_defaults(command=_demo)

    pretrain = commands.add_parser("pretrain", help="pretrain the embedded CLIP on captioned glyphs")
    pretrain.add_argument("--seed", type=int, default=0, help="seed of the world and of the weights")
    pretrain.add_argument("--output", default=None, help="file to write (default: runs/glyphs-SEED.safetensors)")
    pretrain.set_defaults(command=_pretrain)

    train = commands.add_parser(
        "train", help="fine-tune as a YAML file says", epilog="tracer strategies lists what strategy.name takes."
    )
    _add_configuration(train)
    train.add_argument("--print-config", action="store_true", help="print the whole configuration, and do nothing else")
    train.set_defaults(command=_train)

    evaluate = commands.add_parser("evaluate", help="judge a model on a suite")
    _add_configuration(evaluate)
    evaluate.add_argument("--weights", help="weights to judge instead of model.pretrained")
    evaluate.add_argument("--head", help="head.safetensors of a linear_probe, ft or lp_ft run, to classify by")
    evaluate.add_argument(
        "--interpolations",
        metavar="0,0.5,1",
        help="judge mixtures of the pretrained and these shares of the other weights (WiSE-FT), and say which is best here",
    )
    evaluate.set_defaults(command=_evaluate)

    average = commands.add_parser("average", help="make a passive average of a finished run from the snapshots that it kept")
    average.add_argument("run", help="folder of a run with average.snapshots")
    average.add_argument("--kernel", metavar="'{kind: beta, a: 0.5, b: 0.5}'", help="averaging kernel, as strategy.kernel has it")
    average.add_argument("--choose", action="store_true", help="take the best of many mean ages on a validation suite instead")
    average.add_argument("--output", default=None, help="folder for the average (default: one in RUN/averages)")
    average.add_argument("overrides", nargs="*", metavar="key=value", help="with --choose: keys of validation and evaluation")
    average.set_defaults(command=_average)

    _add_merging(commands)

    _add_last_layer(commands)

    strategies = commands.add_parser("strategies", help="list the strategies that strategy.name takes")
    strategies.set_defaults(command=_strategies)

    sweep = commands.add_parser("sweep", help="run a grid of configurations, and compare them in a table")
    sweep.add_argument("grid", help="YAML file with output, base, grid, runs, published")
    sweep.add_argument("--processes", type=int, default=None, help="runs at once (default: the file's, or 2)")
    sweep.set_defaults(command=_sweep)

    explore = commands.add_parser("explore", help="write an interactive page of the theory, which computes in the browser")
    explore.add_argument("--output", default="explorer.html", help="file to write (default: explorer.html)")
    explore.set_defaults(command=_explore)
    return parser


def _add_configuration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", help="YAML file; left out, the defaults hold")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for example optimization.learning_rate=1e-5")


def _add_merging(commands: Any) -> None:
    """Commands that choose on one suite and report on another."""
    merge = commands.add_parser("merge", help="merge fine-tuned models by several methods, and compare what they make")
    _add_configuration(merge)
    merge.add_argument("--weights", nargs="+", required=True, help="fine-tuned weights: files, or folders of runs")
    merge.add_argument("--methods", metavar="wise_ft,lines", help="what to merge by (default: all that take so many models)")
    merge.add_argument(
        "--output", help="folder for the merged models, merge.json and a figure (default: merged in the run's output)"
    )
    _add_same_images(merge)
    merge.set_defaults(command=_merge)

    calibrate = commands.add_parser("calibrate", help="fit a temperature to a model's answers, which evaluate then applies")
    _add_configuration(calibrate)
    calibrate.add_argument("--weights", required=True, help="fine-tuned weights: a file, or the folder of a run")
    calibrate.add_argument("--head", help="head.safetensors that they are judged with")
    _add_same_images(calibrate)
    calibrate.set_defaults(command=_calibrate)


def _add_last_layer(commands: Any) -> None:
    """Commands that make one pass over the images, and compute with its features."""
    solve = commands.add_parser("solve", help="solve a model's last linear map in closed form instead of training it")
    _add_configuration(solve)
    solve.add_argument(
        "--metric",
        choices=("replay", "parameter", "data"),
        default="replay",
        help="what it is held to the pretrained map on: further images, its weights, the task's images (default: replay)",
    )
    solve.add_argument("--pairs", type=int, default=50_000, help="training pairs that are looked at (default: 50000)")
    solve.add_argument("--output", help="folder for the model and solve.json (default: solved in the run's output)")
    _add_same_images(solve)
    solve.set_defaults(command=_solve)


def _add_same_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--same-images", action="store_true", help="choose on images that are reported on too, which flatters")


def _configuration(options: argparse.Namespace) -> "RunConfig":
    from tracer.config import loading

    given = [options.config, *options.overrides] if options.config and "=" in options.config else options.overrides
    path = paths.given(options.config, "the configuration") if options.config and "=" not in options.config else None
    return loading.load(path, given)


def _demo(options: argparse.Namespace) -> None:
    output = paths.given(options.output, "--output")
    paths.require_folder(output, "--output")
    from tracer.demo.run import demo

    demo(output, options.seeds, options.steps, options.pretrain)


def _pretrain(options: argparse.Namespace) -> None:
    text = f"runs/glyphs-{options.seed}.safetensors" if options.output is None else options.output
    output = paths.given(text, "--output")
    paths.require_file(output, "--output")
    paths.require_folder(output.with_suffix(""), "the folder of checkpoints")
    from tracer.demo.pretrain import STEPS, pretrain, require_sense
    from tracer.terminal import console

    require_sense(options.seed, output)
    with console.progress(f"pretraining, seed {options.seed}", STEPS) as advance:
        report = pretrain(options.seed, output, on_step=advance)
    console.report(report, output)


def _train(options: argparse.Namespace) -> None:
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


def _evaluate(options: argparse.Namespace) -> None:
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

    suite = judging.suite_to_judge_on(run)
    if coefficients is None or weights is None:
        console.report(judging.judge_saved(run, suite, weights, head, console.say), run.output)
        return
    from tracer.runs import interpolations

    interpolations.require_both_ends(run, suite)
    with console.progress("interpolations", len(coefficients)) as advance:
        reports = interpolations.judge(run, weights, coefficients, suite, advance)
    console.interpolations(reports, run.output)


def _merge(options: argparse.Namespace) -> None:
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


def _calibrate(options: argparse.Namespace) -> None:
    run = _configuration(options)
    weights, head = _weights(options.weights), _to_read(options.head, "--head")
    paths.require_folder(run.output, "output")
    from tracer.runs import calibration
    from tracer.terminal import console

    told = calibration.calibrate(run, weights, head, options.same_images, console.say)
    console.calibration(told, calibration.verdict(told), run.output)


def _solve(options: argparse.Namespace) -> None:
    if options.pairs < 1:
        raise UserError(f"--pairs is {options.pairs}: choose at least 1")
    run = _configuration(options)
    output = run.output / "solved" if options.output is None else paths.given(options.output, "--output")
    paths.require_folder(output, "--output")
    from tracer.last_layer import solve
    from tracer.terminal import console

    planned = solve.plan(run, options.metric, options.pairs, options.same_images)
    with console.progress("features", planned.listed.count) as advance:
        told = solve.solve(planned, output, advance)
    console.solved(told, output)


def _weights(text: str) -> Path:
    """The weights that --weights names by their file or by a run's folder."""
    path = paths.given(text, "--weights")
    path = path / "student.safetensors" if path.is_dir() else path
    return storage.require_regular(path, f"--weights is {path}, which")


def _average(options: argparse.Namespace) -> None:
    from tracer.config import loading

    if options.choose == (options.kernel is not None):
        raise UserError("tracer average takes either --kernel or --choose: give one of them")
    if options.overrides and not options.choose:
        raise UserError(f"--kernel takes no keys such as {options.overrides[0]!r}: leave them out")
    kernel = None if options.kernel is None else loading.kernel(options.kernel, "--kernel")
    folder = paths.given(options.run, "RUN")
    output = None if options.output is None else paths.given(options.output, "--output")
    if output:
        paths.require_folder(output, "--output")
    from tracer.runs import averages
    from tracer.terminal import console

    kept = averages.KeptAverages.of(folder)
    made = _chosen(kept, options.overrides) if kernel is None else kept.make(kernel)
    output = output or kept.folder / averages.name_of(made.kernel)
    made.save(output)
    console.average(made.told, output)


def _chosen(kept: "KeptAverages", overrides: Sequence[str]) -> "Made":
    """The average that is best on a validation suite, judged on the run's own."""
    from tracer.runs import average_choice
    from tracer.runs.averages import CANDIDATES
    from tracer.terminal import console

    chosen_on, suite = average_choice.suites(kept, overrides)
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


def _strategies(options: argparse.Namespace) -> None:
    from tracer.strategies import PRESETS

    for name, strategy in PRESETS.items():
        print(f"{name:<24}{strategy.summary} ({strategy.source})")


def _sweep(options: argparse.Namespace) -> None:
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
        written = sweep.write(plan, sweep.summarise(plan, points, rows), rows)
    print(written)
    print(f"written to {plan.output}")
    failed = sum(isinstance(row, Failure) for row in rows)
    if failed:
        raise UserError(f"{failed} of {len(rows)} runs failed, as the table says: mend them, and the same command runs those alone")


def _explore(options: argparse.Namespace) -> None:
    output = paths.given(options.output, "--output")
    paths.require_file(output, "--output")
    from tracer import explorer

    explorer.write(output)
    print(f"written to {output}: open it in a browser")
