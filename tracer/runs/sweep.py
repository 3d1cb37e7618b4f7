"""Sweeps: the runs of a grid, from one YAML file, to one table with intervals beside the published figures."""

import copy
import hashlib
import itertools
import math
import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from matplotlib.figure import Figure
from pydantic import Field

from tracer import plotting
from tracer.config import loading
from tracer.config.fields import Count, Location, Number, Section
from tracer.config.overrides import put, remove
from tracer.config.schema import RunConfig
from tracer.config.strategy import StrategySection
from tracer.errors import UserError, nearest
from tracer.evaluation import across_runs
from tracer.evaluation.across_runs import MEASURES, Row
from tracer.evaluation.intervals import Interval, interval
from tracer.messages import several, shortened, shown
from tracer.runs.jobs import Job
from tracer.runs.pool import Failure
from tracer.storage import json_text, write_text
from tracer.strategies import PRESETS

Setting = dict[str, Any]  # dotted configuration keys and their values
Values = Annotated[list[Any], Field(min_length=1)]
LONGEST_NAME = 150  # file systems take 255 bytes
MOST_RUNS = 2000  # of one sweep: more are a slip in its grid


class Published(Section):
    """Figures of someone else's, printed beside those of a setting, or in a row of their own where their method is not run."""

    at: Setting | None = Field(None, description="the setting, as the grid or `runs` has it")
    method: str | None = Field(None, description="instead of `at`: the name of a method that is not run")
    percent: dict[str, Number] = Field(description="ID, OOD, knowledge, ID ECE, OOD ECE, or the accuracy on one of `sets`")


class SweepConfig(Section):
    """What a sweep's YAML holds."""

    output: Location = Field(description="folder of table.md, results.json and the figure; the runs are kept below it")
    base: dict[str, Any] = Field(default_factory=dict, description="the configuration that all runs share, as for tracer train")
    grid: dict[str, Values] = Field(
        default_factory=dict,
        description="dotted keys and the values that each takes, all combinations; of keys with commas between, lists of values",
    )
    runs: list[Setting] = Field(default_factory=list, description="further settings, repeated as those of the grid")
    repeat_over: tuple[str, ...] = Field(
        ("seed",), description="keys of the grid whose values repeat a setting; runs that share all but the seed count as one"
    )
    sets: tuple[str, ...] = Field((), description="sets of the suite whose accuracies have columns of their own")
    published: list[Published] = Field(default_factory=list, description="figures to print beside, in percent")
    processes: Count = Field(2, description="runs at once")


@dataclass(frozen=True)
class Point:
    """A setting, its repetitions (the setting with a seed, say), and the run of each."""

    setting: Setting
    repetitions: list[Setting]
    runs: list[RunConfig]

    @property
    def label(self) -> str:
        """The setting in words; of the base configuration itself, "base"."""
        return described(self.setting) or "base"


@dataclass(frozen=True)
class Summary:
    """What the runs of a point measured.

    Attributes:
        point: the point.
        measured: mean and interval of each measure its suite has, in units of 1, over the runs that succeeded; none if none did.
            The half-width of a single repetition is NaN.
        published: the figures to compare with, in percent.
        failed: the repetitions whose runs failed, in words, and why.
    """

    point: Point
    measured: dict[str, Interval]
    published: dict[str, float]
    failed: dict[str, str]


def load(path: Path) -> tuple[SweepConfig, list[Point]]:
    """A sweep from its YAML file, with the points that it runs.

    Raises:
        UserError: with every error of the sweep and of its runs' configurations, a line each.
    """
    sweep = loading.parse(SweepConfig, loading.read(path), str(path))
    _require_sense(sweep, path)
    points = _points(sweep, str(path))
    _require_differences(points, path)
    for published in sweep.published:
        for name in {*published.percent} - {*MEASURES, *sweep.sets}:
            raise UserError(
                f"{path}: published has no measure {name!r}{nearest(name, (*MEASURES, *sweep.sets))}: rename or remove it"
            )
        if (published.at is None) == (published.method is None):
            raise UserError(f"{path}: published takes a setting that is run (at) or the name of a method that is not: give one")
        if published.at is not None and all(point.setting != published.at for point in points):
            label, labels = described(published.at), [point.label for point in points]
            raise UserError(f"{path}: published.at is {label!r}{nearest(label, labels)}, which is not run: name a setting that is")
    return sweep, points


