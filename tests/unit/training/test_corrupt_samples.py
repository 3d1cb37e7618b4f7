import json

import numpy as np
import pytest
import torch
from PIL import Image

from tests.models import tiny_encoder
from tests.pace import without_pace
from tracer.config import loading, schema
from tracer.data.datasets import CaptionedImages
from tracer.data.images import CorruptSample
from tracer.errors import UserError
from tracer.runs import build, judging, sources
from tracer.runs import fine_tune as running
from tracer.tensor_files import load_tensors
from tracer.tracking import read
from tracer.training.batches import Batches, load
from tracer.training.corrupt_samples import CorruptSamples

STEPS = 12


class Damaged(list):
    """Images of which some cannot be read."""

    broken: frozenset = frozenset()

    def __getitem__(self, index):
        if index in self.broken:
            raise CorruptSample(f"{index}.png", "it is empty")
        return super().__getitem__(int(index))


def batches(broken=(), count=10, size=3, share=1.0, seed=0):
    images = Damaged(np.full((1, 2, 3), i, dtype=np.uint8) for i in range(count))
    images.broken = frozenset(broken)
    return Batches(
        CaptionedImages(images, [(f"{i} 0 0", f"{i} 1 1") for i in range(count)]), tiny_encoder(), size, STEPS, seed, share
    )


def numbers(batch):
    return batch.tokens[:, 0].tolist()


class TestSubstitution:
    def test_sound_batches_are_left_alone(self):
        sound, damaged = batches(), batches({4})
        alike = [step for step in range(STEPS) if 4 not in numbers(sound[step])]
        assert 0 < len(alike) < STEPS
        for step in alike:
            assert torch.equal(sound[step].images, damaged[step].images)
            assert torch.equal(sound[step].tokens, damaged[step].tokens)
            assert damaged[step].skipped is None

    def test_the_same_row_of_a_later_batch_stands_in(self):
        sound, damaged = batches(count=12), batches({4, 7}, count=12)
        seen = 0
        for step in range(STEPS):
            epoch, position = divmod(step, 4)
            later = [numbers(sound[4 * epoch + (position + ahead) % 4]) for ahead in range(4)]
            expected = [next(batch[row] for batch in later if batch[row] not in (4, 7)) for row in range(3)]
            assert numbers(damaged[step]) == expected
            assert len(set(expected)) == 3
            seen += expected != later[0]
        assert seen > 2

    def test_any_pair_stands_in_where_no_such_row_is_readable(self):
        broken, last = set(range(7)), batches()
        for step in range(STEPS):
            assert set(numbers(batches(broken)[step])) <= {7, 8, 9}
        order = last._order(0).tolist()
        assert numbers(batches(set(order[1:-1]))[0]) == [order[0], order[-1], order[-1]]

    def test_images_stay_with_their_captions(self):
        encoder, data = tiny_encoder(), batches({4, 7})
        data.augment = encoder.preprocess
        for batch in load(data, 0, STEPS):
            assert torch.equal(batch.images, batch.tokens[:, :1] / 128 - torch.ones(3, 6))

    @pytest.mark.parametrize("workers", [0, 2])
    def test_depends_on_seed_and_step_alone(self, tmp_path, workers):
        once = [numbers(batch) for batch in load(batches({1, 4}), 0, STEPS)]
        later = [numbers(batch) for batch in load(batches({1, 4}), 5, STEPS, workers)]
        assert later == once[5:]
        assert [numbers(batch) for batch in load(batches({1, 4}, seed=1), 0, STEPS)] != once

    def test_a_set_without_enough_readable_pairs_is_refused(self):
        with pytest.raises(UserError, match=r"\d\.png \(it is empty\): of the 7 pairs outside the batch none can be read"):
            batches(range(10))[0]

    def test_one_batch_does_not_search_beyond_the_share(self):
        with pytest.raises(UserError, match=r"3 of the 10 training pairs met so far are corrupt.* 0\.2 allows, first \d\.png"):
            batches(range(8), share=0.2)[0]

    def test_other_faults_are_not_passed_over(self):
        data = batches()
        data.pairs.images.__class__ = type("Gone", (Damaged,), {"__getitem__": lambda self, index: 1 / 0})
        with pytest.raises(ZeroDivisionError):
            data[0]


