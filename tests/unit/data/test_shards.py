import errno
import io
import json
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tracer.data import shard_index
from tracer.data.images import CorruptSample
from tracer.data.shards import expanded, webdataset
from tracer.errors import UserError


def picture(value, kind="png"):
    file = io.BytesIO()
    Image.fromarray(np.full((4, 3, 3), value, dtype=np.uint8)).save(file, kind)
    return file.getvalue()


def write(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            information = tarfile.TarInfo(name)
            information.size = len(content)
            archive.addfile(information, io.BytesIO(content))


@pytest.fixture
def folder(tmp_path):
    """Two shards of 3 and 2 samples; image i is of value i, and captions tell their number."""
    for shard, numbers in enumerate([(0, 1, 2), (3, 4)]):
        members = []
        for i in numbers:
            members += [
                (f"set/{i:05}.png", picture(i)),
                (f"set/{i:05}.txt", f"Bild {i}, schön\n".encode()),
                (f"set/{i:05}.json", json.dumps({"caption": f"from json {i}"}).encode()),
            ]
        write(tmp_path / f"{shard:03}.tar", [("__index__.json", b"{}"), *members, ("._hidden", b"")])
    return tmp_path


def pattern(folder):
    return f"{folder}/{{000..001}}.tar"


@pytest.mark.parametrize(
    ("written", "paths"),
    [
        ("a.tar", ["a.tar"]),
        ("{08..11}.tar", ["08.tar", "09.tar", "10.tar", "11.tar"]),
        ("{9..10}.tar", ["9.tar", "10.tar"]),
        ("{a,b}/{0..1}.tar", ["a/0.tar", "a/1.tar", "b/0.tar", "b/1.tar"]),
    ],
)
def test_braces(written, paths):
    assert expanded(written) == paths


def test_samples_of_all_shards_are_pairs(folder):
    pairs = webdataset(pattern(folder), "txt")
    assert len(pairs) == 5
    assert [image[0, 0, 0] for image in pairs.images] == [0, 1, 2, 3, 4]
    assert list(pairs.captions) == [(f"Bild {i}, schön",) for i in range(5)]


def test_members_are_read_in_any_order(folder):
    pairs = webdataset(pattern(folder), "txt")
    for i in np.random.default_rng(0).permutation(5):
        assert (pairs.images[i][0, 0, 0], pairs.captions[i]) == (i, (f"Bild {i}, schön",))


def test_hidden_members_are_of_no_sample(folder):
    extra = [
        ("__MACOSX/set/a.png", b"x"),
        (".thumbnails/b.png", b"x"),
        ("./c.png", picture(7)),
        ("./c.txt", b"seven"),
        ("._c.png", b"x"),
    ]
    write(folder / "001.tar", extra)
    pairs = webdataset(f"{folder}/001.tar", "TXT")
    assert [(image[0, 0, 0], captions) for image, captions in zip(pairs.images, pairs.captions, strict=True)] == [(7, ("seven",))]


def test_captions_of_a_list_and_after_a_byte_order_mark(folder):
    listed = json.dumps({"caption": ["a cat", " a pet "]}).encode()
    write(folder / "001.tar", [("0.png", picture(0)), ("0.json", listed), ("0.txt", b"\xef\xbb\xbfa cat\n")])
    assert webdataset(f"{folder}/001.tar", "json.caption").captions[0] == ("a cat", "a pet")
    assert webdataset(f"{folder}/001.tar", "txt").captions[0] == ("a cat",)


def test_captions_in_json(folder):
    assert webdataset(pattern(folder), "json.caption").captions[3] == ("from json 3",)


def test_pairs_go_to_other_processes(folder):
    pairs = pickle.loads(pickle.dumps(webdataset(pattern(folder), "txt")))
    assert pairs.captions[4] == ("Bild 4, schön",)


class TestIndex:
    def test_saves_the_second_reading(self, folder, monkeypatch):
        first = webdataset(pattern(folder), "txt")
        assert sorted(path.name for path in folder.iterdir()) == ["000.tar", "000.tar.index", "001.tar", "001.tar.index"]

        def never(*args):
            raise AssertionError("the shard was read through again")

        monkeypatch.setattr(shard_index, "_scanned", never)
        assert list(webdataset(pattern(folder), "txt").captions) == list(first.captions)
        os.utime(folder / "000.tar", ns=(0, 0))
        with pytest.raises(AssertionError):
            webdataset(pattern(folder), "txt")

    def test_follows_a_shard_that_changes(self, folder):
        webdataset(pattern(folder), "txt")
        write(folder / "001.tar", [("x.png", picture(9)), ("x.txt", b"nine")])
        assert list(webdataset(pattern(folder), "txt").captions)[3:] == [("nine",)]

    def test_follows_content_of_the_same_size_and_time(self, folder):
        """As after `cp --preserve` over it, or on a disk whose clock is coarse."""
        path, whole = folder / "000.tar", webdataset(pattern(folder), "txt")
        before = path.stat()
        with tarfile.open(path) as archive:
            members = [(member.name, archive.extractfile(member).read()) for member in archive if member.isreg()]
        write(path, [members[0], *members[4:7], *members[1:4], *members[7:]])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
        found = webdataset(pattern(folder), "txt")
        assert [captions[0] for captions in found.captions][:3] == [f"Bild {i}, schön" for i in (1, 0, 2)]
        assert [image[0, 0, 0] for image in found.images][:3] == [1, 0, 2]
        assert len(whole) == 5

    @pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"state": 1}', b"\xff", b"[" * 100_000, b"shard 000 holds cats\n"])
    def test_files_of_others_are_left_alone(self, folder, content):
        (folder / "000.tar.index").write_bytes(content)
        assert len(webdataset(pattern(folder), "txt")) == 5
        assert (folder / "000.tar.index").read_bytes() == content

    @pytest.mark.parametrize("make", [lambda path: path.mkdir(), os.mkfifo], ids=["folder", "pipe"])
    def test_what_is_no_file_is_left_alone(self, folder, make):
        make(folder / "000.tar.index")
        assert len(webdataset(pattern(folder), "txt")) == 5
        assert not (folder / "000.tar.index").is_file()

    def test_index_of_the_first_version_is_replaced(self, folder):
        (folder / "000.tar.index").write_text('{"state": {"version": 1, "bytes": 20480}, "samples": []}')
        assert len(webdataset(pattern(folder), "txt")) == 5
        assert shard_index.FORMAT in (folder / "000.tar.index").read_text()

    def test_one_changed_byte_is_noticed(self, folder):
        """Each digit of a place could change into another, and hand out other bytes for an image."""
        webdataset(pattern(folder), "txt")
        index = folder / "000.tar.index"
        whole = index.read_bytes()
        for place in range(0, len(whole), 7):
            index.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert list(webdataset(f"{folder}/000.tar", "txt").captions)[1] == ("Bild 1, schön",)

    def test_goes_without_where_nothing_can_be_written(self, folder, monkeypatch):
        def refused(*args):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "replace", refused)
        assert len(webdataset(pattern(folder), "txt")) == 5
        assert sorted(path.name for path in folder.iterdir()) == ["000.tar", "001.tar"]

    def test_goes_without_on_a_mount_that_refuses_to_remove_too(self, folder, monkeypatch):
        def refused(*args, **kwargs):
            raise OSError(errno.EROFS, "Read-only file system")

        monkeypatch.setattr(Path, "write_bytes", refused)
        monkeypatch.setattr(Path, "unlink", refused)
        assert len(webdataset(pattern(folder), "txt")) == 5


