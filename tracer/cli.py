"""The command line. Heavy imports happen inside the commands, so that --help answers at once."""

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from tracer import __version__, commands


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
    parsers = parser.add_subparsers(required=True, metavar="COMMAND")

    _add_embedded(parsers)

    train = parsers.add_parser(
        "train", help="fine-tune as a YAML file says", epilog="tracer strategies lists what strategy.name takes."
    )
    _add_configuration(train)
    train.add_argument("--print-config", action="store_true", help="print the whole configuration, and do nothing else")
    train.set_defaults(command=commands.train)

    evaluate = parsers.add_parser("evaluate", help="judge a model on a suite")
    _add_configuration(evaluate)
    evaluate.add_argument("--weights", help="weights to judge instead of model.pretrained")
    evaluate.add_argument("--head", help="head.safetensors of a linear_probe, ft or lp_ft run, to classify by")
    evaluate.add_argument(
        "--interpolations",
        metavar="0,0.5,1",
        help="judge mixtures of the pretrained and these shares of the other weights (WiSE-FT), and say which is best here",
    )
    evaluate.set_defaults(command=commands.evaluate)

    average = parsers.add_parser("average", help="make a passive average of a finished run from the snapshots that it kept")
    average.add_argument("run", help="folder of a run with average.snapshots")
    average.add_argument("--kernel", metavar="'{kind: beta, a: 0.5, b: 0.5}'", help="averaging kernel, as strategy.kernel has it")
    average.add_argument("--choose", action="store_true", help="take the best of many mean ages on a validation suite instead")
    average.add_argument("--output", default=None, help="folder for the average (default: one in RUN/averages)")
    _add_same_images(average)
    average.add_argument("overrides", nargs="*", metavar="key=value", help="with --choose: keys of validation and evaluation")
    average.set_defaults(command=commands.average)

    _add_merging(parsers)
    _add_last_layer(parsers)
    _add_diagnosing(parsers)

    strategies = parsers.add_parser("strategies", help="list the strategies that strategy.name takes")
    strategies.set_defaults(command=commands.strategies)

    sweep = parsers.add_parser("sweep", help="run a grid of configurations, and compare them in a table")
    sweep.add_argument("grid", help="YAML file with output, base, grid, runs, published")
    sweep.add_argument("--processes", type=int, default=None, help="runs at once (default: the file's, or 2)")
    sweep.set_defaults(command=commands.sweep)

    explore = parsers.add_parser("explore", help="write an interactive page of the theory, which computes in the browser")
    explore.add_argument("--output", default="explorer.html", help="file to write (default: explorer.html)")
    explore.set_defaults(command=commands.explore)
    return parser


def _add_configuration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", help="YAML file; left out, the defaults hold")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for example optimization.learning_rate=1e-5")


def _add_embedded(parsers: Any) -> None:
    """Commands of the embedded world."""
    demo = parsers.add_parser("demo", help="fine-tune a small real CLIP with every strategy and compare them")
    demo.add_argument("--output", default="demo", help="folder for results.json, figures and report.html")
    demo.add_argument("--seeds", type=int, default=3, help="pairs of a pretraining and a fine-tuning seed (default: 3)")
    demo.add_argument("--steps", type=int, default=None, help="fine-tuning steps of each run")
    demo.add_argument("--pretrain", action="store_true", help="pretrain the checkpoints anew instead of using the shipped ones")
    demo.set_defaults(command=commands.demo)

    pretrain = parsers.add_parser("pretrain", help="pretrain the embedded CLIP on captioned glyphs")
    pretrain.add_argument("--seed", type=int, default=0, help="seed of the world and of the weights")
    pretrain.add_argument(
        "--architecture", default="glyphs", help="glyphs (a ResNet), glyphs-vit or glyphs-convnext (default: glyphs)"
    )
    pretrain.add_argument("--output", default=None, help="file to write (default: runs/ARCHITECTURE-SEED.safetensors)")
    pretrain.set_defaults(command=commands.pretrain)


def _add_merging(parsers: Any) -> None:
    """Commands that choose on one suite and report on another."""
    merge = parsers.add_parser("merge", help="merge fine-tuned models by several methods, and compare what they make")
    _add_configuration(merge)
    merge.add_argument("--weights", nargs="+", required=True, help="fine-tuned weights: files, or folders of runs")
    merge.add_argument("--methods", metavar="wise_ft,lines", help="what to merge by (default: all that take so many models)")
    merge.add_argument(
        "--output", help="folder for the merged models, merge.json and a figure (default: merged in the run's output)"
    )
    _add_same_images(merge)
    merge.set_defaults(command=commands.merge)

    calibrate = parsers.add_parser("calibrate", help="fit a temperature to a model's answers, which evaluate then applies")
    _add_configuration(calibrate)
    calibrate.add_argument("--weights", required=True, help="fine-tuned weights: a file, or the folder of a run")
    calibrate.add_argument("--head", help="head.safetensors that they are judged with")
    _add_same_images(calibrate)
    calibrate.set_defaults(command=commands.calibrate)


def _add_last_layer(parsers: Any) -> None:
    """Commands that make one pass over the images, and compute with its features."""
    predict = parsers.add_parser("predict", help="say before training what strategies and settings would gain and lose")
    _add_configuration(predict)
    predict.add_argument("--sweep", help="compare the settings of a sweep's file instead, whose base is the configuration")
    predict.add_argument("--last-maps", action="store_true", help="predict runs that train the last linear maps alone")
    _add_pairs(predict)
    predict.add_argument("--output", help="folder for the prediction (default: prediction in the run's output)")
    predict.set_defaults(command=commands.predict)

    solve = parsers.add_parser("solve", help="solve a model's last linear map in closed form instead of training it")
    _add_configuration(solve)
    solve.add_argument(
        "--metric",
        default="replay",
        help="what it is held to the pretrained map on: further images, its weights, the task's images (default: replay)",
    )
    _add_pairs(solve)
    solve.add_argument("--output", help="folder for the model and solve.json (default: solved in the run's output)")
    _add_same_images(solve)
    solve.set_defaults(command=commands.solve)


def _add_diagnosing(parsers: Any) -> None:
    diagnose = parsers.add_parser("diagnose", help="say what fine-tuning changed in a model, where, and what it forgot")
    _add_configuration(diagnose)
    diagnose.add_argument("--weights", required=True, help="fine-tuned weights: a file, or the folder of a run")
    diagnose.add_argument("--before", help="what they started from, likewise (default: model.pretrained)")
    diagnose.add_argument("--images", help="folder of images to compare answers on, without classes (default: evaluation's sets)")
    diagnose.add_argument("--output", help="folder for diagnosis.json and a figure (default: diagnosis in the run's output)")
    diagnose.set_defaults(command=commands.diagnose)


def _add_pairs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pairs", type=int, default=50_000, help="training pairs that are looked at (default: 50000)")


def _add_same_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--same-images", action="store_true", help="choose on images that are reported on too, which flatters")
