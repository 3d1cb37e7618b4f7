import copy
import errno
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from tests.models import RandomBatches, TinyDualEncoder
from tracer import tensor_files
from tracer.averaging import Beta, Clock
from tracer.errors import UserError
from tracer.storage import write_text
from tracer.tensor_files import load_metadata, load_tensors, save_tensors
from tracer.training import randomness
from tracer.training.checkpoints import Checkpoints, Progress
from tracer.training.objective import Objective, Pairing
from tracer.training.teacher import Teacher

IDENTITY = {"seed": 0, "optimization": {"learning_rate": 0.1, "betas": (0.9, 0.98)}}
OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.1, fused=True),
    "adamw of two groups": lambda parameters: torch.optim.AdamW(
        [{"params": (parameters := list(parameters))[:3]}, {"params": parameters[3:], "weight_decay": 0.0}], lr=0.1
    ),
    "adagrad": lambda parameters: torch.optim.Adagrad(parameters, lr=0.1),
}


def started(seed=0, optimizer="adamw", teacher=True):
    model = TinyDualEncoder(seed=seed)
    follower = Teacher(model, Beta(), Clock(20)) if teacher else None
    return Progress(model, OPTIMIZERS[optimizer](model.parameters()), follower)


def advanced(progress, steps):
    """Some steps of training with noise from torch's generator."""
    for _ in range(steps):
        images, tokens = RandomBatches(100)[progress.step][:2]
        features = progress.model(images + 0.1 * torch.randn_like(images), tokens)
        progress.optimizer.zero_grad()
        Objective({"contrastive": 1.0}).of_features(Pairing(features))["contrastive"].backward()
        progress.optimizer.step()
        if progress.teacher:
            progress.teacher.update()
        progress.step += 1
    return progress


def assert_same_tensors(mine, theirs):
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        assert torch.equal(value, theirs[name]), name


