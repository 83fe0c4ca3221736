"""Pickles are opened nowhere, and nothing in the source could open one."""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.errors import LuthierError, ModelError
from tests.conftest import World
from tests.security.conftest import Call, pickled
from tests.security.test_code import adapter_on

Write = Callable[..., Path]
SOURCE = Path(luthier.__file__).parent

FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"torch.load", "torch.save", "eval", "exec", "compile", "os.system", "os.popen", "yaml.load", "input"}
BETWEEN_OUR_OWN_RANKS = {("train/ranks.py", "broadcast_object_list"), ("train/ranks.py", "all_gather_object")}
"""torch pickles what these exchange: between the processes of one run alone, and what we hand over is JSON text."""


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def offences(path: Path) -> Iterator[str]:
    name = path.relative_to(SOURCE).as_posix()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        place = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else [str(node.module)]
            yield from (f"{place}: import {one}" for one in names if one.split(".")[0] in FORBIDDEN_MODULES)
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func)
        if called in FORBIDDEN_CALLS:
            yield f"{place}: {called}()"
        pickles = called.startswith("dist.") and "object" in called
        if pickles and (name, called.removeprefix("dist.")) not in BETWEEN_OUR_OWN_RANKS:
            yield f"{place}: {called} pickles"
        for keyword in node.keywords:
            told = keyword.value.value if isinstance(keyword.value, ast.Constant) else "?"
            wrong = {"allow_pickle": told is not False, "shell": told is not False, "weights_only": told is False}
            wrong |= {"trust_remote_code": told is not False, "use_safetensors": told is not True}
            if wrong.get(str(keyword.arg), False) and called.rpartition(".")[2] not in OURS:
                yield f"{place}: {called}({keyword.arg}={told})"
        said = any(keyword.arg == "trust_remote_code" for keyword in node.keywords)
        if called.startswith("Auto") and not said:
            yield f"{place}: {called} asks at the keyboard"


OURS = ("state", "State")
"""Functions of our own whose ``weights_only`` is a checkpoint without optimiser state."""


def test_the_source_opens_no_pickle_runs_no_text_and_asks_nobody() -> None:
    found = [one for path in sorted(SOURCE.rglob("*.py")) for one in offences(path)]
    found = [one for one in found if not one.startswith("cli/chat.py") or "input()" not in one]
    assert found == []


def test_what_is_looked_for_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text(
        "import pickle\ntorch.load(x)\nnp.load(x, allow_pickle=True)\nsubprocess.run(x, shell=True)\neval(x)\n"
        "AutoConfig.from_pretrained(x)\nA.from_pretrained(x, trust_remote_code=y)\ndist.broadcast_object_list(x)\n"
    )
    monkeypatch.setattr("tests.security.test_pickles.SOURCE", tmp_path)
    assert {int(one.split(":")[1]) for one in offences(tmp_path / "a.py")} == set(range(1, 9))


def pickled_model(world: World, folder: Path, marker: Path, name: str = "pytorch_model.bin") -> Path:
    shutil.copytree(world.model, folder)
    (folder / "model.safetensors").unlink()
    pickled(folder / name, marker)
    return folder


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
@pytest.mark.parametrize("command", ["train", "inspect", "generate", "merge"])
def test_a_pickled_model_is_refused(
    name: str, command: str, world: World, tmp_path: Path, marker: Path, call: Call, write_recipe: Write, capsys: Any
) -> None:
    model = pickled_model(world, tmp_path / "model", marker, name)
    adapter = adapter_on(model, tmp_path / "adapter")
    recipe = write_recipe(world.recipe(model={"path": str(model)}))
    words: dict[str, tuple[str | Path, ...]] = {
        "train": ("train", recipe),
        "inspect": ("inspect", model),
        "generate": ("generate", model, "--prompt", "x"),
        "merge": ("merge", adapter, "--out", tmp_path / "merged"),
    }
    assert call(*words[command]) == 2
    said = capsys.readouterr().err
    assert "holds no .safetensors weights" in said and "never opened" in said and "Traceback" not in said
    assert not marker.exists()


def test_a_pickled_adapter_is_refused(world: World, tmp_path: Path, marker: Path, call: Call, capsys: Any) -> None:
    adapter = adapter_on(world.model, tmp_path / "adapter")
    (adapter / "adapter_model.safetensors").unlink()
    pickled(adapter / "adapter_model.bin", marker)
    for words in (("generate", adapter, "--prompt", "x"), ("merge", adapter, "--out", tmp_path / "merged")):
        assert call(*words) == 2
        assert "holds no .safetensors weights but adapter_model.bin" in capsys.readouterr().err
    assert not marker.exists()


@pytest.mark.parametrize(
    "named", ["../elsewhere.safetensors", "/etc/passwd", "a/../b.safetensors", "..", "", 3, "x.bin", "a\\b.safetensors"]
)
def test_an_index_names_files_of_its_own_folder_alone(named: object, world: World, tmp_path: Path) -> None:
    from luthier.model.load import open_model
    from luthier.model.shape import shape_of_directory
    from luthier.model.weights import Weights

    model = tmp_path / "model"
    shutil.copytree(world.model, model)
    shutil.copyfile(model / "model.safetensors", tmp_path / "elsewhere.safetensors")
    index = {"weight_map": {"model.norm.weight": named}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    for opened in (Weights, shape_of_directory, lambda path: open_model(path, "sdpa", "auto")):
        with pytest.raises(ModelError, match="its index names"):
            opened(model)


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet", "txt", "gz", "pkl", "pt", "arrow"])
def test_a_pickle_as_rows_is_not_unpickled(
    suffix: str, world: World, tmp_path: Path, marker: Path, call: Call, write_recipe: Write, capsys: Any
) -> None:
    rows = pickled(tmp_path / f"rows.{suffix}", marker)
    tree = world.recipe(data={"train": [{"path": str(rows)}]}, output={"dir": str(tmp_path / "run")})
    assert call("train", write_recipe(tree)) == 2
    assert not marker.exists() and "Traceback" not in capsys.readouterr().err


def test_a_pickle_under_a_safe_name_is_not_unpickled(world: World, tmp_path: Path, marker: Path) -> None:
    from luthier.data.encoder import Encoder
    from luthier.model.load import open_model
    from luthier.model.save import load_result
    from luthier.train import checkpoint

    model, adapter = tmp_path / "model", adapter_on(world.model, tmp_path / "adapter")
    shutil.copytree(world.model, model)
    pickled(model / "model.safetensors", marker)
    pickled(model / "tokenizer.json", marker)
    pickled(adapter / "adapter_model.safetensors", marker)
    state = tmp_path / "step-00000001"
    state.mkdir()
    pickled(state / "weights.safetensors", marker)
    (state / "progress.json").write_text("{}")
    opened: tuple[Callable[[], Any], ...] = (
        lambda: open_model(model, "sdpa", "auto"),
        lambda: Encoder.open(model),
        lambda: load_result(adapter),
        lambda: checkpoint.load(state),
    )
    for one in opened:
        with pytest.raises(LuthierError):
            one()
    assert not marker.exists()