class TestCount:
    @pytest.mark.parametrize("workers", [0, 2])
    def test_each_corrupt_pair_counts_once(self, tmp_path, workers):
        corrupt_samples = CorruptSamples(tmp_path / "skipped.jsonl", 0.3, 10)
        counts = [len(corrupt_samples) for _ in load(batches({1, 4, 8}), 0, STEPS, workers, corrupt_samples)]
        assert counts == sorted(counts)
        assert counts[-1] == 3
        assert {error.sample for error in corrupt_samples.samples} == {"1.png", "4.png", "8.png"}
        lines = [json.loads(line) for line in (tmp_path / "skipped.jsonl").read_text().splitlines()]
        assert [line["sample"] for line in lines] == [error.sample for error in corrupt_samples.samples]
        assert all(counts[line["step"] - 1] > (counts[line["step"] - 2] if line["step"] > 1 else 0) for line in lines)

    @pytest.mark.parametrize("workers", [0, 2])
    def test_too_many_stop_the_run(self, tmp_path, workers):
        corrupt_samples = CorruptSamples(tmp_path / "skipped.jsonl", 0.2, 10)
        with pytest.raises(UserError, match=r"3 of the 10 .*0\.2 allows, first .\.png \(it is empty\)"):
            list(load(batches({1, 4, 8}, share=0.2), 0, STEPS, workers, corrupt_samples))

    def test_a_resumed_run_forgets_what_came_after_its_checkpoint(self, tmp_path):
        first = CorruptSamples(tmp_path / "skipped.jsonl", 1, 10)
        for step in (2, 5):
            first.add([CorruptSample(f"{step}.png", "it is empty")], step)
        again = CorruptSamples(tmp_path / "skipped.jsonl", 1, 10, resumed_at=4)
        assert [error.sample for error in again.samples] == ["2.png"]

    def test_a_large_pool_lets_no_more_pairs_pass(self, tmp_path):
        corrupt_samples = CorruptSamples(tmp_path / "skipped.jsonl", 0.2, 10, replay=(0.01, 1000))
        met = [CorruptSample(f"{i}.png", "it is empty") for i in range(11)]
        corrupt_samples.add(met[:10], 1, replayed=True)
        corrupt_samples.add(met[:2], 1)
        assert len(corrupt_samples) == 12, "a file may be of both"
        for replayed, told in ((False, r"3 of the 10 training pairs"), (True, r"11 of the 1000 replay images")):
            again = CorruptSamples(tmp_path / "skipped.jsonl", 0.2, 10, 1, replay=(0.01, 1000))
            with pytest.raises(UserError, match=told):
                again.add(met[10:], 1, replayed)

    def test_nothing_is_written_for_sound_data(self, tmp_path):
        list(load(batches(), 0, STEPS, 0, CorruptSamples(tmp_path / "skipped.jsonl", 0, 10)))
        assert list(tmp_path.iterdir()) == []


class Stopped(Exception):
    pass


class TestRun:
    """The embedded model on 30 images, 3 of them damaged, each in its own way."""

    @pytest.fixture
    def table(self, tmp_path):
        folder, rng = tmp_path / "pairs", np.random.default_rng(0)
        folder.mkdir()
        for i in range(30):
            Image.fromarray(rng.integers(256, size=(32, 32, 3), dtype=np.uint8)).save(folder / f"{i}.png")
        (folder / "3.png").write_bytes(b"")
        (folder / "11.png").write_bytes((folder / "11.png").read_bytes()[:300])
        (folder / "20.png").write_bytes(b"not an image")
        rows = [f"{i}.png,the digit {name}" for i, name in enumerate(["one", "two", "three"] * 10)]
        (folder / "pairs.csv").write_text("\n".join(["filepath,title", *rows]), encoding="utf-8")
        return folder / "pairs.csv"

    @pytest.fixture
    def configured(self, tmp_path, table):
        def make(name, share=0.1, workers=0):
            return loading.validate(
                {
                    "output": str(tmp_path / name),
                    "model": {"architecture": "glyphs", "pretrained": "0"},
                    "data": {"kind": "csv", "path": str(table), "max_corrupt_share": share},
                    "evaluation": None,
                    "strategy": {"name": "flyp"},
                    "optimization": {"total_steps": 8, "batch_size": 7},
                    "log_every_steps": 1,
                    "checkpoint_every_steps": 3,
                    "workers": workers,
                },
                "here",
            )

        return make

    def logged(self, run):
        return [json.loads(line)["data.skipped"] for line in (run.output / "metrics.jsonl").read_text().splitlines()]

    @pytest.mark.parametrize("workers", [0, 2])
    def test_resumed_equals_uninterrupted(self, configured, workers):
        whole, parts = configured("whole"), configured("parts", workers=workers)
        result = running.fine_tune(whole)

        def stop(step):
            if step == 5:
                raise Stopped

        with pytest.raises(Stopped):
            running.fine_tune(parts, stop)
        resumed = running.fine_tune(parts)
        assert self.logged(whole)[-1] == 3
        assert [error.sample.rsplit("/", 1)[1] for error in resumed.skipped] == [
            error.sample.rsplit("/", 1)[1] for error in result.skipped
        ]
        assert (parts.output / "skipped.jsonl").read_bytes() == (whole.output / "skipped.jsonl").read_bytes()
        metrics = [[without_pace(line) for line in read(run.output / "metrics.jsonl")] for run in (whole, parts)]
        assert metrics[0] == metrics[1]
        saved = [load_tensors(run.output / "student.safetensors") for run in (whole, parts)]
        assert all(torch.equal(saved[0][name], saved[1][name]) for name in saved[0])

    def test_a_run_that_met_too_many_may_be_allowed_more(self, configured):
        with pytest.raises(UserError, match=r"data\.max_corrupt_share = 0\.05"):
            running.fine_tune(configured("run", share=0.05))
        assert not (configured("run").output / "student.safetensors").exists()
        assert len(running.fine_tune(configured("run", share=0.1)).skipped) == 3

    def test_evaluation_refuses_what_training_passes_over(self, configured, tmp_path):
        for name in ("one", "two"):
            (tmp_path / "test" / name).mkdir(parents=True)
            (tmp_path / "test" / name / "a.png").write_bytes(b"")
        run = configured("run").model_copy(
            update={"evaluation": schema.FolderSuite(kind="folder", id=tmp_path / "test", templates=("the digit {}",))}
        )
        with pytest.raises(UserError, match=r"one/a\.png \(it is empty\)"):
            judging.judge(build.load_encoder(run), sources.evaluation_suite(run.evaluation), tmp_path / "judged")
