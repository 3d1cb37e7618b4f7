"""Images are found as torchvision's ImageFolder finds them where both take a file, and what is left out is counted."""

import logging
import os
import unicodedata
from collections import Counter

import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from tracer.data import listing
from tracer.data.image_files import captioned_folder, captioned_table, class_folders
from tracer.errors import UserError

TEMPLATES = ("a photo of a {}.",)
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def picture(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), (value, 0, 0)).save(path)
    return path


@pytest.fixture
def photos(tmp_path):
    """Two classes, one with a folder below it."""
    for number, name in enumerate(("cat/a.png", "cat/deep/b.jpg", "dog/c.png")):
        picture(tmp_path / "set" / name, number)
    return tmp_path / "set"


def names(photos):
    found, left_out = listing.images(photos)
    return [str(path.relative_to(photos)) for path in found], +left_out


class TestLinks:
    def test_folders_and_files_are_followed(self, photos, tmp_path):
        for number in range(2):
            picture(tmp_path / "store" / "more" / f"{number}.png")
        (photos / "cat" / "more").symlink_to("../../store/more")
        (photos / "dog" / "one.png").symlink_to(tmp_path / "store" / "more" / "0.png")
        found, left_out = names(photos)
        assert found == ["cat/a.png", "cat/deep/b.jpg", "cat/more/0.png", "cat/more/1.png", "dog/c.png", "dog/one.png"]
        assert not left_out
        assert len(ImageFolder(photos)) == len(found)
        assert class_folders(photos, TEMPLATES).labels.tolist() == [0, 0, 0, 0, 1, 1]

    def test_class_folders_may_be_links(self, photos, tmp_path):
        picture(tmp_path / "store" / "a.png")
        (photos / "ant").symlink_to(tmp_path / "store")
        assert class_folders(photos, TEMPLATES).class_names == ("ant", "cat", "dog")

    @pytest.mark.parametrize("target", [".", "..", "../..", "../../..", "../../cat/deep"])
    def test_loops_end(self, photos, target):
        (photos / "cat" / "deep" / "loop").symlink_to(target)
        found, left_out = names(photos)
        assert found == ["cat/a.png", "cat/deep/b.jpg", "dog/c.png"]
        assert left_out == {"a link to a folder met before": 1}
        assert len(class_folders(photos, TEMPLATES)) == 3

    @pytest.mark.parametrize("target", [".", ".."])
    def test_a_link_to_the_set_is_no_class(self, photos, target):
        (photos / "loop").symlink_to(target)
        assert class_folders(photos, TEMPLATES).class_names == ("cat", "dog")

    def test_links_that_multiply_end(self, tmp_path):
        """Thirty folders, each with two links to the next: a thousand million paths to one image."""
        for number in range(30):
            (tmp_path / "set" / "cat" / str(number)).mkdir(parents=True)
            for name in "ab":
                (tmp_path / "set" / "cat" / str(number) / name).symlink_to(f"../{number + 1}")
        picture(tmp_path / "set" / "cat" / "30" / "x.png")
        found, left_out = names(tmp_path / "set")
        assert len(found) == 1
        assert left_out == {"a link to a folder met before": 60}

    @pytest.mark.parametrize(("name", "target"), [("x.png", "/nowhere/x.png"), ("more", "nowhere"), ("self.png", "self.png")])
    def test_links_to_nowhere_are_told(self, photos, name, target):
        (photos / "cat" / name).symlink_to(target)
        with pytest.raises(UserError, match=rf"cat/{name} is a link to {target} \(.*\): restore what it leads to, or remove it"):
            class_folders(photos, TEMPLATES)

    def test_hidden_links_to_nowhere_are_hidden(self, photos):
        """As Emacs keeps them beside open files."""
        (photos / "cat" / ".#a.png").symlink_to("me@host.1")
        assert len(class_folders(photos, TEMPLATES)) == 3


