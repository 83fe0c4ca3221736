"""The tensors of a saved model, read one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from luthier.errors import ModelError
from luthier.model.shape import weight_files


class Weights:
    """Names -> tensors of a directory's safetensors files; a file is only opened when it is asked.

    Raises:
        ModelError: a file is missing or damaged.
    """

    def __init__(self, directory: Path) -> None:
        self.files = weight_files(directory)
        self.places: dict[str, Path] = {}
        for path in self.files:
            with _opened(path) as file:
                self.places |= dict.fromkeys(file.keys(), path)

    def __contains__(self, name: str) -> bool:
        return name in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __getitem__(self, name: str) -> torch.Tensor:
        with _opened(self.places[name]) as file:
            tensor: torch.Tensor = file.get_tensor(name)
        return tensor

    def of_file(self, path: Path) -> dict[str, torch.Tensor]:
        """All tensors of one file."""
        with _opened(path) as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    def types(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Name -> (dimensions, type as the file names it), without reading a number."""
        found: dict[str, tuple[tuple[int, ...], str]] = {}
        for path in self.files:
            with _opened(path) as file:
                for name in file.keys():  # noqa: SIM118
                    part = file.get_slice(name)
                    found[name] = (tuple(part.get_shape()), str(part.get_dtype()))
        return found


def _opened(path: Path) -> safe_open:
    try:
        return safe_open(str(path), framework="pt")
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot be read: {error}", place=str(path), remedy="download it again") from error