def temporaries(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


class TestRoundTrip:
    @pytest.mark.parametrize("teacher", [True, False])
    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_restored_run_goes_on_to_the_last_bit(self, tmp_path, optimizer, teacher):
        checkpoints = Checkpoints(tmp_path, IDENTITY)
        progress = advanced(started(optimizer=optimizer, teacher=teacher), 5)
        checkpoints.save(progress)
        expected = copy.deepcopy(advanced(progress, 3).tensors())
        torch.manual_seed(99)
        resumed = started(seed=4, optimizer=optimizer, teacher=teacher)
        checkpoints.restore(resumed)
        assert resumed.step == 5
        assert_same_tensors(advanced(resumed, 3).tensors(), expected)

    def test_the_newest_of_several_is_restored(self, tmp_path):
        checkpoints, progress = Checkpoints(tmp_path, IDENTITY, keep=3), started()
        for _ in range(3):
            checkpoints.save(advanced(progress, 1))
        newest, resumed = copy.deepcopy(progress.tensors()), started(seed=4)
        checkpoints.restore(resumed)
        assert resumed.step == 3
        assert_same_tensors(resumed.tensors(), newest)

    def test_nothing_saved_nothing_restored(self, tmp_path):
        progress = started()
        Checkpoints(tmp_path / "none", IDENTITY).restore(progress)
        assert progress.step == 0

    def test_hyperparameters_stay_those_of_the_new_run(self, tmp_path):
        """Learning rates belong to the schedule, not to the checkpoint."""
        Checkpoints(tmp_path, IDENTITY).save(advanced(started(), 2))
        resumed = started()
        resumed.optimizer.param_groups[0]["lr"] = 0.007
        Checkpoints(tmp_path, IDENTITY).restore(resumed)
        assert resumed.optimizer.param_groups[0]["lr"] == 0.007


class TestIdentity:
    def test_same_identity_is_accepted(self, tmp_path):
        Checkpoints(tmp_path, IDENTITY).save(advanced(started(), 1))
        assert Checkpoints(tmp_path, copy.deepcopy(IDENTITY)).step() == 1

    def test_every_changed_key_is_named(self, tmp_path):
        Checkpoints(tmp_path, IDENTITY).save(advanced(started(), 1))
        changed = {"seed": 1, "optimization": {"learning_rate": 0.2, "betas": (0.9, 0.98)}}
        with pytest.raises(UserError, match=r"^[^\n]*$") as refused:
            Checkpoints(tmp_path, changed).restore(started())
        assert "optimization.learning_rate was 0.1 and is 0.2" in str(refused.value)
        assert "seed was 0 and is 1" in str(refused.value)
        assert "betas" not in str(refused.value)

    def test_added_and_dropped_keys_are_named(self, tmp_path):
        Checkpoints(tmp_path, IDENTITY).save(advanced(started(), 1))
        with pytest.raises(UserError, match=r"model was None and is 'x'.*optimization was.*is None"):
            Checkpoints(tmp_path, {"seed": 0, "model": "x"}).step()

    def test_other_models_are_refused(self, tmp_path):
        Checkpoints(tmp_path, IDENTITY).save(advanced(started(), 1))
        other = TinyDualEncoder(batch_norm=True)
        with pytest.raises(UserError, match="another model"):
            Checkpoints(tmp_path, IDENTITY).restore(Progress(other, OPTIMIZERS["sgd"](other.parameters()), None))

    def test_checkpoint_without_teacher_is_refused_where_there_is_one(self, tmp_path):
        Checkpoints(tmp_path, IDENTITY).save(advanced(started(teacher=False), 1))
        with pytest.raises(UserError, match="another model or strategy"):
            Checkpoints(tmp_path, IDENTITY).restore(started())

    def test_is_kept_from_before_the_first_step(self, tmp_path):
        Checkpoints(tmp_path / "run", IDENTITY).begin()
        assert Checkpoints(tmp_path / "run", copy.deepcopy(IDENTITY)).step() == 0
        with pytest.raises(UserError, match=r"when the run began \(seed was 0 and is 1\)"):
            Checkpoints(tmp_path / "run", IDENTITY | {"seed": 1}).step()

    def test_run_that_saved_nothing_may_be_abandoned(self, tmp_path):
        checkpoints = Checkpoints(tmp_path / "run", IDENTITY)
        checkpoints.begin()
        checkpoints.abandon()
        assert Checkpoints(tmp_path / "run", {"seed": 1}).step() == 0
        checkpoints.begin()
        checkpoints.save(advanced(started(), 1))
        checkpoints.abandon()
        with pytest.raises(UserError, match="another run"):
            Checkpoints(tmp_path / "run", {"seed": 1}).step()


class TestRotation:
    @pytest.mark.parametrize("keep", [1, 2, 3])
    def test_keeps_the_last(self, tmp_path, keep):
        checkpoints, progress = Checkpoints(tmp_path, IDENTITY, keep=keep), started()
        for _ in range(5):
            checkpoints.save(advanced(progress, 1))
        expected = [f"step-{step:08d}.safetensors" for step in range(6 - keep, 6)]
        assert sorted(path.name for path in tmp_path.iterdir()) == expected
        assert checkpoints.step() == 5

    def test_other_files_are_left_alone(self, tmp_path):
        mine = tmp_path / "step-notes.safetensors"
        mine.write_text("mine")
        progress = started()
        for _ in range(4):
            Checkpoints(tmp_path, IDENTITY, keep=1).save(advanced(progress, 1))
        assert mine.read_text() == "mine"


class TestDamage:
    @pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
    def test_checkpoint_cut_short_is_told_in_a_sentence(self, tmp_path, share):
        checkpoints = Checkpoints(tmp_path, IDENTITY)
        checkpoints.save(advanced(started(), 1))
        path = checkpoints.paths()[-1]
        os.truncate(path, int(share * path.stat().st_size))
        with pytest.raises(UserError, match=r"^[^\n]*damaged or cut short[^\n]*delete it[^\n]*$"):
            checkpoints.restore(started())

    @pytest.mark.parametrize("part", ["header", "anywhere", "checksum"])
    def test_no_flipped_bit_is_accepted(self, tmp_path, part):
        Checkpoints(tmp_path, IDENTITY).save(advanced(started(), 1))
        (path,) = Checkpoints(tmp_path, IDENTITY).paths()
        whole = path.read_bytes()
        checksum = whole.index(b"sha256")
        header = 8 + int.from_bytes(whole[:8], "little")
        start, end = {"header": (0, header), "anywhere": (0, len(whole)), "checksum": (checksum, checksum + 76)}[part]
        rng = np.random.default_rng(60)
        for bit in rng.integers(8 * start, 8 * end, size=60):
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            with pytest.raises(UserError, match=r"damaged or cut short.*delete it to begin again"):
                Checkpoints(tmp_path, IDENTITY).restore(started())
        path.write_bytes(whole)
        Checkpoints(tmp_path, IDENTITY).restore(started())

    def test_deleting_it_goes_back_to_the_one_before(self, tmp_path):
        checkpoints, progress = Checkpoints(tmp_path, IDENTITY), started()
        checkpoints.save(advanced(progress, 2))
        earlier = copy.deepcopy(progress.tensors())
        checkpoints.save(advanced(progress, 2))
        os.truncate(checkpoints.paths()[-1], 100)
        checkpoints.paths()[-1].unlink()
        resumed = started(seed=3)
        checkpoints.restore(resumed)
        assert resumed.step == 2
        assert_same_tensors(resumed.tensors(), earlier)

    def test_absent_file_is_told_in_a_sentence(self, tmp_path):
        for read in (load_tensors, load_metadata):
            with pytest.raises(UserError, match="there is no file"):
                read(tmp_path / "none.safetensors")


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def half_written(tensors, path, metadata=None):
    path.write_bytes(b"half")
    full()


class TestFullDisk:
    @pytest.mark.parametrize(
        ("module", "function", "failure"),
        [
            (tensor_files, "save_file", full),
            (tensor_files, "save_file", half_written),
            (os, "replace", full),
            (os, "fsync", full),
        ],
        ids=["open", "write", "rename", "fsync"],
    )
    def test_earlier_checkpoint_survives(self, tmp_path, monkeypatch, module, function, failure):
        checkpoints, progress = Checkpoints(tmp_path, IDENTITY, keep=1), started()
        checkpoints.save(advanced(progress, 2))
        earlier = copy.deepcopy(progress.tensors())
        monkeypatch.setattr(module, function, failure)
        with pytest.raises(UserError, match=r"^cannot write [^\n]*: the disk is full; [^\n]*$"):
            checkpoints.save(advanced(progress, 2))
        monkeypatch.undo()
        assert temporaries(tmp_path) == []
        resumed = started(seed=3)
        checkpoints.restore(resumed)
        assert_same_tensors(resumed.tensors(), earlier)

    def test_limit_of_the_operating_system(self, tmp_path):
        """A real refusal to write, in a child process whose files may not grow past 1 kB."""
        checkpoints, progress = Checkpoints(tmp_path, IDENTITY), started()
        checkpoints.save(advanced(progress, 2))
        earlier = copy.deepcopy(progress.tensors())
        child = os.fork()
        if child == 0:
            try:
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
                checkpoints.save(advanced(progress, 2))
                os._exit(1)
            except UserError as error:
                os._exit(42 if "cannot write" in str(error) and "\n" not in str(error) else 2)
            except BaseException:
                os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
        assert [path.name for path in tmp_path.iterdir()] == ["step-00000002.safetensors"]
        resumed = started(seed=3)
        checkpoints.restore(resumed)
        assert_same_tensors(resumed.tensors(), earlier)

    def test_file_in_the_folders_place(self, tmp_path):
        (tmp_path / "taken").write_text("")
        with pytest.raises(UserError, match="cannot write"):
            save_tensors(tmp_path / "taken" / "x.safetensors", {"a": torch.zeros(1)}, {})


class TestStorage:
    def test_tensors_and_metadata_survive(self, tmp_path):
        tensors = {"a": torch.randn(3, 4).T, "b": torch.tensor(5), "c": torch.arange(6)[::2]}
        save_tensors(tmp_path / "deep" / "x.safetensors", tensors, {"list": [1, None], "text": "é"})
        assert_same_tensors(load_tensors(tmp_path / "deep" / "x.safetensors"), tensors)
        assert load_metadata(tmp_path / "deep" / "x.safetensors") == {"list": [1, None], "text": "é"}

    def test_what_is_equal_gives_equal_files(self, tmp_path):
        """Names of reports and temperatures have a digest of the file."""
        path, seen = tmp_path / "x.safetensors", set()
        for _ in range(10):
            save_tensors(path, {"a": torch.ones(3), "b": torch.zeros(2)}, {"list": [1, None], "text": "é"})
            seen.add(path.read_bytes())
        assert len(seen) == 1

    def test_files_of_earlier_versions_are_read(self, tmp_path):
        path = tmp_path / "x.safetensors"
        save_file({"a": torch.ones(3)}, path, metadata={"tracer": '{"step": 3}', "sha256": tensor_files._UNSEALED})
        tensor_files._seal(path)
        tensor_files.require_sound(path)
        assert load_metadata(path) == {"step": 3}

    def test_tied_weights_are_written_each(self, tmp_path):
        weight = torch.randn(3, 4)
        tensors = {"a": weight, "b": weight, "c": weight[1:], "d": weight.T}
        save_tensors(tmp_path / "x.safetensors", tensors, {})
        assert_same_tensors(load_tensors(tmp_path / "x.safetensors"), tensors)

    @pytest.mark.parametrize(
        ("failure", "told"),
        [
            (SafetensorError("Error: No space left on device (os error 28)"), "the disk is full; free some space or choose"),
            (PermissionError(errno.EACCES, "Permission denied"), "Permission denied; choose another folder"),
            (RuntimeError("\none line\nand another"), "one line; choose another folder"),
        ],
        ids=["full", "forbidden", "another"],
    )
    def test_advice_fits_the_cause(self, tmp_path, monkeypatch, failure, told):
        def fail(*arguments, **named):
            raise failure

        monkeypatch.setattr(tensor_files, "save_file", fail)
        with pytest.raises(UserError, match=rf"^cannot write [^\n]*x.safetensors: {told}[^\n]*$"):
            save_tensors(tmp_path / "x.safetensors", {}, {})

    def test_whole_file_replaces_the_old_one(self, tmp_path):
        path = tmp_path / "x.safetensors"
        for value in (1.0, 2.0):
            save_tensors(path, {"a": torch.tensor(value)}, {})
        assert load_tensors(path)["a"] == 2
        assert temporaries(tmp_path) == []


def test_what_a_killed_writer_left_behind_goes_with_the_next_text(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f".a.txt.{dead.pid}", f".a.txt.{os.getppid()}", ".a.txt.old", f".b.txt.{dead.pid}"):
        (tmp_path / name).write_text("half")
    write_text(tmp_path / "a.txt", "whole")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a.txt", f".a.txt.{os.getppid()}", ".a.txt.old", f".b.txt.{dead.pid}"}


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine lacks no device")
def test_random_state_of_a_device_that_is_not_there_is_passed_over():
    kept = randomness.random_state()
    torch.rand(3)
    randomness.set_random_state(kept | {"cuda": torch.zeros(16, dtype=torch.uint8)})
    assert torch.equal(torch.get_rng_state(), kept["cpu"])


def test_random_state_round_trip():
    kept = randomness.random_state()
    first = torch.randn(5)
    randomness.set_random_state(kept)
    assert torch.equal(torch.randn(5), first)


class Backend:
    """What torch has for a kind of accelerator: a generator on each of some devices, of which one is in use."""

    def __init__(self, monkeypatch, kind, count, current=0):
        self.states, self.kind, self.count = [torch.tensor([10 * index], dtype=torch.uint8) for index in range(count)], kind, count
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind))
        monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: current)
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
        monkeypatch.setattr(torch, "get_device_module", lambda device: self)

    def get_rng_state(self, *index):
        assert len(index) == (self.count > 1)
        return self.states[index[0] if index else 0].clone()

    def set_rng_state(self, value, *index):
        self.states[index[0] if index else 0] = value


