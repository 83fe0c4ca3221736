"""A block of rows -> flat tokens: the work that can be done in any process, without what came before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from luthier.data.block import Block, Broken, Part
from luthier.data.convert import attempts_of
from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message
from luthier.data.near import HASHES, Signatures, signatures_of
from luthier.data.plain import ROLES, finished, spans_of
from luthier.data.preference import check_judged, is_judged, judged_tokens
from luthier.data.remarks import Remarks
from luthier.data.store import Batch
from luthier.data.talks import Talks, Told, plain_source
from luthier.data.template import ChatTemplate
from luthier.data.template_names import template_source
from luthier.data.tokens import Tokens, tokenise
from luthier.errors import DataError, Fault, TemplateError
from luthier.recipe import Recipe
from luthier.recipe.source import Source


@dataclass(frozen=True, slots=True)
class Made:
    """What a block became: its documents, their signatures if those are wanted, and the rows that are of no use.

    ``silent``: where the rows come from of which an answer is empty, so that nothing but its end is learned.
    """

    batch: Batch
    signatures: Signatures | None
    broken: list[Broken]
    remarks: dict[str, int] = field(default_factory=dict)
    """How many rows there is something to say of, by what it is."""
    silent: list[str] = field(default_factory=list)


class Maker:
    """Makes the tokens of examples for one recipe and tokenizer."""

    def __init__(self, recipe: Recipe, encoder: Encoder) -> None:
        self.recipe, self.encoder = recipe, encoder
        self._template: ChatTemplate | None = None
        self._talks: tuple[Talks | None] | None = None
        self._remarks = Remarks(encoder, rewards=recipe.method.kind == "reward")

    @classmethod
    def open(cls, recipe: Recipe, tokenizer: Path) -> Maker:
        """One with its tokenizer read from a directory."""
        return cls(recipe, Encoder.open(tokenizer))

    def template(self) -> ChatTemplate:
        """The chat template, compiled when a conversation first needs it."""
        if self._template is None:
            data = self.recipe.data
            self._template = ChatTemplate(
                template_source(data.template, self.encoder, data.template_arguments),
                self.encoder,
                train_on=data.train_on,
                system=data.system,
                last_turn_only=data.last_turn_only,
            )
        return self._template

    def block(self, source: Source, block: Block) -> Made:
        """The block's rows, all through; ``source`` names their format.

        Raises:
            DataError, TemplateError: it is not one row's fault.
        """
        told = self._told(source, block)
        if told is None:
            return self._common(source, block)
        data = self.recipe.data
        kept = (told.batch.lengths <= data.max_length) | (data.overlong != "keep_answer")
        left = sorted([*told.left, *(row for row, keep in zip(told.rows, kept.tolist(), strict=True) if not keep)])
        if not left:
            return Made(told.batch, None, [])
        others = Block(block.name, [block.numbers[at] for at in left], [block.rows[at] for at in left])
        made = self._common(source, others)
        documents = [tokens for tokens, keep in zip(told.batch.documents(), kept.tolist(), strict=True) if keep]
        place = {block.origin(at): at for at in range(len(block.rows))}
        documents = sorted([*documents, *made.batch.documents()], key=lambda tokens: place[tokens.origin])
        return Made(Batch.of(documents), None, made.broken, made.remarks, made.silent)

    def _told(self, source: Source, block: Block) -> Told | None:
        """The block's plain conversations, if there are any."""
        if (
            not plain_source(source)
            or not any(isinstance(row, bytes) for row in block.rows[:1])
            or self.recipe.method.kind != "sft"
        ):
            return None
        if self._talks is None:
            self._talks = (Talks.of(self.recipe, self.template(), self.encoder),)
        talks = self._talks[0]
        return None if talks is None else talks.told(block)

    def _common(self, source: Source, block: Block) -> Made:
        """What a block becomes, whatever its rows are."""
        part = Part.of(source, block)
        faults: list[Fault] = []
        examples: list[Example] = []
        for attempt in attempts_of(part):
            if isinstance(attempt, Example):
                examples.append(attempt)
            else:
                faults.append(attempt)
        before = self._remarks.counts.copy()
        batch, signatures, refused = self.attempts(examples)
        broken = (Broken(fault, block.raw(fault.place)) for fault in (*faults, *refused))
        remarks = self._remarks.since(before)
        return Made(batch, signatures, [*part.broken, *broken], remarks, silent_of(examples))

    def attempts(self, examples: Sequence[Example]) -> tuple[Batch, Signatures | None, list[Fault]]:
        """Those of ``examples``, and what is wrong with the rows that cannot be rendered or learned from.

        Raises:
            DataError, TemplateError: it is not one row's fault.
        """
        try:
            return *self.examples(examples), []
        except DataError as error:
            if not _is_of_row(error, examples):
                raise
        usable: list[Example] = []
        faults: list[Fault] = []
        for example in examples:
            try:
                self._tokens([example])
            except DataError as error:
                if not _is_of_row(error, [example]):
                    raise
                faults += error.faults
            else:
                usable.append(example)
        return *self.examples(usable), faults

    def examples(self, examples: Sequence[Example]) -> tuple[Batch, Signatures | None]:
        """Their documents, none left out, and their signatures if the recipe looks for near duplicates.

        Raises:
            DataError, TemplateError: a row that the method does not learn from, or that the template refuses.
        """
        if not examples:
            near = None if self.recipe.data.near_duplicates is None else np.zeros((0, HASHES), np.uint32)
            return Batch.of([]), near
        near = None if self.recipe.data.near_duplicates is None else signatures_of(examples)
        documents = self._tokens(examples)
        self._remarks.add(examples, documents)
        return Batch.of(documents), near

    def _tokens(self, chunk: Sequence[Example]) -> list[Tokens]:
        for example in chunk:
            self._check(example)
        train_on = ROLES if self.recipe.method.kind == "pretrain" else self.recipe.data.train_on
        if is_judged(chunk[0]):
            return judged_tokens(chunk, self.template, self.encoder, train_on)
        spans = [spans_of(example, self.template, self.encoder, train_on) for example in chunk]
        made = tokenise(spans, [example.origin for example in chunk], self.encoder)
        done = [finished(example, tokens, self.encoder) for example, tokens in zip(chunk, made, strict=True)]
        if self.recipe.data.overlong != "keep_answer":
            return done
        return [self._headed(tokens, example) for tokens, example in zip(done, chunk, strict=True)]

    def _check(self, example: Example) -> None:
        """Refuse a row that is not what the method learns from."""
        kind = self.recipe.method.kind
        if kind == "pretrain" and not example.plain:
            raise DataError(
                "pretraining reads plain documents, and this row is a conversation",
                place=example.origin,
                remedy="set method.kind: sft, or name the column of the text in the source's columns",
            )
        if kind in ("pretrain", "sft") and (example.rejected or example.label is not None):
            raise DataError(
                f"this row judges its answers, which method.kind {kind} does not learn from",
                place=example.origin,
                remedy="choose another method.kind, or let columns name the prompt and the completion to learn, "
                "with format: completion",
            )
        check_judged(example, kind)

    def _headed(self, tokens: Tokens, example: Example) -> Tokens:
        """With the length of the system message noted, and of what opens the turn after it, where it is to be cut."""
        opens = example.messages[0].role == "system"
        if len(tokens) <= self.recipe.data.max_length or example.plain or not (opens or self.recipe.data.system):
            return tokens
        try:
            # Some templates refuse a conversation without a question; a stand-in shares no text with this one's.
            stand_in = Message("user", "\N{REPLACEMENT CHARACTER}", trained=False)
            spans = self.template().spans(replace(example, messages=(*example.messages[:opens], stand_in)))
        except TemplateError:
            return tokens
        ids = tokenise([spans], [""], self.encoder)[0].ids
        shared = min(len(ids), len(tokens))
        differing = np.flatnonzero(ids[:shared] != tokens.ids[:shared])
        return replace(tokens, head=int(differing[0]) if len(differing) else shared)


def silent_of(examples: Sequence[Example]) -> list[str]:
    """Where the examples come from that hold an answer without a word, a thought or a call."""
    return [example.origin for example in examples if any(map(_is_silent, (*example.messages, *example.rejected)))]


def _is_silent(message: Message) -> bool:
    said = message.content or message.tool_calls or message.thought
    return message.role == "assistant" and not said and message.trained is not False


def _is_of_row(error: DataError, examples: Sequence[Example]) -> bool:
    """Whether an error names some of those rows, and nothing else."""
    origins = {example.origin for example in examples}
    return all(fault.place in origins for fault in error.faults)
