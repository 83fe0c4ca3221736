"""A result written out for others: whole, as an adapter, or merged; called done only when its logits agree."""

from __future__ import annotations

import gc
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from safetensors.torch import save_file

from luthier.errors import ModelError
from luthier.model.adapter_files import SETTINGS, adapter_settings, refuse_judge, rows_of
from luthier.model.agreement import distance, fits_in_fp32, judge, logits, probes
from luthier.model.alone import base_alone
from luthier.model.aside import made_aside
from luthier.model.load import open_model
from luthier.model.merge import merge
from luthier.model.precision import DTYPES
from luthier.model.quantise import loading, read_quantisation
from luthier.model.save import base_of, open_on_base
from luthier.model.shape import BYTES
from luthier.model.starts import WEIGHTS
from luthier.model.tokenizer import local_directory
from luthier.model.weights import Weights
from luthier.recipe.field import bytes_of

Kind = Literal["auto", "full", "adapter", "merged"]

INDEX = "model.safetensors.index.json"
FLOATS = ("F64", "F32", "BF16", "F16")
BESIDE = (".json", ".jinja", ".txt", ".model")
"""Ends of the names of files that belong to a model beside its weights."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: ``error`` is the distance of its logits from the result's, relative to their size, and
    ``effect``, of an adapter, that of the base's alone."""

    directory: Path
    kind: str
    files: int
    dtype: str
    error: float
    effect: float | None


def export(
    source: Path, out: Path, *, kind: Kind = "auto", base: str | None = None, dtype: str = "auto", shard: str = "5GB"
) -> Exported:
    """Write the model in ``source`` to ``out``, beside which it is made and checked first.

    Args:
        kind: full and adapter write what there is, merged an adapter in its base; auto is what there is.
        base: another place of the base model than an adapter names.
        dtype: fp32, bf16 or fp16; auto keeps each weight in the type it has.
        shard: largest weight file, as 5GB.

    Raises:
        ModelError: there is no such model, or what was written is not the same model; nothing is left at ``out``.
    """
    kind = _kind(source, kind)
    refuse_judge(source)
    with made_aside(out, "exporting") as aside:
        made = aside / "model"
        if kind == "adapter":
            done = _adapter(source, made, base, dtype, out)
        elif kind == "full":
            done = _full(source, made, dtype, bytes_of(shard), out)
        else:
            first = merge(source, aside / "merged", base=base, dtype=dtype)
            whole = _full(first.directory, made, "auto", bytes_of(shard), out)
            done = Exported(out, kind, whole.files, first.dtype, first.error, first.effect)
        os.replace(made, out)
    return done


def _kind(source: Path, kind: Kind) -> Kind:
    """What is to be written of what lies in ``source``."""
    adapter = (source / SETTINGS).exists()
    if kind == "auto":
        return "adapter" if adapter else "full"
    if adapter and kind == "full":
        raise ModelError("is an adapter", place=str(source), remedy="use --kind merged for a whole model")
    if not adapter and kind != "full":
        raise ModelError("is a whole model, with no adapter", place=str(source), remedy="use --kind full")
    return kind


