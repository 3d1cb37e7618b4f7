"""Mistakes in folders of images: what is trained on, and what is judged on."""

import io
import os
import unicodedata

import numpy as np
from PIL import Image

from tests.bad_input.case import Case, assert_told, each
from tracer.cli import main

BUFFER = io.BytesIO()
Image.fromarray(np.full((8, 8, 3), 90, dtype=np.uint8)).save(BUFFER, "png")
PNG = BUFFER.getvalue()
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
MET = ("run/student.safetensors",)  # by training, which writes what it runs with before
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"


def link(target):
    return lambda path: path.symlink_to(target)


def folder(path):
    path.mkdir()


def train(path, *settings):
    return " ".join(["train base.yaml", f"data.path={path}", *settings])


def judge(settings):
    return f'evaluate base.yaml "evaluation={{kind: folder, {settings}}}"'


def sound(root="set", classes="ab", images=4):
    return {f"{root}/{name}/{number}.png": PNG for name in classes for number in range(images)}


TRAINING = [
    Case("no such folder", train("absent"), "no folder absent"),
    Case("a file for a folder", train("base.yaml"), "base.yaml is not a folder"),
    Case("a pipe for a folder", train("pipe"), "pipe is not a folder", {"pipe": os.mkfifo}),
    Case("a device for a folder", train("/dev/zero"), "/dev/zero is not a folder"),
    Case("a link to nowhere for a folder", train("gone"), "no folder gone", {"gone": link("nowhere")}),
    Case("a link to itself for a folder", train("loop"), "cannot open the folder loop", {"loop": link("loop")}),
    Case("a name that no file has", train('"a\\0b"').replace('"a\\0b"', "'\"a\\0b\"'"), "cannot hold a NUL"),
    Case("an empty folder", train("set"), "set holds no class folders", {"set": folder}),
    Case("images without class folders", train("set"), "1 in no class folder", {"set/a.png": PNG}),
    Case("class folders without images", train("set"), "no class folders with images", {"set/a/notes.txt": "x", "set/b/x.md": "x"}),
    Case("one empty class folder", train("set"), "1 of the 3 class folders .* first 'c'", {**sound(), "set/c": folder}),
    Case(
        "a class of telephone pictures",
        train("set"),
        r"first 'c', left out were 2 \.heic",
        {**sound(), "set/c/1.heic": b"x", "set/c/2.HEIC": b"x"},
    ),
    Case("a class of hidden files", train("set"), "first 'c', left out were 1 hidden", {**sound(), "set/c/._1.png": PNG}),
    Case("a class of pipes", train("set"), "first 'c', left out were 1 no regular file", {**sound(), "set/c/1.png": os.mkfifo}),
    Case(
        "a class that is a device", train("set"), "left out were 1 no regular file", {**sound(), "set/c/1.png": link("/dev/zero")}
    ),
    Case(
        "a class that leads back",
        train("set"),
        "first 'c', left out were 1 a link to a folder",
        {**sound(), "set/c/up": link("..")},
    ),
    Case("hidden class folders alone", train("set"), "set holds no class folders, left out were 1 hidden", {"set/.a/1.png": PNG}),
    Case("folders of macOS alone", train("set"), "set holds no class folders", {"set/__MACOSX/a/._1.png": PNG}),
    Case(
        "an image that is a link to nowhere",
        train("set"),
        r"set/a/9\.png is a link to /nowhere",
        {**sound(), "set/a/9.png": link("/nowhere")},
    ),
    Case("a class that is a link to nowhere", train("set"), "set/c is a link to nowhere", {**sound(), "set/c": link("nowhere")}),
    Case(
        "an image that is a link to itself", train("set"), r"9\.png is a link to 9\.png", {**sound(), "set/a/9.png": link("9.png")}
    ),
    Case("names that differ in an underscore", train("set"), "underscores", {**sound(classes=("sea_lion", "sea lion"))}),
    Case("two forms of one name", train("set"), "Unicode form", {**sound(classes=(COMPOSED, DECOMPOSED))}),
    Case("synsets for names", train("set"), "WordNet ids, first n02123394", {**sound(classes=("n02123394", "n02124075"))}),
    Case("names for synsets", train("photos", "data.class_names=imagenet"), "3 of 3 class folders that are none of the 1000"),
    Case("an unknown kind of names", train("photos", "data.class_names=wordnet"), "data.class_names cannot be 'wordnet'"),
    Case("a template without a place", train("photos", "'data.templates=[a photo]'"), "'a photo' must have one"),
    Case("a template with two places", train("photos", "\"data.templates=['{} or {}']\""), "must have one"),
    Case("a template with another brace", train("photos", "\"data.templates=['{} }']\""), "no other brace"),
    Case("no templates", train("photos", "'data.templates=[]'"), "data.templates"),
    Case("fewer images than a batch", train("set"), "2 pairs, fewer than one batch of 4", {**sound(images=1)}),
    Case(
        "no image at all under its name",
        train("set", "data.max_corrupt_share=0"),
        r"0\.png \(not an image",
        {f"set/{n}/0.png": b"text" * 9 for n in "abcd"},
        MET,
    ),
    Case(
        "a program under the name of an image",
        train("set", "data.max_corrupt_share=0"),
        "not an image of a known format",
        {f"set/{n}/0.png": POSTSCRIPT for n in "abcd"},
        MET,
    ),
    Case(
        "empty images",
        train("set", "data.max_corrupt_share=0"),
        r"0\.png \(it is empty\)",
        {f"set/{n}/0.png": b"" for n in "abcd"},
        MET,
    ),
    Case(
        "images cut short",
        train("set", "data.max_corrupt_share=0"),
        r"0\.png \(",
        {f"set/{n}/0.png": PNG[:40] for n in "abcd"},
        MET,
    ),
]

