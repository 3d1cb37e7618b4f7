import pytest

from tracer.toy.tokenizer import WordTokenizer

TOKENIZER = WordTokenizer(("red", "digit", "one"), context_length=6)


def test_ids_follow_the_words_between_start_and_end():
    assert TOKENIZER(["red one", "Digit"]).tolist() == [[1, 2, 4, 5, 0, 0], [1, 3, 5, 0, 0, 0]]
    assert TOKENIZER.vocab_size == 6


def test_end_is_the_highest_id():
    """Where open_clip reads a caption's embedding."""
    tokens = TOKENIZER(["one one one", "red", ""])
    assert tokens.argmax(dim=1).tolist() == [4, 2, 1]


@pytest.mark.parametrize(("caption", "message"), [("redd", "'red'"), ("red red red red red", "5 words, but 4 fit")])
def test_other_captions_are_refused(caption, message):
    with pytest.raises(ValueError, match=message):
        TOKENIZER([caption])


def test_repeated_words_are_refused():
    with pytest.raises(ValueError, match="'red'"):
        WordTokenizer(("red", "one", "red"), 6)
