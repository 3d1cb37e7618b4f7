"""How wrong each rung of the ladder is, on the last map of real models. Writes ladder.json beside this file.

Truth is the contrastive loss at the pretrained logit scale, on plain embeddings of 256 of the task's pairs, by full-batch gradient
descent at a fiftieth of the largest stable rate; the rungs are the loss linearised at small logits and the loss expanded at the
pretrained weights, both followed by `tracer.theory` without a step.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from tracer import theory
from tracer.last_layer.features import Frozen, Listed
from tracer.last_layer.regression import Regression, text_directions
from tracer.number_checks import Array
from tracer.runs.sources import evaluation_suite

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "replay"))
PAIRS, STEPS = 256, (1, 10, 30, 100, 300)


def main() -> None:
    from cells import MODELS, Cell

    lines = []
    for model in MODELS:
        run = Cell("ladder", "flyp").job(model, 0, Path("runs/prediction"), "test").run
        frozen = Listed.of(
            run.model_copy(update={"output": Path("runs/prediction")}), {"test": evaluation_suite(run.evaluation)}, PAIRS
        ).gather()
        lines += [{"model": Path(model).stem.removeprefix("glyphs-"), **line} for line in of_model(frozen)]
    (HERE / "ladder.json").write_text("[\n " + ",\n ".join(map(json.dumps, lines)) + "\n]\n", encoding="utf-8")


def of_model(frozen: Frozen) -> Iterator[dict[str, Any]]:
    """Relative errors of each rung's displacement after some steps, with how far the logits have moved by then."""
    regression = Regression(frozen)
    images, texts, start = regression.inputs(frozen.data.pairs.images), text_directions(frozen), regression.problem.initial_weights
    size = np.linalg.norm(images @ start.T, axis=1).mean()
    scale = frozen.maps.logit_scale.item() / size  # of plain embeddings, so that logits are as large as the model's
    expanded = theory.Linearisation(images, texts, start, scale, vectors=60)
    rate = 0.02 * theory.max_learning_rate(expanded, theory.FineTuning())
    linear = theory.Problem.from_pairs(images, texts, start, weight_decay=1e-9, embedding_penalty=0.0)
    rungs: dict[str, Callable[[int], Array]] = {
        "small logits": lambda step: theory.gradient_descent(
            linear, theory.FineTuning(), learning_rate=scale * rate, steps=step
        ).weights(step),
        "expanded at the pretrained": lambda step: theory.gradient_descent(
            expanded, theory.FineTuning(), learning_rate=rate, steps=step
        ).weights(step),
    }
    for step, truth in descended(images, texts, start, scale, rate):
        moved = np.linalg.norm(truth - start)
        errors = {name: float(np.linalg.norm(weights(step) - truth) / moved) for name, weights in rungs.items()}
        yield {"steps": step, "logit_change": expanded.logit_change(truth), **errors}


def descended(images: Array, texts: Array, start: Array, scale: float, rate: float) -> Iterator[tuple[int, Array]]:
    """Weights after each of `STEPS` steps of gradient descent on the contrastive loss."""
    weights = start.copy()
    for step in range(1, STEPS[-1] + 1):
        logits = scale * images @ weights.T @ texts.T
        residual = (special.softmax(logits, axis=1) + special.softmax(logits, axis=0)) / 2 - np.eye(len(logits))
        weights = weights - rate * scale * (residual @ texts).T @ images / len(images)
        if step in STEPS:
            yield step, weights


if __name__ == "__main__":
    main()