CAPTIONED = "train base.yaml 'data={kind: captioned_folder, path: set}'"
CAPTIONS = [
    Case("no folder of captions", CAPTIONED, "no folder set"),
    Case("captions without images", CAPTIONED, "set holds no images", {"set/a.txt": "a cat"}),
    Case("an image without captions", CAPTIONED, r"captions set/a\.txt \(No such file", {"set/a.png": PNG}),
    Case("an empty text file", CAPTIONED, r"set/a\.txt holds no caption", {"set/a.png": PNG, "set/a.txt": " \n"}),
    Case(
        "captions in another encoding", CAPTIONED, r"set/a\.txt .*UTF-8", {"set/a.png": PNG, "set/a.txt": "café".encode("latin-1")}
    ),
    Case("a folder for captions", CAPTIONED, r"set/a\.txt is a folder: name a file in it", {"set/a.png": PNG, "set/a.txt": folder}),
    Case("a pipe for captions", CAPTIONED, r"set/a\.txt is a device or a pipe", {"set/a.png": PNG, "set/a.txt": os.mkfifo}),
    Case("an endless caption", CAPTIONED, r"set/a\.txt is a device or a pipe", {"set/a.png": PNG, "set/a.txt": link("/dev/zero")}),
]

SUITES = [
    Case("no such set", judge("id: absent"), "no folder absent"),
    Case("no such shifted set", judge("id: photos, ood: {sketch: absent}"), "no folder absent"),
    Case("no such set of other things", judge("id: photos, knowledge: {cars: absent}"), "no folder absent"),
    Case(
        "a shifted set of another class",
        judge("id: photos, ood: {sketch: set}"),
        "set sketch .* 1 classes that the task lacks, first 'cats' .did you mean 'cat'",
        sound(classes=("cats", "dog")),
    ),
    Case("a shifted set of nothing", judge("id: photos, ood: {sketch: set}"), "no class folders with images", {"set/cat": folder}),
    Case(
        "synsets as names in a suite",
        judge("id: set"),
        "WordNet ids, first n02123394: write class_names: imagenet",
        sound(classes=("n02123394", "n02124075")),
    ),
    Case(
        "names as synsets in a suite",
        judge("id: photos, class_names: imagenet"),
        "3 of 3 class folders that are none of ImageNet's",
    ),
    Case(
        "a shifted set that lacks the synset",
        judge("id: set, ood: {some: other}, class_names: imagenet"),
        "task lacks, first 'n07753592'",
        {**sound(classes=("n02123394",)), **sound("other", ("n07753592",))},
    ),
    Case("a suite's template without a place", judge("id: photos, templates: [cat]"), "'cat' must have one"),
    Case("an unknown set of templates", judge("id: photos, templates: opena"), "'opena' must have one"),
    Case("a suite's unknown names", judge("id: photos, class_names: wordnet"), "evaluation.class_names cannot be 'wordnet'"),
    Case(
        "two sets of one name",
        judge("id: photos, ood: {x: photos}, knowledge: {x: photos}"),
        "several sets of the suite are called x",
    ),
    Case("a set called id", judge("id: photos, ood: {id: photos}"), "several sets of the suite are called id"),
    Case("a damaged image in a suite", judge("id: set"), r"set/a/0\.png \(not an image", {**sound(), "set/a/0.png": b"text" * 9}),
    Case(
        "a set that leads nowhere",
        judge("id: set"),
        "set/a/9.png is a link to nowhere",
        {**sound(), "set/a/9.png": link("nowhere")},
    ),
    Case("a set of pipes", judge("id: set"), "left out were 1 no regular file", {"set/a/1.png": os.mkfifo}),
    Case(
        "some of ImageNet for all of it",
        "evaluate base.yaml 'evaluation={kind: imagenet, root: ., sets: [], folders: {id: set}}'",
        "not a folder of the 1000 classes",
        sound(classes=("n02123394",)),
    ),
    Case(
        "a table in the place of a suite",
        "evaluate base.yaml 'evaluation={kind: iwildcam, path: photos}'",
        r"no file photos/metadata\.csv",
    ),
]


@each(TRAINING + CAPTIONS + SUITES)
def test_is_told(case, folder, capsys):
    assert_told(case, folder, capsys)


def test_what_is_left_out_is_said(folder, capsys):
    """A suite with what every disk collects is judged, and one line says what was passed over."""
    for name, content in {**sound(classes=("cat", "dog")), "set/cat/.x/0.png": PNG, "set/dog/9.heic": b"x"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    assert main(["evaluate", "base.yaml", "evaluation={kind: folder, id: set}"]) == 0
    assert capsys.readouterr().err == "tracer: left out of set: 1 .heic (not read), 1 hidden\n"
