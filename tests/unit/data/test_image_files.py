import numpy as np
import pytest
from PIL import Image

from tracer.data.image_files import captioned_table, class_folders, images_below
from tracer.errors import UserError

TEMPLATES = ("a photo of a {}.", "a {}")


def picture(path, value, size=(4, 3), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


@pytest.fixture
def folders(tmp_path):
    picture(tmp_path / "sea_lion" / "b.png", (1, 2, 3))
    picture(tmp_path / "sea_lion" / "deep" / "a.PNG", (4, 5, 6))
    picture(tmp_path / "ant" / "a.bmp", (7, 8, 9))
    (tmp_path / "ant" / "notes.txt").write_text("not an image")
    (tmp_path / "readme.txt").write_text("not a class")
    return tmp_path


def csv_file(folder, text, encoding="utf-8"):
    path = folder / "pairs.csv"
    path.write_bytes(text.encode(encoding))
    return path


class TestClassFolders:
    def test_folders_are_classes_in_order(self, folders):
        found = class_folders(folders, TEMPLATES)
        assert found.class_names == ("ant", "sea lion")
        assert found.labels.tolist() == [0, 1, 1]
        assert found.templates == TEMPLATES
        assert [image[0, 0].tolist() for image in found.images] == [[7, 8, 9], [1, 2, 3], [4, 5, 6]]

    def test_images_are_arrays_of_bytes(self, folders):
        image = class_folders(folders, TEMPLATES).images[0]
        assert image.dtype == np.uint8
        assert image.shape == (3, 4, 3)

    def test_every_image_gets_the_captions_of_its_class(self, folders):
        captions = class_folders(folders, TEMPLATES).captioned().captions
        assert captions[1] == ("a photo of a sea lion.", "a sea lion")

    @pytest.mark.parametrize(("mode", "value"), [("L", 7), ("RGBA", (7, 7, 7, 100)), ("1", 1), ("P", 3), ("LA", (7, 100))])
    def test_other_color_modes_are_converted(self, tmp_path, mode, value):
        picture(tmp_path / "x" / "a.png", value, mode=mode)
        assert class_folders(tmp_path, TEMPLATES).images[0].shape == (3, 4, 3)

    @pytest.mark.parametrize("missing", ["none", "ant"], ids=["no folder", "no classes"])
    def test_missing_folders_are_told(self, folders, missing):
        with pytest.raises(UserError, match=missing):
            class_folders(folders / missing, TEMPLATES)

    def test_templates_need_a_place_for_the_name(self, folders):
        with pytest.raises(UserError, match="a photo of it"):
            class_folders(folders, ["a photo of it"])

    def test_unreadable_images_are_told_when_used(self, folders):
        (folders / "ant" / "a.bmp").write_bytes(b"x")
        found = class_folders(folders, TEMPLATES)
        with pytest.raises(UserError, match=r"a\.bmp"):
            found.images[0]


class TestImagesBelow:
    def test_are_in_order_of_their_paths(self, folders):
        picture(folders / "z.png", (9, 9, 9))
        assert [image[0, 0].tolist() for image in images_below(folders)] == [[7, 8, 9], [1, 2, 3], [4, 5, 6], [9, 9, 9]]

    @pytest.mark.parametrize("others", [0, 1])
    def test_without_any_are_told(self, tmp_path, others):
        for number in range(others):
            (tmp_path / f"{number}.heic").write_bytes(b"x")
        left_out = r", left out were 1 \.heic \(not read\)" if others else ""
        with pytest.raises(UserError, match=rf"holds no images \(.*png.*\){left_out}: check the path"):
            images_below(tmp_path)


class TestCaptionedCsv:
    def test_rows_are_pairs(self, folders):
        text = 'title,extra,file\n"an ant, small",1,ant/a.bmp\na séa lion,2,sea_lion/b.png\n'
        pairs = captioned_table(csv_file(folders, text), "file", "title")
        assert pairs.captions == [("an ant, small",), ("a séa lion",)]
        assert [image[0, 0].tolist() for image in pairs.images] == [[7, 8, 9], [1, 2, 3]]

    def test_byte_order_mark_of_spreadsheets_is_no_column(self, folders):
        path = csv_file(folders, "file,title\nant/a.bmp,an ant\n", encoding="utf-8-sig")
        assert len(captioned_table(path, "file", "title")) == 1

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("file,titel\nant/a.bmp,an ant\n", "no column 'title'.*did you mean 'titel'"),
            ("path,title\nant/a.bmp,an ant\n", "no column 'file'"),
            ("", "is empty"),
            ("file,title\nant/a.bmp,\n", "line 2 has nothing in column 'title'"),
            ("file,title\nant/a.bmp,an ant\nant/b.bmp\n", "line 3 has 1 of the header's 2"),
            ("file,title\nant/z.bmp,x\nant/a.bmp,x\nant/y.bmp,x\n", r"2 images that are not there, first .*z\.bmp"),
        ],
    )
    def test_faults_are_told_with_their_place(self, folders, text, message):
        with pytest.raises(UserError, match=rf"pairs\.csv.*{message}"):
            captioned_table(csv_file(folders, text), "file", "title")

    def test_other_encodings_are_told(self, folders):
        path = csv_file(folders, "file,title\nant/a.bmp,féline\n", encoding="latin-1")
        with pytest.raises(UserError, match="UTF-8"):
            captioned_table(path, "file", "title")