class TestLeftOut:
    def test_hidden_entries_and_those_of_macos(self, photos, caplog):
        for name in (
            ".thumbnails/a.png",
            "cat/.ipynb_checkpoints/a.png",
            "cat/._a.png",
            "__MACOSX/cat/._a.png",
            "cat/@eaDir/a.png",
        ):
            picture(photos / name)
        for name in (".DS_Store", "cat/.DS_Store", "cat/Thumbs.db", "cat/labels.txt"):
            (photos / name).write_bytes(b"\0")
        found = class_folders(photos, TEMPLATES)
        assert (found.class_names, len(found)) == (("cat", "dog"), 3)
        assert caplog.messages == [f"left out of {photos}: 5 hidden"]

    def test_regular_files_alone_are_images(self, photos, caplog):
        picture(photos / "cat" / "album.jpg" / "inside.png")
        os.mkfifo(photos / "cat" / "pipe.png")
        (photos / "dog" / "zero.png").symlink_to("/dev/zero")
        assert [path.name for path in class_folders(photos, TEMPLATES).images.paths] == ["a.png", "inside.png", "b.jpg", "c.png"]
        assert caplog.messages == [f"left out of {photos}: 2 no regular file"]

    def test_pictures_of_other_formats_are_told(self, photos, caplog):
        for name in ("cat/a.HEIC", "cat/b.heic", "dog/c.gif", "dog/d.webm", "loose.png"):
            (photos / name).write_bytes(b"x")
        assert len(class_folders(photos, TEMPLATES)) == 3
        assert caplog.messages == [f"left out of {photos}: 1 .gif (not read), 2 .heic (not read), 1 in no class folder"]

    def test_nothing_is_said_where_nothing_is_left_out(self, photos, caplog):
        class_folders(photos, TEMPLATES)
        with caplog.at_level(logging.DEBUG):
            listing.tell(photos, Counter(hidden=0))
        assert not caplog.messages

    def test_captioned_folders_are_listed_alike(self, tmp_path, caplog):
        picture(tmp_path / "a.png").with_suffix(".txt").write_bytes("one\x0btwo\x1cthree\u2028four\r\nfive\rsix".encode())
        picture(tmp_path / ".b.png")
        found = captioned_folder(tmp_path)
        assert found.captions == [("one\x0btwo\x1cthree\u2028four", "five", "six")]
        assert caplog.messages == [f"left out of {tmp_path}: 1 hidden"]


class TestRefusals:
    def test_classes_without_images(self, photos):
        (photos / "eel").mkdir()
        (photos / "eel" / "a.heic").write_bytes(b"x")
        with pytest.raises(UserError, match=r"1 of the 3 class folders .* hold no images .* first 'eel', left out were 1 \.heic"):
            class_folders(photos, TEMPLATES)

    def test_images_without_class_folders(self, photos):
        with pytest.raises(UserError, match=r"cat.deep holds no class folders, left out were 1 in no class folder"):
            class_folders(photos / "cat" / "deep", TEMPLATES)

    def test_what_this_user_may_not_read(self, photos, monkeypatch):
        """Tests may run as root, who may read all."""
        monkeypatch.setattr(os, "access", lambda path, mode: path.name != "b.jpg")
        with pytest.raises(UserError, match=r"1 images are not this user's to read, first .*b\.jpg"):
            class_folders(photos, TEMPLATES)

    def test_folders_that_this_user_may_not_list(self, photos, monkeypatch):
        scan = os.scandir

        def closed(path):
            if path.name == "deep":
                raise PermissionError(13, "Permission denied", str(path))
            return scan(path)

        monkeypatch.setattr(os, "scandir", closed)
        with pytest.raises(UserError, match=r"cannot list the folder .*deep \(Permission denied\)"):
            class_folders(photos, TEMPLATES)

    @pytest.mark.parametrize(
        ("name", "message"), [("cat/a.png", "is not a folder"), ("eel", "there is no folder"), ("a\0b", "null")]
    )
    def test_what_is_no_folder(self, photos, name, message):
        with pytest.raises(UserError, match=message):
            class_folders(photos / name, TEMPLATES)

    def test_names_that_are_not_in_unicode(self, photos):
        os.rename(photos / "dog", os.fsencode(photos) + b"/d\xf6g")
        with pytest.raises(UserError, match=r"class folder '.*d\\udcf6g' is not in UTF-8"):
            class_folders(photos, TEMPLATES)


class TestUnicode:
    def test_names_are_composed(self, tmp_path):
        assert COMPOSED != DECOMPOSED
        for number, name in enumerate((DECOMPOSED, "cafz")):
            picture(tmp_path / name / "a.png", number)
        assert class_folders(tmp_path, TEMPLATES).class_names == ("cafz", COMPOSED)

    def test_two_forms_of_one_name_are_told(self, tmp_path):
        for name in (DECOMPOSED, COMPOSED):
            picture(tmp_path / name / "a.png")
        with pytest.raises(UserError, match="Unicode form alone"):
            class_folders(tmp_path, TEMPLATES)

    @pytest.mark.parametrize(("written", "kept"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), (COMPOSED, COMPOSED)])
    def test_tables_find_files_of_the_other_form(self, tmp_path, written, kept):
        picture(tmp_path / kept / f"{kept}.png", 7)
        (tmp_path / "pairs.csv").write_text(f"filepath,title\n{written}/{written}.png,a cup\n", encoding="utf-8")
        assert captioned_table(tmp_path / "pairs.csv", "filepath", "title").images[0][0, 0, 0] == 7
