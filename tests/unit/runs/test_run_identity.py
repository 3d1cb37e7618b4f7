"""What makes another run of a run: other content under the same path does, the same content in another place does not."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from tests import replicas
from tests.models import TinyDualEncoder
from tracer import tensor_files
from tracer.config import loading
from tracer.data import fingerprint
from tracer.runs import run_identity, sources
from tracer.training import run_changes

CLASSES = ("bird", "cat", "dog")


@pytest.fixture
def data(tmp_path):
    """A folder with class folders, captions beside the images, a CSV and a Parquet file, and shards."""
    from pyarrow import Table, parquet

    folder = tmp_path / "data"
    rows = []
    for name in CLASSES:
        (folder / "classes" / name).mkdir(parents=True)
        for number in range(3):
            path = folder / "classes" / name / f"{number}.png"
            Image.fromarray(np.full((4, 4, 3), number, dtype=np.uint8)).save(path)
            path.with_suffix(".txt").write_text(f"a {name}")
            rows.append((f"classes/{name}/{number}.png", f"a {name}"))
    (folder / "pairs.csv").write_text("\n".join(["filepath,title", *(",".join(row) for row in rows)]))
    table = Table.from_pydict({"filepath": [row[0] for row in rows], "title": [row[1] for row in rows]})
    parquet.write_table(table, folder / "pairs.parquet")
    for number in range(2):
        samples = [(f"{i}", {"png": (folder / rows[i][0]).read_bytes(), "txt": rows[i][1].encode()}) for i in range(3)]
        write_shard(folder / f"{number}.tar", samples)
    return folder


def write_shard(path, samples):
    import io
    import tarfile

    with tarfile.open(path, "w") as archive:
        for name, members in samples:
            for suffix, content in members.items():
                member = tarfile.TarInfo(f"{name}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


KINDS = {
    "folder": "classes",
    "captioned_folder": "classes",
    "csv": "pairs.csv",
    "parquet": "pairs.parquet",
    "webdataset": "{0..1}.tar",
}


GLYPHS = {"architecture": "glyphs"}


def of(folder, kind="folder", **changes):
    """The identity of a run on data of a kind in a folder."""
    run = loading.validate({"model": GLYPHS, "data": {"kind": kind, "path": str(folder / KINDS[kind])}, **changes}, "here")
    listed = sources.labelled_images(run.data)
    return run_identity.of_run(run, sources.training_pairs(run.data) if listed is None else listed)


def changed(then, now):
    return run_changes.changes(then, json.loads(json.dumps(now)), "step 50 was saved")


@pytest.mark.parametrize("kind", KINDS)
def test_moved_data_are_the_same(data, kind, tmp_path):
    then = of(data, kind)
    assert then["content"]["data"]["pairs"] == (6 if kind == "webdataset" else 9)
    data.rename(tmp_path / "elsewhere")
    assert changed(then, of(tmp_path / "elsewhere", kind)) == ""
    assert str(tmp_path) not in json.dumps(then)


def rename_class(data):
    (data / "classes" / "cat").rename(data / "classes" / "pussycat")


def add_image(data):
    for suffix in ("png", "txt"):
        shutil.copy(data / "classes" / "cat" / f"0.{suffix}", data / "classes" / "cat" / f"9.{suffix}")


def rename_image(data):
    for suffix in ("png", "txt"):
        (data / "classes" / "cat" / f"0.{suffix}").rename(data / "classes" / "cat" / f"9.{suffix}")


def take_class_away(data):
    shutil.rmtree(data / "classes" / "dog")


def move_image(data):
    for suffix in ("png", "txt"):
        (data / "classes" / "cat" / f"0.{suffix}").rename(data / "classes" / "dog" / f"7.{suffix}")


def rewrite_caption(data):
    (data / "classes" / "cat" / "0.txt").write_text("a tiger")


def swap_captions(data):
    rows = (data / "pairs.csv").read_text().replace("0.png,a bird", "0.png,a dog")
    (data / "pairs.csv").write_text(rows)


def add_row(data):
    (data / "pairs.csv").write_text((data / "pairs.csv").read_text() + "\nclasses/cat/0.png,a cat")


def lengthen_caption(data):
    write_shard(data / "1.tar", [(f"{i}", {"png": b"x", "txt": b"longer"}) for i in range(3)])


def rename_member(data):
    content = (data / "1.tar").read_bytes()
    write_shard(data / "1.tar", [(f"{i + 5}", {"png": b"x", "txt": b"a"}) for i in range(3)])
    assert (data / "1.tar").read_bytes() != content


OTHERS = [
    ("folder", rename_class, "3 classes, 'cat' is gone, 'pussycat' is new"),
    ("folder", take_class_away, "9 pairs then and 6 now, 3 classes then and 2 now, 'dog' is gone"),
    ("folder", add_image, "9 pairs then and 10 now"),
    ("folder", rename_image, "other files"),
    ("folder", move_image, "other files, other labels"),
    ("captioned_folder", add_image, "9 pairs then and 10 now"),
    ("captioned_folder", rewrite_caption, "other captions"),
    ("captioned_folder", rename_image, "other files"),
    ("csv", swap_captions, "other captions"),
    ("csv", add_row, "9 pairs then and 10 now"),
    ("webdataset", lengthen_caption, "other files"),
    ("webdataset", rename_member, "other files"),
]


@pytest.mark.parametrize(("kind", "change", "told"), OTHERS, ids=[f"{kind}-{change.__name__}" for kind, change, _ in OTHERS])
def test_other_content_under_the_same_path_is_told(data, kind, change, told):
    then = of(data, kind)
    change(data)
    assert changed(then, of(data, kind)) == f"data.path has other pairs than when step 50 was saved: {told}"


def test_classes_in_another_order_are_told():
    then = {"pairs": 2, "classes": ["a", "b"], "labels": "x"}
    assert fingerprint.changes(then, then | {"classes": ["b", "a"]}) == ["2 classes", "in another order"]
    many = [f"class {i}" for i in range(20)]
    assert fingerprint.changes(then, then | {"classes": many})[-1].endswith("'class 4' and 15 more are new")


def test_iwildcam_counts_too(tmp_path):
    rows, categories = [("train", 0, (0, 0)), ("train", 1, (0, 0))], [(0, "cat"), (1, "dog")]
    root = replicas.iwildcam(tmp_path / "wilds", rows, categories)
    run = loading.validate({"model": GLYPHS, "data": {"kind": "iwildcam", "path": str(root)}}, "here")
    then = run_identity.of_run(run, sources.labelled_images(run.data))
    root.rename(tmp_path / "moved")
    run = loading.validate({"model": GLYPHS, "data": {"kind": "iwildcam", "path": str(tmp_path / "moved")}}, "here")
    assert then["content"]["data"]["pairs"] == 2
    assert changed(then, run_identity.of_run(run, sources.labelled_images(run.data))) == ""


def test_embedded_world_needs_no_fingerprint():
    run = loading.validate({}, "here")
    assert run_identity.of_run(run, sources.labelled_images(run.data))["content"] == {}


def of_replay(images, texts):
    """The content of further images and texts that a configuration names so."""
    run = loading.validate({"strategy": {"name": "flyp"}, "replay": {"images": images, "texts": texts}}, "here")
    return run_identity.of_run(run, None, sources.pool(run.replay.images, 4, 0) if images else ())["content"]


class TestReplay:
    @pytest.fixture
    def bank(self, tmp_path):
        path = tmp_path / "bank.txt"
        path.write_text("the digit one\n\nthe digit two\n")
        return path

    @pytest.mark.parametrize(
        ("kind", "path", "change", "told"),
        [
            ("images", "classes", add_image, "9 images then and 10 now"),
            ("images", "classes", rename_image, "other files"),
            ("folder", "classes", move_image, "other files"),
            ("captioned_folder", "classes", add_image, "9 images then and 10 now"),
            ("csv", "pairs.csv", add_row, "9 images then and 10 now"),
            ("webdataset", "{0..1}.tar", rename_member, "other files"),
        ],
    )
    def test_moved_images_are_the_same_and_others_are_told(self, data, tmp_path, kind, path, change, told):
        def found(folder):
            return of_replay({"kind": kind, "path": str(folder / path)}, None)

        then = found(data)
        data.rename(tmp_path / "elsewhere")
        assert found(tmp_path / "elsewhere") == then
        assert str(tmp_path) not in json.dumps(then)
        change(tmp_path / "elsewhere")
        assert fingerprint.changes(then["images"], found(tmp_path / "elsewhere")["images"]) == [told]

    @pytest.mark.parametrize(
        ("kind", "path", "change"),
        [("csv", "pairs.csv", swap_captions), ("captioned_folder", "classes", rewrite_caption)],
    )
    def test_captions_of_images_count_for_nothing(self, data, kind, path, change):
        then = of_replay({"kind": kind, "path": str(data / path)}, None)
        change(data)
        assert of_replay({"kind": kind, "path": str(data / path)}, None) == then

    def test_texts_count_in_their_order_wherever_they_are(self, bank, tmp_path):
        then = of_replay(None, {"kind": "file", "path": str(bank)})
        (tmp_path / "other.txt").write_text("\ufeffthe digit one\r\nthe digit two", encoding="utf-8")
        assert of_replay(None, {"kind": "file", "path": str(tmp_path / "other.txt")}) == then
        for texts, told in (("the digit two\nthe digit one", "other wording"), ("the digit one", "2 texts then and 1 now")):
            (tmp_path / "other.txt").write_text(texts)
            now = of_replay(None, {"kind": "file", "path": str(tmp_path / "other.txt")})
            assert fingerprint.changes(then["texts"], now["texts"]) == [told]

    @pytest.mark.parametrize("kind", ["noise", "photographs", "embedded"])
    def test_what_is_drawn_or_shipped_needs_no_fingerprint(self, kind):
        assert of_replay({"kind": kind}, {"kind": "words"}) == {}


def test_settings_are_told_with_both_values(data):
    then, now = of(data), of(data, seed=3, optimization={"learning_rate": 0.5})
    told = "other settings than when step 50 was saved (optimization.learning_rate was 0.001 and is 0.5; seed was 0 and is 3)"
    assert changed(then, now) == told


@pytest.mark.parametrize(("one", "other", "same"), [("local-dir:a", "local-dir:b", True), ("ViT-B-16", "ViT-B-32", False)])
def test_folder_of_a_model_is_a_place_and_an_architecture_is_not(data, one, other, same):
    then, now = (of(data, model={"architecture": name, "pretrained": None}) for name in (one, other))
    assert (changed(then, now) == "") == same


class TestWeights:
    def identity(self, model, named="a.pt", configuration=None):
        return run_identity.with_weights({"content": {}}, named, model, configuration or {"width": 8})

    def test_same_weights_of_another_name_are_the_same(self):
        then, now = self.identity(TinyDualEncoder(seed=1)), self.identity(TinyDualEncoder(seed=1), "b.pt")
        assert changed(then, now) == ""

    def test_others_are_told_with_their_names(self):
        then = self.identity(TinyDualEncoder(seed=1))
        told = "model.pretrained holds other weights than when step 50 was saved"
        assert changed(then, self.identity(TinyDualEncoder(seed=2))) == told
        assert changed(then, self.identity(TinyDualEncoder(seed=2), "b.pt")) == f"{told} (it was 'a.pt' and is 'b.pt')"

    def test_every_bit_counts(self):
        model = TinyDualEncoder()
        then = self.identity(model)
        with torch.no_grad():
            model.words.weight.view(torch.int32)[3, 2] ^= 1
        assert changed(then, self.identity(model)) != ""

    def test_another_configuration_is_told(self):
        """Heads, say, of which no tensor speaks."""
        then = self.identity(TinyDualEncoder(), configuration={"vision": {"heads": 2}})
        told = changed(then, self.identity(TinyDualEncoder(), configuration={"vision": {"heads": 4}}))
        assert told == "other settings than when step 50 was saved (model.vision.heads was 2 and is 4)"

    def test_types_shapes_and_names_count(self):
        tensors = {"a": torch.zeros(2, 3), "b": torch.tensor(1.0)}
        others = [
            {"a": torch.zeros(3, 2), "b": torch.tensor(1.0)},
            {"c": torch.zeros(2, 3), "b": torch.tensor(1.0)},
            {"a": torch.zeros(2, 3, dtype=torch.int32), "b": torch.tensor(1.0)},
            {"a": torch.zeros(2, 3)},
        ]
        digests = {tensor_files.digest(each) for each in (tensors, *others)}
        assert len(digests) == 5
        assert tensor_files.digest(dict(reversed(tensors.items()))) in digests

    def test_weights_that_are_not_known_yet_are_not_compared(self):
        whole = self.identity(TinyDualEncoder())
        assert changed(whole, {"content": {}}) == ""
        assert changed({"content": {}}, whole) != ""
