"""Rows whose answers are judged: which tokens are scored, and as what."""

from __future__ import annotations

import numpy as np

from luthier.data.preference import taken_apart
from luthier.data.preference_batch import AnswerBatch
from luthier.data.tokens import Tokens
from luthier.show.reason import Reason


def judged_reasons(tokens: Tokens) -> list[Reason]:
    """Of a judged document: its prompt, and what each of its answers is."""
    one = taken_apart(tokens)
    return [Reason("prompt")] * len(one.prompt) + [
        Reason(kind) for kind, answer in zip(_kinds(tokens), one.answers, strict=False) for _ in answer
    ]


def scored_of(tokens: Tokens) -> list[bool]:
    """Whether each token of a judged document is scored: its answers are."""
    begin = len(taken_apart(tokens).prompt)
    return [at >= begin for at in range(len(tokens))]


def reasons_in_batch(batch: AnswerBatch, documents: list[Tokens]) -> list[tuple[slice, list[bool], list[Reason]]]:
    """Of each document its tokens in the batch, which of them are scored, and the reason for every one.

    A prompt stands there once or before each of its answers, and behind a single answer there may be another row's.
    """
    scored = np.zeros(batch.tokens, np.bool_)
    ends, lengths = (batch.last + 1).tolist(), batch.lengths.tolist()
    for end, length in zip(ends, lengths, strict=True):
        scored[end - length : end] = True
    prompts = batch.where[batch.answer == len(lengths)].numpy() + 1
    scored[prompts] = True
    each = len(lengths) // len(documents)
    found: list[tuple[slice, list[bool], list[Reason]]] = []
    begin = 0
    for at, tokens in enumerate(documents):
        start, reasons = begin, []
        for answer in range(each):
            end, length = ends[at * each + answer], lengths[at * each + answer]
            reasons += [Reason("prompt_scored" if one else "prompt") for one in scored[begin : end - length]]
            reasons += [Reason(_kinds(tokens)[answer])] * length
            begin = end
        found.append((slice(start, begin), scored[start:begin].tolist(), reasons))
    return found


def _kinds(tokens: Tokens) -> tuple[str, str]:
    """What the first answer is, and what stands second: the rejected one, or another row's."""
    one = taken_apart(tokens)
    return ("chosen", "rejected") if len(one.answers) > 1 else ("wanted" if one.wanted else "unwanted", "mismatched")
