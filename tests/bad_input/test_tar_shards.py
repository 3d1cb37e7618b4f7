"""Mistakes in WebDataset shards."""

import gzip
import io
import os
import tarfile

from tests.bad_input.case import Case, assert_told, each
from tests.unit.data.test_shards import picture, write
from tracer.cli import main

MET = ("run/student.safetensors",)  # captions are read while training, which writes what it runs with before
MEMBERS = [member for i in range(4) for member in ((f"{i}.png", picture(i)), (f"{i}.txt", b"a bird"))]


def train(path="s.tar", **settings):
    further = "".join(f", {name}: {value}" for name, value in settings.items())
    return f"train base.yaml 'data={{kind: webdataset, path: \"{path}\"{further}}}'"


def shard(name, answer, members, ruins=("run",), **settings):
    return Case(name, train(**settings), answer, {"s.tar": lambda path: write(path, members)}, ruins)


def archive(*members, **options):
    """A tar file of members that are given by their headers."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", **options) as tar:
        for name, changes in members:
            information = tarfile.TarInfo(name)
            for attribute, value in changes.items():
                setattr(information, attribute, value)
            tar.addfile(information)
    return file.getvalue()


def whole():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in MEMBERS:
            information = tarfile.TarInfo(name)
            information.size = len(content)
            tar.addfile(information, io.BytesIO(content))
    return file.getvalue()


CASES = [
    Case("no shard", train(), "1 of the 1 shards s.tar are not there"),
    Case("one shard of three", train("{a,b,s}.tar"), "2 of the 3 shards .* first a.tar", {"s.tar": whole()}),
    Case("a range to nowhere", train("{0..999999999}.tar"), "more than 1000000 shards"),
    Case("ranges that multiply", train("{0..9999}{0..9999}.tar"), "more than 1000000 shards"),
    Case("a range of twenty digits", train("{0..99999999999999999999}.tar"), "more than 1000000 shards"),
    Case("a range of three hundred digits", train("{0..%s}.tar" % ("9" * 300)), "more than 1000000 shards"),
    Case("a range downwards", train("{9..0}.tar"), r"the range \{9\.\.0\} .* is empty"),
    Case("a shard twice", train("{s,s}.tar"), "names a shard twice", {"s.tar": whole()}),
    Case("a folder for a shard", train(), "s.tar is a folder: name a file in it", {"s.tar": lambda path: path.mkdir()}),
    Case("a pipe for a shard", train(), "s.tar is a device or a pipe", {"s.tar": os.mkfifo}),
    Case("a device for a shard", train("/dev/zero"), "/dev/zero is a device or a pipe"),
    Case("an empty file", train(), "s.tar is no uncompressed tar file", {"s.tar": b""}),
    Case("zeros", train(), "s.tar holds no samples", {"s.tar": bytes(10240)}),
    Case("text for a shard", train(), "s.tar is no uncompressed tar file", {"s.tar": b"filepath,title\n" * 100}),
    Case("a compressed shard", train(), "no uncompressed tar file but gzip", {"s.tar": gzip.compress(whole())}),
    Case("a zip file", train(), "no uncompressed tar file but zip", {"s.tar": b"PK\x03\x04" + bytes(1000)}),
    Case("a shard cut short in a member", train(), "s.tar .*cut short", {"s.tar": whole()[:600]}),
    Case("a shard cut short at a header", train(), "s.tar is cut short or damaged after", {"s.tar": whole()[:2048]}),
    Case(
        "a damaged header",
        train(),
        "s.tar is cut short or damaged after 1 samples",
        {"s.tar": whole()[:2048] + b"\xff" + whole()[2049:]},
    ),
    shard("no samples", "s.tar holds no samples", []),
    shard("hidden members alone", "s.tar holds no samples", [("._0.png", b"x"), ("__meta__.json", b"{}"), (".x/0.png", b"x")]),
    shard("a sample that comes twice", "0.png comes twice in the shard s.tar", MEMBERS + MEMBERS),
    shard("a member that comes twice", "1.txt comes twice", [*MEMBERS, ("1.txt", b"a cat")]),
    shard("a member twice in another case", "0.PNG comes twice", [*MEMBERS, ("0.PNG", picture(9))]),
    shard(
        "a sample without an image",
        "1 of 5 samples in s.tar have no image, first 9, whose members are txt",
        [*MEMBERS, ("9.txt", b"x")],
    ),
    shard("a sample without a caption", "1 of 5 samples in s.tar have no caption, first 9", [*MEMBERS, ("9.png", picture(1))]),
    shard("dots in names", "a sample's name ends at the first dot", [("v1.0.png", picture(1)), ("v1.0.txt", b"x")]),
    shard("captions in another member", "have no caption, .* none of json", MEMBERS, caption="json.text"),
    shard(
        "no text in a caption",
        r"0.txt \(it holds no caption\)",
        [(n, c and (b" " if n == "0.txt" else c)) for n, c in MEMBERS],
        MET,
        max_corrupt_share=0,
    ),
    shard(
        "a caption in another encoding",
        r"2.txt \(it is not text in UTF-8\)",
        [(n, b"\xff" if n == "2.txt" else c) for n, c in MEMBERS],
        MET,
        max_corrupt_share=0,
    ),
    shard(
        "JSON that is nested too deeply",
        r"json \(its JSON is nested too deeply\)",
        [(n.replace("txt", "json"), b"[" * 100_000 if "txt" in n else c) for n, c in MEMBERS],
        MET,
        caption="json.text",
        max_corrupt_share=0,
    ),
    shard(
        "JSON without the key",
        r"json \(it is not JSON with the key 'text'\)",
        [(n.replace("txt", "json"), b"{}" if "txt" in n else c) for n, c in MEMBERS],
        MET,
        caption="json.text",
        max_corrupt_share=0,
    ),
    shard(
        "a number for a caption",
        r"json \(it holds int under 'text', not text\)",
        [(n.replace("txt", "json"), b'{"text": 3}' if "txt" in n else c) for n, c in MEMBERS],
        MET,
        caption="json.text",
        max_corrupt_share=0,
    ),
    shard("fewer samples than a batch", "1 pairs, fewer than one batch of 4", MEMBERS[:2], ruins=("run",)),
    Case(
        "a link in a shard",
        train(),
        "9.png in the shard s.tar is a link",
        {"s.tar": archive(("9.png", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}))},
    ),
    Case(
        "a hard link in a shard",
        train(),
        "9.png in the shard s.tar is a link",
        {"s.tar": archive(("9.png", {"type": tarfile.LNKTYPE, "linkname": "0.png"}))},
    ),
    Case(
        "a pipe in a shard",
        train(),
        "9.png in the shard s.tar is a link, sparse, or no file",
        {"s.tar": archive(("9.png", {"type": tarfile.FIFOTYPE}))},
    ),
    Case(
        "a name that is not in UTF-8",
        train(),
        "whose name is not in UTF-8",
        {"s.tar": archive(("caf\xe9.png", {}), encoding="latin-1", format=tarfile.GNU_FORMAT)},
    ),
]


@each(CASES)
def test_is_told(case, folder, capsys):
    assert_told(case, folder, capsys)


def test_the_file_of_another_beside_a_shard_is_left_alone(folder):
    (folder / "s.tar").write_bytes(whole())
    (folder / "s.tar.index").write_text("mine\n")
    assert main(["train", "base.yaml", "data={kind: webdataset, path: s.tar}"]) == 0
    assert (folder / "s.tar.index").read_text() == "mine\n"
