"""A saved result, opened for use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from luthier.data.encoder import Encoder
from luthier.dialects import read
from luthier.model.adapter_files import result_directory
from luthier.model.attention import register
from luthier.model.load import weights_type
from luthier.model.save import load_result
from luthier.train.engines.single import compute_type
from luthier.use.recipe import run_of


@dataclass(frozen=True, slots=True)
class Result:
    """A model and its tokenizer."""

    model: Any
    encoder: Encoder
    directory: Path


def open_result(path: Path, *, reward: bool = False, dtype: Any = "auto") -> Result:
    """Open a run's folder, or a model or adapter directory.

    Args:
        reward: of a model that judges answers.
        dtype: the type that a full model, or an adapter's base, is held in; auto is the one it is stored in.

    Raises:
        ModelError: there is neither.
    """
    directory = result_directory(path)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_result(directory, register(), reward=reward, dtype=dtype).to(device)
    return Result(model, Encoder.open(directory), directory)


def open_to_answer(path: Path) -> Result:
    """Open a run's folder, or a model or adapter directory, to generate: where the run's products are in fp32 its
    weights are held as it held them, so that it says what it said there; else as they are stored, in half the memory.

    Raises:
        ModelError: there is neither.
        RecipeError: the run's recipe cannot be read.
    """
    run = run_of(path)
    if run is None:
        return open_result(path)
    recipe = read(run.recipe, (), "luthier").recipe
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    exact = compute_type(recipe.precision.compute, device) is torch.float32
    return open_result(path, dtype=weights_type(recipe) if exact else "auto")
