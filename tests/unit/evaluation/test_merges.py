"""What each method tries and takes, on models of one number and reports that a test makes up."""

import pytest
import torch
from torch import nn

from tests.tolerances import FLOAT32
from tracer.evaluation import choice
from tracer.evaluation.merges import METHODS, SHARES, Ingredients


class Number(nn.Module):
    """A model of two numbers, the second deeper than the first."""

    def __init__(self, first, last=None):
        super().__init__()
        self.first = nn.Parameter(torch.tensor(float(first)))
        self.last = nn.Parameter(torch.tensor(float(first if last is None else last)))


def report(value):
    """A report whose score is the value."""
    return {"id": {"accuracy": value}, "ood": {"accuracy": value}, "knowledge": {}}


def ingredients(judge, **students):
    models = {name: Number(value) for name, value in students.items()}
    reports = {name: judge(model) for name, model in models.items()}
    return Ingredients(Number(0), models, reports, {"first": 0.0, "last": 1.0})


def near(target):
    """Judges a model by how near its first number is to a target."""
    return lambda model: report(1 - abs(model.first.item() - target))


class TestChoice:
    def test_is_the_mean_of_what_was_judged(self):
        full = {"id": {"accuracy": 0.9}, "ood": {"accuracy": 0.6}, "knowledge": {"accuracy": 0.3}}
        assert choice.score(full) == pytest.approx(0.6)
        assert choice.score({**full, "knowledge": {}}) == pytest.approx(0.75)

    def test_takes_the_first_of_ties(self):
        assert choice.best([report(0.1), report(0.7), report(0.7), report(0.2)]) == 1


class TestMethods:
    def test_wise_ft_takes_a_share_of_one_model(self):
        judge = near(0.6)
        outcome = METHODS["wise_ft"].search(ingredients(judge, one=3, other=-1), judge)
        assert len(outcome.candidates) == 2 * len(SHARES)
        assert outcome.chosen.parameters == {"model": "one", "share": 0.2}
        assert outcome.chosen.build().first.item() == pytest.approx(0.6, abs=FLOAT32)

    def test_task_vectors_may_go_beyond_the_mean(self):
        judge = near(2.4)
        outcome = METHODS["task_vector"].search(ingredients(judge, one=1, other=3), judge)
        assert outcome.chosen.parameters == {"scale": 1.2}
        assert outcome.chosen.build().first.item() == pytest.approx(2.4, abs=FLOAT32)

    def test_lines_moves_what_is_deep_more(self):
        def judge(model):
            return report(-abs(model.first.item() - 0.5) - abs(model.last.item() - 2.0))

        outcome = METHODS["lines"].search(ingredients(judge, one=1, other=3), judge)
        assert outcome.chosen.parameters == {"alpha": 0.25, "beta": 0.75}
        assert outcome.chosen.report == report(pytest.approx(0, abs=1e-6))
        assert len({tuple(each.parameters.values()) for each in outcome.candidates}) == len(outcome.candidates) == 13
        assert all(each.parameters["beta"] > 0 for each in outcome.candidates)

    @pytest.mark.parametrize(("name", "value"), [("uniform_soup", 2.0), ("model_stock", 2.0)])
    def test_without_parameters_there_is_one_candidate(self, name, value):
        judge = near(5)
        outcome = METHODS[name].search(ingredients(judge, one=1, other=3), judge)
        assert [each.parameters for each in outcome.candidates] == [{}]
        assert outcome.chosen.build().first.item() == pytest.approx(value, abs=FLOAT32)


class TestGreedySoup:
    """Recipe 1 of arXiv 2203.05482."""

    def test_joins_from_the_best_on_while_the_score_does_not_fall(self):
        """Best first: 4 alone, 4 with 6 is 5 (better), with 1 it would be 11/3 (worse), with 9 and without 1 it is 19/3 (worse)."""
        judge = near(4.9)
        parts = ingredients(judge, far=9, low=1, high=6, best=4)
        outcome = METHODS["greedy_soup"].search(parts, judge)
        tried = [each.parameters["models"] for each in outcome.candidates]
        singles = ["best", "high", "low", "far"]
        assert tried == [
            *[[name] for name in singles],
            ["best", "high"],
            ["best", "high", "low"],
            ["best", "high", "far"],
        ]
        assert outcome.chosen.parameters == {"models": ["best", "high"]}
        assert outcome.chosen.build().first.item() == pytest.approx(5, abs=FLOAT32)
        assert METHODS["uniform_soup"].search(parts, judge).chosen.build().first.item() == pytest.approx(5)

    def test_the_order_matters(self):
        """In the order of names 9 would come first, and 1 would then join it."""
        judge = near(4.9)
        soup = [9.0]
        for value in (1.0, 6.0, 4.0):
            joined = [*soup, value]
            if abs(sum(joined) / len(joined) - 4.9) <= abs(sum(soup) / len(soup) - 4.9):
                soup = joined
        assert soup == [9.0, 1.0]
        outcome = METHODS["greedy_soup"].search(ingredients(judge, far=9, low=1, high=6, best=4), judge)
        assert sorted(outcome.chosen.parameters["models"]) == ["best", "high"]

    def test_equals_join(self):
        outcome = METHODS["greedy_soup"].search(ingredients(near(2), one=2, other=2), near(2))
        assert outcome.chosen.parameters == {"models": ["one", "other"]}

    def test_one_alone_stays_alone(self):
        judge = near(0)
        outcome = METHODS["greedy_soup"].search(ingredients(judge, one=1, other=3), judge)
        assert outcome.chosen.parameters == {"models": ["one"]}
        assert len(outcome.candidates) == 3


def test_every_method_has_a_source_and_a_look():
    from tracer.looks import LOOKS

    assert all(method.source.startswith("arXiv ") for method in METHODS.values())
    assert set(METHODS) <= set(LOOKS)
