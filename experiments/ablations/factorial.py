"""All sixteen combinations of the four distillation terms: their effects and order here beside the published ones.

Reads what `tracer sweep experiments/ablations/terms.yaml` wrote; writes factorial.md and terms/published.png and .svg.

A term's effect is the mean change of a measure when the term joins, over the eight combinations of the others. It and the rank
correlations are taken pretrained model by pretrained model.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from orderings import HERE, percent, results, values
from scipy import stats

from tracer import plotting
from tracer.evaluation.intervals import Interval, interval

TERMS = {"F": "strategy.terms.fd", "K": "strategy.terms.cross_kd", "I": "strategy.terms.icl", "C": "strategy.terms.crd"}
NAMES = {"F": "FD", "K": "CrossKD", "I": "ICL", "C": "CRD"}
PUBLISHED_MEASURES = ("ID", "OOD", "ID ECE", "OOD ECE")


def main() -> None:
    points = sorted(results("terms")["points"], key=lambda point: -point["published_percent"]["OOD"])
    settings = [point["setting"] for point in points]
    letters = [lettered(setting) for setting in settings]
    published = {m: np.array([point["published_percent"][m] for point in points]) for m in PUBLISHED_MEASURES}
    here = {m: 100 * np.array([values("terms", setting, m) for setting in settings]) for m in (*PUBLISHED_MEASURES, "knowledge")}
    lines = [*effects(letters, published, here), "", *correlations(published, here), "", *combinations(letters, published, here)]
    (HERE / "factorial.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    plotting.save(drawn(letters, published, here), HERE / "terms" / "published")


def lettered(setting: dict) -> str:
    """The terms of a combination, such as "FIC"; of none, "-"."""
    return "".join(letter for letter, key in TERMS.items() if setting[key]) or "-"


def effects(letters: Sequence[str], published: dict, here: dict) -> list[str]:
    """What each term changes, a line each: published, and here with its interval over pretrained models."""
    lines = [f"| term | {' | '.join(f'{m}, published | {m}, here' for m in PUBLISHED_MEASURES)} | knowledge, here |"]
    lines.append("|---|" + "---|" * (2 * len(PUBLISHED_MEASURES) + 1))
    for letter, name in NAMES.items():
        signs = np.array([1 if letter in combination else -1 for combination in letters]) / (len(letters) / 2)
        cells = [f"{signs @ published[m]:+.2f} | {percent(interval(signs @ here[m] / 100))}" for m in PUBLISHED_MEASURES]
        lines.append(f"| {name} | {' | '.join(cells)} | {percent(interval(signs @ here['knowledge'] / 100))} |")
    return lines


def correlations(published: dict, here: dict) -> list[str]:
    """Rank correlations of the combinations' order here with the published one."""
    lines = ["| measure | Spearman, each model | Spearman of the means | Kendall of the means |", "|---|---|---|---|"]
    for m in PUBLISHED_MEASURES:
        each: Interval = interval([stats.spearmanr(published[m], model).statistic for model in here[m].T])
        means = here[m].mean(axis=1)
        of_means = stats.spearmanr(published[m], means).statistic, stats.kendalltau(published[m], means).statistic
        lines.append(f"| {m} | {each.mean:+.2f} ± {each.half_width:.2f} | {of_means[0]:+.2f} | {of_means[1]:+.2f} |")
    return lines


def combinations(letters: Sequence[str], published: dict, here: dict) -> list[str]:
    """All sixteen in their published order of OOD accuracy, with their ranks here."""
    ranks = {m: stats.rankdata(sign * here[m].mean(axis=1)) for m, sign in (("OOD", -1), ("OOD ECE", 1))}
    lines = ["| terms | ID | OOD | rank | OOD ECE | rank | knowledge |", "|---|---|---|---|---|---|---|"]
    for row, combination in enumerate(letters):
        cells = {m: percent(interval(here[m][row] / 100), signed=False) for m in here}
        ours = [cells[m] + (f" [{published[m][row]:.1f}]" if m in published else "") for m in ("ID", "OOD", "OOD ECE", "knowledge")]
        order = [f"{ranks[m][row]:g} [{stats.rankdata(s * published[m])[row]:g}]" for m, s in (("OOD", -1), ("OOD ECE", 1))]
        lines.append(f"| {combination} | {ours[0]} | {ours[1]} | {order[0]} | {ours[2]} | {order[1]} | {ours[3]} |")
    return [*lines, "", "In brackets: published. F: FD, K: CrossKD, I: ICL, C: CRD; rank 1 is best."]


def drawn(letters: Sequence[str], published: dict, here: dict) -> Figure:
    """Each measure here against the published one, a point a combination, named on either side in turn."""
    looks = {True: (plotting.LOOKS["tracer"].color, "with FD"), False: (plotting.LOOKS["flyp"].color, "without FD")}
    with plotting.canvas(9, 3.8, columns=3) as (figure, axes):
        for axis, measure in zip(axes, ("ID", "OOD", "OOD ECE"), strict=True):
            means = here[measure].mean(axis=1)
            for (with_fd, (color, label)), marker in zip(looks.items(), "os", strict=True):
                rows = [row for row, combination in enumerate(letters) if ("F" in combination) == with_fd]
                axis.plot(published[measure][rows], means[rows], marker, color=color, markersize=4, label=label)
            for place, row in enumerate(np.argsort(means)):
                side = 1 if place % 2 else -1
                at = {"xytext": (5 * side, 0), "ha": "left" if side > 0 else "right", "va": "center"}
                axis.annotate(letters[row], (published[measure][row], means[row]), textcoords="offset points", fontsize=7, **at)
            axis.set_title(f"{measure}, rank correlation {stats.spearmanr(published[measure], means).statistic:.2f}", fontsize=10)
            axis.set_xlabel("published, %")
            axis.margins(x=0.12)
        axes[0].set_ylabel("here, %")
        axes[1].legend(loc="lower right")
    return figure


if __name__ == "__main__":
    main()
