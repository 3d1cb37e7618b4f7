"""Pools of images and banks of texts from configurations."""

import pickle
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import open_clip
import pytest
from PIL import Image
from pydantic import TypeAdapter

from tracer.config.replay import AnyBank, AnyPool, NameBank, NoisePool, PhotographPool, WordBank
from tracer.data import label_tables, pools
from tracer.data.text_banks import COUNT
from tracer.errors import UserError
from tracer.models.dual_encoder import Encoder
from tracer.models.tokenizers import OpenClipTokenizer
from tracer.runs import sources
from tracer.toy import small_clip, world

SIZE = 32
TOY = Encoder(None, None, None, small_clip.TOKENIZER)
CLIP = Encoder(None, None, None, OpenClipTokenizer(open_clip.SimpleTokenizer(), True))


def pool(at_least=1, seed=0, **values):
    return sources.pool(TypeAdapter(AnyPool).validate_python(values), SIZE, seed, at_least)


def bank(encoder=CLIP, at_least=1, seed=0, captions=(), **values):
    return sources.bank(TypeAdapter(AnyBank).validate_python(values), encoder, seed, at_least, lambda: captions)


def picture(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)


def halves(first, second):
    """An image of two greys."""
    return np.array([first] * 8 + [second] * 8).repeat(3).reshape(4, 4, 3)


@pytest.fixture
def photos(tmp_path):
    """Two class folders with two images each, and a table of the images in another order."""
    names = ["ant/0.png", "ant/1.png", "bee/0.png", "bee/1.png"]
    for value, name in enumerate(names):
        picture(tmp_path / "photos" / name, halves(value, 200))
        (tmp_path / "photos" / name).with_suffix(".txt").write_text("one")
    (tmp_path / "pairs.csv").write_text("\n".join(["filepath,title", *(f"photos/{name},x" for name in reversed(names))]))
    return tmp_path / "photos"


class TestPool:
    @pytest.mark.parametrize(("section", "kind"), [(NoisePool(), pools.Noise), (PhotographPool(), pools.Photographs)])
    def test_drawn_images_have_size_and_seed(self, section, kind):
        found = sources.pool(section, SIZE, 3)
        assert isinstance(found, kind)
        assert np.array_equal(found[7], kind(SIZE, 3)[7])

    @pytest.mark.parametrize("kind", ["images", "folder", "captioned_folder"])
    def test_folders_give_their_images(self, photos, kind):
        assert [int(image[0, 0, 0]) for image in pool(kind=kind, path=photos)] == [0, 1, 2, 3]

    def test_tables_give_their_images(self, photos):
        assert [int(image[0, 0, 0]) for image in pool(kind="csv", path=photos.parent / "pairs.csv")] == [3, 2, 1, 0]

    def test_the_embedded_task_does_too(self):
        assert np.array_equal(pool(kind="embedded"), world.task("train").images)

    @pytest.mark.parametrize("kind", ["noise", "photographs", "images", "embedded"])
    def test_workers_get_them_pickled(self, photos, kind):
        found = pool(kind=kind, **({"path": photos} if kind == "images" else {}))
        assert np.array_equal(pickle.loads(pickle.dumps(found))[3], found[3])

    def test_a_corrupt_image_among_others_is_left_to_training(self, photos):
        (photos / "ant" / "0.png").write_bytes(b"no image")
        assert len(pool(kind="images", path=photos)) == 4

    def test_few_are_looked_at(self, photos, monkeypatch):
        """Of many images the first tells that they hold something."""
        monkeypatch.setattr(pools.Noise, "_draw", lambda pool, rng: drawn.append(1) or halves(1, 2))
        drawn = []
        pool(kind="noise")
        assert len(drawn) == 1
        monkeypatch.setattr(pools.Noise, "_draw", lambda pool, rng: drawn.append(1) or halves(1, 1))
        with pytest.raises(UserError, match=r"looked at in replay\.images are all of one colour"):
            pool(kind="noise")
        assert len(drawn) == 1 + sources.LOOKED_AT


