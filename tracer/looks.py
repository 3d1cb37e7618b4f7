"""What each strategy is called and how it is drawn, in figures and on pages: which colour-blind readers can tell apart."""

from typing import NamedTuple


class Look(NamedTuple):
    """How a strategy is drawn and what it is called."""

    color: str
    marker: str
    label: str


class _Looks(dict[str, Look]):
    """A strategy that has no look here, such as one of a reader's own, is grey and called by its name."""

    def __missing__(self, strategy: str) -> Look:
        return Look("#666666", "o", strategy)


# Okabe and Ito's palette for the strategies that are compared most, Paul Tol's muted one for the others
LOOKS = _Looks(
    {
        "zero_shot": Look("#000000", "o", "zero-shot"),
        "flyp": Look("#D55E00", "o", "FLYP"),
        "l2_sp": Look("#999999", "s", "L2-SP"),
        "static_distillation": Look("#56B4E9", "D", "static distillation"),
        "ema_distillation": Look("#E69F00", "^", "EMA distillation"),
        "tracer": Look("#0072B2", "o", "TRACER (WMA)"),
        "replay_distillation": Look("#8C0000", "P", "replay"),
        "zscl": Look("#44AA99", "X", "ZSCL"),
        "lipsum_ft": Look("#999933", "h", "Lipsum-FT"),
        "wise_ft": Look("#009E73", "v", "WiSE-FT"),
        "weight_decay": Look("#CC79A7", "p", "weight decay"),
        "carot": Look("#CC79A7", "^", "CaRot"),
        "linear_probe": Look("#882255", "P", "linear probe"),
        "ft": Look("#AA4499", "X", "FT"),
        "lp_ft": Look("#332288", "P", "LP-FT"),
        "averaged": Look("#44AA99", "<", "averaged FLYP"),
        "model_stock": Look("#117733", "*", "Model Stock"),
        "uniform_soup": Look("#CC6677", "s", "uniform soup"),
        "greedy_soup": Look("#CC6677", "^", "greedy soup"),
        "task_vector": Look("#332288", "o", "task vectors"),
        "lines": Look("#882255", "D", "LiNeS"),
        "tracer_without_crd": Look("#0072B2", "<", "TRACER without CRD"),
        "tracer_without_fd": Look("#0072B2", ">", "TRACER without FD"),
        "tracer_without_icl": Look("#0072B2", "h", "TRACER without ICL"),
        "tracer_without_cross_kd": Look("#0072B2", "d", "TRACER without CrossKD"),
    }
)
POWER_LAW_LABEL = "WMA, power law"
"""What a teacher is called that is no strategy of its own: a WMA, as TRACER's is, with the weights of a power law."""
