"""How alike is each block of the image tower to the pretrained one after fine-tuning? Writes results.json beside this file.

Linear CKA and SVCCA of six layers between a fine-tuned model and its own start, on the images of the task, of its shifted sets and
of what fine-tuning never shows; for every strategy, from every shipped checkpoint. FLYP runs at its own learning rate and at
TRACER's, so that rate and strategy are told apart. Two references: another pretrained model in the place of the fine-tuned one, and
the pretrained model with its samples shuffled, which is what unrelated activations of so many samples give.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tracer import plotting
from tracer.config.schema import RunConfig
from tracer.data.datasets import Suite
from tracer.demo import settings
from tracer.demo.settings import CAROT, CHOSEN
from tracer.evaluation import across_runs
from tracer.evaluation.activations import activations
from tracer.evaluation.intervals import Interval, interval
from tracer.evaluation.similarity import MEASURES
from tracer.models.dual_encoder import Encoder
from tracer.runs import sources
from tracer.runs.build import load_encoder
from tracer.runs.jobs import Job, run_all
from tracer.terminal import console
from tracer.toy.small_clip import shipped

HERE = Path(__file__).parent
LAYERS = {
    "avgpool": "stem",
    "layer1": "layer 1",
    "layer2": "layer 2",
    "layer3": "layer 3",
    "layer4": "layer 4",
    "attnpool": "pooling",
}
KINDS = {"id": "ID", "ood": "OOD", "knowledge": "knowledge"}
SLOW = "flyp, TRACER's rate"
# method, optimization, strategy of `comparison.configuration`
SETTINGS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "flyp": ("flyp", {}, {}),
    SLOW: ("flyp", CHOSEN["tracer"]["optimization"], {}),
    "carot": ("tracer", {}, CAROT),
    "ema_distillation": ("ema_distillation", {}, {}),
    "static_distillation": ("static_distillation", {}, {}),
    "tracer": ("tracer", {}, {}),
}
OTHER, SHUFFLED = "another pretrained model", "its samples shuffled"
Seen = dict[str, dict[str, np.ndarray]]  # set, layer: activations
Alike = dict[str, dict[str, dict[str, float]]]  # set, layer, measure: similarity


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=Path, default=Path("runs/representations"), help="folder of the single runs")
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("--seed", type=int, default=0, help="of fine-tuning")
    arguments = options.parse_args()
    cells = list(product(SETTINGS, shipped()))
    runs = [_configuration(setting, pretrained, arguments) for setting, pretrained in cells]
    jobs = [Job(each) for each in runs]
    with console.progress("fine-tuning", sum(job.steps for job in jobs)) as advance:
        rows = run_all(jobs, arguments.processes, advance)
    suite = sources.evaluation_suite(runs[0].evaluation)
    starts = {pretrained: see(load_encoder(each), suite) for (_, pretrained), each in zip(cells, runs, strict=False)}
    results = references(starts)
    for (setting, pretrained), each, row in zip(cells, runs, rows, strict=True):
        end = see(load_encoder(each, each.output / "student.safetensors"), suite)
        accuracy = {name: round(across_runs.measure(row, name), 4) for name in ("ID", "OOD", "knowledge")}
        results.append({"setting": setting, "pretrained": pretrained, **accuracy, "similarity": compare(end, starts[pretrained])})
    summary = {
        name: summarise([each for each in results if each["setting"] == name], suite) for name in (*SETTINGS, OTHER, SHUFFLED)
    }
    written = {setting: {kind: _plain(table) for kind, table in kinds.items()} for setting, kinds in summary.items()}
    (HERE / "results.json").write_text(json.dumps({"table": written, "rows": results}) + "\n", encoding="utf-8")
    draw(summary)


def _configuration(setting: str, pretrained: str, arguments: argparse.Namespace) -> RunConfig:
    method, optimization, strategy = SETTINGS[setting]
    output = arguments.runs / setting.replace(", TRACER's rate", "-slow")
    return settings.configuration(method, pretrained, arguments.seed, output, optimization=optimization, strategy=strategy)


def see(encoder: Encoder, suite: Suite) -> Seen:
    """What every layer says of every set's images."""
    return {name: activations(encoder, images.images, list(LAYERS)) for name, images in suite.sets().items()}


def compare(one: Seen, other: Seen) -> Alike:
    """All measures of all layers on all sets."""
    return {
        name: {
            layer: {measure: round(alike(values, other[name][layer]), 5) for measure, alike in MEASURES.items()}
            for layer, values in layers.items()
        }
        for name, layers in one.items()
    }


def references(starts: Mapping[str, Seen]) -> list[dict[str, Any]]:
    """Each pretrained model beside the next one, and beside itself with its samples in another order."""
    seeds, rng = list(starts), np.random.default_rng(0)
    rows = []
    for seed, following in zip(seeds, seeds[1:] + seeds[:1], strict=True):
        shuffled = {name: {layer: rng.permutation(a) for layer, a in layers.items()} for name, layers in starts[seed].items()}
        for setting, other in ((OTHER, starts[following]), (SHUFFLED, shuffled)):
            rows.append({"setting": setting, "pretrained": seed, "similarity": compare(other, starts[seed])})
    return rows


def summarise(rows: Sequence[dict[str, Any]], suite: Suite) -> dict[str, dict[str, dict[str, Interval]]]:
    """For each kind of set, measure and layer the mean over its sets, with its interval over pretrained models."""
    sets = {"id": ["id"], "ood": list(suite.ood), "knowledge": list(suite.knowledge)}

    def over_models(kind: str, measure: str, layer: str) -> Interval:
        return interval([float(np.mean([row["similarity"][name][layer][measure] for name in sets[kind]])) for row in rows])

    return {kind: {m: {layer: over_models(kind, m, layer) for layer in LAYERS} for m in MEASURES} for kind in KINDS}


def _plain(table: dict[str, dict[str, Interval]]) -> dict[str, dict[str, dict[str, float]]]:
    return {
        m: {layer: {k: round(v, 5) for k, v in i._asdict().items()} for layer, i in layers.items()} for m, layers in table.items()
    }


def draw(summary: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Interval]]]]) -> None:
    """A row a measure, a column a kind of set: similarity of each layer, means and intervals over pretrained models."""
    with plotting.canvas(9, 6, rows=len(MEASURES), columns=len(KINDS), sharex=True, sharey="row") as (figure, axes):
        for (row, measure), (column, kind) in product(enumerate(MEASURES), enumerate(KINDS)):
            axis = axes[row, column]
            for number, setting in enumerate(SETTINGS):
                look = plotting.LOOKS["flyp" if setting == SLOW else setting]
                means, widths = np.array(list(summary[setting][kind][measure].values())).T
                axis.errorbar(
                    np.arange(len(LAYERS)) + 0.07 * (number - 2.5),
                    means,
                    widths,
                    fmt=f"{look.marker}{'--' if setting == SLOW else '-'}",
                    color=look.color,
                    label=f"{look.label}, TRACER's learning rate" if setting == SLOW else look.label,
                    markersize=4,
                    linewidth=1.2,
                    elinewidth=0.7,
                )
            axis.set_xticks(range(len(LAYERS)), list(LAYERS.values()), rotation=45)
        for axis, title in zip(axes[0], KINDS.values(), strict=True):
            axis.set_title(f"{title} images")
        for axis, measure in zip(axes[:, 0], MEASURES, strict=True):
            axis.set_ylabel(f"{measure.upper()} to the pretrained model")
            axis.set_ylim(top=1.01)
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    plotting.save(figure, HERE / "representations")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