class Case(NamedTuple):
    """A mistake: which images or texts are named, what the files hold, and what has to be answered."""

    name: str
    section: dict
    answer: str
    files: Mapping[str, object] = {}


def each(cases):
    return pytest.mark.parametrize("case", cases, ids=[case.name.replace(" ", "-") for case in cases])


def assert_told(ask, case, folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes | str):
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        else:
            picture(path, content)
    with pytest.raises(UserError, match=case.answer) as refused:
        ask(**case.section)
    assert "\n" not in str(refused.value)


FOLDER, FILE = {"kind": "images", "path": "set"}, {"kind": "file", "path": "bank.txt"}
GREY = halves(90, 90)
POOLS = [
    Case("no such folder", FOLDER, "there is no folder set: check the path"),
    Case("a file for a folder", FOLDER, "set is not a folder", {"set": "x"}),
    Case("a folder without images", FOLDER, r"set holds no images \(.*\): check the path", {"set/notes.txt": "x"}),
    Case("telephone pictures", FOLDER, r"set holds no images .*, left out were 2 \.heic", {"set/1.heic": b"x", "set/2.HEIC": b"x"}),
    Case(
        "fewer images than a step takes",
        FOLDER | {"at_least": 3},
        r"set holds 2 images, fewer than the 3 of a step: add some, or lower replay\.images_per_step",
        {"set/1.png": halves(1, 2), "set/2.png": halves(1, 2)},
    ),
    Case(
        "more than are drawn", {"kind": "noise", "at_least": pools.COUNT + 1}, r"replay\.images holds 100000 images, fewer than the"
    ),
    Case("one image of one colour", FOLDER, "looked at in set are all of one colour, which holds nothing", {"set/1.png": GREY}),
    Case(
        "images of one colour among corrupt ones",
        FOLDER,
        "looked at in set are all of one colour",
        {"set/1.png": GREY, "set/2.png": b"x", "set/3.png": GREY},
    ),
    Case(
        "class folders of one colour",
        {"kind": "folder", "path": "set"},
        "looked at in set are all of one colour",
        {"set/a/1.png": GREY, "set/b/1.png": GREY},
    ),
    Case(
        "no whole image",
        FOLDER,
        r"none of the images looked at in set can be read, .*2\.png",
        {f"set/{i}.png": b"x" for i in (1, 2)},
    ),
    Case("a table without captions", {"kind": "csv", "path": "t.csv"}, "no column 'title'", {"t.csv": "filepath\na.png"}),
]
BANKS = [
    Case("no such file", FILE, r"there is no file bank\.txt"),
    Case("an empty file", FILE, r"bank\.txt holds no text: write one a line", {"bank.txt": ""}),
    Case("blank lines alone", FILE, r"bank\.txt holds no text", {"bank.txt": "\n \n"}),
    Case(
        "fewer texts than a step takes",
        FILE | {"at_least": 3},
        r"bank\.txt holds 2 texts, fewer than the 3 of a step: add some, or lower replay\.texts_per_step",
        {"bank.txt": "a\n\nb\n"},
    ),
    Case(
        "more than are drawn",
        {"kind": "words", "at_least": COUNT + 1},
        r"replay\.texts holds 100000 texts, fewer than the 100001 of a step",
    ),
    Case(
        "more than there are names",
        {"kind": "names", "at_least": 1001},
        r"replay\.texts holds 1000 texts, fewer than the 1001 of a step",
    ),
    Case(
        "a line that is too long",
        FILE,
        r"bank\.txt line 3 has 78 tokens, start and end among them, of which the model reads 77: shorten the text",
        {"bank.txt": f"a dog\n\n{'dog ' * 76}\n{'dog ' * 90}"},
    ),
    Case(
        "a template that is too long",
        {"kind": "names", "templates": ["{}", "dog " * 75 + "{}"]},
        r"'dog dog .* \.\.\. .*dog tench' of replay\.texts has 79 tokens",
    ),
    Case("a template without a place", {"kind": "names", "templates": ["a dog"]}, r"'a dog' must have one \{\}"),
    Case(
        "too many random words", {"kind": "words", "longest": 76}, r"replay\.texts\.longest = 76 makes texts of 78 tokens, of .* 77"
    ),
]
TOY_BANKS = [
    Case(
        "a word that the toy lacks",
        FILE,
        r"bank\.txt line 3: 'dog' is not among the 40 words of the embedded model \(nearest: '.*'\): reword",
        {"bank.txt": "the digit one\n\nthe dog\n"},
    ),
    Case(
        "a line that is too long for the toy",
        FILE,
        r"bank\.txt line 2: the caption '.*' has 9 words, but 8 fit: shorten it",
        {"bank.txt": f"the digit one\n{' '.join(['the'] * 9)}"},
    ),
    Case("names of things", {"kind": "names", "templates": ["{}"]}, r"'tench' of replay\.texts: 'tench' is not among the 40 words"),
    Case("too many words", {"kind": "words", "longest": 9}, r"replay\.texts\.longest = 9 makes texts of 11 tokens, of which .* 10"),
]


