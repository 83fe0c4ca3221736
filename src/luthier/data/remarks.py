"""What a person should know about rows that are used as they are: how many hold control tokens, begin with two,
prefer an answer to itself, or have a margin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from luthier.data.encoder import Encoder
from luthier.data.example import Example
from luthier.data.literal import pattern_of, texts_in
from luthier.data.preference import is_undecided
from luthier.data.tokens import Tokens

LITERAL = "literal"
"""Rows that hold control tokens, which were read as ordinary text."""
DOUBLED = "doubled"
"""Rows that begin with the tokens that the tokenizer puts there besides."""
UNDECIDED = "undecided"
"""Pairs whose answers are the same."""
MARGIN = "margin"
"""Pairs that say by how much the better answer is to win, which TRL's RewardTrainer takes off the difference."""


class Remarks:
    """Counts such rows; ``rewards``: where a reward model learns from them."""

    def __init__(self, encoder: Encoder, *, rewards: bool = False) -> None:
        self._rewards = rewards
        self._prefix = list(encoder.prefix)
        self._control = pattern_of(encoder.control)
        self._openers = sorted({token[:2] for token in encoder.control if token})
        self.counts: Counter[str] = Counter()

    def add(self, examples: Sequence[Example], documents: Iterable[Tokens]) -> None:
        """Look at some examples and what they became."""
        self.counts[UNDECIDED] += sum(map(is_undecided, examples))
        if self._rewards:
            self.counts[MARGIN] += sum(bool(example.extra.get("margin")) for example in examples)
        given = [list(texts_in(example)) for example in examples if not example.control]
        joined = "\n".join(["\n".join(texts) for texts in given])
        if any(opener in joined for opener in self._openers) and self._control.search(joined):
            self.counts[LITERAL] += sum(any(map(self._control.search, texts)) for texts in given)
        if self._prefix and any(example.control for example in examples):
            twice = self._prefix * 2
            self.counts[DOUBLED] += sum(tokens.ids[: len(twice)].tolist() == twice for tokens in documents)

    def since(self, before: Mapping[str, int]) -> dict[str, int]:
        """What was counted after ``before`` was."""
        return {name: count - before.get(name, 0) for name, count in self.counts.items() if count > before.get(name, 0)}


def notes_on(path: str, counts: Mapping[str, int], prefix: str) -> list[str]:
    """What is said of a source's rows; ``prefix`` is what the tokenizer puts before a text.

    >>> notes_on("d.jsonl", {"doubled": 1}, "<s>")[0][:37]
    'd.jsonl: 1 rows begin with <s>, and t'
    """
    said = {
        UNDECIDED: "have a chosen and a rejected answer that are the same, so that no preference is learned of them; "
        "leave them out",
        MARGIN: "have a margin, which is passed over: every pair is learned with a margin of 0",
        LITERAL: "hold control tokens, such as the end of a turn, which were read as ordinary text; if the rows are "
        "finished texts that mean them, set control_tokens: control for this source",
        DOUBLED: f"begin with {prefix}, and the tokenizer puts it there too, so that they have it twice; take it out "
        "of the rows, or set special_tokens: false for this source",
    }
    return [f"{path}: {counts[name]:,} rows {words}" for name, words in said.items() if counts.get(name)]
