"""Judged rows as one document: prompt, chosen answer, rejected answer; or prompt and one answer that is wanted or not.

In a store such a document is flat like any other. ``trained`` marks the first of its answers, so that all the bounds
can be told from it; what follows is the second. The flag of the very first token, which nothing precedes and which
never gives a loss, says that a single answer is *not* wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message, Piece
from luthier.data.plain import finished, spans_of
from luthier.data.template import ChatTemplate
from luthier.data.tokens import Fate, Ids, Tokens, tokenise
from luthier.errors import DataError
from luthier.recipe import Recipe
from luthier.recipe.data import Data

PAIRED = ("dpo", "ipo", "orpo", "simpo", "cpo", "reward")
"""Methods that learn from a better and a worse answer."""

SINGLE = ("kto",)
"""Methods that learn from answers that are wanted or not."""


def is_judging(recipe: Recipe) -> bool:
    """Whether a recipe learns from judged answers."""
    return recipe.method.kind in (*PAIRED, *SINGLE)


@dataclass(frozen=True, slots=True)
class Judged:
    """The ids of a prompt and of its answers, the better one first; a single one is ``wanted`` or not."""

    prompt: Ids
    answers: tuple[Ids, ...]
    wanted: bool = True

    @property
    def longest(self) -> int:
        """Tokens of the prompt with the longer answer."""
        return len(self.prompt) + max(map(len, self.answers))

    def tokens(self, origin: str) -> Tokens:
        """As one document."""
        lengths = [len(self.prompt), *map(len, self.answers)]
        trained = np.repeat([False, True, False][: len(lengths)], lengths)
        trained[0] = not self.wanted
        return Tokens(np.concatenate([self.prompt, *self.answers]).astype(np.int32), trained, origin)


def taken_apart(tokens: Tokens) -> Judged:
    """A document's parts; the inverse of ``Judged.tokens``.

    >>> one = Judged(np.array([5, 6]), (np.array([7]), np.array([8, 9])))
    >>> [part.tolist() for part in taken_apart(one.tokens("d:1")).answers]
    [[7], [8, 9]]
    """
    marked = np.flatnonzero(tokens.trained[1:]) + 1
    begin, end = int(marked[0]), int(marked[-1]) + 1
    answers = (tokens.ids[begin:end], tokens.ids[end:])
    return Judged(tokens.ids[:begin], answers if end < len(tokens) else answers[:1], not tokens.trained[0])


def is_judged(example: Example) -> bool:
    """Whether a row judges its answers."""
    return bool(example.rejected or example.rejected_pieces) or example.label is not None


def is_undecided(example: Example) -> bool:
    """Whether a pair's answers are the same, so that it prefers neither."""
    if example.rejected_pieces:
        return example.rejected_pieces == example.pieces
    return bool(example.rejected) and example.rejected == example.messages


def check_judged(example: Example, kind: str) -> None:
    """Refuse a row that does not say which of its answers are wanted, where the method learns from that.

    Raises:
        DataError: for such a row.
    """
    if kind in PAIRED and not (example.rejected or example.rejected_pieces):
        remedy = "set method.kind: kto" if example.label is not None else "give each row chosen and rejected"
        raise DataError(f"has no rejected answer, and {kind} learns from pairs", place=example.origin, remedy=remedy)
    if kind in SINGLE and example.label is None:
        remedy = "give each row prompt, completion and label" if not example.rejected else "set method.kind: dpo"
        raise DataError(
            f"has no label, and {kind} learns from answers that are wanted or not", place=example.origin, remedy=remedy
        )


def judged_tokens(
    examples: Sequence[Example], template: Callable[[], ChatTemplate], encoder: Encoder, train_on: Sequence[str]
) -> list[Tokens]:
    """The documents of judged rows, nothing cut off.

    The prompt ends where the answer's own text begins, and where the ids of both conversations part at the latest;
    each answer ends with the token that ends its last turn.

    Raises:
        DataError, TemplateError: a conversation that cannot be rendered, or two whose ids have no beginning in common.
    """
    both = [side for example in examples for side in _sides(example)]
    spans = [spans_of(side, template, encoder, train_on) for side in both]
    made = tokenise(spans, [side.origin for side in both], encoder)
    done = iter([finished(side, tokens, encoder) for side, tokens in zip(both, made, strict=True)])
    return [
        _joined([next(done) for _ in range(1 if example.label is not None else 2)], example.label is not False)
        for example in examples
    ]


