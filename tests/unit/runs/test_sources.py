"""Training data from configurations, each read from files in its published format."""

import sys

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from tests.unit.data.test_shards import picture as encoded
from tests.unit.data.test_shards import write as write_tar
from tracer.config import loading
from tracer.data import label_tables
from tracer.errors import UserError
from tracer.runs.sources import require_toy_is_meant, training_pairs


def pairs(**data):
    section = {name: str(v) if name == "path" else v for name, v in data.items()}
    return training_pairs(loading.validate({"model": {"architecture": "glyphs"}, "data": section}, "here").data)


def picture(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 3, 3), value, dtype=np.uint8)).save(path)
    return path


def values(found):
    return [int(image[0, 0, 0]) for image in found.images]


class TestTables:
    @pytest.fixture
    def columns(self, tmp_path):
        for i in range(3):
            picture(tmp_path / "images" / f"{i}.png", i)
        return {"filepath": [f"images/{i}.png" for i in (2, 0, 1)], "title": ["two", "zero", "eins, schön"], "other": [1, 2, 3]}

    def write(self, folder, columns):
        parquet.write_table(pyarrow.table(columns), folder / "pairs.parquet")
        return folder / "pairs.parquet"

    def test_parquet_equals_csv(self, tmp_path, columns):
        found = pairs(kind="parquet", path=self.write(tmp_path, columns))
        rows = [f'{a},"{b}"' for a, b in zip(columns["filepath"], columns["title"], strict=True)]
        (tmp_path / "pairs.csv").write_text("\n".join(["filepath,title", *rows]), encoding="utf-8")
        same = pairs(kind="csv", path=tmp_path / "pairs.csv")
        assert values(found) == values(same) == [2, 0, 1]
        assert found.captions == same.captions == [("two",), ("zero",), ("eins, schön",)]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"title": None}, "no column 'title'"),
            ({"title": ["a", None, "c"]}, "row 2 has no text in column 'title'"),
            ({"title": [1, 2, 3]}, "column 'title' holds int64, not text"),
            ({"title": [b"a", b"b", b"c"]}, "column 'title' holds binary, not text"),
            ({"title": [["a"], ["b"], ["c"]]}, r"column 'title' holds list<.*string>, not text"),
            ({"title": [None, None, None]}, "column 'title' holds null, not text"),
            ({"filepath": ["images/0.png", "x.png", "y.png"]}, r"2 images that are not there, first .*x\.png"),
            ({"filepath": [], "title": [], "other": []}, "lists no images"),
        ],
    )
    def test_faults_of_parquet_are_told(self, tmp_path, columns, changes, message):
        columns = {name: value for name, value in (columns | changes).items() if value is not None}
        with pytest.raises(UserError, match=rf"pairs\.parquet.*{message}"):
            pairs(kind="parquet", path=self.write(tmp_path, columns))

    @pytest.mark.parametrize(
        ("content", "message"), [(None, "there is no file"), (b"", "cannot read"), (b"nonsense" * 10, "cannot read")]
    )
    def test_what_is_no_parquet_is_told(self, tmp_path, content, message):
        if content is not None:
            (tmp_path / "pairs.parquet").write_bytes(content)
        with pytest.raises(UserError, match=rf"{message} .*pairs\.parquet"):
            pairs(kind="parquet", path=tmp_path / "pairs.parquet")

    def test_missing_extra_is_told(self, tmp_path, columns, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(UserError, match=r"pip install 'tracer-clip\[parquet\]'"):
            pairs(kind="parquet", path=self.write(tmp_path, columns))

    def test_empty_csv_is_told(self, tmp_path):
        (tmp_path / "pairs.csv").write_text("filepath,title\n")
        with pytest.raises(UserError, match=r"pairs\.csv lists no images"):
            pairs(kind="csv", path=tmp_path / "pairs.csv")


class TestCaptionedFolder:
    def test_text_files_hold_the_captions(self, tmp_path):
        for name, value, text in (("b", 2, "two\n\nthe second \n"), ("deep/a", 1, "\ufeffone")):
            picture(tmp_path / f"{name}.png", value).with_suffix(".txt").write_text(text, encoding="utf-8")
        found = pairs(kind="captioned_folder", path=tmp_path)
        assert values(found) == [2, 1]
        assert found.captions == [("two", "the second"), ("one",)]

    @pytest.mark.parametrize(
        ("content", "message"), [(None, r"a\.txt \(No such"), (b" \n", r"a\.txt holds no"), (b"\xff", r"a\.txt .*UTF-8")]
    )
    def test_missing_captions_are_told(self, tmp_path, content, message):
        picture(tmp_path / "a.png", 1)
        if content is not None:
            (tmp_path / "a.txt").write_bytes(content)
        with pytest.raises(UserError, match=message):
            pairs(kind="captioned_folder", path=tmp_path)

    def test_missing_images_are_told(self, tmp_path):
        for path in (tmp_path, tmp_path / "none"):
            with pytest.raises(UserError, match=str(path)):
                pairs(kind="captioned_folder", path=path)


class TestImageNet:
    @pytest.fixture
    def folder(self, tmp_path):
        for synset, value in (("n01440764", 1), ("n03773504", 2), ("n04008634", 3)):
            picture(tmp_path / synset / f"{synset}_1.JPEG", value)
        return tmp_path

    def test_published_tables(self):
        assert (label_tables.imagenet_synsets()[0], label_tables.imagenet_class_names()[0]) == ("n01440764", "tench")
        assert list(label_tables.imagenet_synsets()) == sorted(label_tables.imagenet_synsets())
        assert len(label_tables.imagenet_class_names()) == len(label_tables.imagenet_synsets()) == 1000
        assert len(set(label_tables.openai_templates())) == 80
        assert all(template.count("{}") == 1 for template in label_tables.openai_templates())

    def test_folders_named_by_synset(self, folder):
        """Two classes share the name "missile", and both may be there."""
        found = pairs(kind="folder", path=folder, class_names="imagenet", templates="openai")
        assert len(found) == 3
        assert [len(captions) for captions in found.captions] == [80] * 3
        assert found.captions[0][0] == "a bad photo of a tench."
        assert found.captions[1] == found.captions[2]
        assert "a bad photo of a missile." in found.captions[1]

    def test_templates_of_ones_own_beside_a_set(self, folder):
        found = pairs(kind="folder", path=folder, class_names="imagenet", templates=["openai", "my {}"])
        assert found.captions[0][80:] == ("my tench",)

    def test_class_folders_take_the_set_too(self, folder):
        for synset, name in (("n01440764", "tench"), ("n03773504", "one"), ("n04008634", "two")):
            (folder / synset).rename(folder / name)
        assert pairs(kind="folder", path=folder, templates="openai").captions[2][0] == "a bad photo of a two."
        assert pairs(kind="folder", path=folder, templates="openai").captions[1][0] == "a bad photo of a tench."

    def test_synsets_are_not_taken_for_names(self, folder):
        with pytest.raises(UserError, match="WordNet ids, first n01440764: write class_names: imagenet"):
            pairs(kind="folder", path=folder)

    def test_strange_folders_are_told(self, folder):
        picture(folder / "tench" / "a.png", 1)
        with pytest.raises(UserError, match="1 of 4 class folders that are none of the 1000 classes, first 'tench'"):
            pairs(kind="folder", path=folder, class_names="imagenet")

    def test_unknown_set_of_templates_is_told(self, folder):
        with pytest.raises(UserError, match=r"'opena' must have one \{\}"):
            pairs(kind="folder", path=folder, class_names="imagenet", templates="opena")


class TestIWildCam:
    METADATA = (
        ",split,location,y,filename,image_id\n0,train,3,0,a.jpg,1\n1,test,4,1,b.jpg,2\n2,train,3,2,c.jpg,3\n3,id_test,3,2,d.jpg,4\n"
    )
    CATEGORIES = "y,category_id,name\n0,0,empty\n1,2,ocellated turkey\n2,7,ocelot\n99999,8,start\n99999,9,end\n"

    @pytest.fixture
    def root(self, tmp_path):
        for value, name in enumerate("abcd"):
            picture(tmp_path / "train" / f"{name}.jpg", value)
        (tmp_path / "metadata.csv").write_text(self.METADATA)
        (tmp_path / "categories.csv").write_text(self.CATEGORIES)
        return tmp_path

    def test_training_split(self, root):
        found = pairs(kind="iwildcam", path=root)
        assert values(found) == [0, 2]
        assert found.captions == [("a photo of empty.", "empty in the wild."), ("a photo of ocelot.", "ocelot in the wild.")]

    def test_names_of_another_table(self, root):
        (root / "labels.csv").write_text("y,english\n0,background\n1,turkey\n2,cat\n")
        found = pairs(kind="iwildcam", path=root, categories="labels.csv", name_column="english", templates="a {}")
        assert found.captions == [("a background",), ("a cat",)]

    @pytest.mark.parametrize(
        ("table", "old", "new", "message"),
        [
            ("metadata", "train", "trian", "no images of the split 'train'.*'trian'"),
            ("metadata", "filename", "file", "no column 'filename'"),
            ("metadata", "c.jpg", "z.jpg", r"1 images that are not there, first .*z\.jpg"),
            ("metadata", ",2,c.jpg", ",x,c.jpg", "line 4 has 'x' in column 'y'"),
            ("metadata", "\n1,test", "\n\n\n1,test,4,x,b.jpg,2\n1,test", "line 5 has 'x' in column 'y'"),
            ("metadata", ",1,b.jpg", ",,b.jpg", "line 3 has nothing in column 'y'"),
            ("categories", "name", "nome", "no column 'name'.*'nome'"),
            ("categories", "2,7,ocelot", "99999,7,ocelot", "names no class 2"),
            ("categories", "1,2,ocellated turkey", "0,2,ocellated turkey", "class 0 both 'empty' and 'ocellated turkey'"),
        ],
    )
    def test_faults_are_told(self, root, table, old, new, message):
        text = (root / f"{table}.csv").read_text()
        assert old in text
        (root / f"{table}.csv").write_text(text.replace(old, new))
        with pytest.raises(UserError, match=rf"{table}\.csv .*{message}"):
            pairs(kind="iwildcam", path=root)

    @pytest.mark.parametrize("table", ["metadata", "categories"])
    def test_missing_tables_are_told(self, root, table):
        (root / f"{table}.csv").unlink()
        with pytest.raises(UserError, match=rf"{table}\.csv"):
            pairs(kind="iwildcam", path=root)


def test_webdataset(tmp_path):
    for shard in range(2):
        write_tar(tmp_path / f"{shard}.tar", [("a.png", encoded(shard)), ("a.txt", b"caption %d" % shard)])
    found = pairs(kind="webdataset", path=f"{tmp_path}/{{0..1}}.tar")
    assert values(found) == [0, 1]
    assert list(found.captions) == [("caption 0",), ("caption 1",)]


@pytest.mark.parametrize(("caption", "size"), [("the digit zero", 40), ("a cat", 32)])
def test_toy_is_refused_for_pairs_that_begin_as_its_own(tmp_path, caption, size):
    """Of pairs without labels more than the first is looked at: here others come later, of other words or sizes."""
    for number in range(100):
        later = number >= 50
        path = tmp_path / f"{number:03}.png"
        Image.new("RGB", (size if later else 32,) * 2).save(path)
        path.with_suffix(".txt").write_text(caption if later else "the digit one")
    run = loading.validate({"data": {"kind": "captioned_folder", "path": str(tmp_path)}}, "here")
    with pytest.raises(UserError, match="embedded toy would be used, and data is not for it"):
        require_toy_is_meant(run, "data", training_pairs(run.data))
    (tmp_path / "050.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="embedded toy would be used, and data is not for it"):
        require_toy_is_meant(run, "data", training_pairs(run.data))
