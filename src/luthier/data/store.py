"""Tokenised documents in flat arrays on disk, mapped into memory and never loaded whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from luthier.data.tokens import Tokens
from luthier.errors import DataError


@dataclass(frozen=True, slots=True)
class TokenStore:
    """Documents [0, n): ``ids`` and ``trained`` are flat over all of them, ``offsets`` [n + 1] bounds each.

    ``origins`` are the rows they came from; ``summary`` is what preparation counted; ``key`` is the hash of all that
    made a stored one.
    """

    ids: npt.NDArray[np.int32]
    trained: npt.NDArray[np.bool_]
    offsets: npt.NDArray[np.int64]
    origins: npt.NDArray[np.str_]
    summary: dict[str, Any]
    key: str = ""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Tokens:
        part = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        return Tokens(self.ids[part], self.trained[part], str(self.origins[index]))

    def __iter__(self) -> Iterator[Tokens]:
        return (self[index] for index in range(len(self)))

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each document [n]."""
        return np.diff(self.offsets)

    @property
    def targets(self) -> npt.NDArray[np.int64]:
        """Tokens of each document that give a loss [n]."""
        counts = np.concatenate([[0], np.cumsum(self.trained, dtype=np.int64)])
        total = counts[self.offsets[1:]] - counts[self.offsets[:-1]]
        first: npt.NDArray[np.int64] = total - self.trained[self.offsets[:-1]]
        return first


def collect(documents: Iterable[Tokens], summary: dict[str, Any]) -> TokenStore:
    """A store of documents held in memory."""
    kept = list(documents)
    lengths = np.fromiter((len(tokens) for tokens in kept), dtype=np.int64, count=len(kept))
    return TokenStore(
        ids=np.concatenate([tokens.ids for tokens in kept]) if kept else np.zeros(0, np.int32),
        trained=np.concatenate([tokens.trained for tokens in kept]) if kept else np.zeros(0, np.bool_),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        origins=np.array([tokens.origin for tokens in kept], dtype=np.str_),
        summary=summary,
    )


def save(store: TokenStore, directory: Path) -> None:
    """Write the arrays; the summary comes last, so that a store without one is not whole."""
    for name in ("ids", "trained", "offsets", "origins"):
        np.save(directory / f"{name}.npy", getattr(store, name), allow_pickle=False)
    (directory / "summary.json").write_text(json.dumps(store.summary, ensure_ascii=False, indent=1), encoding="utf-8")


def load(directory: Path) -> TokenStore:
    """Map a saved store into memory.

    Raises:
        DataError: a file of it is missing or damaged.
    """
    try:
        arrays = {
            name: np.load(directory / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in ("ids", "trained", "offsets", "origins")
        }
        summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
        _check(arrays)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(
            f"the prepared data are damaged: {error}", place=str(directory), remedy="delete this folder"
        ) from error
    return TokenStore(summary=summary, key=directory.name, **arrays)


def _check(arrays: dict[str, Any]) -> None:
    offsets = arrays["offsets"]
    ends = {int(offsets[-1]), len(arrays["ids"]), len(arrays["trained"])}
    if len(ends) > 1 or len(offsets) != len(arrays["origins"]) + 1:
        raise ValueError("its files are not of one length")
