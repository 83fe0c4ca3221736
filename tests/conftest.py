"""What tests share: a small real world of files. Everything is made here, on disk, in the real layouts."""

from __future__ import annotations

import csv
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import warm
from tests.processes import Forked

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

NAMES = ("Mira", "Tom", "Ada", "Finn", "Rosa", "Ivo")
HOMES = ("mill", "barn", "tower", "cave", "inn", "forge")
TEMPLATES = ("Where does {} live?", "Where is the home of {}?", "Tell me where {} lives.")


@dataclass(frozen=True)
class World:
    """Files that a run needs: stories, questions, a tokenizer, a tiny random Llama."""

    root: Path
    stories: Path
    questions: Path
    held_out: Path
    model: Path

    def recipe(self, **sections: Any) -> dict[str, Any]:
        """A small supervised recipe on the tiny model, with sections laid over it."""
        tree: dict[str, Any] = {
            "model": {"path": str(self.model)},
            "data": {"train": [{"path": str(self.questions)}], "template": "chatml", "max_length": 96},
            "batch": {"micro": 1, "epochs": 2},
            "optimizer": {"lr": 1e-3},
            "precision": {"compute": "fp32"},
            "output": {"dir": str(self.root / "runs" / "run")},
        }
        for name, section in sections.items():
            tree[name] = {**tree.get(name, {}), **section} if isinstance(section, dict) else section
        return tree


@pytest.fixture(scope="session", autouse=True)
def _quiet_threads() -> None:
    """One thread per test process: tests run side by side on few cores."""
    import torch

    torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """The tests and what they import stay: no collection of garbage has to walk over them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def _caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(autouse=True)
def _own_cache(_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by ``mktemp``, which reads the names of all folders beside the new one: thousands by the end."""
    monkeypatch.setenv("LUTHIER_CACHE", tempfile.mkdtemp(dir=_caches))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_csv(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("category", "human", "assistant"), *rows])
    return path


def make_stories(path: Path, count: int = 60) -> Path:
    rows = []
    for number in range(count):
        who = number % len(NAMES)
        sentence = f"{NAMES[who]} lives in the {HOMES[who]} and likes it there. "
        rows.append({"text": (sentence * (1 + number % 5)).strip()})
    return write_jsonl(path, rows)


def make_model(directory: Path, vocabulary: int, **changes: Any) -> Path:
    """A tiny random Llama, saved as transformers saves it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "bos_token_id": None,
        "eos_token_id": 2,
    }
    LlamaForCausalLM(LlamaConfig(**{**settings, **changes})).save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    from luthier.model.tokenizer import train_tokenizer
    from luthier.recipe.tokenizer import TokenizerTraining

    root = tmp_path_factory.mktemp("world")
    stories = make_stories(root / "stories.jsonl")
    asked = [
        ("home", form.format(name), f"{name} lives in the {home}.")
        for name, home in zip(NAMES, HOMES, strict=True)
        for form in TEMPLATES
    ]
    held = [
        ("home", f"Say where {name} is at home.", f"{name} lives in the {home}.")
        for name, home in zip(NAMES, HOMES, strict=True)
    ]
    texts = [json.loads(line)["text"] for line in stories.read_text().splitlines()] + [
        text for row in asked for text in row
    ]
    train_tokenizer(texts, TokenizerTraining(vocabulary=400), root / "model")
    vocabulary = len(json.loads((root / "model" / "tokenizer.json").read_text())["model"]["vocab"])
    make_model(root / "model", vocabulary)
    return World(
        root, stories, write_csv(root / "questions.csv", asked), write_csv(root / "held-out.csv", held), root / "model"
    )


@pytest.fixture(scope="session")
def biased(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world's model with biases in its attention."""
    directory = tmp_path_factory.mktemp("biased")
    for file in world.model.glob("*token*"):
        (directory / file.name).write_bytes(file.read_bytes())
    vocabulary = len(json.loads((directory / "tokenizer.json").read_text())["model"]["vocab"])
    return make_model(directory, vocabulary, attention_bias=True)


@pytest.fixture(scope="session")
def adapted(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world's model with an adapter that changes what it says, saved."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(world.model), LoraConfig(r=4, target_modules="all-linear")
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=1.0)
    directory = tmp_path_factory.mktemp("adapted")
    model.save_pretrained(directory)
    for file in world.model.glob("*token*"):
        (directory / file.name).write_bytes(file.read_bytes())
    return directory


@pytest.fixture
def write_recipe(tmp_path: Path) -> Callable[..., Path]:
    """Writes a recipe's plain values as YAML and returns the file."""

    def write(tree: dict[str, Any], name: str = "recipe.yaml") -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), encoding="utf-8")
        return path

    return write


@pytest.fixture
def luthier(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the real command in a real process, in an empty folder."""

    def call(*words: str | Path, cwd: Path | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        if not options:
            return warm.run([*map(str, words)], cwd=cwd or tmp_path)
        command = [sys.executable, "-m", "luthier", *map(str, words)]
        return subprocess.run(command, cwd=cwd or tmp_path, capture_output=True, text=True, timeout=300, **options)

    return call


@pytest.fixture(scope="session")
def forked() -> Forked:
    """Runs the real command in several real processes, as a launcher would."""
    return Forked()
