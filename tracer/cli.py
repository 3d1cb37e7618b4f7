"""The command line. Heavy imports happen inside the commands, so that --help answers at once."""

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracer import __version__
from tracer.errors import UserError
from tracer.paths import argument

if TYPE_CHECKING:
    from tracer.config import Run
    from tracer.data.sets import Suite


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code. Whatever fails is one sentence on stderr: code 2 for bad input, 1 for a fault of tracer's."""
    # OpenMP threads that spin while they wait stall one another when runs share a machine
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names need not be text that a terminal can show
    try:
        try:
            options = _options(_parser(), arguments)
            _show_notes()
            options.command(options)
        finally:
            _flush()
    except (Exception, KeyboardInterrupt) as error:
        return _told(error)
    return 0


def _show_notes() -> None:
    """Print what the package logs, such as files that are left out, as a line on stderr each."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("tracer: %(message)s"))
    logging.getLogger("tracer").handlers = [handler]


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

    from tracer import faults

    if os.environ.get(faults.SHOW):
        traceback.print_exception(error)
    text, code = faults.answer(error)
    if text:
        print(f"tracer: {faults.shortened(text)}".replace("\n", "\ntracer: "), file=sys.stderr)
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
    demo.add_argument("--output", type=argument, default=Path("demo"), help="folder for results.json, figures and report.html")
    demo.add_argument("--seeds", type=int, default=3, help="pairs of a pretraining and a fine-tuning seed (default: 3)")
    demo.add_argument("--steps", type=int, default=None, help="fine-tuning steps of each run")
    demo.add_argument("--pretrain", action="store_true", help="pretrain the checkpoints anew instead of using the shipped ones")
    demo.set_defaults(command=_demo)

    pretrain = commands.add_parser("pretrain", help="pretrain the embedded CLIP on captioned glyphs")
    pretrain.add_argument("--seed", type=int, default=0, help="seed of the world and of the weights")
    pretrain.add_argument("--output", type=argument, default=None, help="file to write (default: runs/glyphs-SEED.safetensors)")
    pretrain.set_defaults(command=_pretrain)

    train = commands.add_parser(
        "train", help="fine-tune as a YAML file says", epilog="tracer strategies lists what strategy.name takes."
    )
    _add_configuration(train)
    train.add_argument("--print-config", action="store_true", help="print the whole configuration, and do nothing else")
    train.set_defaults(command=_train)

    evaluate = commands.add_parser("evaluate", help="judge a model on a suite")
    _add_configuration(evaluate)
    evaluate.add_argument("--weights", type=argument, help="weights to judge instead of model.pretrained")
    evaluate.add_argument("--head", type=argument, help="head.safetensors of a linear_probe, ft or lp_ft run, to classify by")
    evaluate.add_argument(
        "--interpolations",
        metavar="0,0.5,1",
        help="judge mixtures of the pretrained and these shares of the other weights (WiSE-FT)",
    )
    evaluate.set_defaults(command=_evaluate)

    strategies = commands.add_parser("strategies", help="list the strategies that strategy.name takes")
    strategies.set_defaults(command=_strategies)

    sweep = commands.add_parser("sweep", help="run a grid of configurations, and compare them in a table")
    sweep.add_argument("grid", type=Path, help="YAML file with output, base, grid, runs, published")
    sweep.add_argument("--processes", type=int, default=None, help="runs at once (default: the file's, or 2)")
    sweep.set_defaults(command=_sweep)

    explore = commands.add_parser("explore", help="write an interactive page of the theory, which computes in the browser")
    explore.add_argument("--output", type=argument, default=Path("explorer.html"), help="file to write (default: explorer.html)")
    explore.set_defaults(command=_explore)
    return parser


def _add_configuration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", help="YAML file; left out, the defaults hold")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for example optimization.learning_rate=1e-5")


def _configuration(options: argparse.Namespace):
    from tracer import config

    given = [options.config, *options.overrides] if options.config and "=" in options.config else options.overrides
    path = Path(options.config) if options.config and "=" not in options.config else None
    return config.load(path, given)


def _demo(options: argparse.Namespace) -> None:
    from tracer.demo import demo

    demo(options.output, options.seeds, options.steps, options.pretrain)


def _pretrain(options: argparse.Namespace) -> None:
    from tracer import console
    from tracer.pretrain import STEPS, pretrain

    output = options.output or Path(f"runs/glyphs-{options.seed}.safetensors")
    with console.progress(f"pretraining, seed {options.seed}", STEPS) as advance:
        report = pretrain(options.seed, output, on_step=advance)
    console.report(report, output)


def _train(options: argparse.Namespace) -> None:
    from tracer.config import dump, remarks

    run = _configuration(options)
    if options.print_config:
        print(dump(run), end="")
        return
    from tracer import console, processes, stages
    from tracer import run as running

    console.console.quiet = logging.getLogger("tracer").disabled = not processes.is_first()
    for remark in remarks(run):
        console.console.print(remark, markup=False, soft_wrap=True)
    with console.progress("fine-tuning", stages.steps(run)) as standing:
        result = running.fine_tune(run, standing, standing.stage, [standing])
        report = running.verdict(run, result, standing.stage)
    console.skipped(result.skipped, run.output / "skipped.jsonl")
    console.report(report, run.output)
    processes.leave()


def _evaluate(options: argparse.Namespace) -> None:
    from tracer import console
    from tracer import run as running
    from tracer.storage import content_name

    run = _configuration(options)
    if run.evaluation is None:
        raise UserError("evaluation is null, so there is nothing to judge the model on: name a suite")
    suite = running.evaluation_suite(run.evaluation)
    if options.interpolations is not None:
        _evaluate_interpolations(run, suite, options)
        return
    console.say(f"judging {options.weights or run.model.pretrained or 'random weights'} on {len(suite.sets())} sets")
    encoder = running.load_encoder(run, options.weights, options.head)
    judged = [path for path in (options.weights, options.head) if path]
    name = "-".join(["evaluation", *map(content_name, judged)])
    report = running.judge(encoder, suite, run.output, name, run.workers)
    if (options.weights or options.head) and run.model.pretrained is not None:
        report = running.compare(run, report, suite, running.load_encoder(run), name=name, stage=console.say)
    console.report(report, run.output)


def _evaluate_interpolations(run: "Run", suite: "Suite", options: argparse.Namespace) -> None:
    coefficients = _coefficients(options.interpolations)
    if options.weights is None:
        raise UserError("--interpolations mixes model.pretrained with other weights: name those by --weights")
    if not suite.ood:
        raise UserError("--interpolations compares ID with OOD accuracy, and evaluation has no OOD sets: name some")
    from tracer import console, plotting
    from tracer import run as running
    from tracer.storage import content_name

    with console.progress("interpolations", len(coefficients)) as advance:
        reports = running.judge_interpolations(run, options.weights, coefficients, suite, advance)
    plotting.save(plotting.interpolations(reports), run.output / f"interpolations-{content_name(options.weights)}")
    console.interpolations(reports, run.output)


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
    from tracer.strategies import STRATEGIES

    for name, strategy in STRATEGIES.items():
        print(f"{name:<24}{strategy.summary} ({strategy.source})")


def _sweep(options: argparse.Namespace) -> None:
    from tracer import console, sweep
    from tracer.pool import Failure
    from tracer.study import attempt

    plan, points = sweep.load(options.grid)
    jobs = sweep.jobs(points)
    processes = plan.processes if options.processes is None else options.processes
    if processes < 1:
        raise UserError(f"--processes is {processes}: choose at least 1")
    with console.progress(f"{len(jobs)} runs", sum(job.steps for job in jobs)) as advance:
        found = attempt(jobs, processes, advance)
    rows = [each if isinstance(each, Failure) else each[0] for each in found]
    print(sweep.write(plan, sweep.summarise(plan, points, rows), rows))
    print(f"written to {plan.output}")
    failed = sum(isinstance(row, Failure) for row in rows)
    if failed:
        raise UserError(f"{failed} of {len(rows)} runs failed, as the table says: mend them, and the same command runs those alone")


def _explore(options: argparse.Namespace) -> None:
    from tracer import explorer

    explorer.write(options.output)
    print(f"written to {options.output}: open it in a browser")


if __name__ == "__main__":
    sys.exit(main())
