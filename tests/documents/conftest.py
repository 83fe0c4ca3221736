"""The documents' own files, and small stand-ins for the models and rows they name."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_model, write_csv, write_jsonl
from tests.model.chatglm3 import write_checkpoint, write_sentencepiece

FILES = Path(__file__).parent / "files"


@dataclass(frozen=True)
class StandIns:
    """A model, and rows in each of the forms that the documents read."""

    model: Path
    alpaca: Path
    """Instruction, input, output."""
    table: Path
    """A folder with ``csv/aspcoder_train.csv``."""
    conversations: Path
    """ChatGLM3's ``train.json`` and ``dev.json``."""
    messages: Path
    """``train.jsonl`` and ``test.jsonl`` of messages."""
    chatglm: Path
    """A checkpoint in ChatGLM3's own layout."""


def _pairs(count: int) -> list[tuple[str, str, str]]:
    chance = random.Random(1)
    names, verbs = ("Mira", "Tom", "Ada", "Finn"), ("paints", "sells", "counts", "finds")
    rows = []
    for number in range(count):
        name, verb, many = chance.choice(names), chance.choice(verbs), chance.randrange(2, 90)
        rows.append((f"What does {name} do?", "in short" if number % 2 else "", f"{name} {verb} {many} boats."))
    return rows


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> StandIns:
    from luthier.model.tokenizer import train_tokenizer
    from luthier.recipe.tokenizer import TokenizerTraining

    root = tmp_path_factory.mktemp("stand-ins")
    rows = _pairs(1600)
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|system|>", "<|user|>", "<|assistant|>")
    train_tokenizer(
        [text for row in rows for text in row], TokenizerTraining(vocabulary=500, special=special), root / "model"
    )
    vocabulary = len(json.loads((root / "model" / "tokenizer.json").read_text())["model"]["vocab"])
    make_model(root / "model", vocabulary, max_position_embeddings=4096)
    chats = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, _, a in rows]
    for name in ("table/csv", "conversations", "messages"):
        (root / name).mkdir(parents=True)
    write_csv(root / "table" / "csv" / "aspcoder_train.csv", [("work", q, a) for q, _, a in rows[:640]])
    for name, part in (("train", chats[:400]), ("dev", chats[400:480])):
        write_jsonl(root / "conversations" / f"{name}.json", [{"conversations": one} for one in part])
    for name, part in (("train", chats[:400]), ("test", chats[400:480])):
        write_jsonl(root / "messages" / f"{name}.jsonl", [{"messages": one} for one in part])
    alpaca = [{"instruction": q, "input": i, "output": a} for q, i, a in rows]
    return StandIns(
        root / "model",
        write_jsonl(root / "alpaca.jsonl", alpaca),
        root / "table",
        root / "conversations",
        root / "messages",
        write_sentencepiece(write_checkpoint(root / "chatglm")),
    )


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A folder with a copy of every document's file."""
    return Path(shutil.copytree(FILES, tmp_path / "files"))


def events_of(run: Path) -> list[dict[str, Any]]:
    """The events of a run's folder."""
    path = run / "events.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
