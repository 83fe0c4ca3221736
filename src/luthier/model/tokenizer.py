"""Where a run's tokenizer comes from: a directory, the hub, or training on the run's own texts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from luthier.errors import ModelError
from luthier.model.chatglm_tokenizer import is_chatglm_tokenizer, write_chatglm_tokenizer
from luthier.model.tokenizer_training import byte_level, with_blanks
from luthier.recipe.tokenizer import TokenizerTraining

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)


def train_tokenizer(texts: Iterable[str], spec: TokenizerTraining, directory: Path) -> None:
    """Train a tokenizer of the kind that is asked for, and write it in the Hugging Face layout."""
    train = {"bpe": byte_level, "sentencepiece": with_blanks}[spec.kind]
    directory.mkdir(parents=True, exist_ok=True)
    train(texts, spec).save(str(directory / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": spec.eos,
        "pad_token": spec.special[0],
        "clean_up_tokenization_spaces": False,
        "model_max_length": int(1e30),
    }
    _write(directory / "tokenizer_config.json", config)


def local_directory(path: str, revision: str | None) -> Path:
    """The directory of a model or tokenizer: the path itself, or a snapshot of the hub's.

    Raises:
        ModelError: there is no such directory, and the hub cannot be asked or has none.
    """
    directory = Path(path).expanduser()
    if directory.is_dir():
        return directory
    if directory.is_absolute() or path.startswith(".") or path.count("/") != 1:
        raise ModelError(
            "there is no such directory", place=path, remedy=f"paths start at {Path.cwd()}; hub names are owner/name"
        )
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            path, revision=revision, allow_patterns=["*.json", "*.model", "*.jinja", "*.txt", "*.safetensors"]
        )
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"is neither a directory here nor to be had from the hub: {reason}",
            place=path,
            remedy="check the name and the connection, or give the path of a local directory",
        ) from error
    return Path(found)


def convert_tokenizer(directory: Path, into: Path) -> None:
    """Write a tokenizer of an older kind, without ``tokenizer.json``, anew in today's layout.

    Raises:
        ModelError: transformers cannot read the tokenizer.
    """
    if is_chatglm_tokenizer(directory):
        write_chatglm_tokenizer(directory, into)
        return
    from transformers import AutoTokenizer

    try:
        AutoTokenizer.from_pretrained(str(directory), trust_remote_code=False).save_pretrained(str(into))
    except Exception as error:
        raise ModelError(
            f"its tokenizer cannot be read: {error}",
            place=str(directory),
            remedy="set tokenizer.path to another directory",
        ) from error


def write_tokenizer(source: Path, target: Path, chat_template: str | None) -> None:
    """Copy a tokenizer's files and put the chat template that was trained on beside them."""
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)
    if chat_template is None:
        return
    (target / "chat_template.jinja").write_text(chat_template, encoding="utf-8")
    config = target / "tokenizer_config.json"
    if config.exists():
        settings = json.loads(config.read_text(encoding="utf-8"))
        settings.pop("chat_template", None)
        _write(config, settings)


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2), encoding="utf-8")