def jobs(points: Sequence[Point]) -> list[Job]:
    """The jobs of all points, in their order."""
    return [Job(run) for point in points for run in point.runs]


def summarise(sweep: SweepConfig, points: Sequence[Point], rows: Sequence[Row | Failure]) -> list[Summary]:
    """Means and intervals of each point from the rows of `jobs`, in which a run that failed has a `Failure`.

    Raises:
        UserError: if the sweep's `sets` names one that its suite lacks; the runs are kept.
    """
    remaining, summaries = iter(rows), []
    for point in points:
        own = list(itertools.islice(remaining, len(point.runs)))
        failed = {
            described(repetition) or "base": row.reason
            for repetition, row in zip(point.repetitions, own, strict=True)
            if isinstance(row, Failure)
        }
        published = [figures.percent for figures in sweep.published if figures.at == point.setting]
        figures = {k: v for figures in published for k, v in figures.items()}
        summaries.append(Summary(point, _measured(sweep, point, own), figures, failed))
    return summaries


def _measured(sweep: SweepConfig, point: Point, rows: Sequence[Row | Failure]) -> dict[str, Interval]:
    """Mean and interval of each measure over the runs of a point that have rows."""
    found = [(row, cluster) for row, cluster in zip(rows, _clusters(sweep, point), strict=True) if not isinstance(row, Failure)]
    if not found:
        return {}
    own, clusters = zip(*found, strict=True)
    judged = [name for name, (kind, _) in MEASURES.items() if all(row["report"][kind] for row in own)]
    values = {name: [across_runs.measure(row, name) for row in own] for name in judged}
    values |= {name: [_accuracy(row, name) for row in own] for name in sweep.sets}
    return {name: interval(each, clusters) for name, each in values.items()}


def _clusters(sweep: SweepConfig, point: Point) -> list[Hashable]:
    """What the runs of a point do not vary independently of: shared keys of `repeat_over`; where nothing is trained, the model."""
    shared_keys = [name for key in sweep.repeat_over for name in _names(key) if name != "seed"]
    clusters: list[Hashable] = []
    for number, (run, repetition) in enumerate(zip(point.runs, point.repetitions, strict=True)):
        if not run.all_steps:  # another seed repeats nothing
            clusters.append((run.model.architecture, run.model.pretrained))
        else:
            clusters.append(described({k: v for k, v in repetition.items() if k in shared_keys}) if shared_keys else number)
    return clusters


def write(sweep: SweepConfig, summaries: Sequence[Summary], rows: Sequence[Row | Failure]) -> str:
    """Write table.md, results.json, figure.png and figure.svg into the sweep's folder; the table's text.

    If no run succeeded there is no figure.
    """
    text = table(summaries, sweep.published)
    points = [
        {
            "setting": summary.point.setting,
            "runs": len(summary.point.runs),
            "measured": {name: each._asdict() for name, each in summary.measured.items()},
            "published_percent": summary.published,
            **({"failed": summary.failed} if summary.failed else {}),
        }
        for summary in summaries
    ]
    sweep.output.mkdir(parents=True, exist_ok=True)
    found = [row for row in rows if not isinstance(row, Failure)]
    write_text(sweep.output / "results.json", json_text({"points": points, "rows": found}))
    write_text(sweep.output / "table.md", text)
    if found:
        plotting.save(_figure(sweep, summaries), sweep.output / "figure")
    return text


def table(summaries: Sequence[Summary], published: Sequence[Published] = ()) -> str:
    """A Markdown table in percent, a line a point and, after those, a line each published method that is not run."""
    names = list(dict.fromkeys(name for summary in summaries for name in summary.measured))
    lines = [f"| {' | '.join(map(_plain, ['setting', 'runs', *names]))} |", f"|---|{'---|' * (len(names) + 1)}"]
    for summary in summaries:
        cells = [_cell(summary.measured.get(name), summary.published.get(name)) for name in names]
        lines.append(f"| {_plain(summary.point.label)} | {_runs(summary)} | {' | '.join(cells)} |")
    others = [figures for figures in published if figures.method is not None]
    for other in others:
        lines.append(f"| {_plain(str(other.method))} | 0 | {' | '.join(_cell(None, other.percent.get(name)) for name in names)} |")
    notes = "Percent, mean ± half-width of the 95 % t interval over repetitions."
    if others or any(summary.published for summary in summaries):
        notes += " In brackets: published figures."
    failed = [f"- failed: {_plain(name)}: {_plain(why)}" for summary in summaries for name, why in summary.failed.items()]
    return "\n".join([*lines, "", *(["\n".join(failed), ""] if failed else []), notes, ""])


