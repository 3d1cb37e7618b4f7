"""What strategies and settings would do, before any of them is trained: accuracy, calibration and what is kept, on every set."""

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jinja2 import Environment, PackageLoader

from tracer import plotting
from tracer.config import loading
from tracer.config.replay import ReplaySection
from tracer.config.schema import RunConfig
from tracer.data.datasets import Suite
from tracer.evaluation.change import MEANS
from tracer.evaluation.report import evaluate
from tracer.last_layer import held
from tracer.last_layer.features import Frozen, Listed
from tracer.last_layer.held import Held
from tracer.last_layer.pace import Paces, paces
from tracer.last_layer.regression import Regression
from tracer.last_layer.simulation import simulate
from tracer.models import clip
from tracer.models.dual_encoder import Encoder
from tracer.number_checks import Array
from tracer.runs import validation
from tracer.runs.build import corrupt_share
from tracer.runs.judging import write_json
from tracer.storage import write_text
from tracer.training.batches import Batches, require_a_batch

TOLERATED_LOSS = 0.01
"""Accuracy on the task that is given for what is kept: a setting is feasible if it has that of the best, less this."""
ENERGY = 0.99  # of the features' second moment, which their effective rank holds
JUDGED_ON = "judged on"
BATCHES, LARGEST_BATCH = 3, 64  # that paces are measured on

Row = dict[str, Any]


class Prediction(NamedTuple):
    """What is told of a run before it is trained.

    Attributes:
        rows: for each setting its strategy, strength (of WiSE-FT the share of the fine-tuned weights), learning rate and steps, the
            report's means by kind, accuracy and calibration error by set, and `kept`, the mean cosine of new and old image
            embeddings on the sets and on the pool.
        pretrained: the means of the pretrained model.
        recommended: position of the row to take.
        reason: why, in a sentence.
        task: `features`, how many there are, and `effective`, how many of their directions hold `ENERGY`.
        paces: what the simulated last maps were given of whole towers.
        pools: `held.by_images` of the suite.
        banks: `held.by_texts` of the suite.
    """

    rows: Sequence[Row]
    pretrained: Mapping[str, Any]
    recommended: int
    reason: str
    task: Mapping[str, int]
    paces: Paces
    pools: Mapping[str, Held]
    banks: Mapping[str, Mapping[str, Held]]


def listed(run: RunConfig, most_pairs: int) -> Listed:
    """What a prediction reads; it judges on `validation`, where there is one, else on `evaluation`.

    What is replayed is the run's own, or by default `ReplaySection`'s, whose images stand in too where the run replays texts alone.

    Raises:
        UserError: if data are missing or do not fill a batch, or as `validation.suites` does.
    """
    replay = run.replay or ReplaySection()
    if replay.images is None:  # what the model keeps is measured on a pool
        replay = replay.model_copy(update={"images": ReplaySection().images})
    run = run.model_copy(update={"replay": replay})
    found = Listed.of(run, {JUDGED_ON: validation.suites(run, same_images=True)[0]}, most_pairs)
    require_a_batch(found.pairs, min(run.optimization.batch_size, most_pairs))
    return found


def measured_paces(listed: Listed, frozen: Frozen) -> Paces:
    """The paces of a run (see `paces`), on batches of its pairs."""
    run, size = listed.run, min(LARGEST_BATCH, len(frozen.data.pairs))  # of those that can be read
    batches = Batches(listed.pairs, frozen.model, size, BATCHES, run.seed, corrupt_share(run.data))
    model, device = clip.require_clip(frozen.model.model), next(frozen.model.model.parameters()).device
    return paces(model, [batches[number].to(device, torch.float32) for number in range(BATCHES)])


def predict(
    frozen: Frozen, runs: Sequence[RunConfig], paced: Paces, on_run: Callable[[int], None] = lambda done: None
) -> Prediction:
    """Simulate runs on their last maps (see `simulate`), and say which to take.

    Args:
        frozen: features of pairs and pool, with the suite `JUDGED_ON`.
        runs: what is compared.
        paced: as for `simulate`.
        on_run: told how many runs are done.
    """
    rows = []
    for done, run in enumerate(runs, start=1):
        rows.append(_row(run, simulate(run, frozen, paced), frozen))
        on_run(done)
    before = evaluate(frozen.encoder, frozen.suites[JUDGED_ON])
    taken = recommended(rows)
    regression = Regression(frozen)
    task = {"features": len(regression.problem.eigenvalues), "effective": regression.problem.effective_rank(ENERGY)}
    means = {kind: before[kind] for kind in MEANS}
    pools = held.by_images(frozen, frozen.suites[JUDGED_ON], regression)
    banks = held.by_texts(frozen, frozen.suites[JUDGED_ON])
    return Prediction(rows, means, taken, _reason(rows, taken), task, paced, pools, banks)


