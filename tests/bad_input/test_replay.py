"""Mistakes in what is replayed: pools of images, banks of texts, and strategies that have no use for them."""

import io
import os

import numpy as np
from PIL import Image

from tests.bad_input.case import Case, assert_told, each


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(buffer, "png")
    return buffer.getvalue()


BLANK = png(np.full((8, 8, 3), 90))
SOUND = png(np.arange(192).reshape(8, 8, 3))
POOL = {f"pool/{number}.png": SOUND for number in range(4)}


def train(replay, *settings, strategy="flyp"):
    return " ".join([f'train base.yaml strategy.name={strategy} "replay={replay}"', *settings])


def pool(section="path: pool", *settings, texts="null"):
    return train(f"{{images: {{kind: images, {section}}}, texts: {texts}}}", *settings)


def bank(section):
    return train(f"{{images: null, texts: {section}}}")


CASES = [
    Case("no such pool", pool(), "no folder pool"),
    Case("an empty pool", pool(), "pool holds no image", {"pool": os.mkdir}),
    Case("a pool of notes", pool(), "pool holds no image", {"pool/notes.txt": "x"}),
    Case(
        "a pool smaller than a step",
        pool(),
        "pool holds 3 images, fewer than the 4 of a step",
        {f"pool/{n}.png": SOUND for n in "abc"},
    ),
    Case(
        "a pool of one colour",
        pool(),
        "the images looked at in pool are all of one colour",
        {f"pool/{n}.png": BLANK for n in "abcd"},
    ),
    Case(
        "a pool of damaged images",
        pool(),
        "none of the images looked at in pool can be read",
        {f"pool/{n}.png": b"" for n in "abcd"},
    ),
    Case(
        "a pool of too many damaged images",
        pool("path: pool", "optimization.total_steps=30"),
        r"replay images met so far is corrupt, more than replay\.images\.max_corrupt_share = 0\.01 allows, first pool/x\.png",
        {**POOL, "pool/x.png": b""},
        ("run/student.safetensors",),
    ),
    Case("a pool of an unknown kind", train("{images: {kind: photos}}"), "replay.images.kind.*'photographs'"),
    Case("no such texts", bank("{kind: file, path: texts.txt}"), "no file texts.txt"),
    Case("an empty file of texts", bank("{kind: file, path: texts.txt}"), "texts.txt holds no text", {"texts.txt": "\n\n"}),
    Case("texts of another encoding", bank("{kind: file, path: texts.txt}"), "not in UTF-8", {"texts.txt": "é".encode("latin-1")}),
    Case(
        "fewer texts than a step shows",
        bank("{kind: file, path: texts.txt}"),
        "texts.txt holds 2 texts, fewer than the 4 of a step",
        {"texts.txt": "a cat\na dog"},
    ),
    Case(
        "a text beyond the context length",
        bank("{kind: file, path: texts.txt}"),
        "texts.txt line 2 has 92 tokens, .* of which the model reads 77",
        {"texts.txt": "a cat\n" + "a " * 90 + "\na dog\na bird"},
    ),
    Case("random texts beyond the context length", bank("{kind: words, longest: 80}"), "replay.texts.longest = 80 makes texts of"),
    Case("nothing to replay", train("{images: null, texts: null}"), "replay.images and replay.texts are both null"),
    Case("replay of no weight", train("{strength: 0}"), "replay does nothing, since all its weights are 0"),
    Case("replay where no tower is trained", train("{}", strategy="linear_probe"), "linear_probe leaves both there: remove replay"),
    Case("replay of the pretrained model itself", train("{}", strategy="zero_shot"), "zero_shot leaves both there: remove replay"),
    Case("texts where the text tower stays", train("{texts: {kind: words}}", strategy="ft"), "ft leaves it there: set it to null"),
    Case("a teacher that is not there", train("{teacher: strategy}"), "flyp has no teacher: write pretrained"),
    Case(
        "random texts that are needed", train("{texts: null}", strategy="lipsum_ft"), "lipsum_ft compares images with replay.texts"
    ),
    Case(
        "a term without its images", train("{images: null, terms: {crd: 1}}"), "replay.terms.crd is 1.0, but replay.images is null"
    ),
    Case("images of no number", train("{images_per_step: 0}"), "replay.images_per_step"),
]


@each(CASES)
def test_one_sentence_tells(case, folder, capsys):
    assert_told(case, folder, capsys)
