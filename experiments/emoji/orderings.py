"""Which of the paper's comparisons hold here, by architecture: its differences (Tables 1 to 3, 6 and 7) beside those measured.

What was published stands in experiments/published.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import yaml
from cells import HERE, Line
from rows import heading, row
from settings import ARCHITECTURES

from tracer.evaluation.intervals import Interval, interval

PUBLISHED = HERE.parent / "published"
BACKBONES = {"RN50": "main_table_rn50", "ViT-B/16": "main_table_vit_b_16", "ViT-L/14": "main_table_vit_l_14"}
MEASURED = ("ID", "OOD", "OOD ECE")
COMPARED = (
    ("tracer", "zero_shot"),
    ("tracer", "flyp"),
    ("tracer", "carot"),
    ("carot", "flyp"),
    ("flyp", "ft"),
    ("lp_ft", "ft"),
    ("static_distillation", "l2_sp"),
    ("model_stock", "flyp"),
)
"""What is compared, the first less the second."""


def table(lines: Sequence[Line]) -> Iterator[str]:
    """Points by which one strategy is above another: published, and here, paired by pretrained model with 95 % t intervals."""
    architectures = [each for each in ARCHITECTURES if each in {line["architecture"] for line in lines}]
    yield from heading("measure, strategies", [*BACKBONES, *architectures])
    for measure in MEASURED:
        for pair in COMPARED:
            published = [f"{each:+.1f}" if each is not None else "" for each in _published(measure, pair)]
            here = [difference([line for line in lines if line["architecture"] == each], measure, pair) for each in architectures]
            yield row(f"{measure}, {named(pair)}", [*published, *map(shown, here)])


def named(pair: tuple[str, str]) -> str:
    """What a table calls a difference."""
    return " - ".join(pair)


def difference(lines: Sequence[Line], measure: str, pair: tuple[str, str]) -> Interval | None:
    """Points by which the first of two strategies is above the second, over the pretrained models and seeds that both ran from.

    None where there are none.
    """
    one, other = ({(line["pretrained"], line["seed"]): line for line in lines if line["name"] == name} for name in pair)
    shared = [run for run in one if run in other]
    gaps = [100 * (one[run][measure] - other[run][measure]) for run in shared]
    return interval(gaps, [pretrained for pretrained, _ in shared]) if shared else None


def shown(found: Interval | None) -> str:
    """Points for a table."""
    return "" if found is None else f"{found.mean:+.1f} ± {found.half_width:.1f}"


def _published(measure: str, pair: tuple[str, str]) -> Iterator[float | None]:
    """Points in each of `BACKBONES`, None where they were not published.

    FT, L2-SP, static distillation and Model Stock on ViT-B/16 are in Table 2 alone, whose OOD accuracy lacks ObjectNet.
    """
    for backbone, name in BACKBONES.items():
        known = {method: figures[measure] for method, figures in _figures(name).items() if measure in figures}
        without_objectnet: dict[str, float] = _read("figures")["table_2_mean_of_v2_r_a_sketch"]
        if not known.keys() >= {*pair} and (backbone, measure) == ("ViT-B/16", "OOD"):
            known = without_objectnet
        yield known[pair[0]] - known[pair[1]] if known.keys() >= {*pair} else None


def _figures(name: str) -> dict[str, dict[str, float]]:
    """What was published of each strategy on a backbone, percent."""
    return {each["at"]["strategy.name"]: each["percent"] for each in _read(name)["published"] if "at" in each}


@cache
def _read(name: str) -> Any:
    return yaml.safe_load((PUBLISHED / f"{name}.yaml").read_text(encoding="utf-8"))
