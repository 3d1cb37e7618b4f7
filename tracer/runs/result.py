"""What a run leaves in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracer.data.datasets import Suite
from tracer.data.images import CorruptSample
from tracer.models.dual_encoder import DualEncoder, Encoder
from tracer.runs.model_card import ModelCard


@dataclass(frozen=True)
class Result:
    """What a run leaves in memory.

    Attributes:
        student: the encoder to use: the fine-tuned model, for wise_ft its interpolation, for averaged its average, for model_stock
            the merged one; with its head, if the strategy has one.
        anchor: the pretrained model.
        others: what else the run leaves, each with its head if the student has one: the `teacher` at the end, the passive `average`
            and, where the student is made of that, what was `trained`.
        suite: what the run is judged on, if it is.
        report: the student's report on it.
        card: the model card, which is written into the run's folder.
        skipped: the corrupt training pairs and replay images that were passed over, in the order met.
    """

    student: Encoder
    anchor: DualEncoder
    others: Mapping[str, Encoder]
    suite: Suite | None
    report: dict[str, Any] | None
    card: ModelCard
    skipped: Sequence[CorruptSample] = ()
