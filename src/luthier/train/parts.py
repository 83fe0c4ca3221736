"""Tensors that are shared out among processes, to a folder of safetensors and back: torch's distributed checkpoint.

Each file says where its parts lie in the whole, so that any number of processes can read what any other has written.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor

from luthier.train.ranks import Ranks


def write_parts(folder: Path, tensors: Mapping[str, torch.Tensor], ranks: Ranks) -> None:
    """Write this process's parts; all processes do so together.

    Raises:
        OSError: a process could not write.
    """
    folder.mkdir(exist_ok=True)
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        with ranks.guarded():
            save(dict(tensors), storage_writer=writer, process_group=ranks.control, no_dist=ranks.count == 1)
    except CheckpointException as error:
        raise _cause(error) from error


def read_parts(folder: Path, own: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a folder holds, in pieces such as this process holds of ``own``, whole where that is.

    What has the name, shape and type of one of ``own`` is read into it: weights take no memory beside the model's.

    Raises:
        OSError: a file cannot be read.
    """
    targets = {
        key: _target(shape, kind, own.get(key.partition("|")[0]), into=key in own)
        for key, (shape, kind) in _shapes(folder).items()
    }
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)
            load(targets, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=True)
    except CheckpointException as error:
        raise _cause(error) from error
    return targets


def _shapes(folder: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """The whole shape and the type of every tensor in a folder."""
    metadata = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    return {key: (one.size, one.properties.dtype) for key, one in metadata.items()}  # type: ignore[union-attr]


def _target(shape: torch.Size, kind: torch.dtype, like: torch.Tensor | None, *, into: bool) -> torch.Tensor:
    if isinstance(like, DTensor) and like.shape == shape:
        if into and like.dtype is kind:
            return like.detach()
        return torch.zeros_like(like, dtype=kind, requires_grad=False)
    return torch.empty(shape, dtype=kind)


def _cause(error: CheckpointException) -> OSError:
    """What went wrong in the first process that failed."""
    first: Any = next(iter(error.failures.values()))[0]
    return first if isinstance(first, OSError) else OSError(str(first))
