"""Mistakes in tables of images and captions."""

import os

import pyarrow
from pyarrow import parquet

from tests.bad_input.case import Case, assert_told, each
from tracer.cli import main

IMAGES = [f"photos/{name}/{number}.png" for name in ("bird", "cat", "dog") for number in range(2)]
HEADER, FIRST = "filepath,title\n", f"{IMAGES[0]},a bird\n"


def train(path="pairs.csv", **settings):
    further = "".join(f", {name}: {value}" for name, value in settings.items())
    return f"train base.yaml 'data={{kind: {'parquet' if path.endswith('parquet') else 'csv'}, path: {path}{further}}}'"


def table(name, answer, content, **settings):
    return Case(name, train(**settings), answer, {"pairs.csv": content} if content is not None else {})


def columns(name, answer, **changes):
    kept = {"filepath": IMAGES, "title": ["a"] * 6} | changes
    return Case(
        name, train("pairs.parquet"), answer, {"pairs.parquet": lambda path: parquet.write_table(pyarrow.table(kept), path)}
    )


CSV = [
    table("no table", "no file pairs.csv", None),
    table("an empty table", "pairs.csv is empty", ""),
    table("a table of blank lines", "pairs.csv is empty", "\n\r\n\n"),
    table("a header alone", "pairs.csv lists no images", HEADER),
    table("a table without a header", "has no column 'filepath'", FIRST * 6),
    table("a misspelt column", "has no column 'title' .did you mean 'titel'", f"filepath,titel\n{FIRST}"),
    table("a misspelt setting", "has no column 'caption'", HEADER + FIRST * 6, caption_column="caption"),
    table("a repeated column", "several columns called 'title'", f"filepath,title,title\n{IMAGES[0]},a,b\n"),
    table(
        "a comma in a caption",
        "line 3 has 3 fields, more than the header's 2, with commas",
        f"{HEADER}{FIRST}{IMAGES[1]},a bird, asleep\n",
    ),
    table("a row without a caption", "line 3 has 1 of the header's 2", f"{HEADER}{FIRST}{IMAGES[1]}\n"),
    table("an empty caption", "line 3 has nothing in column 'title'", f"{HEADER}{FIRST}{IMAGES[1]},\n"),
    table("a caption of spaces", "line 3 has nothing in column 'title'", f"{HEADER}{FIRST}{IMAGES[1]},   \n"),
    table("an empty path", "line 3 has nothing in column 'filepath'", f"{HEADER}{FIRST},a bird\n"),
    table(
        "a fault after a caption of three lines",
        "line 5 has nothing in column 'title'",
        f'{HEADER}{IMAGES[0]},"a\nb\nc"\n{IMAGES[1]},\n',
    ),
    table("a fault after blank lines", "line 6 has nothing in column 'title'", f"{HEADER}\n\n{FIRST}\n{IMAGES[1]},\n"),
    table(
        "a fault in a table of an old Macintosh",
        "line 3 has nothing in column 'title'",
        f"{HEADER}{FIRST}{IMAGES[1]},\n".replace("\n", "\r"),
    ),
    table(
        "a quote that is never closed",
        "line 3 opens a quote that is never closed",
        f'{HEADER}{FIRST}{IMAGES[1]},"a bird\n{FIRST * 4}',
    ),
    table(
        "a quote that another row closes",
        "line 2 opens a quote that closes in line 4 in the middle",
        f'{HEADER}{IMAGES[0]},"a\n{FIRST}{IMAGES[1]},a "big" bird\n',
    ),
    table("text after a quote", "line 2 opens a quote that closes in the middle", f'{HEADER}{IMAGES[0]},"a" bird\n'),
    table("a space before a quote", "line 2 has a space between a separator and a quote", f'{HEADER}{IMAGES[0]}, "a bird"\n'),
    table("a stray quote", "line 3 has a stray quote", f'{HEADER}{FIRST}{IMAGES[1]},a bird" of prey\n'),
    table(
        "a caption without an end", "line 2 has a field of more than 131072 characters", f"{HEADER}{IMAGES[0]},{'word ' * 30_000}\n"
    ),
    table(
        "a quote over the whole table", "line 2 has a field of more than 131072", f'{HEADER}{IMAGES[0]},"a bird\n' + FIRST * 10_000
    ),
    table("latin-1", "line 3 is not in UTF-8", f"{HEADER}{FIRST}{IMAGES[1]},un café\n".encode("latin-1")),
    table("UTF-16", "pairs.csv is in UTF-16", f"{HEADER}{FIRST}".encode("utf-16")),
    table("zero bytes", "line 2 holds a zero byte", f"{HEADER}{IMAGES[0]},a\0b\n"),
    table("a picture for a table", "pairs.csv line 3 holds a zero byte", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
    table("a folder for a table", "pairs.csv is a folder: name a file in it", lambda path: path.mkdir()),
    table("a pipe for a table", "pairs.csv is a device or a pipe", os.mkfifo),
    Case("a device for a table", train("/dev/zero"), "/dev/zero is a device or a pipe"),
    table("an absent image", r"names 1 images that are not there, first nothing\.png", f"{HEADER}{FIRST}nothing.png,x\n"),
    table(
        "a folder for an image", "names 1 images that are no regular files, first photos/cat", f"{HEADER}photos/cat,a cat\n{FIRST}"
    ),
    table("a device for an image", "no regular files, first /dev/zero", f"{HEADER}/dev/zero,nothing\n{FIRST}"),
    table(
        "addresses for paths",
        "names 6 images by address, first https://example.com/0.png: download",
        HEADER + "https://example.com/0.png,a\n" * 6,
    ),
    table("captions in the place of paths", "6 images that are not there, first a bird", HEADER + FIRST * 6, image_column="title"),
    table(
        "long captions in the place of paths",
        r"images that are not there, first (word ){9,}.*\.\.\.",
        f"{HEADER}{IMAGES[0]},{'word ' * 2000}\n",
        image_column="title",
    ),
    table("an absent home", "images that are not there", f"{HEADER}~/nothing/here.png,x\n"),
    table("fewer pairs than a batch", "1 pairs, fewer than one batch of 4", f"{HEADER}{FIRST}"),
    table("another separator than said", "has no column 'filepath'", HEADER + FIRST * 6, separator='";"'),
    table("a separator of two characters", "data.separator is ',,'", HEADER + FIRST * 6, separator='",,"'),
    table("a quote for a separator", "data.separator is '\"'", HEADER + FIRST * 6, separator='"\\""'),
    table("semicolons", "line 3 has 3 fields, .* with semicolons", f"filepath;title\n{IMAGES[0]};a\n{IMAGES[1]};b;c\n"),
    table("tabs", "line 3 has 1 of the header's 2, with tabs", f"filepath\ttitle\n{IMAGES[0]}\ta\n{IMAGES[1]} a\n"),
]

PARQUET = [
    Case("no Parquet file", train("pairs.parquet"), "no file pairs.parquet"),
    Case(
        "text for a Parquet file",
        train("pairs.parquet"),
        "cannot read pairs.parquet .*check that it is a Parquet",
        {"pairs.parquet": HEADER + FIRST},
    ),
    Case("an empty Parquet file", train("pairs.parquet"), "cannot read pairs.parquet", {"pairs.parquet": b""}),
    Case("a pipe for a Parquet file", train("pairs.parquet"), "device or a pipe", {"pairs.parquet": os.mkfifo}),
    columns("captions that are numbers", "column 'title' holds int64, not text", title=[1, 2, 3, 4, 5, 6]),
    columns("captions that are bytes", "column 'title' holds binary, not text", title=[b"a"] * 6),
    columns("captions that are lists", "column 'title' holds list", title=[["a", "b"]] * 6),
    columns("captions that are nothing", "column 'title' holds null, not text", title=[None] * 6),
    columns("one caption that is nothing", "row 2 has no text in column 'title'", title=["a", None, *"abcd"]),
    columns("images in the table", "column 'filepath' holds struct", filepath=[{"bytes": b"x", "path": "a.png"}] * 6),
    columns("a Parquet file of other columns", "no column 'title' .did you mean 'titles'", title=["a"] * 6)._replace(
        files={"pairs.parquet": lambda path: parquet.write_table(pyarrow.table({"filepath": IMAGES, "titles": IMAGES}), path)}
    ),
    columns("an absent image in Parquet", r"1 images that are not there, first x\.png", filepath=["x.png", *IMAGES[1:]]),
    columns("addresses in Parquet", "names 6 images by address, first s3://bucket/a", filepath=["s3://bucket/a"] * 6),
]


@each(CSV + PARQUET)
def test_is_told(case, folder, capsys):
    assert_told(case, folder, capsys)


def test_tabs_are_read_as_open_clip_train_writes_them(folder):
    (folder / "pairs.csv").write_text("filepath\ttitle\n" + "".join(f'{image}\ta "nice", quiet bird\n' for image in IMAGES))
    assert main(["train", "base.yaml", "data={kind: csv, path: pairs.csv}"]) == 0
    assert (folder / "run" / "student.safetensors").is_file()
