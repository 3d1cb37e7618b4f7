"""What the tokenizers of CLIP models know: their words, and how many tokens of a text the model reads."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from open_clip import SimpleTokenizer
from torch import Tensor

from tracer.models.dual_encoder import Encoder
from tracer.toy.tokenizer import WordTokenizer

WORD_ENDS, WORD_BEGINS = "</w>", ("▁", "Ġ")  # marks in vocabularies: of CLIP's BPE; of SentencePiece and of GPT-2's BPE


class Overlong(NamedTuple):
    """A text of which a model would not see the end.

    Attributes:
        position: where it stands among the texts.
        tokens: how many it has, with those that mark start and end.
        room: how many fit.
    """

    position: int
    tokens: int
    room: int


@dataclass(frozen=True)
class OpenClipTokenizer:
    """Texts to token ids by one of open_clip's tokenizers. A class, not a closure: workers that are not forked get it pickled.

    Attributes:
        tokenizer: open_clip's `SimpleTokenizer` or `HFTokenizer`.
        cut: whether ids are cut after the last end: on the host, where their length is known without waiting for a device.
    """

    tokenizer: Any
    cut: bool

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Token ids (n, up to context); of a text that is too long the end is missing."""
        tokens: Tensor = self.tokenizer(list(texts))
        return tokens[:, : int(tokens.argmax(dim=-1).max()) + 1] if self.cut else tokens


def vocabulary(encoder: Encoder) -> list[str]:
    """The whole words of small Latin letters that a model has a token of its own for, in alphabetical order.

    Of the embedded model these are all its words.
    """
    match encoder.tokenize:
        case WordTokenizer(ids=ids):
            return sorted(ids)
        case OpenClipTokenizer(tokenizer=SimpleTokenizer(encoder=entries)):
            return _words(entries)
        case OpenClipTokenizer(tokenizer=tokenizer):
            return _words(tokenizer.tokenizer.get_vocab())
    raise _unknown(encoder)


def overlong(encoder: Encoder, texts: Sequence[str]) -> list[Overlong]:
    """The texts that have more tokens than a model reads, which open_clip's tokenizers cut without a word."""
    match encoder.tokenize:
        case WordTokenizer(context_length=room):
            lengths = [len(text.split()) + 2 for text in texts]
        case OpenClipTokenizer(tokenizer=SimpleTokenizer(context_length=room, encode=encode)):
            lengths = [len(encode(text)) + 2 for text in texts]
        case OpenClipTokenizer(tokenizer=tokenizer):
            room, lengths = tokenizer.context_length, _lengths(tokenizer, texts)
        case _:
            raise _unknown(encoder)
    return [Overlong(position, tokens, room) for position, tokens in enumerate(lengths) if tokens > room]


def _words(entries: Iterable[str]) -> list[str]:
    """Those entries of a vocabulary that are whole words. Other alphabets are written as bytes in some, and left out of all."""
    entries = list(entries)
    whole = [entry.removesuffix(WORD_ENDS) for entry in entries if entry.endswith(WORD_ENDS)]
    whole = whole or [entry[1:] for entry in entries if entry.startswith(WORD_BEGINS)]
    whole = whole or entries  # of WordPiece, which marks what is no beginning by ##
    return sorted({word for word in whole if word.isascii() and word.isalpha() and word.islower()})


def _lengths(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """Numbers of tokens by an `HFTokenizer`, whose mode "clips" puts start, end and class in place of the usual marks."""
    clips = tokenizer.tokenizer_mode == "clips"
    ids = tokenizer.tokenizer([tokenizer.clean_fn(text) for text in texts], add_special_tokens=not clips)["input_ids"]
    return [len(each) + 3 * clips for each in ids]


def _unknown(encoder: Encoder) -> TypeError:
    return TypeError(f"this is for the tokenizers of CLIP models, and not for a {type(encoder.tokenize).__name__}")