@pytest.mark.parametrize(
    ("kind", "count", "current"), [("cuda", 1, 0), ("cuda", 4, 0), ("cuda", 4, 3), ("mps", 1, 0), ("xpu", 2, 1)]
)
def test_random_state_of_every_device(monkeypatch, kind, count, current):
    backend = Backend(monkeypatch, kind, count, current)
    kept, before = randomness.random_state(), [value.clone() for value in backend.states]
    assert sorted(kept) == sorted(["cpu", *(f"{kind}.{offset}" for offset in range(count))])
    assert torch.equal(kept[f"{kind}.0"], before[current])
    for value in backend.states:
        value += 1
    randomness.set_random_state(kept)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(backend.states, before, strict=True))


def test_random_state_that_processes_share_is_that_of_the_device_in_use(monkeypatch):
    """The first process saves; another, on another device, goes on from the same state."""
    Backend(monkeypatch, "cuda", 2, current=0)
    kept = randomness.random_state()
    other = Backend(monkeypatch, "cuda", 2, current=1)
    randomness.set_random_state(kept)
    assert torch.equal(other.states[1], kept["cuda.0"])


def test_random_state_of_devices_that_are_absent_is_passed_over(monkeypatch):
    Backend(monkeypatch, "cuda", 4)
    kept = randomness.random_state()
    monkeypatch.undo()
    torch.rand(1)
    randomness.set_random_state(kept)
    assert torch.equal(torch.get_rng_state(), kept["cpu"])
