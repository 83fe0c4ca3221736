"""An adapter written into the weights of its base, file by file, and called done only when the logits agree."""

from __future__ import annotations

import gc
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import BitsAndBytesConfig

from luthier.errors import ModelError
from luthier.model.adapter_files import KINDS, adapter_settings, refuse_judge, rows_of
from luthier.model.agreement import TOLERANCE, distance, fits_in_fp32, judge, logits, probes
from luthier.model.alone import base_alone
from luthier.model.aside import made_aside
from luthier.model.chatglm import glm_config, is_chatglm
from luthier.model.deltas import Deltas
from luthier.model.layout import layout_of
from luthier.model.load import open_model
from luthier.model.merge_loaded import loaded_files
from luthier.model.precision import DTYPES
from luthier.model.quantise import dequantised, is_quantised, loading, read_quantisation
from luthier.model.safe import check_adapter, check_model
from luthier.model.save import base_of, open_on_base
from luthier.model.tokenizer import local_directory, write_tokenizer
from luthier.model.weights import Weights


@dataclass(frozen=True, slots=True)
class Merged:
    """What was written, and how its logits compare, relative to their size: ``error`` is the distance from the
    adapter on its base, ``effect`` the adapter's own from the base alone."""

    directory: Path
    files: int
    dtype: str
    error: float
    effect: float


def merge(adapter: Path, out: Path, *, base: str | None = None, dtype: str = "auto") -> Merged:
    """Write the base model with the adapter merged in to ``out``.

    One weight file of the base is in memory at a time, or all of it where its files name otherwise what the adapter
    changes; the comparison then needs the model once whole. An adapter that
    was trained on quantised weights goes onto the full ones; one that began as what quantisation lost (LoftQ) goes
    onto the weights that the quantised ones stand for.

    Args:
        base: another place of the base model than the adapter names.
        dtype: fp32, bf16 or fp16; auto keeps each weight in the type it has.

    Raises:
        ModelError: nothing to merge or to merge onto, or the merged model does not say what the adapter says, or it
            cannot be written; nothing is left at ``out``.
    """
    settings = adapter_settings(adapter)
    if KINDS.get(str(settings.get("peft_type"))) not in ("lora", "ia3"):
        raise ModelError(
            f"{settings.get('peft_type')} adds tokens and changes no weight, so there is nothing to merge",
            place=str(adapter),
            remedy="use it as it is, with luthier generate or PEFT",
        )
    refuse_judge(adapter)
    under = local_directory(base, None) if base is not None else base_of(adapter)
    check_adapter(adapter, settings)
    check_model(under)
    with made_aside(out, "merging") as aside:
        files, kind = _write(adapter, settings, under, aside, dtype)
        error, effect = _compare(adapter, under, aside)
        remedy = "check that --base is the model the adapter was trained on"
        judge(error, kind, str(out), remedy=remedy, effect=effect)
        os.replace(aside, out)
    return Merged(out, files, str(kind).removeprefix("torch."), error, effect)


def _write(adapter: Path, settings: dict[str, Any], base: Path, out: Path, dtype: str) -> tuple[int, torch.dtype]:
    """Write every file of the merged model; returns how many weight files, and the narrowest type in them."""
    weights, deltas = Weights(base), Deltas(adapter, settings)
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    if is_chatglm(base):
        # Merged in memory, where it is a GLM, it is written as one.
        config = glm_config(config, str(base))
    named = deltas.fit(weights, layout_of(base), tied=bool(config.get("tie_word_embeddings")))
    stand_in = deltas.as_filed(_dequantised_weights(adapter, base))
    if not named and stand_in:
        raise ModelError(
            "began as what quantisation lost, and changes weights that the base's files have under other names",
            place=str(adapter),
            remedy="use it as it is, with luthier generate or PEFT",
        )
    target = DTYPES.get(dtype)
    changed = (
        _by_file(weights, deltas, stand_in, target)
        if named
        else loaded_files(adapter, base, deltas, target, out.parent)
    )
    kinds: set[torch.dtype] = set()
    index: dict[str, str] = {}
    for file, tensors in changed:
        save_file({name: one.contiguous() for name, one in tensors.items()}, out / file, metadata={"format": "pt"})
        kinds |= {one.dtype for one in tensors.values() if one.is_floating_point()}
        index |= dict.fromkeys(tensors, file)
    files = len(set(index.values()))
    if files > 1:
        tree = {"metadata": {}, "weight_map": dict(sorted(index.items()))}
        (out / "model.safetensors.index.json").write_text(json.dumps(tree, indent=2), encoding="utf-8")
    config["vocab_size"] = deltas.vocabulary or config["vocab_size"]
    if deltas.untied:
        config["tie_word_embeddings"] = False
    if dtype in DTYPES:
        config.pop("torch_dtype", None)
        config["dtype"] = str(DTYPES[dtype]).removeprefix("torch.")
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    if (base / "generation_config.json").exists():
        shutil.copyfile(base / "generation_config.json", out / "generation_config.json")
    write_tokenizer(adapter if (adapter / "tokenizer.json").exists() else base, out, None)
    for name in ("chat_template.jinja", "chat_template.json"):
        source = next((place / name for place in (adapter, base) if (place / name).exists()), None)
        if source is not None:
            shutil.copyfile(source, out / name)
    return files, max(kinds, key=lambda kind: TOLERANCE.get(kind, 0))


def _by_file(
    weights: Weights, deltas: Deltas, stand_in: dict[str, torch.Tensor], dtype: torch.dtype | None
) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """The name and the tensors of each file of the merged model."""
    for file in weights.files:
        tensors = weights.of_file(file)
        own = {name: one.dtype for name, one in tensors.items()}
        tensors |= {name: stand_in[name] for name in tensors.keys() & stand_in.keys()}
        tensors = deltas.apply(tensors, dtype)
        if dtype is None:
            tensors = {name: one.to(own.get(name, one.dtype)) for name, one in tensors.items()}
        yield file.name, tensors


def _dequantised_weights(adapter: Path, base: Path) -> dict[str, torch.Tensor]:
    """The weights that an adapter's quantised base stands for, by name; none where the full ones will do."""
    kept = read_quantisation(adapter)
    if kept is None or not kept.needed:
        return {}
    model = open_model(base, None, "auto", loading(kept.config, "cpu"))
    return {
        f"{name}.weight": dequantised(module)
        for name, module in model.named_modules()
        if is_quantised(getattr(module, "weight", torch.empty(0)))
    }


def _compare(adapter: Path, base: Path, merged: Path) -> tuple[float, float]:
    """(error, effect) of a merged model, one model in memory at a time."""
    kept = read_quantisation(adapter)
    quantised: dict[str, Any] = {}
    if kept is not None and kept.needed:
        config = BitsAndBytesConfig.from_dict({**kept.config.to_dict(), "bnb_4bit_compute_dtype": "float32"})
        quantised = loading(config, "cpu")
    dtype = torch.float32 if fits_in_fp32(merged) else "auto"
    model = open_on_base(adapter, base, None, dtype, quantised)
    ids = probes(model.get_input_embeddings().weight.shape[0], rows_of(adapter))
    wanted = logits(model, ids)
    with base_alone(model):
        plain = logits(model, ids)
    del model
    gc.collect()
    found = logits(open_model(merged, None, dtype), ids)
    return distance(found, wanted), distance(plain, wanted)
