"""A strategy is an entry of `PRESETS` and nothing else: put there, it is configured, trained, resumed and judged."""

import dataclasses

import pytest
import torch

from tests.tolerances import FLOAT32
from tests.unit.runs.test_fine_tune import configured, folders, weights  # noqa: F401 (fixtures)
from tracer.averaging import Static, Uniform
from tracer.config import loading
from tracer.errors import UserError
from tracer.models.merging import interpolate
from tracer.runs import fine_tune as running
from tracer.runs import judging, sweep
from tracer.strategies import PRESETS, Distillation, First, Interpolated, LinearHead, Merged, Preset
from tracer.tensor_files import load_tensors

NEW = {
    "held_half_way": Preset("", "", distillation=Distillation(Static(), frozenset({"fd"})), result=Interpolated()),
    "probed_then_distilled": Preset(
        "", "", first=First("linear_probe"), trains=LinearHead(image_tower=True), distillation=Distillation(Uniform())
    ),
    "ft_half_way": Preset("", "", trains=LinearHead(image_tower=True), result=Interpolated()),
    "twice": Preset("", "", first=First("held_half_way"), distillation=Distillation(Static())),
    "merged_lp_ft": Preset("", "", trains=None, result=Merged("lp_ft")),
}
STEPS = {"held_half_way": 3, "probed_then_distilled": 6, "ft_half_way": 3, "twice": 6, "merged_lp_ft": 12}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    for name, preset in NEW.items():
        monkeypatch.setitem(PRESETS, name, preset)


@pytest.fixture
def judged(folders):  # noqa: F811
    """Values of a configuration: images to train on and to judge by."""
    folder = {"kind": "folder", "templates": ["the digit {}"]}
    return {"data": folder | {"path": str(folders)}, "evaluation": folder | {"id": str(folders), "ood": {"same": str(folders)}}}


def files(run):
    return {path.relative_to(run.output): load_tensors(path) for path in run.output.rglob("*.safetensors")}


def assert_equal_tensors(mine, theirs):
    assert mine.keys() == theirs.keys()
    for path, tensors in mine.items():
        assert all(torch.equal(tensor, theirs[path][key]) for key, tensor in tensors.items()), path


@pytest.mark.parametrize("name", NEW)
def test_trains_resumes_and_is_judged(configured, judged, name):  # noqa: F811
    whole = configured(name, output=str(configured().output / "whole"), checkpoint_every_steps=1, **judged)
    result = running.fine_tune(whole)
    run, seen = configured(name, output=str(configured().output / "resumed"), checkpoint_every_steps=1, **judged), []

    def stop(step):
        seen.append(step)
        raise KeyboardInterrupt

    for _ in range(STEPS[name]):
        with pytest.raises(KeyboardInterrupt):
            running.fine_tune(run, stop)
    resumed = running.fine_tune(run, stop)
    assert seen == list(range(1, run.all_steps + 1)) == list(range(1, STEPS[name] + 1))
    assert_equal_tensors(files(whole), files(run))
    assert resumed.report["sets"] == result.report["sets"]
    compared = judging.verdict(run, resumed)
    assert compared["change"]["sets"].keys() == {"id", "same"}
    assert ("teacher" in compared) == (NEW[name].kernel is not None)
    assert loading.load(run.output / "config.yaml") == run


def test_interpolates_what_it_trained(configured):  # noqa: F811
    """Half way back from the same run without that part; the other end, the trained one itself, is far off."""
    section = {"name": "static_distillation", "terms": {"fd": 2000.0, "crd": 0, "icl": 0, "cross_kd": 0}}
    held = running.fine_tune(configured(strategy_section=section, output=str(configured().output / "held")))
    half = running.fine_tune(configured("held_half_way")).student.model
    middle = interpolate(held.anchor, held.student.model, 0.5)

    def gap(module):
        return max((a - b).abs().max().item() for a, b in zip(half.parameters(), module.parameters(), strict=True))

    assert gap(middle) <= FLOAT32
    assert gap(held.student.model) > 100 * FLOAT32


