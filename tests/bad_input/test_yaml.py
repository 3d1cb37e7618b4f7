"""Mistakes in the YAML of a configuration: syntax, files that are none, words that YAML reads as something else."""

import os
from itertools import pairwise

import pytest
import yaml
from hypothesis import example
from hypothesis import given as given_any
from hypothesis import strategies as st

from tests.bad_input.case import Case, assert_told, each
from tracer.config.strict_yaml import MOST_BYTES, dump, parse, read

NINE = ",".join(["*{0}"] * 9)
LETTERS = "abcdefgh"
BOMB = "a: &a [1, 1, 1]\n" + "".join(f"{b}: &{b} [{NINE.format(a)}]\n" for a, b in pairwise(LETTERS))
MERGE_BOMB = "a: &a {x: 1}\n" + "".join(f"{b}: &{b} {{<<: [{NINE.format(a)}]}}\n" for a, b in pairwise(LETTERS))
CHAIN = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 2000))
REPEATED = """\
data: {kind: embedded}
optimization:
  total_steps: 50
strategy:
  name: flyp
optimization:
  batch_size: 16
"""


def given(name, text, answer):
    """A case of a configuration in a file."""
    return Case(name, "train run.yaml", answer, {"run.yaml": text})


def huge(path):
    with path.open("wb") as file:
        file.truncate(10 * 2**30)


CASES = [
    given("section given twice", REPEATED, r"run.yaml: optimization is given twice \(lines 2 and 6\): keep one"),
    given("key given twice on a line", "strategy: {strength: 0.1, strength: 5}", r"strategy.strength is given twice \(line 1\)"),
    given("key given three times", "seed: 1\nseed: 2\n\nseed: 1\n", r"seed is given 3 times \(lines 1, 2 and 4\)"),
    given("key given twice in a list", "a:\n- {b: 1, b: 2}\n", r"a.0.b is given twice \(line 2\)"),
    given("two merges", "a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a\n", r"b.<< is given twice \(lines 3 and 4\)"),
    given("merge of a number", "a: {<<: 3}", "takes a section, or a list of sections"),
    given("aliases that grow", BOMB, "more than 50000 values when its aliases are written out"),
    given("merges that grow", MERGE_BOMB, "more than 50000 values when its aliases are written out"),
    given("alias of itself", "a: &a [*a]", "nested more than 20 levels deep"),
    given("chain of aliases", CHAIN, "nested more than 20 levels deep at a19"),
    given("deep brackets", "a: " + "[" * 5_000, "nested more than 20 levels deep"),
    given("deep sections", "{a: " * 5_000, "nested more than 20 levels deep"),
    given(
        "alias of nothing", "output: *run", r"line 1 refers to \*run, which is not there: put text that begins with \* in quotes"
    ),
    given("pattern in no quotes", "model: {freeze: [*.bias]}", "line 1 is not YAML"),
    given("tag of a number", "seed: !!int abc", "line 1 has the tag !!int: remove it"),
    given("tag of python", "\nseed: !!python/object/apply:os.system [ls]", "line 2 has the tag !!python/object/apply:os.system"),
    given("tag of bytes", "output: !!binary aGVsbG8=", "has the tag !!binary"),
    given("tag of one's own", "output: !run x", "has the tag !run"),
    given("date", "seed: 1\noutput: 2024-01-01\n", r"output = 2024-01-01 \(line 2\) is read as a date by YAML: put it in quotes"),
    given("time", "output: 2024-01-01 10:20:30", "is read as a date by YAML: put it in quotes"),
    given("leading zero", "seed: 010", r"seed = 010 \(line 1\) is read as a number of base 8 by YAML.*or write the number without"),
    given(
        "no for text",
        "data: {kind: csv, path: x, caption_column: no}",
        "caption_column is false, as YAML reads no, off and false: put",
    ),
    given(
        "on for text",
        "data: {kind: csv, path: x, image_column: on}",
        "image_column is true, as YAML reads yes, on and true: put it in",
    ),
    given("yes for a path", "output: yes", "output is true, as YAML reads yes, on and true: put it in quotes if the word is meant"),
    given(
        "number for text",
        "data: {kind: csv, path: x, caption_column: 7}",
        "caption_column is 7, a number to YAML: put it in quotes",
    ),
    given("exponent for a path", "output: 1e5", "output is 100000.0, a number to YAML: put it in quotes"),
    given(
        "number as a key", "evaluation: {kind: folder, id: x, ood: {1: y}}", "the key 1 in evaluation.ood .* is read as a number"
    ),
    given(
        "no as a key", "evaluation: {kind: folder, id: x, ood: {no: y}}", "the key no in evaluation.ood .* is read as true or false"
    ),
    given("null as a key", "null: 3", r"the key null \(line 1\) is read as null by YAML: put it in quotes"),
    given("date as a key", "2024-01-01: 3", "the key 2024-01-01 .* is read as a date"),
    given("section as a key", "data: {path: {{folder}}}", r"a key in data.path \(line 1\) is no text"),
    given("key without a name", "? \n: 3\n", "a key .* is no text"),
    given(
        "key without a value", "seed: 1\nmodel:\n  pretrained:\n", r"model.pretrained has no value \(line 3\): write null if none"
    ),
    given("section without keys", "optimization:\n  # total_steps: 5\nseed: 1\n", "optimization has no value"),
    given("null for a path", "output: null", "output is null, as YAML reads null, ~ and nothing: write a path, or remove the key"),
    given("tilde alone", "output: ~", "output is null, as YAML reads null, ~ and nothing"),
    given("null for a section", "optimization: null", "optimization is null.*write its keys"),
    given("two documents", "seed: 1\n---\nseed: 2\n", "line 2 begins a second document"),
    given("tab", "optimization:\n\ttotal_steps: 5\n", "line 2 has a tab: indent by spaces"),
    given("open bracket", "seed: 1\ndata: {kind: csv\n", "run.yaml: line 2 is not YAML, 'data: {kind: csv'"),
    given("open quote", "output: 'run\nseed: 1\n", "is not YAML"),
    given("two colons", "output: a: b\n", "line 1 is not YAML, 'output: a: b'"),
    given("bad indentation", "seed: 1\n  workers: 2\n", "line 2 is not YAML"),
    given("at sign", "output: @home\n", "line 1 is not YAML"),
    given("long line of nonsense", "a: b: " + "c" * 50_000, "line 1 is not YAML, 'a: b: ccc.{,60} ... c*'"),
    given("digits without end", "seed: " + "9" * 5000, r"seed is a number of 5000 digits \(line 1\): write fewer"),
    given("words alone", "seed=1", "holds the value 'seed=1', not sections with keys"),
    given("number alone", "5", "holds the value 5, not sections with keys"),
    given("list", "- seed: 1\n", "holds a list, not sections with keys"),
    given("UTF-16", "seed: 1\n".encode("utf-16"), "run.yaml is written in UTF-16 or UTF-32: save it as UTF-8"),
    given("Latin-1", b"seed: 1\noutput: caf\xe9\n", r"run.yaml is not written in UTF-8 \(line 2\)"),
    given("picture", b"\x89PNG\r\n\x1a\n" + bytes(64), "run.yaml is no text"),
    given("control character", "output: 'a\x07'", "holds the character U\\+0007, which is no text"),
    given("pipe", os.mkfifo, "run.yaml: it is no regular file"),
    given("endless file", lambda path: path.symlink_to("/dev/zero"), "it is no regular file"),
    given("link to itself", lambda path: path.symlink_to(path.name), "cannot read the configuration run.yaml: Too many levels"),
    given("huge file", huge, "run.yaml is larger than 128 KiB"),
    given("folder", os.mkdir, "run.yaml: it is a folder"),
    Case("no such file", "train absent.yaml", "absent.yaml: No such file"),
    Case("no such home", "train '~nobody-at-all/run.yaml'", "there is no home folder ~nobody-at-all"),
    Case("name too long", f"train {'x' * 300}.yaml", "a name of over 255 bytes.*is too long: shorten it"),
]


