"""Judged documents -> the tensors of one forward pass: every prompt once, with all of its answers behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
import torch

from luthier.data.batch import IGNORED, Batch
from luthier.data.preference import Judged, taken_apart
from luthier.data.tokens import Tokens

Branches = tuple[tuple[int, ...], ...]
"""Of each document the lengths of its prompt and of each answer to it."""


@dataclass(frozen=True, slots=True)
class AnswerBatch(Batch):
    """Prompts and A answers in one row of T tokens.

    ``branches``: each answer continues its prompt and sees no other answer, and its positions go on from the prompt's.
    Without branches each answer has a copy of the prompt before it, and is a document of its own.
    ``where`` [n] are the positions whose next token is scored, ``wanted`` [n] that token, ``answer`` [n] which answer
    it belongs to: those of the answers first, then, where they are asked for, those of the prompts, whose answer is A.
    ``last`` [A] is each answer's last position, ``lengths`` [A] its tokens. ``good`` [documents] says whether the first
    answer is wanted; ``keys`` tell the documents by their content.
    """

    branches: Branches
    where: torch.Tensor
    wanted: torch.Tensor
    answer: torch.Tensor
    last: torch.Tensor
    lengths: torch.Tensor
    good: torch.Tensor
    keys: tuple[bytes, ...]

    @property
    def units(self) -> int:
        """Documents: pairs, or labelled answers."""
        return len(self.origins)

    def to(self, device: torch.device) -> AnswerBatch:
        """The same batch on a device."""
        if self.input_ids.device == device:
            return self
        names = ("input_ids", "labels", "position_ids", "boundaries")
        more = ("where", "wanted", "answer", "last", "lengths", "good")
        return replace(self, **{one: getattr(self, one).to(device, non_blocking=True) for one in (*names, *more)})


def collate_judged(
    documents: Sequence[Tokens], *, shared: bool = True, mismatched: bool = False, prompts: bool = False
) -> AnswerBatch:
    """Lay judged documents end to end.

    Args:
        shared: a prompt is there once; else once for each of its answers.
        mismatched: behind each document's own answer comes that of the document before it (before the first, the last),
            whose likelihood KTO compares with (Ethayarajh et al. 2024, section 4.1).
        prompts: the prompts' tokens are scored too, each prompt once.
    """
    rows = [taken_apart(one) for one in documents]
    if mismatched:
        rows = [Judged(one.prompt, (*one.answers, rows[at - 1].answers[0]), one.wanted) for at, one in enumerate(rows)]
    ids: list[np.ndarray] = []
    places: list[np.ndarray] = []
    boundaries, begins, stems = [0], [], []
    heads: list[int] = []
    at = 0
    for row in rows:
        head = len(row.prompt)
        for number, answer in enumerate(row.answers):
            if not (shared and number):
                stem = at + head - 1
                heads += [] if number else range(at, stem)
                ids.append(row.prompt)
                places.append(np.arange(head))
                at += head
            begins.append(at)
            stems.append(stem)
            ids.append(answer)
            places.append(np.arange(head, head + len(answer)))
            at += len(answer)
            if not shared or number == len(row.answers) - 1:
                boundaries.append(at)
    lengths = np.array([len(answer) for row in rows for answer in row.answers], np.int64)
    flat, start = np.concatenate(ids).astype(np.int64), np.array(begins, np.int64)
    answers = np.repeat(np.arange(len(lengths)), lengths)
    inside = np.arange(len(answers)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    own = start[answers] + inside
    where = np.where(inside > 0, own - 1, np.array(stems, np.int64)[answers])
    if prompts:
        where = np.concatenate([where, np.array(heads, np.int64)])
        own = np.concatenate([own, np.array(heads, np.int64) + 1])
        answers = np.concatenate([answers, np.full(len(heads), len(lengths))])
    labels = np.full(len(flat), IGNORED, np.int64)
    labels[where] = flat[own]
    return AnswerBatch(
        input_ids=torch.from_numpy(flat)[None],
        labels=torch.from_numpy(labels)[None],
        position_ids=torch.from_numpy(np.concatenate(places).astype(np.int64))[None],
        boundaries=torch.from_numpy(np.array(boundaries, np.int32)),
        origins=tuple(one.origin for one in documents),
        targets=len(own),
        branches=tuple((len(row.prompt), *map(len, row.answers)) for row in rows) if shared else (),
        where=torch.from_numpy(where),
        wanted=torch.from_numpy(flat[own]),
        answer=torch.from_numpy(answers),
        last=torch.from_numpy(start + lengths - 1),
        lengths=torch.from_numpy(lengths),
        good=torch.tensor([row.wanted for row in rows]),
        keys=tuple(_key(one) for one in documents),
    )


def _key(document: Tokens) -> bytes:
    digest = blake2b(np.ascontiguousarray(document.ids).tobytes(), digest_size=16)
    digest.update(np.packbits(document.trained).tobytes())
    return digest.digest()
