"""Averages made after a run from its snapshots, against averages that followed it."""

import json
import shutil

import open_clip
import pytest
import torch

from tests.tolerances import FLOAT32_AVERAGE
from tests.unit.runs.test_fine_tune import configured, folders, weights  # noqa: F401 (fixtures)
from tracer.averaging import Beta, Exponential, PowerLaw, Static, Uniform
from tracer.cli import main
from tracer.errors import UserError
from tracer.models import clip
from tracer.runs import average_choice, averages, disk_space
from tracer.runs import fine_tune as running
from tracer.runs.averages import KeptAverages
from tracer.strategies import PRESETS
from tracer.synthesis import STUDENT
from tracer.tensor_files import load_metadata, load_tensors

STEPS = 12


@pytest.fixture
def kept(configured):  # noqa: F811
    """A finished run with snapshots, and its folder."""

    def make(strategy="flyp", average=None, **changes):
        section = {"snapshots": 4, **(average or {})}
        steps = {"total_steps": STEPS, "warmup_steps": 2, **changes.pop("optimization", {})}
        run = configured(strategy, average=section, optimization=steps, **changes)
        running.fine_tune(run)
        return run.output

    return make


def error(found, direct, scale):
    """Largest difference of two sets of tensors, as a share of the scale."""
    assert found.keys() == direct.keys()
    return max(float((found[name].double() - tensor.double()).abs().max()) for name, tensor in direct.items()) / scale


@pytest.mark.parametrize("strategy", ["flyp", "tracer", "ft"])
@pytest.mark.parametrize("kernel", [Beta(0.5, 0.5), PowerLaw(2.0)], ids=["beta", "power law"])
def test_it_is_the_average_that_followed_the_run(kept, tmp_path, strategy, kernel):
    folder = kept(strategy, {"kernel": vars(kernel), "snapshots": 6})
    snapshots = KeptAverages.of(folder)
    made = snapshots.make(kernel)
    made.save(tmp_path / "made")
    told = made.told
    assert told["estimate"] <= told["bound"] < 0.05
    for mine, theirs in {"student": "average", "head": "average-head"}.items():
        if mine == "head" and not PRESETS[strategy].has_head:
            continue
        found, direct = load_tensors(tmp_path / "made" / f"{mine}.safetensors"), load_tensors(folder / f"{theirs}.safetensors")
        allowed = told["bound"] * snapshots.moved + FLOAT32_AVERAGE
        distance = sum(float((found[name].double() - tensor.double()).norm() ** 2) for name, tensor in direct.items()) ** 0.5
        assert distance <= allowed
    other = snapshots.make(STUDENT).encoder.model.state_dict()
    assert (
        error(clip.weights(made.encoder.model), {n.removeprefix("clip."): t for n, t in other.items()}, 1) > 100 * FLOAT32_AVERAGE
    )


def test_what_was_kept_is_made_exactly(kept):
    folder = kept()
    snapshots = KeptAverages.of(folder)
    student = load_tensors(folder / "student.safetensors")
    assert error(clip.weights(snapshots.make(STUDENT).encoder.model), student, 1) <= FLOAT32_AVERAGE
    pretrained = clip.create("glyphs", snapshots.run.model.pretrained).model
    assert error(clip.weights(snapshots.make(Static()).encoder.model), clip.weights(pretrained), 1) <= FLOAT32_AVERAGE
    uniform = load_tensors(folder / "averages" / f"uniform-{STEPS:08d}.safetensors")
    assert error(snapshots.make(Uniform()).encoder.model.state_dict(), uniform, 1) <= FLOAT32_AVERAGE
    assert (
        error(snapshots.make(Uniform()).encoder.model.state_dict(), snapshots.make(Static()).encoder.model.state_dict(), 1) > 1e-3
    )


def test_files_say_what_they_are(kept):
    folder = kept(average={"update_every_steps": 3}) / "averages"
    names = ["end", "power_law", "power_law", "power_law", "power_law", "start", "uniform", "uniform", "uniform", "uniform"]
    assert sorted(path.name.split("-")[0] for path in folder.glob("*-*.safetensors")) == names
    assert load_metadata(folder / "uniform-00000006.safetensors") == {
        "kernel": {"kind": "uniform"},
        "update": 2,
        "step": 6,
        "total_steps": STEPS,
        "update_every": 3,
    }
    assert load_tensors(folder / "lengths.safetensors")["lengths"].shape == (4,)


