"""Which of several interpolations to take."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def best(reports: Sequence[Mapping[str, Any]]) -> int:
    """Position of the report (see `evaluate`) with the largest mean of ID, mean OOD and mean knowledge accuracy; the first of ties.

    What a suite lacks is left out of the mean. On the images that judge the choice it is optimistic: choose on others.
    """
    kinds = [kind for kind in ("id", "ood", "knowledge") if reports[0][kind]]
    return int(np.argmax([np.mean([report[kind]["accuracy"] for kind in kinds]) for report in reports]))
