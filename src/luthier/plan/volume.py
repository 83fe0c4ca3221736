"""How much data a run goes through: exactly, where they are prepared already or few; else from a sample."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

from luthier.data.cache_key import cache_entry
from luthier.data.corpus import examples
from luthier.data.encoder import Encoder
from luthier.data.example import Example
from luthier.data.holdout import split_holdout
from luthier.data.json_rows import json_rows
from luthier.data.laid_out import laid_out, learned_in, learned_of
from luthier.data.lines import bounded
from luthier.data.order import feed_of
from luthier.data.origins import Origins
from luthier.data.pack import Ints
from luthier.data.preparation import CHUNK, Preparation
from luthier.data.read_file import rows_known
from luthier.data.source import files_of, rows_taken
from luthier.data.store import TokenStore, load
from luthier.data.text_file import (
    byte_of,
    is_packed,
    open_bytes,
    open_text,
    packed_bytes,
    plain_size,
)
from luthier.errors import DataError
from luthier.recipe import Recipe
from luthier.recipe.source import Source

PATIENCE = 0.15
"""Seconds that a sample may take."""

BYTES_PER_TOKEN = 3.5
"""For a tokenizer that is still to be trained."""


@dataclass(frozen=True, slots=True)
class Volume:
    """The training documents of one epoch. ``exact`` is False for what a sample was scaled up to.

    Where weights make epochs differ, tokens and targets are the first one's; the other counts are those of each.
    """

    exact: bool
    documents: int
    tokens: int
    targets: int
    squared: float
    packs: int
    steps_per_epoch: int
    evaluation_documents: int
    longest: int
    largest_batch: int
    """Tokens of the largest micro-batch of the first epoch, as far as the documents are known."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What a person should know about the documents, as far as they have been seen."""


def volume_of_store(recipe: Recipe, store: TokenStore, evaluation: int | None) -> Volume:
    """The exact volume of prepared data; ``evaluation`` documents come from elsewhere, None means by holdout."""
    train, held = split_holdout(store.origins.rows, recipe.data.holdout, recipe.seed)
    found = len(held) if evaluation is None else evaluation
    volume = _volume(
        recipe, store.lengths[train], learned_in(recipe, store)[train], True, 1.0, found, store.sources[train]
    )
    return replace(volume, notes=tuple(map(str, store.summary.get("notes", ()))))


def estimate(recipe: Recipe, tokenizer: Path | None, encoder: Encoder | None) -> Volume:
    """The volume of a recipe's training data, from the cache if they lie there, else from the first rows.

    Args:
        tokenizer: its directory, and ``encoder`` what is in it; None for one that is still to be trained.

    Raises:
        DataError: rows that cannot be read, or none that is left.
    """
    sources, held = recipe.data.train, recipe.data.holdout
    repeated = _repeated(sources)
    if tokenizer is None or encoder is None:
        size = sum(plain_size(path) * portion_of(source) for source in sources for path in files_of(source))
        length = recipe.data.max_length
        count = max(1, round(repeated * size / BYTES_PER_TOKEN / length))
        return _volume(recipe, np.full(count, length), np.full(count, length - 1), False, 1.0, 0)
    evaluation = _documents(recipe, recipe.data.evaluate, tokenizer, encoder) if recipe.data.evaluate else None
    place = cache_entry(recipe, sources, tokenizer, encoder)
    if (place / "summary.json").exists():
        return volume_of_store(recipe, load(place), evaluation)
    work = Preparation(recipe, encoder)
    lengths, targets, rows, share = _sample(work, sources)
    notes = tuple(work.notes(sources))
    if not len(lengths):
        raise DataError(
            "no trained token is left of the rows",
            place=", ".join(source.path for source in sources),
            remedy="raise data.max_length, or name the roles to learn in data.train_on",
        )
    if share == 1 and repeated == 1:
        train, away = split_holdout(rows, held, recipe.seed)
        found = len(away) if evaluation is None else evaluation
        return replace(_volume(recipe, lengths[train], targets[train], True, 1.0, found), notes=notes)
    total = len(lengths) / share
    if held >= 1:
        held = min(0.99, held * len(lengths) / (int(rows.max()) + 1) / total)
    found = round(total * held) if evaluation is None else evaluation
    share /= 1 - held
    return replace(_volume(recipe, lengths, targets, False, share / repeated, found), notes=notes)


def _repeated(sources: Sequence[Source]) -> float:
    """How many times the rows come in an epoch, on the average of their bytes; 1 where no source is weighted."""
    if all(source.weight == 1 for source in sources):
        return 1.0
    sizes = [sum(path.stat().st_size for path in files_of(source)) * portion_of(source) or 1 for source in sources]
    return sum(size * source.weight for size, source in zip(sizes, sources, strict=True)) / sum(sizes)


