"""Whether a demo's table, made on another device, is that of experiments/demo: the difference of each mean, paired by run."""

import json
import sys
from pathlib import Path

from tracer.evaluation.across_runs import MEASURES, Row, measure
from tracer.evaluation.intervals import interval

HERE = Path(__file__).parent


def main() -> None:
    known, made = (rows(Path(path)) for path in (HERE.parent / "demo" / "results.json", sys.argv[1]))
    print(f"{'strategy':28}", *(f"{name:>14}" for name in MEASURES))
    for strategy, strength in dict.fromkeys((method, strength) for method, _, _, strength in known):
        keys = [key for key in known if (key[0], key[3]) == (strategy, strength)]
        found = [
            interval([100 * (measure(made[key], name) - measure(known[key], name)) for key in keys], [key[1] for key in keys])
            for name in MEASURES
        ]
        print(f"{strategy + f' {strength:g}':28}", *(f"{each.mean:+6.1f} ± {each.half_width:4.1f} " for each in found))


def rows(path: Path) -> dict[tuple[str, str, int, float], Row]:
    """The runs of a demo's results, by strategy, pretrained model, seed and strength."""
    found = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return {(row["method"], row["pretrained"], row["seed"], row["strength"]): row for row in found}


if __name__ == "__main__":
    main()
