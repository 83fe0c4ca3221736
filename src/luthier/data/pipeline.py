"""The order of the data plane: source -> format -> template -> tokens -> fate -> store, through the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from luthier.data.cache import alone, keep
from luthier.data.cache_key import cache_entry, template_texts
from luthier.data.convert import MOST_SHOWN
from luthier.data.encoder import Encoder
from luthier.data.jinja import day_in
from luthier.data.preparation import Preparation, Told
from luthier.data.quarantine import advice, place_of_quarantine, write_quarantine
from luthier.data.read_file import NO_TEXT
from luthier.data.remarks import notes_on
from luthier.data.source import files_of
from luthier.data.store import TokenStore, Writer, load
from luthier.data.text_file import encoding_of, read_errors, suffix_of
from luthier.data.tokens import Fate
from luthier.data.turn_jinja import prefix_of
from luthier.errors import DataError
from luthier.recipe import Recipe
from luthier.recipe.source import Source


def prepare(
    recipe: Recipe,
    sources: Sequence[Source],
    tokenizer: Path,
    told: Told | None = None,
    wait: Callable[[str], None] | None = None,
) -> tuple[TokenStore, bool]:
    """The sources' documents, and whether they came from the cache.

    Of several processes one does the work; the others wait for it, and ``wait`` is told so.

    Raises:
        DataError: rows that cannot be used, no trained token left in any of them, or files that changed meanwhile.
    """
    encoder = Encoder.open(tokenizer)
    before = _states(sources)
    place = cache_entry(recipe, sources, tokenizer, encoder)
    cached = (place / "summary.json").exists()
    if not cached:
        with alone(place, wait):
            cached = (place / "summary.json").exists()
            if not cached:
                work = Preparation(recipe, encoder)

                def make(aside: Path) -> None:
                    try:
                        _write(work, sources, tokenizer, aside, place_of_quarantine(place), told)
                    finally:
                        _check_unchanged(before, _states(sources))

                keep(place, make)
    return load(place), cached


States = dict[Path, tuple[int, int, int]]


def _states(sources: Sequence[Source]) -> States:
    """What the disk says of the sources' files: which they are, their sizes, and when they were last changed."""
    states: States = {}
    for path in (path for source in sources for path in files_of(source)):
        with read_errors(path):
            found = path.stat()
        states[path] = found.st_ino, found.st_size, found.st_mtime_ns
    return states


def _check_unchanged(before: States, after: States) -> None:
    """What was made of files that changed meanwhile is not theirs, neither before nor after.

    Raises:
        DataError: they did.
    """
    changed = [path for path in {**before, **after} if before.get(path) != after.get(path)]
    if changed:
        more = f", and so did {len(changed) - 1:,} more" if len(changed) > 1 else ""
        told = f"changed while it was read{more}"
        raise DataError(told, place=str(changed[0]), remedy="start again when the rows are complete")


def _write(
    work: Preparation, sources: Sequence[Source], tokenizer: Path, aside: Path, quarantine: Path, told: Told | None
) -> None:
    with Writer(aside) as writer:
        broken = work.write(sources, tokenizer, writer, told)
        write_quarantine(quarantine, broken)
        if len(broken) > work.recipe.data.bad_rows:
            shown = [one.fault for one in broken[:MOST_SHOWN]]
            raise DataError(*shown, advice(quarantine, len(broken)))
        if not len(writer):
            raise _nothing_left(sources, work)
        prefix = prefix_of(work.encoder)
        notes = [*_notes(sources), *work.notes(sources), *_dated(work)]
        notes += [
            note
            for number, counts in sorted(work.remarks.items())
            for note in notes_on(sources[number].path, counts, prefix)
        ]
        extra = {
            **({"documents_by_source": work.by_source} if len(sources) > 1 else {}),
            **({"notes": notes} if notes else {}),
            **({"quarantine": str(quarantine)} if broken else {}),
        }
        writer.close({**work.summary(), **extra})


def _notes(sources: Sequence[Source]) -> list[str]:
    """What a person should know about how the files were read."""
    files = [path for source in sources for path in files_of(source) if suffix_of(path) not in NO_TEXT]
    odd = [(path, encoding) for path in files if not (encoding := encoding_of(path)).startswith("utf-8")]
    return [f"{path} was read as {encoding.upper()}, not UTF-8" for path, encoding in odd[:MOST_SHOWN]]


def _dated(work: Preparation) -> list[str]:
    """That the template may write the day's date, so that rows are prepared anew every day."""
    day = day_in("".join(template_texts(work.recipe, work.encoder)))
    told = (
        f"the chat template may write the date, which is {day} here: tomorrow the rows are prepared anew, with other "
        "ids; to keep one date, set what the template reads for it in data.template_arguments (Llama's: date_string), "
        "or write it into a .jinja file"
    )
    return [told] if day else []


def _nothing_left(sources: Sequence[Source], work: Preparation) -> DataError:
    fated = work.fates.counts
    counts = {fate.value: count for fate, count in fated.items()}
    if work.set_aside:
        counts["set aside"] = len(work.set_aside)
    told = ", ".join(f"{count} {fate}" for fate, count in counts.items()) or "no rows"
    if Fate.SHORT in fated:
        remedy = "lower data.min_length"
    elif Fate.DROPPED in fated:
        remedy = "raise data.max_length"
    elif fated:
        remedy = "name the roles to learn in data.train_on, or raise data.max_length if answers are cut off"
    else:
        remedy = f"the first one: {work.set_aside[0]}" if work.set_aside else "the files are empty"
    return DataError(
        f"no trained token is left ({told}; data.max_length {work.recipe.data.max_length})",
        place=", ".join(source.path for source in sources),
        remedy=remedy,
    )