def _documents(recipe: Recipe, sources: Sequence[Source], tokenizer: Path, encoder: Encoder) -> int:
    """How many documents the sources hold, exactly or about."""
    place = cache_entry(recipe, sources, tokenizer, encoder)
    if (place / "summary.json").exists():
        return len(load(place))
    lengths, _, _, share = _sample(Preparation(recipe, encoder), sources)
    return round(len(lengths) / share)


def _sample(work: Preparation, sources: Sequence[Source]) -> tuple[Ints, Ints, Ints, float]:
    """Lengths, trained tokens and rows of the first documents, and the share of all rows that they stand for."""
    begun = time.perf_counter()
    rows: list[str] = []
    origins: list[str] = []
    cut = False

    def first_rows() -> Iterator[Example]:
        nonlocal cut
        for example in examples(work.recipe, sources, work.set_aside):
            if rows and len(rows) % CHUNK == 0 and time.perf_counter() - begun > PATIENCE:
                cut = True
                return
            rows.append(example.origin)
            yield example

    documents: list[tuple[int, int]] = []
    for tokens in work.documents(first_rows()):
        documents.append((len(tokens), learned_of(work.recipe, tokens)))
        origins.append(tokens.origin)
    lengths, targets = np.array(documents, dtype=np.int64).reshape(-1, 2).T
    return lengths, targets, Origins.of(origins).rows, _share(sources, rows) if cut else 1.0


def portion_of(source: Source) -> float:
    """The share of its local files' rows that a source takes, where it does not begin at the first one."""
    taken = rows_taken(source)
    return 1.0 if taken is None else taken[0] / max(1, taken[1])


def _share(sources: Sequence[Source], rows: Sequence[str]) -> float:
    """The share of all rows that the first ones are, by their place in the files (of origins ``file:line``)."""
    total = done = 0.0
    left = len(rows)
    for source in sources:
        paths = files_of(source)
        own = set(map(str, paths))
        read = sum(1 for row in rows if row.rpartition(":")[0] in own)
        size = sum(path.stat().st_size for path in paths)
        taken = rows_taken(source)
        left -= read
        total += size * portion_of(source)
        if taken is not None:
            done += size * portion_of(source) * min(1.0, read / max(1, taken[0]))
        elif read and not left:
            done += _up_to(paths, rows[-1])
        elif read:
            done += size
    asked = [source.rows for source in sources if source.rows is not None]
    limited = len(rows) / sum(asked) if len(asked) == len(sources) else 0.0
    return min(0.999, max(done / total if total else 0.999, limited))


def _up_to(paths: Sequence[Path], origin: str) -> float:
    """Bytes of files up to the end of a row."""
    name, _, mark = origin.rpartition(":")
    done = 0.0
    for path in paths:
        if str(path) == name:
            return done + _bytes_up_to(path, mark)
        done += path.stat().st_size
    return done


def _bytes_up_to(path: Path, mark: str) -> float:
    """Bytes of a file, packed as it is, up to the end of a line (``17``) or of a row without a line (``#17``).

    Raises:
        DataError: the file cannot be read.
    """
    if mark.startswith("#"):
        number = int(mark[1:])
        if (count := rows_known(path)) is not None:
            return path.stat().st_size * number / max(1, count)
        with open_text(path) as file:
            rows = json_rows(file, path)
            characters = 0 if rows is None else sum(size for _, _, size in islice(rows, number))
        plain = byte_of(path, characters) if characters else path.stat().st_size
    else:
        with open_bytes(path) as lines:
            first = islice(bounded(lines.readline, path), int(mark))
            plain = sum(len(line) for line in first if isinstance(line, bytes))
    return packed_bytes(path, plain) if is_packed(path) else plain


def _volume(
    recipe: Recipe,
    lengths: Ints,
    targets: Ints,
    exact: bool,
    share: float,
    evaluation: int,
    sources: Ints | None = None,
) -> Volume:
    feed = feed_of(recipe, lengths, sources)
    packs, drawn = feed.packs(0), np.concatenate(feed.documents(0))
    per_step = recipe.batch.micro * recipe.batch.accumulation
    lengths, targets = laid_out(recipe, lengths, targets)
    pieces = packs.lengths(lengths)
    # The first token of a piece cut off within a document has nothing before it, so that it gives no loss.
    cut = max(0, len(pieces) - len(drawn))
    return Volume(
        exact=exact,
        documents=round(len(drawn) / share),
        tokens=round(int(pieces.sum()) / share),
        targets=round((int(targets[drawn].sum()) - cut) / share),
        squared=float((pieces.astype(np.float64) ** 2).sum()) / share,
        packs=round(len(packs) / share),
        steps_per_epoch=feed.steps_per_epoch() if share == 1 else max(1, -(-round(len(packs) / share) // per_step)),
        evaluation_documents=min(evaluation, recipe.evaluate.rows or evaluation),
        longest=int(pieces.max()),
        largest_batch=int(np.add.reduceat(pieces, np.arange(0, len(pieces), recipe.batch.micro)).max()),
    )
