"""The tensors of a checkpoint's files, each read when it is asked for, whole or as much of it as one process holds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch.distributed.tensor import DTensor

from luthier.errors import CheckpointError
from luthier.train.parts import SHAPES


class Piece(NamedTuple):
    """Consecutive numbers of a tensor, in a file: from ``begin`` on, in rows as in the whole."""

    file: Path
    begin: int
    shape: tuple[int, ...]

    @property
    def end(self) -> int:
        """The number after its last."""
        return self.begin + math.prod(self.shape)

    @property
    def row(self) -> int:
        """The numbers of one row."""
        return max(1, math.prod(self.shape[1:]))

    def read(self, name: str, begin: int, end: int) -> torch.Tensor:
        """The numbers from ``begin`` to ``end`` of the whole, which are all here; flat, still in the file's pages."""
        begin, end = begin - self.begin, end - self.begin
        with safe_open(self.file, framework="pt") as opened:
            if not self.shape:
                return opened.get_tensor(name).flatten()[begin:end]  # type: ignore[no-any-return]
            first = begin // self.row
            rows: torch.Tensor = opened.get_slice(name)[first : -(-end // self.row)]
            return rows.flatten()[begin - first * self.row : end - first * self.row]


class Stored(Mapping[str, torch.Tensor]):
    """Tensors by name: a process that goes on never holds what a checkpoint has beside what it makes of it.

    Args:
        files: safetensors of whole tensors, and of parts of tensors as torch's distributed checkpoint writes them.
        shapes: the shapes of those whose numbers are stored without one.

    Raises:
        OSError: a file is not there.
        SafetensorError: it is none, or cut off.
    """

    def __init__(self, *files: Path, shapes: Mapping[str, list[int]] | None = None) -> None:
        self._pieces: dict[str, list[Piece]] = {}
        self._shapes = {name: torch.Size(shape) for name, shape in (shapes or {}).items()}
        for file in files:
            with safe_open(file, framework="pt") as opened:
                places = json.loads((opened.metadata() or {}).get("DCP_SHARDING_INFO", "{}"))
                for name in opened.keys():  # noqa: SIM118 - it is no mapping
                    shape = tuple(opened.get_slice(name).get_shape())
                    first = places[name]["saved_offsets"][0] if shape and name in places else 0
                    self._pieces.setdefault(name, []).append(Piece(file, first * math.prod(shape[1:]), shape))
        for name, pieces in self._pieces.items():
            pieces.sort(key=lambda piece: piece.begin)
            last = pieces[-1]
            rows = [last.begin // last.row + size for size in last.shape[:1]]
            self._shapes.setdefault(name, torch.Size((*rows, *last.shape[1:])))

    @classmethod
    def of(cls, folder: Path, part: str) -> Stored:
        """What a checkpoint's folder holds of ``part``: in a file, in a folder of several processes' files, or both."""
        file, parts = folder / f"{part}.safetensors", folder / part
        shapes = json.loads((parts / SHAPES).read_text("utf-8")) if (parts / SHAPES).exists() else None
        return cls(*([file] if file.exists() else []), *sorted(parts.glob("*.safetensors")), shapes=shapes)

    def __getitem__(self, name: str) -> torch.Tensor:
        shape = self._shapes[name]
        return self.numbers(name, 0, shape.numel()).view(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._pieces)

    def __len__(self) -> int:
        return len(self._pieces)

    def shape(self, name: str) -> torch.Size:
        """The shape of the whole."""
        return self._shapes[name]

    def numbers(self, name: str, begin: int, end: int) -> torch.Tensor:
        """The numbers from ``begin`` to ``end`` of a tensor in their order, [end - begin].

        A copy, for what lies in a file's pages would hold the pages of all that is read of the file.

        Raises:
            CheckpointError: some of them are in no file.
        """
        pieces = self._pieces[name]
        parts = [(piece, max(begin, piece.begin), min(end, piece.end)) for piece in pieces]
        wanted = [(piece, low, high) for piece, low, high in parts if low < high]
        wanted = wanted or [(pieces[0], pieces[0].begin, pieces[0].begin)]
        found = torch.cat([piece.read(name, low, high) for piece, low, high in wanted])
        if len(found) != end - begin:
            raise CheckpointError(f"lacks a part of {name}", place=str(pieces[0].file.parent))
        return found

    def like(self, name: str, own: torch.Tensor) -> Any:
        """A tensor on the device of ``own``; where that is shared out and of the same shape, this process's part."""
        if not isinstance(own, DTensor) or own.shape != self._shapes[name]:
            return self[name].to(own.device)
        [part] = own.__create_chunk_list__()  # type: ignore[no-untyped-call]
        begin = part.offsets[0] * math.prod(own.shape[1:])
        here = self.numbers(name, begin, begin + part.sizes.numel()).view(part.sizes).to(own.device)
        return DTensor.from_local(here, own.device_mesh, own.placements, shape=own.shape, stride=own.stride())