def _runs(summary: Summary) -> str:
    """How many runs a line stands for, and how many of them failed."""
    total, failed = len(summary.point.runs), len(summary.failed)
    return f"{total - failed} of {total}, {failed} failed" if failed else str(total)


def _plain(text: str) -> str:
    """Text for a line or a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")


def _figure(sweep: SweepConfig, summaries: Sequence[Summary]) -> Figure:
    """Measures against the number that the grid varies, or, where it varies other things, setting by setting."""
    key = varied_number(sweep)
    methods = [figures.method for figures in sweep.published if figures.method is not None]
    notes = [f"published figures of {', '.join(methods)} are in the table"] if methods else []
    notes += [f"failed: {name}" for summary in summaries for name in summary.failed]
    if key is None:
        labels = [s.point.label.replace("strategy.", "") for s in summaries]
        if any(summary.published for summary in summaries):
            notes.insert(0, "published figures are in the table")
        return plotting.settings(labels, [s.measured for s in summaries], "; ".join(notes))
    names = _names(key)
    on_axis = [summary for summary in summaries if set(summary.point.setting) == set(names)]
    values = [summary.point.setting[names[0]] for summary in on_axis]
    others = {summary.point.label.replace("strategy.", ""): summary.measured for summary in summaries if summary not in on_axis}
    published = [summary.published for summary in on_axis]
    return plotting.sweep(plotting.Sweep(key, values, [s.measured for s in on_axis], published, others), "; ".join(notes))


def varied_number(sweep: SweepConfig) -> str | None:
    """The one key that the grid varies besides repetitions, if it takes several numbers; of linked keys, the first counts."""
    varied = [key for key in sweep.grid if key not in sweep.repeat_over]
    if len(varied) != 1 or len(sweep.grid[varied[0]]) < 2:
        return None
    values = [setting[_names(varied[0])[0]] for setting in _combinations({varied[0]: sweep.grid[varied[0]]})]
    return varied[0] if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values) else None


def described(setting: Setting) -> str:
    """A setting in words, such as "strategy.strength=0.1, seed=0"."""
    return ", ".join(f"{key}={_words(value)}" for key, value in setting.items())


def _require_sense(sweep: SweepConfig, path: Path) -> None:
    """What can be said of a sweep before its runs are looked at."""
    if not (sweep.grid or sweep.runs):
        raise UserError(f"{path}: neither grid nor runs says what to vary: give, for example, grid: {{seed: [0, 1, 2]}}")
    names = [name for key in sweep.grid for name in _names(key)]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path}: grid has {shortened(name)} in two of its keys: keep one")
    if any("output" in settings for settings in (sweep.base, names, *sweep.runs)):
        raise UserError(f"{path}: the output of its runs is the sweep's to choose, a folder each below {sweep.output}: remove it")
    for key, values in sweep.grid.items():
        for value in values:
            if len(_names(key)) > 1 and not (isinstance(value, list) and len(value) == len(_names(key))):
                raise UserError(
                    f"{path}: grid has {shown(value)} for {shown(key)}: give a list of {len(_names(key))} values, one a key"
                )
    for key in sweep.repeat_over:
        if key != "seed" and key not in sweep.grid:
            raise UserError(f"{path}: repeat_over names {key!r}{nearest(key, sweep.grid)}: name keys of the grid")


def _require_differences(points: Sequence[Point], path: Path) -> None:
    """No two runs that compute the same, or write to the same folder."""
    effects: dict[str, str] = {}
    outputs: set[Path] = set()
    for point in points:
        for repetition, run in zip(point.repetitions, point.runs, strict=True):
            label, effect = described(repetition) or "base", run.effect()
            if effect in effects:
                labels = dict.fromkeys(map(shortened, (effects[effect], label)))
                raise UserError(f"{path}: two runs would be the same, {' and '.join(labels)}: take one out")
            if run.output in outputs:
                raise UserError(f"{path}: two runs would share the folder {run.output}: rename what their settings name alike")
            effects[effect] = label
            outputs.add(run.output)


def _points(sweep: SweepConfig, origin: str) -> list[Point]:
    """All settings with their runs, or all errors of their configurations, each once."""
    repeated = {key: values for key, values in sweep.grid.items() if key in sweep.repeat_over}
    varied = {key: values for key, values in sweep.grid.items() if key not in sweep.repeat_over}
    count = (_size(varied) * bool(varied) + len(sweep.runs)) * _size(repeated)
    if count > MOST_RUNS:
        raise UserError(f"{origin}: its grid makes up to {count:,} runs, and a sweep takes {MOST_RUNS:,}: take values out")
    settings = [*(_combinations(varied) if varied else []), *sweep.runs] or [{}]
    points: list[Point] = []
    errors: dict[str, None] = {}
    shared = _used_by_some(sweep.base, settings)
    for setting in settings:
        repetitions = [
            setting | more for more in _combinations({k: v for k, v in repeated.items() if not {*_names(k)} & {*setting}})
        ]
        runs = []
        for repetition in repetitions:
            try:
                runs.append(_run(sweep, repetition, shared, origin))
            except UserError as error:
                errors |= dict.fromkeys(line.removeprefix(f"{origin}: ") for line in str(error).splitlines())
        points.append(Point(setting, repetitions, runs))
    if errors:
        raise UserError(several(origin, errors))
    return points


def _size(grid: dict[str, list[Any]]) -> int:
    """How many combinations a grid has."""
    return math.prod(map(len, grid.values()))


def _run(sweep: SweepConfig, setting: Setting, shared: set[str], origin: str) -> RunConfig:
    """The run of a setting; what the base has for the strategies of other runs, among `shared`, is left out."""
    values = copy.deepcopy(sweep.base)
    for key in shared - _used(sweep.base, setting):
        remove(values, f"strategy.{key}")
    for key, value in setting.items():
        put(values, key, value, origin)
    put(values, "output", str(sweep.output / "runs" / _folder(setting)), origin)
    run = loading.validate(values, origin)
    if run.evaluation is None:
        raise UserError(f"{origin}: evaluation is null, so that there is nothing to compare: name a suite")
    return run


def _used_by_some(base: dict[str, Any], settings: Sequence[Setting]) -> set[str]:
    """Keys of the section `strategy` that some run uses. One in the base that no run uses stays there, and is refused."""
    return set().union(*(_used(base, setting) for setting in settings))


def _used(base: dict[str, Any], setting: Setting) -> frozenset[str]:
    """Keys of the section `strategy` that the strategy of a setting uses; none of one that there is not."""
    sections = (setting.get("strategy"), base.get("strategy"))
    names = [setting.get("strategy.name"), *(section.get("name") for section in sections if isinstance(section, dict))]
    name = next((name for name in names if name is not None), StrategySection().name)
    return PRESETS[name].settings if isinstance(name, str) and name in PRESETS else frozenset()


def _combinations(grid: dict[str, list[Any]]) -> Iterable[Setting]:
    names = [name for key in grid for name in _names(key)]
    for values in itertools.product(*grid.values()):
        parts = [value if len(_names(key)) > 1 else [value] for key, value in zip(grid, values, strict=True)]
        yield dict(zip(names, itertools.chain(*parts), strict=True))


def _accuracy(row: Row, name: str) -> float:
    sets = row["report"]["sets"]
    if name not in sets:
        raise UserError(f"sets names {name!r}{nearest(name, sets)}, which the suite lacks: rename or remove it, the runs are kept")
    return float(sets[name]["accuracy"])


def _names(key: str) -> list[str]:
    """The configuration keys that a key of the grid sets together: "model.pretrained, seed" sets two."""
    return [name.strip() for name in key.split(",")]


def _folder(setting: Setting) -> str:
    name = re.sub(r"[^\w.=+-]+", "_", described(setting)) or "base"
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {_words(part)}" for key, part in value.items())
    if isinstance(value, list):
        return " ".join(map(_words, value))
    return str(value)


def _cell(measured: Interval | None, published: float | None) -> str:
    parts = []
    if measured is not None:
        spread = "" if math.isnan(measured.half_width) else f" ± {100 * measured.half_width:.1f}"
        parts.append(f"{100 * measured.mean:.1f}{spread}")
    if published is not None:
        parts.append(f"[{published:.1f}]")
    return " ".join(parts) or "-"
