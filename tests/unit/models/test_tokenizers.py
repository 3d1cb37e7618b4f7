import pickle

import open_clip
import pytest
import torch

from tracer.models.dual_encoder import Encoder
from tracer.models.tokenizers import OpenClipTokenizer, Overlong, overlong, vocabulary
from tracer.toy import small_clip

BYTES = "a dog's 🐕 <b>&amp; naïve café 12"


def encoder(tokenize):
    return Encoder(None, None, None, tokenize)


def open_clips(**settings):
    return encoder(OpenClipTokenizer(open_clip.SimpleTokenizer(**settings), True))


class Transformers:
    """What `HFTokenizer` asks of a tokenizer of the library transformers: here words are tokens, and so are two marks."""

    def __init__(self, vocabulary):
        self.vocabulary = vocabulary

    def get_vocab(self):
        return self.vocabulary

    def __call__(self, texts, add_special_tokens=True):
        marks = [0, 1] if add_special_tokens else []
        return {"input_ids": [[*map(len, text.split()), *marks] for text in texts]}


class HFTokenizer:
    """Open_clip's class of that name, as far as it can be without the library transformers."""

    context_length = 6

    def __init__(self, vocabulary=(), mode=""):
        self.tokenizer, self.tokenizer_mode = Transformers(dict.fromkeys(vocabulary, 0)), mode

    def clean_fn(self, text):
        return text.replace("_", " ")


EMBEDDED = encoder(small_clip.TOKENIZER)


class TestVocabulary:
    def test_of_the_embedded_model_is_all_of_it(self):
        assert vocabulary(EMBEDDED) == sorted(small_clip.TOKENIZER.ids)

    def test_of_open_clips_own_tokenizer_has_whole_words(self):
        words = vocabulary(open_clips())
        assert len(words) > 30_000
        assert words == sorted({*words})
        assert {"dog", "photo", "a", "rendous"} <= {*words}
        assert not {"A", "é", "12", "'s", "<end_of_text>"} & {*words}
        assert all(word.isascii() and word.isalpha() and word.islower() for word in words)

    def test_has_a_token_for_each_word(self):
        tokenizer = open_clip.SimpleTokenizer()
        for word in vocabulary(encoder(OpenClipTokenizer(tokenizer, True)))[::50]:
            assert [tokenizer.decode([token]) for token in tokenizer.encode(word)] == [f"{word} "]

    @pytest.mark.parametrize(
        "entries",
        [
            ("<pad>", "▁dog", "▁a", "▁Dog", "ing", "▁ca-", "▁", "▁né", "▁3"),
            ("<s>", "Ġdog", "Ġa", "ĠDog", "ing", "Ġ.", "Ġ", "nÃ©", "Ġ12"),
            ("[CLS]", "dog", "a", "Dog", "##ing", "##a", ".", "é", "12"),
            ("<|startoftext|>", "dog</w>", "a</w>", "Dog</w>", "ing", ".</w>", "12</w>"),
        ],
        ids=["SentencePiece", "GPT-2", "WordPiece", "CLIP"],
    )
    def test_of_transformers_loses_the_marks(self, entries):
        assert vocabulary(encoder(OpenClipTokenizer(HFTokenizer(entries), False))) == ["a", "dog"]

    def test_has_the_same_order_in_every_process(self):
        """Tokenizers of transformers list their entries in any order."""
        entries = ("▁one", "▁two", "▁three")
        listed = [vocabulary(encoder(OpenClipTokenizer(HFTokenizer(each), False))) for each in (entries, entries[::-1])]
        assert listed[0] == listed[1] == ["one", "three", "two"]


class TestOverlong:
    def test_texts_of_the_embedded_model(self):
        assert overlong(EMBEDDED, ["the " * 8, "the " * 9, "red"]) == [Overlong(1, tokens=11, room=10)]

    @pytest.mark.parametrize("text", ["dog", "x" * 7, "unbelievableness", BYTES])
    def test_texts_are_those_that_open_clip_cuts(self, text):
        """With room for one token more than it says, the last one is still padding; with less the text is cut."""
        (found,) = overlong(open_clips(context_length=2), [text])
        tokenizer = open_clip.SimpleTokenizer()
        whole = tokenizer(text, context_length=found.tokens + 1)[0]
        assert whole[-1] == 0
        assert whole[-2] == tokenizer.eot_token_id
        assert not torch.equal(tokenizer(text, context_length=found.tokens - 1)[0], whole[: found.tokens - 1])
        assert overlong(open_clips(context_length=found.tokens), [text]) == []
        assert overlong(open_clips(context_length=found.tokens - 1), [text]) == [found._replace(room=found.tokens - 1)]

    @pytest.mark.parametrize(("mode", "marks"), [("", 2), ("clips", 3)])
    def test_texts_of_transformers(self, mode, marks):
        texts = ["a_b", "a b c d", "a_b c_d", "a b c", "a b c d e"]
        expected = [Overlong(place, len(text.replace("_", " ").split()) + marks, 6) for place, text in enumerate(texts)]
        found = overlong(encoder(OpenClipTokenizer(HFTokenizer(mode=mode), False)), texts)
        assert found == [each for each in expected if each.tokens > 6]
        assert found


@pytest.mark.parametrize("ask", [vocabulary, lambda encoder: overlong(encoder, ["a"])], ids=["vocabulary", "overlong"])
def test_other_tokenizers_are_refused(ask):
    with pytest.raises(TypeError, match="not for a function"):
        ask(encoder(lambda texts: torch.zeros(len(texts), 3)))


def test_tokenizers_reach_other_processes():
    tokenizer = OpenClipTokenizer(open_clip.SimpleTokenizer(), True)
    assert torch.equal(pickle.loads(pickle.dumps(tokenizer))(["a dog"]), tokenizer(["a dog"]))
