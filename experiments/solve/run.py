"""The last map solved, beside heads and maps that are trained on the same features, and full fine-tuning. Writes results.json.

Five pretrained models. Every method chooses its strength (and solving its metric's) on the validation suite by the largest mean of
ID, mean OOD and mean knowledge accuracy, and is judged once on the test suite. Seconds are those of one thread, after
the pass over the images, whose seconds are told apart.
"""

import argparse
import copy
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tracer.config.replay import NoisePool, PhotographPool, ReplaySection
from tracer.demo import settings
from tracer.evaluation import across_runs, choice
from tracer.evaluation.report import evaluate
from tracer.evaluation.zero_shot import classifier
from tracer.last_layer.features import Frozen, Listed
from tracer.last_layer.regression import Regression
from tracer.last_layer.solve import METRICS, STRENGTHS, whole
from tracer.models import clip
from tracer.models.dual_encoder import Encoder
from tracer.models.head import Head
from tracer.runs.fine_tune import fine_tune
from tracer.runs.sources import evaluation_suite
from tracer.storage import json_text, write_text

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "replay"))
POOLS = {"photographs": PhotographPool(), "noise": NoisePool()}
PULLS = tuple(float(f"{value:.2g}") for value in np.geomspace(1e-4, 1e2, 13))
DESCENDED = ("cross-entropy, projection", "cross-entropy, head", "unit embeddings, projection")
TRAINED = ("flyp", "replay_distillation", "tracer")
Row = dict[str, Any]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=Path, default=Path("runs/solve"), help="folder of features and runs")
    folder = options.parse_args().runs
    torch.set_num_threads(1)
    from cells import MODELS

    rows: list[Row] = []
    for model in MODELS:
        name = Path(model).stem.removeprefix("glyphs-")
        rows += [{"model": name, **row} for row in of_model(model, folder / name)]
        write_text(HERE / "results.json", json_text(rows))
        print(f"model {name}: {len(rows)} rows")


def of_model(model: str, folder: Path) -> Iterator[Row]:
    """What every method makes of one pretrained model."""
    run = settings.configuration("replay_distillation", model, 0, folder).model_copy(update={"output": folder})
    for pool, images in POOLS.items():
        began = time.perf_counter()
        frozen = gathered(run.model_copy(update={"replay": ReplaySection(images=images)}))
        passed = time.perf_counter() - began
        if pool == "photographs":
            yield {
                "method": "zero_shot",
                "seconds": 0.0,
                "pass": passed,
                **measures(evaluate(frozen.encoder, frozen.suites["test"])),
            }
            for metric in METRICS:
                yield {
                    "method": f"solve, {metric}{', photographs' if metric == 'replay' else ''}",
                    **best(frozen, solving(frozen, metric), STRENGTHS),
                }
            for method in DESCENDED:
                yield {"method": method, **best(frozen, descending(frozen, method), PULLS)}
            yield from trained_from(frozen, model, folder)
        else:
            yield {"method": f"solve, replay, {pool}", **best(frozen, solving(frozen, "replay"), STRENGTHS)}


def gathered(run: Any) -> Frozen:
    suites = {split: evaluation_suite(run.evaluation.model_copy(update={"split": split})) for split in ("validation", "test")}
    return Listed.of(run, suites, 10**6).gather()


def best(frozen: Frozen, method: Callable[[float], Encoder], strengths: tuple[float, ...]) -> Row:
    """The strength that is best on validation, what it measures on the test suite, and the seconds of all strengths together."""
    began = time.perf_counter()
    students = [method(strength) for strength in strengths]
    seconds = time.perf_counter() - began
    taken = choice.best([evaluate(student, frozen.suites["validation"]) for student in students])
    return {"strength": strengths[taken], "seconds": seconds, **measures(evaluate(students[taken], frozen.suites["test"]))}


def solving(frozen: Frozen, metric: str) -> Callable[[float], Encoder]:
    regression = Regression(frozen)
    return lambda strength: regression.solved(metric, strength)


def descending(frozen: Frozen, method: str) -> Callable[[float], Encoder]:
    """Labelled pairs learned by L-BFGS with a pull towards the pretrained weights, one of `DESCENDED`.

    Cross-entropy of the image map with its bias is the loss of ProLIP (arXiv 2410.05270); a head of class embeddings starts from
    the zero-shot ones; unit embeddings are drawn to those of their classes' texts by their squared distance.
    """
    labelled = frozen.data.labelled
    assert labelled
    features = torch.from_numpy(np.asarray(labelled.images))
    labels, texts = torch.from_numpy(labelled.labels), classifier(frozen.encoder, labelled.class_names, labelled.templates).clone()
    scale = frozen.maps.logit_scale.detach()

    def of_projection(strength: float) -> Encoder:
        maps = copy.deepcopy(frozen.maps)

        def loss() -> Tensor:
            images = F.normalize(maps.encode_image(features), dim=-1)
            if method == "unit embeddings, projection":
                return (images - texts[labels]).square().sum(dim=1).mean()
            return F.cross_entropy(scale * images @ texts.T, labels)

        minimise(loss, [*maps.image_map.parameters()], strength)
        return dataclasses.replace(frozen.encoder, model=maps)

    def of_head(strength: float) -> Encoder:
        head = Head(labelled.class_names, texts)
        images = F.normalize(frozen.maps.encode_image(features), dim=-1).detach()
        minimise(lambda: F.cross_entropy(scale * images @ head.weight.T, labels), [head.weight], strength)
        return dataclasses.replace(frozen.encoder, head=head)

    return of_head if method == "cross-entropy, head" else of_projection


def minimise(loss: Callable[[], Tensor], weights: list[Tensor], strength: float) -> None:
    """Moves weights to where a loss and strength times their squared distance from here are least together."""
    starts = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.LBFGS(weights, max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        pull = torch.stack([(weight - start).square().sum() for weight, start in zip(weights, starts, strict=True)]).sum()
        total = loss() + strength * pull
        total.backward()
        return total

    optimizer.step(closure)


def trained_from(frozen: Frozen, model: str, folder: Path) -> Iterator[Row]:
    """Full fine-tuning from the pretrained and from the solved model, with the settings that were chosen for the former."""
    regression = Regression(frozen)
    students = [regression.solved("replay", strength) for strength in STRENGTHS]
    taken = choice.best([evaluate(student, frozen.suites["validation"]) for student in students])
    clip.save_folder(whole(frozen, students[taken]), folder / "solved")
    solved = str(folder / "solved" / "student.safetensors")
    for name in TRAINED:
        for start, weights in (("", model), (", from solved", solved)):
            run = settings.configuration(name, weights, 0, folder / "trained" / (start or "pretrained"))
            began = time.perf_counter()
            report = fine_tune(run).report
            assert report
            yield {"method": f"{name}{start}", "seconds": time.perf_counter() - began, **measures(report)}


def measures(report: Mapping[str, Any]) -> dict[str, float]:
    return {name: across_runs.measure({"report": report}, name) for name in across_runs.MEASURES}


if __name__ == "__main__":
    main()
