"""Mistakes in a sweep's file."""

import pytest

from tests.bad_input.case import Case, assert_told, each
from tracer.errors import UserError
from tracer.runs import sweep

HEAD = "output: swept\nbase: {strategy: {name: tracer}}\n"
FLYP = "output: swept\nbase: {strategy: {name: flyp}}\n"


def given(name, text, answer):
    return Case(name, "sweep grid.yaml", answer, {"grid.yaml": text}, ruins=("swept",))


def numbers(count):
    return ", ".join(map(str, range(1, count + 1)))


CASES = [
    given("misspelt key", "output: swept\ngird: {seed: [0]}\n", "there is no key 'gird'.*'grid'"),
    given("nothing to vary", HEAD, "neither grid nor runs says what to vary"),
    given("no folder", "grid: {seed: [0]}\n", "output is missing"),
    given("empty folder", "output: ''\ngrid: {seed: [0]}\n", "output is '': a path cannot be empty"),
    given("number for values", HEAD + "grid: {seed: 3}\n", "grid.seed is 3: write a list"),
    given("no values", HEAD + "grid: {seed: []}\n", r"grid.seed is \[\]: it must hold at least 1"),
    given("key given twice", HEAD + "grid:\n  seed: [0]\n  seed: [1]\n", r"grid.seed is given twice \(lines 4 and 5\)"),
    given("key in two keys", HEAD + "grid: {seed: [0], 'seed, workers': [[1, 0]]}\n", "grid has seed in two of its keys"),
    given(
        "linked keys of unlike length",
        HEAD + "grid: {'seed, workers': [[1]]}\n",
        r"grid has \[1\] for 'seed, workers': give a list of 2",
    ),
    given("key of nothing", HEAD + "grid: {a..b: [1]}\n", "the key 'a..b' has nothing at one side of a dot"),
    given("key below a number", "output: swept\nbase: {model: 3}\ngrid: {model.compile: [true]}\n", "model is no section"),
    given(
        "key below a list",
        HEAD + "grid: {optimization.betas: [[0.9, 0.9]]}\nruns: [{trackers: [], trackers.0: a}]\n",
        "trackers is a list",
    ),
    given(
        "output among linked keys", HEAD + "grid: {'seed, output': [[0, a]]}\n", "the output of its runs is the sweep's to choose"
    ),
    given(
        "ten million runs",
        HEAD + f"grid:\n  strategy.strength: [{numbers(5000)}]\n  seed: [{numbers(2000)}]\n",
        "up to 10,000,000 runs, and a sweep takes 2,000",
    ),
    given("runs beyond count", HEAD + "grid:\n" + "".join(f"  k{i}: [{numbers(30)}]\n" for i in range(30)), "a sweep takes 2,000"),
    given("long list of runs", HEAD + "runs:\n" + "- {seed: 1}\n" * 2001, "up to 2,001 runs"),
    given("equal seeds", HEAD + "grid: {seed: [0, 0]}\n", "two runs would be the same, seed=0: take one out"),
    given("equal numbers", HEAD + "grid: {strategy.strength: [1, 1.0]}\n", "two runs would be the same, strategy.strength=1 and"),
    given("default written out", HEAD + "runs: [{}, {strategy.strength: 0.9}]\n", "the same, base and strategy.strength=0.9"),
    given(
        "strengths of no terms",
        "output: swept\nbase: {strategy: {name: carot, terms: {crd: 0}}}\ngrid: {strategy.strength: [1, 2]}\n",
        "two runs would be the same",
    ),
    given(
        "carot's own penalty",
        "output: swept\nbase: {strategy: {name: carot}}\nruns: [{}, {strategy.orthogonality: 0.2}]\n",
        "two runs would be the same",
    ),
    given(
        "rates of what is not trained",
        "output: swept\nbase: {strategy: {name: zero_shot}}\ngrid: {optimization.learning_rate: [1e-3, 1e-4]}\n",
        "two runs would be the same",
    ),
    given(
        "strengths of flyp", FLYP + "grid: {strategy.strength: [0.1, 0.5]}\n", "strategy.strength is 0.1, but flyp does not use it"
    ),
    given(
        "strengths of flyp among others",
        "output: swept\ngrid: {strategy.strength: [0.1, 0.5], strategy.name: [tracer, flyp]}\n",
        "strategy.strength is 0.5, but flyp does not use it",
    ),
    given(
        "strength of a base that no run uses",
        "output: swept\nbase: {strategy: {name: flyp, strength: 0.3}}\ngrid: {seed: [0, 1]}\n",
        "strategy.strength is 0.3, but flyp does not use it",
    ),
    given(
        "two thousand faults",
        HEAD + f"grid: {{strategy.strength: [{', '.join(f'-{i}' for i in range(1, 2001))}]}}\n",
        "and 19[0-9][0-9] more",
    ),
    given("unknown strategy", HEAD + "runs: [{strategy.name: trace}]\n", "strategy.name cannot be 'trace'.*'tracer'"),
    given("list for a strategy", HEAD + "runs: [{strategy.name: [flyp]}]\n", r"strategy.name cannot be \['flyp'\]"),
    given("no suite", HEAD + "grid: {evaluation: [null]}\n", "evaluation is null, so that there is nothing to compare"),
    given("no processes", HEAD + "grid: {seed: [0]}\nprocesses: 0\n", "processes is 0: it must be at least 1"),
    given("repetition that is no key", HEAD + "grid: {seed: [0]}\nrepeat_over: [model]\n", "repeat_over names 'model'"),
    given("word for repetitions", HEAD + "grid: {seed: [0]}\nrepeat_over: seed\n", "repeat_over is 'seed': write a list"),
    given(
        "published elsewhere",
        HEAD + "grid: {strategy.strength: [0.1]}\npublished: [{at: {strategy.strength: 0.2}, percent: {ID: 1}}]\n",
        "published.at is 'strategy.strength=0.2'.*which is not run",
    ),
    given(
        "published true",
        HEAD + "grid: {seed: [0]}\npublished: [{method: x, percent: {ID: yes}}]\n",
        "published.0.percent.ID is true: YAML reads yes",
    ),
    Case("no such file", "sweep absent.yaml", "cannot read the configuration absent.yaml: No such file"),
    Case("endless file", "sweep /dev/zero", "/dev/zero: it is no regular file"),
]


