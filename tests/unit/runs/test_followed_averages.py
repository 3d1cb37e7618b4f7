"""A student is followed by a passive average: it goes its way to the last bit, and the average is the one asked for."""

import pytest
import torch

from tests.tolerances import FLOAT32_AVERAGE
from tests.unit.runs.test_fine_tune import configured, weights  # noqa: F401 (fixtures)
from tracer.averaging import Beta, Clock, PowerLaw, Uniform
from tracer.models.merging import interpolate
from tracer.runs import fine_tune as running
from tracer.strategies import PRESETS, Averaged, Merged, Preset, Towers
from tracer.tensor_files import load_tensors

STEPS = 4
TRAINED = [name for name, preset in PRESETS.items() if preset.trained and name not in ("averaged", "lp_ft")]


def iterates(run):
    """The pretrained weights and those after each step, all steps of the run having been kept."""
    start = load_tensors(run.output / "checkpoints" / f"step-{1:08d}.safetensors")
    names = [name for name, tensor in start.items() if name.startswith("student.") and tensor.is_floating_point()]
    paths = sorted((run.output / "checkpoints").glob("*.safetensors"))
    return {name.removeprefix("student.clip."): [load_tensors(path)[name].double() for path in paths] for name in names}


@pytest.fixture
def followed(configured):  # noqa: F811
    """A run that keeps the checkpoint of every step."""

    def make(strategy, folder="followed", **changes):
        steps = {"optimization": {"total_steps": STEPS}, "checkpoint_every_steps": 1, "keep_checkpoints": STEPS}
        return configured(strategy, output=str(configured().output / folder), **steps, **changes)

    return make


@pytest.mark.parametrize("strategy", TRAINED)
def test_the_student_is_the_same_to_the_last_bit(followed, strategy):
    alone, with_average = followed(strategy, "alone"), followed(strategy, average={"kernel": {"kind": "beta"}, "snapshots": 2})
    for run in (alone, with_average):
        running.fine_tune(run)
    last = f"checkpoints/step-{STEPS:08d}.safetensors"
    theirs, mine = load_tensors(alone.output / last), load_tensors(with_average.output / last)
    assert {name.split(".")[0] for name in mine.keys() - theirs.keys()} == {"average", "snapshots"}
    assert all(torch.equal(tensor, mine[name]) for name, tensor in theirs.items())
    student = "student.safetensors"
    assert all(
        torch.equal(t, load_tensors(alone.output / student)[n]) for n, t in load_tensors(with_average.output / student).items()
    )


@pytest.mark.parametrize("period", [1, 2])
def test_it_is_the_average_of_the_students(followed, period):
    kernel, clock = PowerLaw(0.5), Clock(STEPS, period)
    average = {"kernel": {"kind": "power_law", "beta": 0.5}, "update_every_steps": period}
    run = followed("flyp", average=average)
    result = running.fine_tune(run)
    saved = load_tensors(run.output / "average.safetensors")
    start = {name.removeprefix("clip."): tensor.double() for name, tensor in result.anchor.state_dict().items()}

    def error(kernel):
        errors = []
        for name, after in iterates(run).items():
            nodes = [start[name], *after[period - 1 :: period]]
            wanted = sum(w * node for w, node in zip(kernel.weights(clock), nodes, strict=True))
            errors.append((saved[name].double() - wanted).norm() / wanted.norm().clamp(min=1e-3))
        return max(errors)

    assert error(kernel) <= FLOAT32_AVERAGE
    assert error(Uniform()) > 100 * FLOAT32_AVERAGE


def test_averaged_is_flyp_followed_by_the_average_of_clipood(followed):
    average = {"kernel": {"kind": "beta", "a": 0.5, "b": 0.5}}
    flyp = running.fine_tune(followed("flyp", "flyp", average=average))
    run = followed("averaged")
    result = running.fine_tune(run)
    assert PRESETS["averaged"].average == Beta(0.5, 0.5)
    assert set(flyp.others) == {"average"}
    assert set(result.others) == {"trained"}
    mine, theirs = (load_tensors(run.output.parent / name) for name in ("followed/student.safetensors", "flyp/average.safetensors"))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())
    trained, student = (load_tensors(run.output.parent / f"{name}.safetensors") for name in ("followed/trained", "flyp/student"))
    assert all(torch.equal(tensor, student[name]) for name, tensor in trained.items())
    assert "average.kernel" in (run.output / "README.md").read_text()


@pytest.mark.parametrize("strategy", ["tracer", "ft"])
def test_the_average_of_any_strategy_can_be_its_result(followed, strategy):
    beside = followed(strategy, "beside", average={"kernel": {"kind": "uniform"}})
    run = followed(strategy, average={"kernel": {"kind": "uniform"}, "as_result": True})
    for each in (beside, run):
        running.fine_tune(each)
    parts = ["", "-head"] if PRESETS[strategy].has_head else [""]
    names = {"student": "average", "trained": "student", **({"teacher": "teacher"} if PRESETS[strategy].kernel else {})}
    for mine, theirs in names.items():
        for part in parts:
            found, expected = ((run, mine), (beside, theirs))
            tensors, others = (load_tensors(_file(*each, part)) for each in (found, expected))
            assert all(torch.equal(tensor, others[name]) for name, tensor in tensors.items())


def _file(run, name, part):
    return run.output / (f"{name}{part}.safetensors" if (name, part) != ("student", "-head") else "head.safetensors")


def test_wise_ft_can_interpolate_the_average(followed):
    result = running.fine_tune(followed("wise_ft", average={"kernel": {"kind": "uniform"}, "as_result": True}))
    expected = interpolate(result.anchor, result.others["average"].model, 0.5)
    assert all(torch.equal(a, b) for a, b in zip(result.student.model.parameters(), expected.parameters(), strict=True))
    assert set(result.others) == {"average", "trained"}


def test_it_goes_on_from_a_checkpoint(followed):
    def stop(step):
        if step == 2:
            raise KeyboardInterrupt

    whole, run = followed("averaged", "whole"), followed("averaged")
    running.fine_tune(whole)
    with pytest.raises(KeyboardInterrupt):
        running.fine_tune(run, stop)
    running.fine_tune(run)
    for path in whole.output.rglob("*.safetensors"):
        theirs = load_tensors(run.output / path.relative_to(whole.output))
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in load_tensors(path).items()), path


def test_the_runs_that_a_run_begins_with_are_followed_by_nothing(followed):
    run = followed("lp_ft", average={"kernel": {"kind": "uniform"}})
    running.fine_tune(run)
    assert (run.output / "average-head.safetensors").exists()
    assert not (run.output / "first" / "average.safetensors").exists()


def test_averaged_runs_can_be_merged(followed, monkeypatch):
    monkeypatch.setitem(PRESETS, "averaged_stock", Preset("", "", trains=None, result=Merged("averaged")))
    run = followed("averaged_stock")
    running.fine_tune(run)
    assert (run.output / "seed-0" / "trained.safetensors").exists()


def test_a_strategy_without_steps_has_no_average():
    with pytest.raises(ValueError, match="take those parts out"):
        Preset("", "", trains=None, result=Averaged(Uniform()))
    assert Preset("", "", trains=Towers(), result=Averaged(Uniform())).average == Uniform()