def _sides(example: Example) -> list[Example]:
    """The conversation of each answer, in which the answer alone is learned."""
    if example.label is not None:
        last = max((n for n, m in enumerate(example.messages) if m.role == "assistant"), default=-1)
        kept = len(example.pieces) - 1
        return [_learned(example, example.messages, last, example.pieces, kept)]
    turns = _asked(example.messages, example.rejected)
    pieces = _asked(example.pieces, example.rejected_pieces)
    return [
        _learned(example, example.messages, turns, example.pieces, pieces),
        _learned(example, example.rejected or example.messages, turns, example.rejected_pieces, pieces),
    ]


def _asked(better: Sequence[object], worse: Sequence[object]) -> int:
    """How many turns (or pieces) are the prompt: those that both begin with, but of none the last."""
    both = zip(better[:-1], worse[:-1], strict=False)
    return sum(1 for _ in takewhile(lambda one: one[0] == one[1], both))


def _learned(example: Example, messages: Sequence[Message], turn: int, pieces: Sequence[Piece], piece: int) -> Example:
    """The example of one answer, learned from a turn (or a piece) on."""
    return replace(
        example,
        messages=tuple(
            replace(one, trained=number >= turn and one.role == "assistant", learned=None)
            for number, one in enumerate(messages)
        ),
        pieces=tuple(replace(one, trained=number >= piece) for number, one in enumerate(pieces)),
        ends="turn",
        rejected=(),
        rejected_pieces=(),
        label=None,
    )


def _joined(sides: Sequence[Tokens], wanted: bool) -> Tokens:
    first = min(_first(side) for side in sides)
    if len(sides) == 2:
        ends = min(map(len, sides))
        differ = np.flatnonzero(sides[0].ids[:ends] != sides[1].ids[:ends])
        first = min(first, int(differ[0]) if len(differ) else ends)
    answers = tuple(side.ids[first : int(np.flatnonzero(side.trained)[-1]) + 1] for side in sides)
    if not first or not all(map(len, answers)):
        raise DataError(
            "its prompt or one of its answers is empty once it is tokenised",
            place=sides[0].origin,
            remedy="give the row a prompt and answers with text of their own",
        )
    return Judged(sides[0].ids[:first], answers, wanted).tokens(sides[0].origin)


def _first(side: Tokens) -> int:
    learned = np.flatnonzero(side.trained)
    return int(learned[0]) if len(learned) else len(side)


def fitting(recipe: Recipe) -> Callable[[Tokens], tuple[Fate, list[Tokens]]] | None:
    """How a recipe's documents are brought to their length, where they are judged ones."""
    if not is_judging(recipe):
        return None
    return lambda tokens: fit_judged(tokens, recipe.data, recipe.method.max_prompt_length)


def prompt_limit(recipe: Recipe) -> dict[str, int | None]:
    """The setting of the method that decides which judged documents come out."""
    judged = is_judging(recipe)
    return {"max_prompt_length": recipe.method.max_prompt_length} if judged else {}


def capacity_of(recipe: Recipe) -> int:
    """Tokens in a pack where the recipe does not say: room for the longest document, whose two answers are together."""
    return recipe.data.max_length * (2 if is_judging(recipe) else 1)


def fit_judged(tokens: Tokens, data: Data, max_prompt: int | None) -> tuple[Fate, list[Tokens]]:
    """What becomes of a judged document under ``data.max_length``, which bounds the prompt with each of its answers.

    ``truncate`` first cuts the head off every prompt longer than ``max_prompt``, then the tails of the answers, as TRL
    did while it had that setting. ``keep_answer``, ``truncate_left`` and ``split`` cut only what is too long: the
    prompt's head down to what the longer answer leaves, but not below ``max_prompt`` (or a quarter of the room), then
    the answers' tails, as Firefly does.
    """
    one = taken_apart(tokens)
    limit, policy, prompt = data.max_length, data.overlong, one.prompt
    if policy not in _ONLY_TOO_LONG and max_prompt is not None:
        prompt = prompt[-max_prompt:]
    longest = max(map(len, one.answers))
    if len(prompt) + longest > limit:
        if policy in ("drop", "refuse"):
            return (Fate.DROPPED if policy == "drop" else Fate.REFUSED), []
        if policy in _ONLY_TOO_LONG:
            prompt = prompt[-max(limit - longest, max_prompt or limit // 4, 1) :]
    room = limit - len(prompt)
    if room < 1:
        return Fate.VANISHED, []
    if len(prompt) == len(one.prompt) and longest <= room:
        return Fate.KEPT, [tokens]
    answers = tuple(answer[:room] for answer in one.answers)
    return Fate.TRUNCATED, [Judged(prompt, answers, one.wanted).tokens(tokens.origin)]


_ONLY_TOO_LONG = ("keep_answer", "truncate_left", "split")
