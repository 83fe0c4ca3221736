"""What was saved is opened again, and is what it should be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from luthier.errors import ModelError
from luthier.model.load import open_model
from luthier.model.verify import LIST, differing, verify
from tests.conftest import World


@pytest.mark.parametrize("adapter", [False, True])
def test_every_tensor_is_listed_and_a_wrong_one_named(adapter: bool, world: World, tmp_path: Path) -> None:
    model = open_model(world.model, "sdpa", "auto")
    if adapter:
        model = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
    model.save_pretrained(str(tmp_path))
    path = next(tmp_path.glob("*.safetensors"))
    verify(model, tmp_path)
    listed = json.loads((tmp_path / LIST).read_text())["tensors"]
    tensors = load_file(path)
    assert {name: one["shape"] for name, one in listed.items()} == {n: list(t.shape) for n, t in tensors.items()}
    assert differing(tmp_path) == []
    name = sorted(tensors)[0]
    save_file({**tensors, name: tensors[name] + 1}, path, metadata={"format": "pt"})
    assert differing(tmp_path) == [name]
    with pytest.raises(ModelError, match="is not what was to be saved") as caught:
        verify(model, tmp_path)
    assert name in str(caught.value)


def test_a_tensor_of_another_shape_or_type_is_wrong(world: World, tmp_path: Path) -> None:
    model = open_model(world.model, "sdpa", "auto")
    model.save_pretrained(str(tmp_path))
    path, name = tmp_path / "model.safetensors", "model.norm.weight"
    tensors = load_file(path)
    for wrong in (tensors[name][:-1].clone(), tensors[name].to(torch.bfloat16)):
        save_file({**tensors, name: wrong}, path, metadata={"format": "pt"})
        with pytest.raises(ModelError, match=name):
            verify(model, tmp_path)