def _full(source: Path, out: Path, dtype: str, most: int, told: Path) -> Exported:
    """Every tensor of a whole model, in files of at most ``most`` bytes."""
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    if dtype in DTYPES and config.get("quantization_config"):
        raise ModelError("its weights are quantised, and have no other type", place=str(source), remedy="--dtype auto")
    weights = Weights(source)
    if not weights.files:
        raise ModelError("holds no .safetensors weights", place=str(source), remedy="luthier train first")
    _beside(source, out)
    if dtype in DTYPES:
        config.pop("torch_dtype", None)
        config["dtype"] = str(DTYPES[dtype]).removeprefix("torch.")
        (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    files = _write_shards(weights, out, DTYPES.get(dtype), most)
    narrow = _same_tensors(weights, Weights(out), DTYPES.get(dtype), told)
    read_as = torch.float32 if fits_in_fp32(source) else "auto"
    model = open_model(source, None, read_as)
    ids = probes(model.get_input_embeddings().weight.shape[0], set())
    wanted = logits(model, ids)
    del model
    gc.collect()
    error = distance(logits(open_model(out, None, read_as), ids), wanted)
    judge(error, narrow, str(told), remedy="export it again")
    return Exported(told, "full", files, str(narrow).removeprefix("torch."), error, None)


def _adapter(source: Path, out: Path, base: str | None, dtype: str, told: Path) -> Exported:
    """An adapter's weights and settings, with the base it belongs to by name."""
    settings = adapter_settings(source)
    _beside(source, out)
    weights = Weights(source)
    target = DTYPES.get(dtype)
    tensors = {name: _cast(weights[name], target).contiguous() for name in weights}
    save_file(tensors, out / WEIGHTS, metadata={"format": "pt"})
    narrow = _same_tensors(weights, Weights(out), target, told)
    under = local_directory(base, None) if base is not None else base_of(source)
    kept = read_quantisation(source)
    quantised = loading(kept.config if kept and kept.needed else None, "cpu")
    read_as = torch.float32 if fits_in_fp32(under) else "auto"
    model = open_on_base(source, under, None, read_as, quantised)
    ids = probes(model.get_input_embeddings().weight.shape[0], rows_of(source))
    wanted = logits(model, ids)
    with base_alone(model):
        plain = logits(model, ids)
    del model
    gc.collect()
    error = distance(logits(open_on_base(out, under, None, read_as, quantised), ids), wanted)
    effect = distance(plain, wanted)
    judge(error, narrow, str(told), remedy="check that --base is the model it was trained on", effect=effect)
    if base is not None:
        settings["base_model_name_or_path"] = base
        (out / SETTINGS).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return Exported(told, "adapter", 1, str(narrow).removeprefix("torch."), error, effect)


def _beside(source: Path, out: Path) -> None:
    """Copy what belongs to the model beside its weights."""
    out.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        if path.is_file() and path.suffix in BESIDE and not path.name.endswith(".index.json"):
            shutil.copyfile(path, out / path.name)


def _cast(tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor


def _write_shards(weights: Weights, out: Path, dtype: torch.dtype | None, most: int) -> int:
    """Write the tensors in their order; returns how many files, of which one is in memory at a time."""
    shards = list(_shards(weights, dtype, most))
    named = [f"model-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    named = named if len(shards) > 1 else ["model.safetensors"]
    index, total = dict[str, str](), 0
    for names, file in zip(shards, named, strict=True):
        tensors = {name: _cast(weights[name], dtype).contiguous() for name in names}
        save_file(tensors, out / file, metadata={"format": "pt"})
        index |= dict.fromkeys(names, file)
        total += sum(one.numel() * one.element_size() for one in tensors.values())
    if len(shards) > 1:
        tree = {"metadata": {"total_size": total}, "weight_map": index}
        (out / INDEX).write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")
    return len(shards)


def _shards(weights: Weights, dtype: torch.dtype | None, most: int) -> Iterator[list[str]]:
    names, size = list[str](), 0
    for name, (dimensions, kind) in weights.types().items():
        width = dtype.itemsize if dtype is not None and kind in FLOATS else BYTES.get(kind, 8)
        own = torch.Size(dimensions).numel() * width
        if names and size + own > most:
            yield names
            names, size = [], 0
        names, size = [*names, name], size + own
    if names:
        yield names


def _same_tensors(source: Weights, written: Weights, dtype: torch.dtype | None, told: Path) -> torch.dtype:
    """Read every written tensor back; returns the narrowest type among them.

    Raises:
        ModelError: one is missing, or not what was to be written.
    """
    kinds = {torch.float32}
    for name in source:
        wanted = _cast(source[name], dtype)
        if name not in written or not torch.equal(written[name], wanted):
            raise ModelError(
                f"{name} was not read back as it was written: nothing was kept",
                place=str(told),
                remedy="check the disk, and export it again",
            )
        kinds |= {wanted.dtype} if wanted.is_floating_point() else set()
    return min(kinds, key=lambda kind: (torch.finfo(kind).bits, torch.finfo(kind).eps * -1))


def check_words(kind: str, dtype: str, shard: str) -> None:
    """Refuse what ``export`` has no meaning for.

    Raises:
        ModelError: the option, and what it may be.
    """
    if kind not in get_args(Kind):
        raise ModelError(f"{kind!r} is no kind", place="--kind", remedy=f"use one of: {', '.join(get_args(Kind))}")
    if dtype not in ("auto", *DTYPES):
        raise ModelError(f"{dtype!r} is no type of weights", place="--dtype", remedy="use auto, fp32, bf16 or fp16")
    try:
        bytes_of(shard)
    except ValueError as error:
        raise ModelError(f"{shard!r} is no size", place="--shard-size", remedy="write it as 5GB") from error
