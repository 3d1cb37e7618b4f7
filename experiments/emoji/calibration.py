"""How sure the models of compare.py are once a temperature is fitted to them on the task. Writes calibrated.json beside this file.

One number that all logits are divided by, with the smallest negative log-likelihood on the task's validation images; calibration
errors are those of the test suite. Reads the weights that `compare.py strategies` leaves.
"""

from collections.abc import Iterator
from typing import Any

import cells
import compare
import torch
import tuning
from cells import Cell, Line, Start

from tracer.errors import UserError
from tracer.evaluation import report, temperature
from tracer.evaluation.zero_shot import logits
from tracer.runs.build import load_encoder
from tracer.runs.calibration import before_and_after
from tracer.runs.sources import evaluation_suite

MOMENTS = ("before", "after")
KINDS = {"ID ECE": "id", "OOD ECE": "ood", "knowledge ECE": "knowledge"}


def main() -> None:
    options = compare.options_of_models(__doc__)
    options.add_argument("--seed", type=int, default=0, help="fine-tuning seed")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    for architecture in arguments.architectures:
        leading = compare.leading(tuning.choices(architecture), arguments)
        starts = compare.starts_on_first_task(architecture, arguments)
        cells.write(cells.HERE / "calibrated.json", [line for start in starts for line in of_start(leading, start, arguments)])
        print(f"{architecture}: {len(starts)} models, {len(leading)} strategies")


def of_start(planned: list[Cell], start: Start, arguments: Any) -> Iterator[Line]:
    """A line for each strategy: its temperature, and errors before and after.

    Raises:
        UserError: if a run was not made.
    """
    for cell in planned:
        runs = {split: cells.configuration(cell, start, arguments.seed, split, arguments) for split in ("validation", "test")}
        chosen_on, judged_on = (evaluation_suite(run.evaluation) for run in runs.values())
        weights = runs["test"].output / "student.safetensors"
        if not weights.exists():
            raise UserError(f"{weights} is missing: run compare.py strategies --seeds {arguments.seed} before")
        encoder = load_encoder(runs["test"], weights)
        task = chosen_on.in_distribution
        fitted = temperature.fit(logits(encoder, task), torch.as_tensor(task.labels))
        moments = [*zip(MOMENTS, before_and_after(report.answers(encoder, judged_on), judged_on, fitted), strict=True)]
        errors = {f"{name} {moment}": round(judged[kind]["ece"], 5) for name, kind in KINDS.items() for moment, judged in moments}
        yield {"name": cell.name, **cell.told, **cells.begun(start, arguments.seed), "temperature": round(fitted, 4), **errors}


if __name__ == "__main__":
    main()
