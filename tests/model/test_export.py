"""Exporting: what is written is the same model to plain transformers and PEFT, or it is not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from luthier.errors import ModelError
from luthier.model import export as room
from luthier.model.adapters import add_adapter
from luthier.model.agreement import TOLERANCE
from luthier.model.export import export
from luthier.model.load import build_model
from luthier.model.save import save_model
from luthier.recipe.validate import build
from tests.conftest import World
from tests.model.test_adapters import shaken

DTYPES = {"auto": torch.float32, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
IDS = torch.tensor([[5, 9, 11, 30, 7, 41]])


@pytest.fixture(scope="module")
def adapter(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter on the world's model, with weights of some size, as a run saves it."""
    tree = {
        "model": {"path": str(world.model)},
        "data": {"train": [{"path": "x"}]},
        "adapter": {"kind": "lora", "rank": 4},
    }
    recipe = build(tree, str)
    model = shaken(add_adapter(build_model(recipe, 0, world.model), recipe, ()))
    out = tmp_path_factory.mktemp("adapter") / "model"
    save_model(model, out, tokenizer=world.model, chat_template="{{ messages }}", stops=[2], base=str(world.model))
    return out


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.float().eval()(IDS, use_cache=False).logits
    return found


def opened(place: Path, base: Path) -> Any:
    """As somebody without Luthier opens it."""
    if (place / "adapter_config.json").exists():
        return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), place)
    return AutoModelForCausalLM.from_pretrained(place)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["full", "adapter", "merged"])
def test_every_kind_in_every_type_opens_elsewhere_and_says_the_same(
    kind: Any, dtype: str, world: World, adapter: Path, tmp_path: Path
) -> None:
    source, out = world.model if kind == "full" else adapter, tmp_path / "out"
    done = export(source, out, kind=kind, dtype=dtype)
    assert (done.kind, done.dtype) == (kind, str(DTYPES[dtype]).removeprefix("torch."))
    stored = [tensor.dtype for file in out.glob("*.safetensors") for tensor in load_file(file).values()]
    assert set(stored) == {DTYPES[dtype]}
    wanted = logits(opened(source, world.model))
    found = logits(opened(out, world.model))
    error = float((found - wanted).norm() / wanted.norm())
    assert error <= TOLERANCE[DTYPES[dtype]] and (dtype in ("auto", "fp32")) == (error < 1e-5)
    assert AutoTokenizer.from_pretrained(out).vocab_size and not list(tmp_path.glob(".*exporting"))
    if kind != "adapter":
        assert AutoModelForCausalLM.from_pretrained(out, dtype="auto").dtype is DTYPES[dtype]


def test_weights_lie_in_files_of_the_size_that_is_asked_for(world: World, tmp_path: Path) -> None:
    done = export(world.model, tmp_path / "out", shard="30KB")
    files = sorted((tmp_path / "out").glob("*.safetensors"))
    assert len(files) == done.files > 2 and files[0].name == f"model-00001-of-{done.files:05}.safetensors"
    largest = max(tensor.nbytes for file in files for tensor in load_file(file).values())
    assert all(sum(one.nbytes for one in load_file(file).values()) <= max(30_000, largest) for file in files)
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == {file.name for file in files}
    whole = AutoModelForCausalLM.from_pretrained(world.model)
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out")), logits(whole))


@pytest.mark.parametrize("kind", ["full", "adapter", "merged"])
def test_one_damaged_tensor_is_found_and_nothing_is_left(
    kind: Any, world: World, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaging(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        first = next(iter(tensors))
        save_file({**tensors, first: tensors[first] + 1e-3}, path, metadata=metadata)

    monkeypatch.setattr(room, "save_file", damaging)
    with pytest.raises(ModelError, match="not read back as it was written"):
        export(world.model if kind == "full" else adapter, tmp_path / "out", kind=kind)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_says_something_else_is_not_called_done(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tensors that are all there, under a config that makes another model of them."""
    whole = room._beside

    def forgetful(source: Path, out: Path) -> None:
        whole(source, out)
        config = json.loads((out / "config.json").read_text())
        (out / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1.0}))

    monkeypatch.setattr(room, "_beside", forgetful)
    with pytest.raises(ModelError, match="more than rounding to float32 explains"):
        export(world.model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_cannot_be_written(world: World, adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is an adapter"):
        export(adapter, tmp_path / "out", kind="full")
    with pytest.raises(ModelError, match="with no adapter"):
        export(world.model, tmp_path / "out", kind="merged")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    with pytest.raises(ModelError, match="is not empty"):
        export(world.model, tmp_path / "full")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
