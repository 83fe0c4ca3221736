"""The reference of preference tuning, settled before the first step."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from luthier.data.bins import best_fit
from luthier.data.preference_batch import AnswerBatch
from luthier.data.store import TokenStore
from luthier.errors import RunError
from luthier.methods.answers import likelihood
from luthier.methods.method import Method
from luthier.methods.reference import AtStart, Copied, Precomputed, Reference, Uniform, WithoutAdapter, measuring
from luthier.model.adapter_files import changes_base, starts_as_nothing
from luthier.model.attention_alone import is_alone
from luthier.model.attention_branches import register_branches
from luthier.recipe import Recipe
from luthier.record.folder import RunFolder, sync_folder
from luthier.train.display import Display
from luthier.train.engines.engine import Engine
from luthier.train.prepare import Inputs


def with_reference(
    method: Any, model: Any, recipe: Recipe, inputs: Inputs, folder: RunFolder, engine: Engine, display: Display
) -> Method:
    """The method with its reference, which is the model as it is now: before its first step, or a checkpoint.

    A method that learns from answers needs attention that branches; the model is given it.

    Raises:
        RunError: kept numbers of the reference do not belong to this run.
    """
    shared = getattr(method, "shared", None)
    if shared and not is_alone(model):
        model.set_attn_implementation(register_branches(model.config._attn_implementation))
    if getattr(method, "needs_reference", False):
        method.reference = _reference(method, model, recipe, inputs, folder, engine, display)
    made: Method = method
    return made


def _reference(
    method: Any, model: Any, recipe: Recipe, inputs: Inputs, folder: RunFolder, engine: Engine, display: Display
) -> Reference:
    adapter, kind = recipe.adapter, recipe.method.reference
    if kind == "none":
        return Uniform()
    if kind == "precomputed":
        stores = [(inputs.store, inputs.documents)]
        if inputs.evaluation is not None:
            stores.append((inputs.evaluation, inputs.evaluation_documents))
        return Precomputed(_numbers(method, model, stores, folder.root / "reference", engine, display, recipe))
    if kind == "adapter_off" or (kind == "auto" and starts_as_nothing(adapter) and not changes_base(adapter)):
        return WithoutAdapter()
    return AtStart(model) if adapter.kind != "none" and kind == "auto" else Copied(model)


def _numbers(
    method: Any,
    model: torch.nn.Module,
    stores: Iterable[tuple[TokenStore, list[int]]],
    place: Path,
    engine: Engine,
    display: Display,
    recipe: Recipe,
) -> dict[bytes, tuple[float, ...]]:
    """The reference's log-probabilities of every document, from the run's folder if they are there."""
    stores, ranks = list(stores), engine.ranks
    file, wanted = place / "logps.safetensors", _made_of(stores)
    if not ranks.told(file.exists() if ranks.first else None):
        capacity = recipe.batch.micro * 2 * recipe.data.max_length
        with display.counting("working the reference out") as told, ranks.guarded():
            numbers = _measured(method, model, stores, capacity, engine, told)
        if ranks.first:
            place.mkdir(parents=True, exist_ok=True)
            _write(file, numbers, wanted)
        ranks.together("the reference")
    return _read(file, wanted)


def _measured(
    method: Any,
    model: torch.nn.Module,
    stores: Iterable[tuple[TokenStore, list[int]]],
    capacity: int,
    engine: Engine,
    told: Any,
) -> dict[bytes, tuple[float, ...]]:
    numbers: dict[bytes, tuple[float, ...]] = {}
    for store, documents in stores:
        longest = int(store.lengths[documents].max())
        packs = best_fit(np.asarray(documents, np.int64), store.lengths, max(capacity, longest))
        for pack in range(len(packs)):
            batch = method.collate([store[int(one)] for one in packs[pack]]).to(engine.device)
            assert isinstance(batch, AnswerBatch), "collated by this method"
            with measuring(model), engine.autocast():
                sums = likelihood(model, batch, chunked=method.chunked).sums.float().cpu().tolist()
            each = len(sums) // len(batch.keys)
            numbers |= {key: tuple(sums[each * at : each * (at + 1)]) for at, key in enumerate(batch.keys)}
            told(len(numbers))
    return numbers


def _made_of(stores: Iterable[tuple[TokenStore, list[int]]]) -> str:
    """A hash of the documents that the numbers are of."""
    digest = hashlib.sha256()
    for store, documents in stores:
        digest.update(store.key.encode())
        digest.update(np.asarray(documents, np.int64).tobytes())
    return digest.hexdigest()


def _write(file: Path, numbers: dict[bytes, tuple[float, ...]], documents: str) -> None:
    keys = torch.from_numpy(np.frombuffer(b"".join(numbers), np.uint8).reshape(-1, 16).copy())
    values = torch.tensor(list(numbers.values()), dtype=torch.float32)
    aside = file.with_suffix(".writing")
    save_file({"keys": keys, "logps": values}, aside, {"documents": documents, "sha256": _hash(keys, values)})
    aside.replace(file)
    sync_folder(file.parent)


def _read(file: Path, documents: str) -> dict[bytes, tuple[float, ...]]:
    remedy = "delete this file and the run's checkpoints; the reference is worked out again"
    try:
        with safe_open(file, framework="pt") as kept:
            told, keys, values = kept.metadata() or {}, kept.get_tensor("keys"), kept.get_tensor("logps")
    except (OSError, SafetensorError) as error:
        raise RunError(f"cannot be read: {error}", place=str(file), remedy=remedy) from error
    if told.get("sha256") != _hash(keys, values):
        raise RunError("the reference's numbers are damaged", place=str(file), remedy=remedy)
    if told.get("documents") != documents:
        raise RunError("the reference's numbers are of other rows", place=str(file), remedy=remedy)
    return {bytes(key): tuple(row) for key, row in zip(keys.numpy(), values.tolist(), strict=True)}


def _hash(keys: torch.Tensor, values: torch.Tensor) -> str:
    return hashlib.sha256(keys.numpy().tobytes() + values.numpy().tobytes()).hexdigest()