@each(POOLS)
def test_faults_of_images_are_told(case, tmp_path, monkeypatch):
    assert_told(pool, case, tmp_path, monkeypatch)


@each(BANKS)
def test_faults_of_texts_are_told(case, tmp_path, monkeypatch):
    assert_told(bank, case, tmp_path, monkeypatch)


@each(TOY_BANKS)
def test_faults_of_texts_for_the_embedded_model_are_told(case, tmp_path, monkeypatch):
    assert_told(lambda **section: bank(TOY, **section), case, tmp_path, monkeypatch)


class TestBank:
    def test_lines_of_a_file(self, tmp_path):
        (tmp_path / "bank.txt").write_text(f"a dog\n\n{'dog ' * 75}\n")
        assert bank(kind="file", path=tmp_path / "bank.txt") == ["a dog", ("dog " * 75).strip()]

    def test_names_in_templates(self):
        found = sources.bank(NameBank(), CLIP, 0)
        assert len(found) == 1000
        assert found[0] == "a photo of a tench."

    def test_openais_templates(self, monkeypatch):
        monkeypatch.setattr(label_tables, "imagenet_class_names", lambda: ("tench", "goldfish"))
        found = bank(kind="names", templates=["openai", "my {}"])
        assert len(found) == 2 * 81
        assert found[80:82] == ["my tench", "a bad photo of a goldfish."]

    @pytest.mark.parametrize("encoder", [TOY, CLIP], ids=["toy", "CLIP"])
    def test_random_words_fit_the_model(self, encoder):
        found = sources.bank(WordBank(longest=8), encoder, 5)
        texts = [found[place] for place in range(300)]
        assert {len(text.split()) for text in texts} == {*range(1, 9)}
        assert encoder.tokenize(texts).shape == (300, 10)
        assert texts[0] != sources.bank(WordBank(longest=8), encoder, 6)[0]

    @pytest.mark.parametrize(("share", "fewest", "most"), [(0.0, 0, 0), (0.25, 60, 90), (1.0, 300, 300)])
    def test_a_share_of_captions_is_random_words(self, share, fewest, most):
        captions = ["a photo of a tench", "a photo of a goldfish", "an ant"]
        found = bank(kind="captions", words=share, longest=8, seed=5, captions=captions, at_least=64)
        texts = [found[place] for place in range(300)]
        assert texts == [found[place] for place in range(300)]
        random = sources.bank(WordBank(longest=8), CLIP, 5)
        strange = [place for place, text in enumerate(texts) if text not in captions]
        assert fewest <= len(strange) <= most
        assert [texts[place] for place in strange] == [random[place] for place in strange]
        assert set(texts) - {texts[place] for place in strange} == (set(captions) if share < 1 else set())
        assert len(found) == COUNT

    def test_a_tokenizer_without_words_is_told(self, monkeypatch):
        monkeypatch.setattr(sources.tokenizers, "vocabulary", lambda encoder: [])
        with pytest.raises(UserError, match="tokenizer has no whole words"):
            bank(kind="words")