def test_head_has_a_teacher_and_a_way_back_too(configured, judged):  # noqa: F811
    """The probe's head lies between zero-shot and fine-tuned one; a teacher of the head is averaged, saved and judged with it."""
    result = running.fine_tune(configured("probed_then_distilled", **judged))
    probe = load_tensors(configured().output / "first" / "head.safetensors")["weight"]
    teacher, student = result.others["teacher"].head.weight, result.student.head.weight
    assert torch.equal(load_tensors(configured().output / "teacher-head.safetensors")["weight"], teacher)
    assert not torch.equal(teacher, student)
    assert torch.linalg.vector_norm(teacher - probe) < torch.linalg.vector_norm(student - probe)

    tuned = running.fine_tune(configured("ft", output=str(configured().output / "ft"), **judged))
    half = running.fine_tune(configured("ft_half_way", output=str(configured().output / "half"), **judged))
    untrained = configured("ft", output=str(configured().output / "still"), optimization={"learning_rate": 1e-30}, **judged)
    zero_shot = running.fine_tune(untrained).student.head.weight
    torch.testing.assert_close(half.student.head.weight, (zero_shot + tuned.student.head.weight) / 2, atol=FLOAT32, rtol=0)
    assert (tuned.student.head.weight - zero_shot).abs().max() > 100 * FLOAT32


def test_own_steps_begin_where_the_first_run_ended(configured):  # noqa: F811
    """With a rate too small to move a weight, the result is that of the first run, whose rate is its own."""
    section = {"name": "twice", "probe_learning_rate": 1e-3}
    result = running.fine_tune(configured(strategy_section=section, optimization={"learning_rate": 1e-30}))
    first = load_tensors(configured().output / "first" / "student.safetensors")
    student, anchor = result.student.model.clip.state_dict(), result.anchor.clip.state_dict()
    assert max((student[name] - tensor).abs().max().item() for name, tensor in first.items()) <= FLOAT32
    assert max((anchor[name] - tensor).abs().max().item() for name, tensor in first.items()) > 100 * FLOAT32


class TestSettings:
    def test_follow_from_the_parts(self):
        terms = {f"terms.{term}" for term in PRESETS["tracer"].terms}
        projections, teacher = {"orthogonality", "cross_projection_norm"}, {"strength", "kernel", "update_every_steps", "buffers"}
        probe = {"probe_steps", "probe_learning_rate"}
        assert PRESETS["held_half_way"].settings == {"name", "interpolation", "terms.fd"} | projections | teacher
        assert PRESETS["twice"].settings == {"name", "interpolation"} | probe | projections | teacher | terms
        assert PRESETS["merged_lp_ft"].settings == {"name", "models"} | probe | projections

    def test_others_are_refused(self, configured):  # noqa: F811
        with pytest.raises(UserError, match=r"terms\.crd is 3\.0, but held_half_way does not use it"):
            configured(strategy_section={"name": "held_half_way", "terms": {"crd": 3.0}})

    def test_runs_that_differ_in_their_first_part_alone_have_other_effects(self, configured, monkeypatch):  # noqa: F811
        effects = {configured(strategy_section={"name": "twice", "interpolation": share}).effect() for share in (0.1, 0.2)}
        monkeypatch.setitem(PRESETS, "merged", Preset("", "", trains=None, result=Merged("static_distillation")))
        effects |= {configured(strategy_section={"name": "merged", "strength": strength}).effect() for strength in (0.1, 0.2)}
        assert len(effects) == 4

    def test_sweeps_give_each_strategy_its_own(self, tmp_path):
        base = {"strategy": {"strength": 0.3, "interpolation": 0.2}}
        (tmp_path / "grid.yaml").write_text(
            f"output: {tmp_path}/sweep\nbase: {base}\ngrid: {{strategy.name: [held_half_way, ft_half_way]}}\n"
        )
        _, points = sweep.load(tmp_path / "grid.yaml")
        assert [point.runs[0].strategy.interpolation for point in points] == [0.2, 0.2]
        assert [point.runs[0].strategy.strength for point in points] == [0.3, 0.9]


@pytest.mark.parametrize(
    "parts",
    [
        {"result": Merged("flyp")},
        {"trains": None, "first": First("flyp")},
        {"trains": None, "distillation": Distillation(Static())},
    ],
)
def test_parts_that_would_do_nothing_are_refused(parts):
    with pytest.raises(ValueError, match=r"trains to None|take those parts out"):
        dataclasses.replace(Preset("", "", trains=parts.pop("trains", PRESETS["flyp"].trains)), **parts)
