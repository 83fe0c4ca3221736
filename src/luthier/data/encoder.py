"""Text -> ids, through the tokenizers library alone: no torch, no transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from luthier.errors import ModelError


@dataclass(slots=True)
class Encoder:
    """A tokenizer directory, opened.

    ``control`` are the strings of its control tokens; ``prefix`` and ``suffix`` are the ids that its own
    post-processor puts around a text.
    """

    tokenizer: Any
    tokens: dict[str, str]
    chat_template: str | None
    control: frozenset[str]
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]

    @classmethod
    def open(cls, directory: Path) -> Encoder:
        """Open a directory with ``tokenizer.json`` and, usually, ``tokenizer_config.json``.

        Raises:
            ModelError: a file is missing or cannot be read.
        """
        path = directory / "tokenizer.json"
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:
            reason = "there is no tokenizer.json" if not path.exists() else f"tokenizer.json cannot be read: {error}"
            raise ModelError(
                reason, place=str(directory), remedy="set tokenizer.path to a directory that has one"
            ) from error
        tokenizer.no_padding()
        tokenizer.no_truncation()
        config = _json(directory / "tokenizer_config.json")
        named = {name: _content(config.get(name)) for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
        bare = tokenizer.encode("a", add_special_tokens=False).ids
        full = tokenizer.encode("a", add_special_tokens=True).ids
        start = next((i for i in range(len(full)) if full[i : i + len(bare)] == bare), 0)
        return cls(
            tokenizer=tokenizer,
            tokens={name: text for name, text in named.items() if text},
            chat_template=_chat_template(directory, config),
            control=frozenset(str(token) for token in tokenizer.get_added_tokens_decoder().values() if token.special),
            prefix=tuple(full[:start]),
            suffix=tuple(full[start + len(bare) :]),
        )

    @property
    def vocabulary(self) -> int:
        """Number of ids, added tokens included."""
        return int(self.tokenizer.get_vocab_size(with_added_tokens=True))

    def id_of(self, name: str) -> int | None:
        """The id of ``bos_token``, ``eos_token``, ``pad_token`` or ``unk_token``, if there is one."""
        text = self.tokens.get(name)
        return None if text is None else self.tokenizer.token_to_id(text)

    def encode(self, texts: Sequence[str], *, literal: bool = False) -> list[list[int]]:
        """Ids of each text, nothing added; ``literal`` reads control tokens in it as ordinary text."""
        self.tokenizer.encode_special_tokens = literal
        try:
            return [
                encoding.ids for encoding in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
            ]
        finally:
            self.tokenizer.encode_special_tokens = False

    def decode(self, ids: Sequence[int], *, skip_control: bool = True) -> str:
        """The text of ids."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=skip_control))

    def has_control(self, text: str) -> bool:
        """Whether a control token stands literally in the text."""
        return any(token in text for token in self.control)


def _json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"is not JSON: {error}", place=str(path)) from error
    return value if isinstance(value, dict) else {}


def _content(token: Any) -> str | None:
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None


def _chat_template(directory: Path, config: dict[str, Any]) -> str | None:
    file = directory / "chat_template.jinja"
    if file.exists():
        return file.read_text(encoding="utf-8")
    template = _json(directory / "chat_template.json").get("chat_template", config.get("chat_template"))
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None