class TestFaults:
    @pytest.mark.parametrize("lost", [1, 600, 2000, 5000])
    def test_shard_cut_short(self, folder, lost):
        """At any place: in a member, in a header, between two members, in the end of the archive."""
        path = folder / "001.tar"
        with tarfile.open(path) as archive:
            archive.getmembers()
            end = archive.offset + tarfile.BLOCKSIZE
        os.truncate(path, end - lost)
        with pytest.raises(UserError, match=r"001\.tar.* cut short"):
            webdataset(pattern(folder), "txt")
        assert not (folder / "001.tar.index").exists()

    def test_shard_cut_at_every_block(self, folder):
        path = folder / "001.tar"
        whole = path.read_bytes()
        with tarfile.open(path) as archive:
            archive.getmembers()
            end = archive.offset
        for length in range(0, end + 1, tarfile.BLOCKSIZE):
            path.write_bytes(whole[:length])
            with pytest.raises(UserError, match=r"001\.tar"):
                webdataset(pattern(folder), "txt")
        path.write_bytes(whole[: end + tarfile.BLOCKSIZE])
        assert len(webdataset(pattern(folder), "txt")) == 5

    def test_damaged_header(self, folder):
        content = bytearray((folder / "001.tar").read_bytes())
        with tarfile.open(folder / "001.tar") as archive:
            content[archive.getmembers()[3].offset] ^= 0xFF
        (folder / "001.tar").write_bytes(content)
        with pytest.raises(UserError, match=r"001\.tar is cut short or damaged"):
            webdataset(pattern(folder), "txt")

    def test_compressed_shard(self, folder):
        for kind, name in (("gz", "gzip"), ("bz2", "bzip2"), ("xz", "xz")):
            with tarfile.open(folder / "001.tar", f"w:{kind}") as archive:
                archive.addfile(tarfile.TarInfo("a.txt"))
            with pytest.raises(UserError, match=rf"001\.tar is no uncompressed tar file but {name}"):
                webdataset(pattern(folder), "txt")

    def test_what_is_no_file(self, folder):
        os.mkfifo(folder / "pipe.tar")
        (folder / "folder.tar").mkdir()
        for name, what in (("pipe", "a device or a pipe"), ("folder", "a folder")):
            with pytest.raises(UserError, match=rf"{name}\.tar is {what}: name a file"):
                webdataset(f"{folder}/{name}.tar", "txt")
        with pytest.raises(UserError, match="/dev/zero is a device or a pipe"):
            webdataset("/dev/zero", "txt")

    @pytest.mark.parametrize("written", ["{0..999999999}.tar", "{0..9999}/{0..9999}.tar", "{0..99999999999999999}.tar"])
    def test_ranges_that_no_disk_holds(self, written):
        with pytest.raises(UserError, match="more than 1000000 shards"):
            expanded(written)

    def test_shard_named_twice(self, folder):
        with pytest.raises(UserError, match="names a shard twice"):
            webdataset(f"{folder}/{{000,001,000}}.tar", "txt")

    def test_member_that_comes_twice(self, folder):
        """As in two archives appended: of two samples one would be lost, or get the other's caption."""
        write(folder / "001.tar", [("0.png", picture(1)), ("0.txt", b"one"), ("1.png", picture(2)), ("0.PNG", picture(3))])
        with pytest.raises(UserError, match=r"0\.PNG comes twice in the shard .*001\.tar"):
            webdataset(pattern(folder), "txt")

    @pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
    def test_member_that_is_no_plain_file(self, folder, kind):
        write(folder / "001.tar", [("a.png", picture(1)), ("a.txt", b"one")])
        with tarfile.open(folder / "001.tar", "a") as archive:
            link = tarfile.TarInfo("b.png")
            link.type, link.linkname = kind, "a.png"
            archive.addfile(link)
        with pytest.raises(UserError, match=r"b\.png in the shard .*001\.tar is a link, sparse, or no file"):
            webdataset(pattern(folder), "txt")

    @pytest.mark.parametrize("name", ["a.png", "._hidden"])
    def test_member_of_a_negative_size(self, folder, name):
        write(folder / "001.tar", [(name, b""), ("b.txt", b"")])
        content = bytearray((folder / "001.tar").read_bytes())
        content[124:136] = b"\xff" * 10 + b"\xfe\x00"  # -512: the next header would be this one
        content[148:156] = b"%06o\0 " % (sum(content[:148]) + 8 * ord(" ") + sum(content[156:512]))
        (folder / "001.tar").write_bytes(content)
        with pytest.raises(UserError, match=r"001\.tar .*negative size"):
            webdataset(pattern(folder), "txt")

    def test_member_whose_name_is_not_in_utf_8(self, folder):
        with tarfile.open(folder / "001.tar", "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as archive:
            archive.addfile(tarfile.TarInfo("caf\xe9.png"))
        with pytest.raises(UserError, match=r"001\.tar has a member 'caf\\udce9\.png', whose name is not in UTF-8"):
            webdataset(pattern(folder), "txt")

    def test_dots_in_names_are_explained(self, folder):
        write(folder / "001.tar", [("v1.0.png", picture(1)), ("v1.0.txt", b"one"), ("v1.5.png", picture(2)), ("v1.5.txt", b"two")])
        with pytest.raises(UserError, match=r"first v1, whose members are .*a sample's name ends at the first dot"):
            webdataset(pattern(folder), "txt")

    def test_missing_shards(self, folder):
        with pytest.raises(UserError, match=r"2 of the 4 shards .* first .*002\.tar"):
            webdataset(f"{folder}/{{000..003}}.tar", "txt")

    def test_empty_range(self):
        with pytest.raises(UserError, match=r"\{5\.\.2\}"):
            expanded("{5..2}.tar")

    def test_shard_without_samples(self, folder):
        write(folder / "001.tar", [])
        with pytest.raises(UserError, match=r"001\.tar holds no samples"):
            webdataset(pattern(folder), "txt")

    @pytest.mark.parametrize(("absent", "what"), [("txt", "caption"), ("png", "image")])
    def test_sample_that_lacks_a_member(self, folder, absent, what):
        members = [("a.png", picture(1)), ("a.txt", b"one"), ("b.png", picture(2)), ("b.txt", b"two"), ("b.cls", b"2")]
        write(folder / "001.tar", [member for member in members if member[0] != f"b.{absent}"])
        with pytest.raises(UserError, match=rf"1 of 2 samples in .*001\.tar have no {what}, first b, whose members are"):
            webdataset(pattern(folder), "txt")

    @pytest.mark.parametrize(
        "content",
        [b"", b"  \n", b"\xff\xfe", b"{}", b'{"caption": 3}', b'{"caption": []}', b'{"caption": ["a", 3]}', b"[1]", b"[" * 100_000],
    )
    def test_unreadable_caption_is_corrupt(self, folder, content):
        suffix = "json" if content[:1] in (b"{", b"[") else "txt"
        write(folder / "001.tar", [("a.png", picture(1)), (f"a.{suffix}", content)])
        caption = "json.caption" if suffix == "json" else "txt"
        pairs = webdataset(f"{folder}/001.tar", caption)
        with pytest.raises(CorruptSample, match=rf"001\.tar/a\.{suffix}"):
            pairs.captions[0]

    def test_damaged_image_is_corrupt(self, folder):
        write(folder / "001.tar", [("a.jpg", picture(1, "jpeg")[:100]), ("a.txt", b"one")])
        with pytest.raises(CorruptSample, match=r"001\.tar/a\.jpg"):
            webdataset(f"{folder}/001.tar", "txt").images[0]

    def test_shard_that_shrinks_in_use(self, folder):
        pairs = webdataset(pattern(folder), "txt")
        os.truncate(folder / "001.tar", 600)
        with pytest.raises(UserError, match=r"001\.tar was cut short"):
            pairs.images[4]
        (folder / "001.tar").unlink()
        with pytest.raises(UserError, match=r"001\.tar \(No such file"):
            pairs.images[4]
