"""Settings that a configuration leaves out, by the kind of model: what suits the embedded toy would ruin a CLIP.

Rate and warm-up of a CLIP are those of FLYP, CaRot and TRACER (arXiv 2212.00638, 2311.01723, 2605.29380), the warm-up at most a
tenth of the run. A linear head alone bears a larger rate, as in this project's own tables. The precision is the same on every
machine, since it is a part of what a run is.
"""

from typing import Any

from tracer.strategies import PRESETS

EMBEDDED = "glyphs"
EMBEDDED_ARCHITECTURES = (EMBEDDED, "glyphs-vit", "glyphs-convnext")
RATE, HEAD_RATE = 1e-5, 1e-3
WARMUP_STEPS, WARMUP_SHARE = 500, 0.1
PRECISION = "bf16"


def is_embedded(architecture: str) -> bool:
    """Whether a model is one of the embedded world's."""
    return architecture in EMBEDDED_ARCHITECTURES


def of_optimization(strategy: str, schedule: str, steps: int) -> dict[str, Any]:
    """Defaults of the section `optimization` for one of open_clip's models, in a run of so many steps."""
    return {
        "learning_rate": HEAD_RATE if PRESETS[strategy].trains_head_alone else RATE,
        "warmup_steps": min(WARMUP_STEPS, int(WARMUP_SHARE * steps)) if schedule == "cosine" else 0,
        "precision": PRECISION,
    }


def of_strategy(strategy: str) -> dict[str, Any]:
    """Defaults of the section `strategy` for one of open_clip's models."""
    first = PRESETS[strategy].learner.first
    return {"probe_learning_rate": HEAD_RATE} if first and PRESETS[first.strategy].trains_head_alone else {}
