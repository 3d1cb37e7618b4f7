"""Mistakes in a configuration."""

import pytest

from tests.bad_input.case import Case, assert_told, each
from tracer.cli import main

CASES = [
    Case("misspelt key", "train base.yaml optimization.learning_rat=1", "optimization.learning_rat.*'learning_rate'"),
    Case("word for a number", "train base.yaml optimization.learning_rate=fast", "optimization.learning_rate is 'fast'"),
    Case("no such file", "train absent.yaml", "absent.yaml: No such file"),
    Case("a list for a configuration", "train list.yaml", "holds a list", {"list.yaml": "- 1\n- 2\n"}),
]


@each(CASES)
def test_is_told(case, folder, capsys):
    assert_told(case, folder, capsys)


def test_sound_input_trains(folder):
    """Without this, every case would pass on a command that always fails."""
    assert main(["train", "base.yaml"]) == 0
    assert (folder / "run" / "student.safetensors").is_file()


def test_an_answer_that_says_something_else_fails(folder, capsys):
    with pytest.raises(AssertionError):
        assert_told(Case("", "train absent.yaml", "the disk is full"), folder, capsys)