def test_lengths_are_those_of_the_moves(kept):
    folder = kept(checkpoint_every_steps=1, keep_checkpoints=STEPS)
    lengths = load_tensors(folder / "averages" / "lengths.safetensors")["lengths"]
    start = load_tensors(folder / "averages" / "start-00000000.safetensors")
    model = clip.create("glyphs", None).model
    names = [name for name, _ in model.named_parameters()]
    paths = sorted((folder / "checkpoints").glob("*.safetensors"))
    iterates = [start, *({n: load_tensors(path)[f"student.{n}"] for n in names} for path in paths)]
    for number, length in enumerate(lengths):
        moves = [(iterates[number + 1][name].double() - iterates[number][name].double()).flatten() for name in names]
        assert float(length) == pytest.approx(float(torch.cat(moves).norm()), rel=1e-5)
    assert lengths.min() > 0


def test_frozen_weights_are_not_kept(kept, configured):  # noqa: F811
    model = {"architecture": "glyphs", "pretrained": configured().model.pretrained, "freeze": ["visual.*"]}
    folder = kept(model=model, average={"kernel": {"kind": "beta"}, "snapshots": 6})
    kept_names = load_tensors(folder / "averages" / f"uniform-{STEPS:08d}.safetensors")
    assert not [name for name in kept_names if name.startswith("clip.visual.") and name.endswith("weight")]
    made, direct = KeptAverages.of(folder).make(Beta(0.5, 0.5)), load_tensors(folder / "average.safetensors")
    assert error(clip.weights(made.encoder.model), direct, 1) <= 1e-4


def test_copied_buffers_are_those_of_the_end(kept, configured):  # noqa: F811
    model = {"architecture": "glyphs", "pretrained": configured().model.pretrained, "batch_norm": "tracked"}
    for buffers in ("copy", "average"):
        average = {"kernel": {"kind": "beta"}, "snapshots": 6, "buffers": buffers}
        folder = kept(model=model, average=average, output=str(configured().output / buffers))
        made, direct = KeptAverages.of(folder).make(Beta(0.5, 0.5)), load_tensors(folder / "average.safetensors")
        student = load_tensors(folder / "student.safetensors")
        found = clip.weights(made.encoder.model)
        statistics = [name for name in found if name.endswith("running_var")]
        after = {at: {name: tensors[name] for name in statistics} for at, tensors in (("direct", direct), ("end", student))}
        gap = {at: error({name: found[name] for name in statistics}, each, 1) for at, each in after.items()}
        assert gap["direct"] < 1e-3
        assert (gap["end"] <= FLOAT32_AVERAGE) == (buffers == "copy")


class TestCommand:
    def test_kernel(self, kept, tmp_path, capsys):
        folder = kept()
        assert main(["average", str(folder), "--kernel", "{kind: power_law, beta: 2}"]) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert "mean age 0.333 of the run" in told
        assert "off by at most" in told
        assert "MB" in told
        made = folder / "averages" / "power_law-beta-2"
        assert json.loads((made / "average.json").read_text())["kernel"] == {"kind": "power_law", "beta": 2.0}
        assert main(["average", str(folder), "--kernel", "uniform", "--output", str(tmp_path / "x")]) == 0
        saved = load_tensors(tmp_path / "x" / "student.safetensors")
        assert error(saved, clip.weights(KeptAverages.of(folder).make(Uniform()).encoder.model), 1) == 0

    def test_the_run_may_have_been_moved(self, kept, tmp_path):
        kept().rename(tmp_path / "moved")
        assert main(["average", str(tmp_path / "moved"), "--kernel", "uniform"]) == 0
        assert (tmp_path / "moved" / "averages" / "uniform" / "open_clip_model.safetensors").exists()

    def test_open_clip_loads_it(self, kept, architectures, configured, tmp_path):  # noqa: F811
        weights = tmp_path / "tiny.safetensors"  # noqa: F811
        torch.manual_seed(0)
        clip.save(clip.create("tiny-vit", None).model, weights)
        folder = kept(model={"architecture": "tiny-vit", "pretrained": str(weights)}, data={"kind": "embedded"})
        assert main(["average", str(folder), "--kernel", "{kind: beta}", "--output", str(tmp_path / "made")]) == 0
        model, _ = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path / 'made'}")
        assert error(dict(model.state_dict()), load_tensors(tmp_path / "made" / "student.safetensors"), 1) == 0

    def test_choose(self, kept, folders, capsys):  # noqa: F811
        suite = {"kind": "folder", "id": str(folders), "ood": {"same": str(folders)}, "templates": ["the digit {}"]}
        folder = kept(evaluation=suite)
        other = shutil.copytree(folders, folders.with_name("others"))
        validation = f"validation={{kind: folder, id: {other}, templates: ['the digit {{}}']}}"
        assert main(["average", str(folder), "--choose", validation]) == 0
        told = capsys.readouterr().out
        assert "* has the largest mean" in told
        reports = json.loads((folder / "averages" / "choice.json").read_text())
        assert [report["taken"] for report in reports].count(True) == 1
        ages = [report["mean_age"] for report in reports]
        assert ages == sorted(ages, reverse=True)
        assert ages[0] == 1
        assert ages[-1] == 0
        taken = average_choice.taken(reports)
        assert (folder / "averages" / averages.name_of(taken) / "student.safetensors").exists()
        judged = json.loads((folder / "averages" / "evaluation.json").read_text())
        assert {"trained", "pretrained", "same"} <= {*judged, *judged["sets"]}
        assert (folder / "averages" / "choice.png").exists()
        assert main(["average", str(folder), "--choose", "--same-images"]) == 0


