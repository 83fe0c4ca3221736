"""An adapter merged in memory, for bases whose files name their weights otherwise than the loaded model: experts that
are fused when they are loaded, layers with another name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from luthier.model.agreement import fits_in_fp32
from luthier.model.deltas import Deltas
from luthier.model.save import open_on_base
from luthier.model.weights import Weights

_TYPES = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def loaded_files(
    adapter: Path, base: Path, deltas: Deltas, dtype: torch.dtype | None, beside: Path
) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """The name and the tensors of each file of the merged model; saving gives weights their names in files again.

    The sum is made in fp32 where the machine holds the model so, else in the base's type, and rounded to ``dtype``;
    without one to the type that a weight of its name, or the most of them, has in the base.

    Args:
        deltas: is told the rows of the embeddings, and whether both ends have come apart.
        beside: a folder on a disk with room for the model.
    """
    types = {name: _TYPES[kind] for name, (_, kind) in Weights(base).types().items() if kind in _TYPES}
    most = max(set(types.values()), key=list(types.values()).count)
    model = open_on_base(adapter, base, "eager", torch.float32 if fits_in_fp32(base) else "auto")
    merged = model.merge_and_unload()
    first, last = merged.get_input_embeddings().weight, merged.get_output_embeddings().weight
    deltas.vocabulary = first.shape[0]
    deltas.untied = bool(merged.config.tie_word_embeddings) and first is not last
    if deltas.untied:
        merged.config.tie_word_embeddings = False
    with TemporaryDirectory(dir=beside) as scratch:
        merged.save_pretrained(scratch)
        del model, merged, first, last
        written = Weights(Path(scratch))
        for file in written.files:
            tensors = written.of_file(file)
            kinds = {name: dtype or types.get(name, most) for name, one in tensors.items() if one.is_floating_point()}
            yield file.name, {name: one.to(kinds.get(name, one.dtype)) for name, one in tensors.items()}