def recommended(rows: Sequence[Row]) -> int:
    """Position of the setting to take: of the feasible ones that with the largest mean OOD accuracy, else what is kept on the pool.

    Feasible is what has the best predicted accuracy on the task less `TOLERATED_LOSS`, as the settings of this project's own
    comparisons are chosen.
    """
    least = max(row["id"]["accuracy"] for row in rows) - TOLERATED_LOSS

    def worth(position: int) -> tuple[bool, float, float]:
        row = rows[position]
        feasible = row["id"]["accuracy"] >= least
        return feasible, row["ood"]["accuracy"] if row["ood"] else row["kept"]["pool"], row["id"]["accuracy"]

    return max(range(len(rows)), key=worth)


def write(prediction: Prediction, runs: Sequence[RunConfig], output: Path) -> None:
    """Write prediction.json, a page prediction.html with its figure, and recommended.yaml, which `tracer train` takes."""
    write_json(prediction._asdict(), output / "prediction.json")
    write_text(output / "recommended.yaml", f"# {prediction.reason}\n{loading.dump(runs[prediction.recommended])}")
    figure = plotting.predictions(prediction.rows, prediction.pretrained, prediction.recommended, TOLERATED_LOSS)
    picture = base64.b64encode(plotting.save(figure, output / "prediction").read_bytes()).decode()
    template = Environment(loader=PackageLoader("tracer.last_layer", ""), autoescape=True).get_template("prediction.html")
    write_text(output / "prediction.html", template.render(prediction._asdict(), picture=picture, described=described))


def _row(run: RunConfig, student: Encoder, frozen: Frozen) -> Row:
    suite = frozen.suites[JUDGED_ON]
    report = evaluate(student, suite)
    strategy = run.strategy
    strength = {"flyp": None, "wise_ft": strategy.interpolation}.get(strategy.name, strategy.strength)
    if strategy.name == "replay_distillation" and run.replay:
        strength = run.replay.strength
    return {
        "strategy": strategy.name,
        "strength": strength,
        "learning_rate": run.optimization.learning_rate,
        "steps": run.optimization.total_steps,
        **{kind: report[kind] for kind in MEANS},
        "sets": {name: {key: row[key] for key in ("accuracy", "ece")} for name, row in report["sets"].items()},
        "kept": {name: _cosine(student, frozen.encoder, rows) for name, rows in _shown(suite, frozen).items()},
    }


def _shown(suite: Suite, frozen: Frozen) -> dict[str, Array]:
    shown = {name: images.images for name, images in suite.sets().items()}
    shown |= {"pool": frozen.data.pool} if len(frozen.data.pool) else {}
    return {name: np.asarray(rows) for name, rows in shown.items()}


@torch.no_grad()
def _cosine(student: Encoder, pretrained: Encoder, rows: Array) -> float:
    # a simulated model may be on a GPU and in float64, where the pretrained maps are not
    new, old = (
        encoder.model.eval().encode_image(torch.from_numpy(rows).to(encoder.model.logit_scale.device)).double().cpu()
        for encoder in (student, pretrained)
    )
    return F.cosine_similarity(new, old, dim=-1).mean().item()


def _reason(rows: Sequence[Row], taken: int) -> str:
    row, best = rows[taken], max(rows, key=lambda row: row["id"]["accuracy"])
    feasible = sum(other["id"]["accuracy"] >= best["id"]["accuracy"] - TOLERATED_LOSS for other in rows)
    measure = (
        f"has the largest mean OOD accuracy, {100 * row['ood']['accuracy']:.1f} %"
        if row["ood"]
        else f"moves the embeddings of what is replayed least (cosine {row['kept']['pool']:.3f})"
    )
    return (
        f"{described(row)} has a predicted accuracy of {100 * row['id']['accuracy']:.1f} % on the task, where the best of"
        f" {len(rows)} settings, {described(best)}, has {100 * best['id']['accuracy']:.1f} %; of the {feasible} settings within a"
        f" point of that it {measure}"
    )


def described(row: Row) -> str:
    """A setting in words."""
    strength = "" if row["strength"] is None else f" {row['strength']:g}"
    return f"{row['strategy']}{strength} at {row['learning_rate']:g}"