def test_the_disk_has_to_have_room_for_all_files(kept, configured, monkeypatch):  # noqa: F811
    asked = {}
    monkeypatch.setattr(disk_space, "require", lambda place, one, count, all_: asked.update({place: (one, all_)}))
    plain = kept(average={"snapshots": 0}, output=str(configured().output / "plain"))
    folder = kept(average={"kernel": {"kind": "uniform"}, "snapshots": 3})
    more = [mine - theirs for mine, theirs in zip(asked[folder], asked[plain], strict=True)]
    files = [*(folder / "averages").glob("*.safetensors"), folder / "average.safetensors"]
    assert more[1] == pytest.approx(sum(path.stat().st_size for path in files), rel=0.02)
    last = [next((each / "checkpoints").glob("*.safetensors")).stat().st_size for each in (folder, plain)]
    assert more[0] == pytest.approx(last[0] - last[1], rel=0.02)


def test_names_of_kernels_tell_them_apart():
    kernels = [*averages.CANDIDATES, Beta(0.5, 0.5, weighting="pdf"), Beta(0.5, 1.0), Exponential(0.9), Exponential(0.99)]
    assert len({averages.name_of(kernel) for kernel in kernels}) == len(kernels)


class TestBadInput:
    def refused(self, folder, kernel=None):
        with pytest.raises(UserError) as told:
            KeptAverages.of(folder).make(kernel or Uniform())
        return str(told.value)

    def test_no_run(self, tmp_path):
        assert "holds no run" in self.refused(tmp_path)

    def test_no_snapshots(self, configured):  # noqa: F811
        run = configured("flyp")
        running.fine_tune(run)
        assert "kept no averages: train it with average.snapshots" in self.refused(run.output)

    def test_unfinished(self, configured):  # noqa: F811
        def stop(step):
            raise KeyboardInterrupt

        run = configured("flyp", average={"snapshots": 2}, checkpoint_every_steps=1)
        with pytest.raises(KeyboardInterrupt):
            running.fine_tune(run, stop)
        assert "is not finished" in self.refused(run.output)

    @pytest.mark.parametrize("name", ["start", "end"])
    def test_lost_ends(self, kept, name):
        folder = kept()
        next((folder / "averages").glob(f"{name}-*")).unlink()
        assert f"lacks the file that is called {name}" in self.refused(folder)

    def test_fewer_snapshots_do(self, kept):
        folder = kept()
        before = KeptAverages.of(folder).make(PowerLaw(2.0)).told["bound"]
        (folder / "averages" / f"uniform-{STEPS:08d}.safetensors").unlink()
        assert KeptAverages.of(folder).make(PowerLaw(2.0)).told["bound"] > before

    def test_a_kernel_that_they_cannot_express(self, kept):
        folder = kept(average={"snapshots": 1})
        told = self.refused(folder, Beta(400.0, 400.0))
        assert "cannot express Beta(a=400.0, b=400.0" in told
        assert "% of the way that the run went, at most" in told

    def test_a_foreign_file(self, kept):
        folder = kept()
        clip.save(clip.create("glyphs", None).model, folder / "averages" / "mine.safetensors")
        assert "mine.safetensors does not say which average" in self.refused(folder)
