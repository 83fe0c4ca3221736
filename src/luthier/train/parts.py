"""Tensors that are shared out among processes, to a folder of safetensors: torch's distributed checkpoint.

Each file says where its parts lie in the whole, so that any number of processes can read what any other has written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, TensorWriteData, WriteItem, WriteItemType
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.checkpoint.storage import WriteResult
from torch.distributed.tensor import DTensor
from torch.futures import Future

from luthier.train.ranks import Ranks

SHAPES = "shapes.json"
"""The whole shapes of those tensors that a folder holds as ranges of their numbers, by name."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """A range of a tensor's numbers in their order, which one process alone holds: what ZeRO shares out.

    ``values`` [numbers] are those from ``begin`` on of a whole of ``shape``. torch's distributed checkpoint is told of
    a whole of one dimension.
    """

    begin: int
    shape: torch.Size
    values: torch.Tensor

    def __create_write_items__(self, name: str, _: object) -> list[WriteItem]:
        chunk = ChunkStorageMetadata(torch.Size([self.begin]), self.values.shape)
        data = TensorWriteData(
            chunk=chunk,
            properties=TensorProperties.create_from_tensor(self.values),
            size=torch.Size([self.shape.numel()]),
        )
        item = WriteItem(index=MetadataIndex(name, chunk.offsets), type=WriteItemType.SHARD, tensor_data=data)
        return [item] if len(self.values) else []


Part = DTensor | Fragment
"""What a process holds of a tensor that is shared out."""


def write_parts(folder: Path, parts: Mapping[str, Part], ranks: Ranks) -> None:
    """Write this process's parts; all processes do so together.

    Raises:
        OSError: a process could not write.
    """
    folder.mkdir(exist_ok=True)
    shapes = {name: list(one.shape) for name, one in parts.items() if isinstance(one, Fragment)}
    if shapes and ranks.first:
        (folder / SHAPES).write_text(json.dumps(shapes, indent=1), encoding="utf-8")
    writer = _Writer(folder, parts)
    try:
        with ranks.guarded():
            save(dict(parts), storage_writer=writer, process_group=ranks.control, no_dist=ranks.count == 1)
    except CheckpointException as error:
        raise _cause(error) from error


class _Writer(HuggingFaceStorageWriter):
    """torch's writer, which makes the bytes of a whole file in memory before it writes them: this one does not."""

    def __init__(self, folder: Path, parts: Mapping[str, Part]) -> None:
        super().__init__(str(folder), save_distributed=True)
        self._folder, self._parts = folder, parts

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """One file of everything that this process has to write; where it has nothing, none."""
        tensors: dict[str, torch.Tensor] = {}
        places: dict[str, dict[str, Any]] = {}
        for item in plan.items:
            part = self._parts[item.index.fqn]
            here = part.values if isinstance(part, Fragment) else part.to_local()
            tensors[item.index.fqn] = here.detach().cpu().contiguous()
            places[item.index.fqn] = {"saved_offsets": list(item.index.offset or ())}
        if tensors:
            told = {"DCP_SHARDING_INFO": json.dumps(places), "DCP_VERSION": "1.0", "format": "pt"}
            save_file(tensors, self._folder / f"part-{plan.storage_data['shard_index']:05}.safetensors", told)
        done: Future[list[WriteResult]] = Future()
        done.set_result([WriteResult(one.index, tensors[one.index.fqn].nbytes, None) for one in plan.items])
        return done


def _cause(error: CheckpointException) -> OSError:
    """What went wrong in the first process that failed."""
    first: Any = next(iter(error.failures.values()))[0]
    return first if isinstance(first, OSError) else OSError(str(first))
