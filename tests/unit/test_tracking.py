import json

import pytest

from tracer import tracking
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
    with services(["tensorboard"], tmp_path) as (tracker,):
        tracker.log({"loss": 0.5}, step=1)
    assert any("tfevents" in path.name for path in tmp_path.rglob("*"))


def test_tensorboard_shows_no_step_of_a_resumed_run_twice(tmp_path):
    """As it reads the folder: what was logged after the checkpoint is logged again, with other values here to tell them apart."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for resumed_at, steps in ((0, [1, 2, 3, 4]), (2, [3, 4, 5])):
        with services(["tensorboard"], tmp_path, resumed_at) as (tracker,):
            for step in steps:
                tracker.log({"loss": step + resumed_at / 10}, step=step)
    shown = EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    scalars = {event.step: round(event.value, 4) for event in shown.Scalars("loss")}
    assert len(shown.Scalars("loss")) == 5
    assert scalars == {1: 1.0, 2: 2.0, 3: 3.2, 4: 4.2, 5: 5.2}


@pytest.mark.parametrize("fails", [False, True])
def test_services_are_finished(tmp_path, monkeypatch, fails):
    """All of them, also when the run fails, or the one opened after them."""
    events = []

    class Service:
        def __init__(self, name, **where):
            self.name = name

        def start(self):
            if fails and self.name == "tracer":
                raise RuntimeError("no answer")
            events.append(f"{self.name} started")

        def finish(self):
            events.append(f"{self.name} finished")

    monkeypatch.setattr(tracking, "TensorBoardTracker", Service)
    monkeypatch.setattr(tracking, "WandBTracker", Service)
    monkeypatch.setattr(tracking, "require_installed", lambda names: None)
    with pytest.raises(RuntimeError, match="no answer"), services(["tensorboard", "wandb"], tmp_path):
        raise RuntimeError("no answer")
    both = ["tensorboard started", "tracer started", "tracer finished", "tensorboard finished"]
    assert events == (["tensorboard started", "tensorboard finished"] if fails else both)


DAMAGES = {
    "not JSON": b'{"step": 2, "lo',
    "no step": b'{"loss": 0.5}',
    "a step in words": b'{"step": "two"}',
    "no object": b"[1, 2]",
    "not UTF-8": b'{"step": 2, "name": "\xff"}',
    "zeros": b"\0" * 40,
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_line_costs_itself_alone_and_is_told_once(path, damage, caplog):
    write(path, [1, 2, 3, 4])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], damage + b"\n", *lines[2:]]))
    assert [line["step"] for line in read(path)] == [1, 3, 4]
    assert [record.getMessage() for record in caplog.records] == [f"{path}: line 2 cannot be read, and is left out"]
    write(path, [4], resumed_at=3)
    caplog.clear()
    assert [line["step"] for line in read(path)] == [1, 3, 4]
    assert caplog.records == []


def test_numbers_that_are_not_finite_are_null(path):
    JsonLines(path).log({"loss": float("inf"), "terms": float("nan"), "name": "x"}, 1)
    assert json.loads(path.read_text()) == {"step": 1, "loss": None, "terms": None, "name": "x"}
