"""What a CLIP is built from: the name and the sizes that its weights fit, and a tokenizer of its own."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Blueprint:
    """What a model is built from, beside its weights.

    Attributes:
        architecture: its name, as `create` takes it.
        configuration: its sizes, what open_clip calls model_cfg.
        tokenizer: open_clip's `HFTokenizer`, if the configuration names one of the library transformers.
    """

    architecture: str
    configuration: dict[str, Any]
    tokenizer: Any = None

    @property
    def quick_gelu(self) -> bool:
        """Whether it has OpenAI's activation, x sigmoid(1.702 x), for which no tensor of a file speaks."""
        return bool(self.configuration.get("quick_gelu", False))
