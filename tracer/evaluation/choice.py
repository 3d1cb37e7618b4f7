"""Which of several models to take: one rule for all that is chosen on a suite."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Report = Mapping[str, Any]


def score(report: Report) -> float:
    """The mean of ID, mean OOD and mean knowledge accuracy of a report (see `evaluate`); what its suite lacks is left out."""
    return float(np.mean([report[kind]["accuracy"] for kind in ("id", "ood", "knowledge") if report[kind]]))


def best(reports: Sequence[Report]) -> int:
    """Position of the report with the largest `score`; the first of ties.

    On the images that judge the choice it is optimistic: choose on others.
    """
    return int(np.argmax([score(report) for report in reports]))
