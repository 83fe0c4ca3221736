"""Text -> ids, through the tokenizers library alone: no torch, no transformers."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from luthier.data.words import Words, cuts_of, packed
from luthier.errors import ModelError

MANY = 32
"""Texts at once from which on words are kept."""


@dataclass(slots=True)
class Encoder:
    """A tokenizer directory, opened.

    ``control`` are the strings of its control tokens; ``prefix`` and ``suffix`` are the ids that its own
    post-processor puts around a text. ``spaced``: it puts a space before a text, as SentencePiece does, so that a piece
    from the middle of a text has to be told what came before it.
    """

    tokenizer: Any
    tokens: dict[str, str]
    chat_template: str | None
    control: frozenset[str]
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    spaced: bool = False
    _words: dict[bool, Words] | None = None
    """By whether control tokens are ordinary text; None until there are enough texts for them to be of use."""

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
        newline = tokenizer.encode("\n", add_special_tokens=False).ids
        start = next((i for i in range(len(full)) if full[i : i + len(bare)] == bare), 0)
        return cls(
            tokenizer=tokenizer,
            tokens={name: text for name, text in named.items() if text},
            chat_template=_chat_template(directory, config),
            control=frozenset(str(token) for token in tokenizer.get_added_tokens_decoder().values() if token.special),
            prefix=tuple(full[:start]),
            suffix=tuple(full[start + len(bare) :]),
            spaced=tokenizer.encode("\na", add_special_tokens=False).ids != [*newline, *bare],
        )

    @property
    def vocabulary(self) -> int:
        """Number of ids, added tokens included."""
        return int(self.tokenizer.get_vocab_size(with_added_tokens=True))

    def id_of(self, name: str) -> int | None:
        """The id of ``bos_token``, ``eos_token``, ``pad_token`` or ``unk_token``, if there is one."""
        text = self.tokens.get(name)
        return None if text is None else self.tokenizer.token_to_id(text)

    def special_ids(self) -> dict[str, int | None]:
        """The ids that a model's config names: ``bos_token_id``, ``eos_token_id`` and ``pad_token_id``."""
        return {f"{name}_id": self.id_of(name) for name in ("bos_token", "eos_token", "pad_token")}

    def encode(self, texts: Sequence[str], *, literal: bool = False, after: Sequence[str] = ()) -> list[list[int]]:
        """Ids of each text, nothing added; as ``packed``."""
        return [array("i", ids).tolist() for ids in self.packed(texts, literal=literal, after=after)]

    def packed(self, texts: Sequence[str], *, literal: bool = False, after: Sequence[str] = ()) -> list[bytes]:
        """Ids of each text as the bytes of 32-bit integers, nothing added.

        Args:
            literal: read control tokens in the texts as ordinary text.
            after: the text that stands before each one, empty at the start of a document; ids are then those that the
                text has behind it (behind its last control token, or else behind a line break).
        """
        if not self.spaced or not any(after):
            return self._encode(texts, literal)
        leads = [self._lead(before, literal) for before in after]
        of_lead = {lead: self._encode([lead], literal)[0] if lead else b"" for lead in set(leads)}
        ids = self._encode([lead + text for lead, text in zip(leads, texts, strict=True)], literal)
        for index, lead in enumerate(leads):
            begin = of_lead[lead]
            # Where the lead has merged with the text there is no telling them apart.
            whole = ids[index].startswith(begin)
            ids[index] = ids[index][len(begin) :] if whole else self._encode([texts[index]], literal)[0]
        return ids

    def words(self, *, literal: bool = False) -> Words | None:
        """The words met so far; None if the tokenizer's texts cannot be cut into them."""
        if self._words is None:
            cuts = cuts_of(self.tokenizer)
            self._words = {flag: Words(partial(self._whole, literal=flag), cuts) for flag in (False, True) if cuts}
        return self._words.get(literal)

    def _encode(self, texts: Sequence[str], literal: bool) -> list[bytes]:
        words = self.words(literal=literal) if self._words is not None or len(texts) >= MANY else None
        return words.encode(texts) if words else list(map(packed, self._whole(texts, literal)))

    def _whole(self, texts: Sequence[str], literal: bool) -> list[list[int]]:
        self.tokenizer.encode_special_tokens = literal
        try:
            return [
                encoding.ids for encoding in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
            ]
        finally:
            self.tokenizer.encode_special_tokens = False

    def _lead(self, before: str, literal: bool) -> str:
        if not before or literal:
            return "\n" if before else ""
        return max((token for token in self.control if before.endswith(token)), key=len, default="\n")

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
