import json

import pytest

from tracer.tracking import JsonLines, read, services


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "metrics.jsonl"


def write(path, steps, resumed_at=0):
    tracker = JsonLines(path, resumed_at)
    for step in steps:
        tracker.log({"loss": step / 3}, step)


def test_lines_are_json_with_their_step(path):
    write(path, [1, 2])
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 1, "loss": 1 / 3},
        {"step": 2, "loss": 2 / 3},
    ]


def test_resumed_run_drops_what_it_does_again(path):
    write(path, [1, 2, 3, 4])
    whole = path.read_bytes()
    write(path, [3, 4], resumed_at=2)
    assert path.read_bytes() == whole


def test_new_run_drops_everything(path):
    write(path, [1, 2])
    write(path, [1])
    assert [line["step"] for line in read(path)] == [1]


@pytest.mark.parametrize("cut", [1, 5, 15, 20])
def test_line_cut_short_is_left_out(path, cut):
    write(path, [1, 2, 3])
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert [line["step"] for line in read(path)] == ([1, 2, 3] if cut == 1 else [1, 2])
    write(path, [3] if cut > 1 else [], resumed_at=3)
    assert path.read_bytes() == whole


def test_absent_file_has_no_lines(path):
    assert read(path) == []


def test_tensorboard_takes_the_same_scalars(tmp_path):
    (tracker,) = services(["tensorboard"], tmp_path)
    tracker.log({"loss": 0.5}, step=1)
    tracker.finish()
    assert any("tfevents" in path.name for path in tmp_path.rglob("*"))
