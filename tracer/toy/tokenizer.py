"""A word-level tokenizer for a small, closed vocabulary."""

from collections.abc import Sequence
from difflib import get_close_matches

import torch

from tracer.errors import UserError

PADDING, START = 0, 1


class WordTokenizer:
    """Turns captions into word ids, in the convention of open_clip's text towers.

    Ids are 0 for padding, 1 for the start, then the words in the order given, and last the end: open_clip reads a
    caption's embedding at its highest id.

    Args:
        words: the vocabulary, in lower case and without repetition.
        context_length: ids per caption, start and end included.
    """

    def __init__(self, words: Sequence[str], context_length: int):
        if len(set(words)) != len(words):
            raise ValueError(f"words repeat: {sorted({word for word in words if list(words).count(word) > 1})}")
        self.context_length = context_length
        self.ids = {word: START + 1 + position for position, word in enumerate(words)}
        self.end = START + 1 + len(words)

    @property
    def vocab_size(self) -> int:
        return self.end + 1

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """Ids of each caption, int64 (captions, context_length).

        Raises:
            UserError: if a caption has an unknown word (naming the nearest) or too many.
        """
        tokens = torch.full((len(texts), self.context_length), PADDING, dtype=torch.long)
        for row, text in enumerate(texts):
            ids = [START, *(self._id(word) for word in text.lower().split()), self.end]
            if len(ids) > self.context_length:
                raise UserError(f"the caption {text!r} has {len(ids) - 2} words, but {self.context_length - 2} fit: shorten it")
            tokens[row, : len(ids)] = torch.tensor(ids)
        return tokens

    def _id(self, word: str) -> int:
        if word not in self.ids:
            near = get_close_matches(word, self.ids, n=1, cutoff=0.0)
            raise UserError(
                f"{word!r} is not among the {len(self.ids)} words of the embedded model (nearest: {near[0]!r}): reword the caption"
            )
        return self.ids[word]
