import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.data import text_banks
from tracer.data.text_banks import RandomTexts, filled, lines
from tracer.errors import UserError

WORDS = ("red", "digit", "one", "letter")
seeds, places = st.integers(0, 2**32 - 1), st.integers(0, text_banks.COUNT - 1)


class TestLines:
    def test_keep_their_numbers(self, tmp_path):
        (tmp_path / "bank.txt").write_bytes("\ufeffa dog\r\n\n  a cät \r\t\r\nlast".encode())
        assert lines(tmp_path / "bank.txt") == {1: "a dog", 3: "a cät", 5: "last"}

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (None, r"there is no file .*bank\.txt: check the path"),
            (b"", r"bank\.txt holds no text: write one a line"),
            (b" \n\n\t\n", r"bank\.txt holds no text"),
            ("féline\n".encode("latin-1"), r"bank\.txt are not in UTF-8 \(.*\): save them"),
            ("a dog\n".encode("utf-16"), r"bank\.txt are not in UTF-8"),
        ],
        ids=["absent", "empty", "blank", "in latin-1", "in UTF-16"],
    )
    def test_faults_are_told(self, tmp_path, content, told):
        if content is not None:
            (tmp_path / "bank.txt").write_bytes(content)
        with pytest.raises(UserError, match=told):
            lines(tmp_path / "bank.txt")

    def test_a_folder_is_no_file(self, tmp_path):
        with pytest.raises(UserError, match="is a folder: name a file in it"):
            lines(tmp_path)


class TestTemplates:
    def test_every_name_is_in_every_one(self):
        assert filled(["a {}.", "{}"], ["dog", "cat"]) == ["a dog.", "dog", "a cat.", "cat"]

    def test_without_a_place_for_the_name_are_told(self):
        with pytest.raises(UserError, match=r"'a dog' must have one \{\}"):
            filled(["a dog"], ["cat"])


class TestRandomTexts:
    @given(longest=st.integers(1, 9), seed=seeds, place=places)
    def test_depend_on_seed_and_number_alone(self, longest, seed, place):
        bank = RandomTexts(WORDS, longest, seed)
        text = bank[place]
        assert 1 <= len(text.split(" ")) <= longest
        assert {*text.split(" ")} <= {*WORDS}
        bank[place - 1]
        assert bank[place] == RandomTexts(WORDS, longest, seed)[place] == pickle.loads(pickle.dumps(bank))[place] == text

    @given(seed=seeds, other=seeds)
    def test_no_two_seeds_are_alike(self, seed, other):
        mine, theirs = (list(RandomTexts(WORDS, 6, each, 20)) for each in (seed, other))
        assert (mine == theirs) == (seed == other)

    def test_have_every_word_and_every_length(self):
        texts = [text.split(" ") for text in RandomTexts(WORDS, 5, 0, 1000)]
        for length in range(1, 6):
            assert 150 <= sum(len(text) == length for text in texts) <= 250
        for word in WORDS:
            assert sum(text.count(word) for text in texts) == pytest.approx(3000 / len(WORDS), rel=0.15)

    def test_end(self):
        bank = RandomTexts(WORDS, 3, 0, 4)
        assert len(bank) == len(list(bank)) == 4
        assert bank[-1] == bank[3]
        with pytest.raises(IndexError):
            bank[4]
