"""Folders as a stranger might hand them out, and every command that opens one."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import World

Call = Callable[..., int]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Runs a command as its own program would, with somebody at the keyboard who says yes to everything."""
    from luthier.cli.app import main

    def run(*words: str | Path) -> int:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["luthier", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 20))
        with pytest.raises(SystemExit) as ended:
            main()
        assert sys.stdin.tell() == 0, "somebody was asked"
        return int(ended.value.code or 0)

    return run


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """The file that malicious code makes when it runs."""
    return tmp_path / "made"


def code(marker: Path) -> str:
    """A module that leaves a mark as soon as it is imported."""
    return f"""from pathlib import Path

from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

Path({str(marker)!r}).touch()


class Config(LlamaConfig):
    model_type = "strange"


class Model(LlamaForCausalLM):
    config_class = Config


class Tokens(PreTrainedTokenizerFast):
    pass
"""


def with_code(world: World, folder: Path, marker: Path) -> Path:
    """The tiny model, whose config asks for a module beside it."""
    shutil.copytree(world.model, folder)
    config = json.loads((folder / "config.json").read_text())
    names = {"AutoConfig": "strange.Config", "AutoModelForCausalLM": "strange.Model", "AutoModel": "strange.Model"}
    config |= {"model_type": "strange", "architectures": ["Model"], "auto_map": names}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "strange.py").write_text(code(marker))
    return folder


class Mark:
    """Unpickling one makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def pickled(path: Path, marker: Path) -> Path:
    """A file as torch.save writes it, that makes the marker when it is unpickled."""
    import torch

    torch.save({"model.embed_tokens.weight": torch.zeros(2, 2), "mark": Mark(marker)}, path)
    return path
