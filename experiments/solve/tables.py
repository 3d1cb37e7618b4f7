"""The table of results.json, in tables.md beside this file: percent, means with 95 % t intervals over pretrained models."""

import json
from pathlib import Path
from typing import Any

from tracer.evaluation.across_runs import MEASURES
from tracer.evaluation.intervals import interval
from tracer.storage import write_text

HERE = Path(__file__).parent


def main() -> None:
    rows = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
    write_text(HERE / "tables.md", "\n".join(table(rows)) + "\n")


def table(rows: list[dict[str, Any]]) -> list[str]:
    """A line a method: what it measures, and its seconds in the mean over models."""
    lines = [f"| method | {' | '.join(MEASURES)} | seconds |", f"|---|{'---|' * (len(MEASURES) + 1)}"]
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        found = [interval([100 * row[measure] for row in own], [row["model"] for row in own]) for measure in MEASURES]
        cells = [f"{each.mean:.1f} ± {each.half_width:.1f}" for each in found]
        lines.append(f"| {method} | {' | '.join(cells)} | {sum(row['seconds'] for row in own) / len(own):.1f} |")
    return lines


if __name__ == "__main__":
    main()
