"""Blocks of rows are made into tokens by several processes at once, and come back in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from luthier.data.block import Block, Part
from luthier.data.convert import attempts_of, detect
from luthier.data.example import Example
from luthier.data.making import Made, Maker
from luthier.data.source import blocks_of, files_of, rows_of
from luthier.data.worker import Worker
from luthier.environment import cores
from luthier.errors import Fault
from luthier.recipe import Recipe
from luthier.recipe.source import Source

ENOUGH = 8 << 20
"""Bytes of rows below which other processes would take longer to start than the work takes."""

MOST = 8
"""Processes at most, where the recipe leaves the number open: each holds a tokenizer of its own."""


def workers_for(recipe: Recipe, sources: Sequence[Source]) -> int:
    """How many processes prepare the sources; 1 is this one alone."""
    if recipe.data.workers:
        return recipe.data.workers
    files = [files_of(source) for source in sources]
    if all(files) and sum(path.stat().st_size for path in chain.from_iterable(files)) < ENOUGH:
        return 1
    return min(cores(), MOST)


def with_format(source: Source) -> Source:
    """The source with its format named: that of its first row that can be read.

    Raises:
        DataError: no format fits that row.
    """
    if source.format != "auto":
        return source
    rows = (row for block in blocks_of(source) for row in rows_of(Part.of(source, block)))
    first = next(rows, None)
    return source.model_copy(update={"format": "text" if first is None else detect(first)})


def attempts(source: Source) -> Iterator[Example | Fault]:
    """Every row of a source as an example, or as what is wrong with it; a block's unparsable rows come after it."""
    known = with_format(source)
    for block in blocks_of(source):
        part = Part.of(known, block)
        yield from attempts_of(part)
        yield from (one.fault for one in part.broken)


def made_of(maker: Maker, sources: Sequence[Source], tokenizer: Path) -> Iterator[Made]:
    """What every block of the sources becomes, in their order.

    Raises:
        DataError: as ``Maker.block``.
    """
    count = workers_for(maker.recipe, sources)
    blocks = ((number, block) for number, source in enumerate(sources) for block in blocks_of(source))
    known = [with_format(source) for source in sources]
    if count <= 1:
        for number, block in blocks:
            yield maker.block(known[number], block)
        return
    yield from _spread(maker, known, blocks, tokenizer, count)


def _spread(
    maker: Maker, sources: Sequence[Source], blocks: Iterator[tuple[int, Block]], tokenizer: Path, count: int
) -> Iterator[Made]:
    """Each worker has a thread here that waits for it; twice as many blocks as workers are under way."""
    workers = [Worker(maker.recipe, sources, tokenizer) for _ in range(count)]
    free = deque(workers)
    under_way: deque[Future[Made]] = deque()

    def work(number: int, block: Block) -> Made:
        worker = free.popleft()
        try:
            made = worker.make(number, block)
        finally:
            free.append(worker)
        return maker.block(sources[number], block) if made is None else made

    threads = ThreadPoolExecutor(count, thread_name_prefix="prepare")
    try:
        for number, block in blocks:
            if len(under_way) >= 2 * count:
                yield under_way.popleft().result()
            under_way.append(threads.submit(work, number, block))
        while under_way:
            yield under_way.popleft().result()
    finally:
        for worker in workers:
            worker.stop()
        threads.shutdown(wait=True, cancel_futures=True)