@each(CASES)
def test_is_told(case, folder, capsys):
    assert_told(case, folder, capsys)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("+1e3", 1e3),
        (".5e-3", 5e-4),
        ("-1.5", -1.5),
        ("1.", 1.0),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0", 0),
        ("-.inf", float("-inf")),
        ("1:30", "1:30"),
        ("1.2.3", "1.2.3"),
        ("'1e-4'", "1e-4"),
        ("!!str 1e-4", "1e-4"),
        ("2024-01-01-run", "2024-01-01-run"),
        ("True", True),
        ("null", None),
        ("=", "="),
        ("<<", "<<"),
    ],
)
def test_words_are_read_as_people_mean_them(text, value):
    found = parse(f"a: {text}", "here")["a"]
    assert found == value
    assert type(found) is type(value)
    assert parse(text, "the override", "a") == value


@given_any(st.text() | st.from_regex(r"[-+.]?[0-9a-fnoxyT:_.-]{1,12}", fullmatch=True))
@example("1e-4")
@example("010")
@example("1:30")
@example("no")
@example("2024-01-01")
def test_text_that_looks_like_something_else_is_written_in_quotes(text):
    assert parse(dump({"a": text, text + "b": [text]}), "here") == {"a": text, text + "b": [text]}
    assert yaml.safe_load(dump({"a": text})) == {"a": text}


@given_any(st.floats(allow_nan=False) | st.integers() | st.booleans() | st.none())
def test_values_survive(value):
    assert parse(dump({"a": value}), "here") == {"a": value}


def test_aliases_and_merges_of_an_ordinary_size_hold():
    text = "base: &base {x: 1, y: [2]}\nown: {<<: *base, x: 3}\nboth: {<<: [{x: 4}, *base]}\nsame: *base\n"
    values = parse(text, "here")
    assert values["own"] == {"x": 3, "y": [2]}
    assert values["both"] == {"x": 4, "y": [2]}
    assert values["same"] == values["base"]
    values["same"]["y"].append(5)
    assert values["base"]["y"] == values["own"]["y"] == [2]


def test_files_may_have_a_mark_of_their_encoding_and_any_line_ends(tmp_path):
    (tmp_path / "run.yaml").write_bytes(b"\xef\xbb\xbfseed: 1\r\nworkers: 2\r\n")
    assert read(tmp_path / "run.yaml") == {"seed": 1, "workers": 2}


def test_files_of_the_largest_size_are_read(tmp_path):
    text = "output: x\n"
    (tmp_path / "run.yaml").write_text(text + "#" * (MOST_BYTES - len(text)))
    assert read(tmp_path / "run.yaml") == {"output": "x"}
