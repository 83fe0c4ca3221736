"""Files of Arrow, and the folders that the datasets library saves them in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from luthier.data.split import name_of
from luthier.errors import DataError

STATE, SPLITS = "state.json", "dataset_dict.json"
"""What tells a saved dataset, and a folder of several."""


def saved_files(folder: Path, split: str) -> list[Path] | None:
    """The files of a dataset that was saved in a folder, or of its split; None if none was.

    Raises:
        DataError: it has no such split, or its list of files cannot be read.
    """
    if (folder / SPLITS).is_file():
        inner = folder / name_of(split)
        if not (inner / STATE).is_file():
            names = ", ".join(sorted(one.parent.name for one in folder.glob(f"*/{STATE}"))) or "none"
            reason = f"holds no split {name_of(split)!r} (splits: {names})"
            raise DataError(reason, place=str(folder), remedy="name one of them in the source's split")
        folder = inner
    if not (folder / STATE).is_file() or not (folder / "dataset_info.json").is_file():
        return None
    try:
        listed = json.loads((folder / STATE).read_text(encoding="utf-8"))["_data_files"]
        return [folder / one["filename"] for one in listed]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(
            "lists no files of a saved dataset", place=str(folder / STATE), remedy="save the dataset anew"
        ) from error


def arrow_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file, in Arrow's form for streams or in that for files.

    Raises:
        DataError: it is none of them.
    """
    with _batches(path) as batches:
        for batch in batches:
            yield from batch.to_pylist()


def arrow_count(path: Path) -> int:
    """How many rows it has.

    Raises:
        DataError: as ``arrow_rows``.
    """
    with _batches(path) as batches:
        return sum(batch.num_rows for batch in batches)


@contextmanager
def _batches(path: Path) -> Iterator[Iterator[Any]]:
    import pyarrow

    try:
        with pyarrow.memory_map(str(path)) as file:
            try:
                stream = pyarrow.ipc.open_stream(file)
            except pyarrow.ArrowInvalid:
                whole = pyarrow.ipc.open_file(file)
                yield (whole.get_batch(at) for at in range(whole.num_record_batches))
            else:
                yield iter(stream)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"is not Arrow: {reason}", place=str(path), remedy="write the file anew") from error