@each(CASES)
def test_is_told(case, folder, capsys):
    assert_told(case, folder, capsys)


@pytest.fixture
def written(tmp_path):
    def write(text):
        (tmp_path / "grid.yaml").write_text(text)
        return sweep.load(tmp_path / "grid.yaml")

    return write


def test_exponents_are_numbers_with_an_axis_and_published_figures(written):
    key = "optimization.learning_rate"
    plan, points = written(f"{HEAD}grid: {{{key}: [1e-4, 1E-3]}}\npublished: [{{at: {{{key}: 1.0e-4}}, percent: {{ID: 1}}}}]\n")
    assert sweep.varied_number(plan) == key
    assert [point.runs[0].optimization.learning_rate for point in points] == [1e-4, 1e-3]
    assert plan.published[0].at == points[0].setting


def test_what_the_base_has_for_some_strategies_is_left_out_for_the_others(written):
    base = "{strategy: {name: tracer, strength: 0.1, terms: {fd: 5}, kernel: {kind: uniform}, update_every_steps: 2}}"
    runs = "[{}, {strategy.name: flyp}, {strategy.name: carot}, {strategy.name: l2_sp}, {strategy: {name: wise_ft}}]"
    _, points = written(f"output: swept\nbase: {base}\nruns: {runs}\n")
    strategies = [point.runs[0].strategy for point in points]
    assert [(s.name, s.strength, s.terms.fd, s.update_every_steps) for s in strategies] == [
        ("tracer", 0.1, 5, 2),
        ("flyp", 0.9, 2000, 1),
        ("carot", 0.1, 2000, 2),
        ("l2_sp", 0.1, 2000, 1),
        ("wise_ft", 0.9, 2000, 1),
    ]


def test_keys_below_a_section_of_the_grid_leave_the_section_as_it_is(written):
    grid = "{strategy.kernel: [{kind: beta}], strategy.kernel.a: [0.2, 1]}"
    _, points = written(f"{HEAD}grid: {grid}\n")
    assert [point.setting["strategy.kernel"] for point in points] == [{"kind": "beta"}] * 2
    assert [point.runs[0].strategy.kernel.a for point in points] == [0.2, 1]


def test_as_many_runs_as_a_sweep_takes_are_taken(written):
    _, points = written(f"{HEAD}grid: {{strategy.strength: [{numbers(sweep.MOST_RUNS)}]}}\n")
    assert len(points) == sweep.MOST_RUNS
    with pytest.raises(UserError, match="up to 2,001"):
        written(f"{HEAD}grid: {{strategy.strength: [{numbers(sweep.MOST_RUNS + 1)}]}}\n")
