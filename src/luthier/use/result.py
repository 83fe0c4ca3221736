"""A saved result, opened for use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from luthier.data.encoder import Encoder
from luthier.model.adapter_files import result_directory
from luthier.model.attention import register
from luthier.model.save import load_result


@dataclass(frozen=True, slots=True)
class Result:
    """A model and its tokenizer."""

    model: Any
    encoder: Encoder
    directory: Path


def open_result(path: Path, *, reward: bool = False) -> Result:
    """Open a run's folder, or a model or adapter directory; ``reward``: of a model that judges answers.

    Raises:
        ModelError: there is neither.
    """
    directory = result_directory(path)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Result(load_result(directory, register(), reward=reward).to(device), Encoder.open(directory), directory)
