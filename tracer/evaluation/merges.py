"""Ways to merge fine-tuned models on one footing: what each tries, and what it takes by one rule (see `choice`)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tracer.evaluation import choice
from tracer.models import depth
from tracer.models.dual_encoder import DualEncoder
from tracer.models.merging import add_task_vectors, interpolate, model_stock

Report = Mapping[str, Any]
SHARES = tuple(number / 10 for number in range(1, 11))
TASK_VECTOR_SCALES = tuple(number / 5 for number in range(1, 9))
LINES_ENDS = tuple((first / 4, last / 4) for first in range(4) for last in range(max(first + 1, 2), 6))
"""Scales of the first and the last block: alpha and alpha + beta."""


@dataclass(frozen=True)
class Ingredients:
    """What is merged.

    Attributes:
        anchor: the pretrained model, from which all students started.
        students: the fine-tuned models, by name.
        reports: of each student by the same name, on the suite that is chosen on.
        depths: for each saved tensor its depth in its tower (see `depth.depths`).
    """

    anchor: DualEncoder
    students: Mapping[str, DualEncoder]
    reports: Mapping[str, Report]
    depths: Mapping[str, float]

    @property
    def models(self) -> list[DualEncoder]:
        """The fine-tuned models."""
        return list(self.students.values())


@dataclass(frozen=True)
class Candidate:
    """A merged model that a method may take.

    Attributes:
        parameters: what makes it, by name.
        build: makes it.
        report: of it on the suite that is chosen on.
    """

    parameters: dict[str, Any]
    build: Callable[[], DualEncoder]
    report: Report


@dataclass(frozen=True)
class Outcome:
    """What a method tried, and the position of what it takes."""

    candidates: Sequence[Candidate]
    taken: int

    @property
    def chosen(self) -> Candidate:
        """What it takes."""
        return self.candidates[self.taken]


Judge = Callable[[DualEncoder], Report]
Built = tuple[dict[str, Any], Callable[[], DualEncoder]]


@dataclass(frozen=True)
class Method:
    """A way to merge.

    Attributes:
        summary: what it does, in a line.
        source: where it comes from.
        search: judges its candidates and takes one.
        fewest: fine-tuned models that it needs.
    """

    summary: str
    source: str
    search: Callable[[Ingredients, Judge], Outcome]
    fewest: int = 1


def _best_of(built: Callable[[Ingredients], Iterator[Built]]) -> Callable[[Ingredients, Judge], Outcome]:
    """The search of a method that tries all its candidates and takes the best."""

    def search(parts: Ingredients, judge: Judge) -> Outcome:
        candidates = [Candidate(parameters, build, judge(build())) for parameters, build in built(parts)]
        return Outcome(candidates, choice.best([candidate.report for candidate in candidates]))

    return search


def _wise_ft(parts: Ingredients) -> Iterator[Built]:
    for name, student in parts.students.items():
        for share in SHARES:
            yield {"model": name, "share": share}, partial(interpolate, parts.anchor, student, share)


def _uniform_soup(parts: Ingredients) -> Iterator[Built]:
    yield {}, partial(add_task_vectors, parts.anchor, parts.models, 1.0)


def _model_stock(parts: Ingredients) -> Iterator[Built]:
    yield {}, partial(model_stock, parts.anchor, parts.models)


def _task_vector(parts: Ingredients) -> Iterator[Built]:
    for scale in TASK_VECTOR_SCALES:
        yield {"scale": scale}, partial(add_task_vectors, parts.anchor, parts.models, scale)


def _lines(parts: Ingredients) -> Iterator[Built]:
    for first, last in LINES_ENDS:
        scales = depth.scales(parts.depths, first, last - first)
        yield {"alpha": first, "beta": last - first}, partial(add_task_vectors, parts.anchor, parts.models, scales)


def _greedy_soup(parts: Ingredients, judge: Judge) -> Outcome:
    """From the best student on, in the order of their scores, each joins the soup if that does not lower the soup's score."""
    order = sorted(parts.students, key=lambda name: choice.score(parts.reports[name]), reverse=True)
    candidates = [Candidate({"models": [name]}, partial(_soup, parts, [name]), parts.reports[name]) for name in order]
    soup, taken = order[:1], 0
    for name in order[1:]:
        build = partial(_soup, parts, [*soup, name])
        candidates.append(Candidate({"models": [*soup, name]}, build, judge(build())))
        if choice.score(candidates[-1].report) >= choice.score(candidates[taken].report):
            soup, taken = [*soup, name], len(candidates) - 1
    return Outcome(candidates, taken)


def _soup(parts: Ingredients, names: Sequence[str]) -> DualEncoder:
    return add_task_vectors(parts.anchor, [parts.students[name] for name in names], 1.0)


METHODS = {
    "wise_ft": Method("each model's path from the pretrained one", "arXiv 2109.01903", _best_of(_wise_ft)),
    "uniform_soup": Method("the mean of all models", "arXiv 2203.05482", _best_of(_uniform_soup), fewest=2),
    "greedy_soup": Method("the mean of models that join while the score does not fall", "arXiv 2203.05482", _greedy_soup, fewest=2),
    "model_stock": Method("between pretrained and mean, by the angles", "arXiv 2403.19522", _best_of(_model_stock), fewest=2),
    "task_vector": Method("the mean move, scaled", "arXiv 2212.04089", _best_of(_task_vector)),
    "lines": Method("the mean move, scaled more the deeper the layer", "arXiv 2410.17146", _best_of(_lines)),
}
"""Every method, by the name that `tracer merge` calls it."""
