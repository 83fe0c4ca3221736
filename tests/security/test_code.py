"""Code in a model's folder runs on no path, whatever is answered; nobody is even asked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import World
from tests.security.conftest import Call, code, with_code

Write = Callable[..., Path]


def adapter_on(base: Path, folder: Path) -> Path:
    """A small LoRA adapter that names a base."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir()
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": 2,
        "lora_alpha": 2,
        "target_modules": ["q_proj"],
        "layers_to_transform": [0],
    }
    (folder / "adapter_config.json").write_text(json.dumps({**settings, "base_model_name_or_path": str(base)}))
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    halves = {f"{name}.lora_A.weight": torch.full((2, 32), 0.1), f"{name}.lora_B.weight": torch.full((32, 2), 0.1)}
    save_file(halves, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    shutil.copyfile(base / "tokenizer.json", folder / "tokenizer.json")
    return folder


COMMANDS: dict[str, tuple[str, ...]] = {
    "train": ("train", "recipe.yaml"),
    "plan": ("plan", "recipe.yaml"),
    "inspect": ("inspect", "recipe.yaml"),
    "evaluate": ("evaluate", "model", "--data", "rows"),
    "generate": ("generate", "model", "--prompt", "x"),
    "chat": ("chat", "model"),
    "serve": ("serve", "model", "--port", "0"),
    "merge": ("merge", "adapter", "--out", "merged"),
    "generate with an adapter": ("generate", "adapter", "--prompt", "x"),
    "go on from an adapter": ("train", "recipe.yaml", "adapter.kind=lora", "adapter.continue_from=adapter"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_code_beside_the_weights_is_refused_and_nobody_is_asked(
    name: str, world: World, tmp_path: Path, marker: Path, call: Call, write_recipe: Write, capsys: Any
) -> None:
    model = with_code(world, tmp_path / "model", marker)
    adapter_on(model, tmp_path / "adapter")
    write_recipe(world.recipe(model={"path": str(model)}, output={"dir": str(tmp_path / "run")}))
    words = [str(world.questions) if word == "rows" else word for word in COMMANDS[name]]
    assert call(*words) == 2
    said = capsys.readouterr()
    assert not marker.exists()
    assert "code from a model's folder is never run" in said.err
    assert "Traceback" not in said.err and "[y/N]" not in said.out + said.err


def test_the_real_command_refuses_it_too(
    world: World, tmp_path: Path, marker: Path, write_recipe: Write, luthier: Callable[..., Any]
) -> None:
    model = with_code(world, tmp_path / "model", marker)
    done = luthier("train", write_recipe(world.recipe(model={"path": str(model)})), input="y\ny\ny\n")
    assert (done.returncode, marker.exists()) == (2, False)
    assert "[y/N]" not in done.stdout + done.stderr and "Traceback" not in done.stderr


def test_a_known_model_that_also_brings_code_is_opened_without_it(world: World, tmp_path: Path, marker: Path) -> None:
    from luthier.model.load import open_model

    model = with_code(world, tmp_path / "model", marker)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))
    assert type(open_model(model, "sdpa", "auto")).__name__ == "LlamaForCausalLM"
    assert not marker.exists()


def test_code_of_a_tokenizer_is_not_run(world: World, tmp_path: Path, marker: Path) -> None:
    from luthier.errors import ModelError
    from luthier.model.tokenizer import convert_tokenizer

    model = with_code(world, tmp_path / "model", marker)
    (model / "tokenizer.json").unlink()
    named = {"auto_map": {"AutoTokenizer": ["strange.Tokens", None]}, "tokenizer_class": "Tokens"}
    (model / "tokenizer_config.json").write_text(json.dumps(named))
    with pytest.raises(ModelError, match="tokenizer cannot be read"):
        convert_tokenizer(model, tmp_path / "tokens")
    assert not marker.exists()


def test_an_adapter_that_names_a_module_is_refused(
    world: World, tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from luthier.errors import ModelError
    from luthier.model.save import load_result

    (tmp_path / "strange.py").write_text(code(marker))
    monkeypatch.syspath_prepend(str(tmp_path))
    adapter = adapter_on(world.model, tmp_path / "adapter")
    settings = json.loads((adapter / "adapter_config.json").read_text())
    settings |= {"megatron_config": {"a": 1}, "megatron_core": "strange"}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match="would import 'strange'"):
        load_result(adapter)
    assert not marker.exists()


def test_an_adapter_is_no_model(world: World, tmp_path: Path) -> None:
    from luthier.errors import ModelError
    from luthier.model.load import open_model

    model = tmp_path / "model"
    shutil.copytree(world.model, model)
    adapter = adapter_on(world.model, tmp_path / "adapter")
    shutil.copyfile(adapter / "adapter_config.json", model / "adapter_config.json")
    with pytest.raises(ModelError, match="is an adapter"):
        open_model(model, "sdpa", "auto")
