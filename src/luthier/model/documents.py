"""Where the documents of a pack are, those with a prompt in common among them."""

from __future__ import annotations

from collections.abc import Iterator

Branches = tuple[tuple[int, ...], ...]
"""Of each document the lengths of its prompt and of each answer to it."""

Document = tuple[tuple[slice, ...], int]
"""The parts of the pack that make up a document, and how many of its last tokens stand in no document before it."""


def documents_of(lengths: tuple[int, ...], branches: Branches | None) -> Iterator[Document]:
    """Documents of ``lengths``, or those that branch: a prompt with its first answer is one, and so is the prompt with
    each other answer.

    >>> list(documents_of((2, 3), None))
    [((slice(0, 2, None),), 2), ((slice(2, 5, None),), 3)]
    >>> list(documents_of((6,), ((3, 1, 2),)))
    [((slice(0, 4, None),), 4), ((slice(0, 3, None), slice(4, 6, None)), 2)]
    """
    at = 0
    for prompt, first, *rest in branches or [(0, length) for length in lengths]:
        end = at + prompt + first
        yield (slice(at, end),), prompt + first
        for length in rest:
            yield (slice(at, at + prompt), slice(end, end + length)), length
            end += length
        at = end
