"""A user's own file with an explanation beside every line; nothing of it is changed but that secrets are hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.dialects import Account, Outcome
from luthier.dialects.document import Document, KeyPath, load_yaml, read_text
from luthier.dialects.table import Row
from luthier.errors import RecipeError
from luthier.explain.catalogue import Setting, Table, made_by, row_of, sections, setting_of, tables
from luthier.explain.glossary import key_words
from luthier.explain.labels import GROUPS, pick, say
from luthier.explain.notes import translated
from luthier.explain.reader import Reader, reader_of
from luthier.redaction import scrubbed


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of one key on a line."""

    key: str
    text: str
    setting: str = ""
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the file, unchanged, and what is said of its keys."""

    text: str
    said: tuple[Said, ...] = ()


@dataclass(frozen=True, slots=True)
class Annotated:
    """A file that has been explained; ``comments`` when its kind of file has ``#`` comments that change nothing."""

    dialect: str
    lines: tuple[Line, ...]
    document: Document
    comments: bool

    def tree(self) -> dict[str, Any]:
        """Plain values, for ``--json``."""
        return {
            "dialect": self.dialect,
            "lines": [
                {
                    "line": number,
                    "text": line.text,
                    "explanations": [
                        {"key": one.key, "setting": one.setting, "outcome": one.outcome, "text": one.text}
                        for one in line.said
                    ],
                }
                for number, line in enumerate(self.lines, 1)
            ],
        }


def annotate(path: Path, lang: str, words: Sequence[str] = (), dialect: str | None = None) -> Annotated:
    """Explain every line of a recipe file that holds a key.

    Raises:
        RecipeError: the file cannot be read as a recipe.
    """
    text = read_text(path)
    reader = reader_of(text, str(path), dialect)
    reading = reader.read(text, str(path), words)
    document = reader.parse(text, str(path))
    table = next((one for one in tables() if one.name == reading.dialect), Table(reading.dialect, ()))
    said: dict[int, dict[str, Said]] = {}
    for account in reading.accounts:
        number = _line_of(account.place, str(path))
        if number:
            said.setdefault(number, {})[account.key] = _of_account(account, table, lang)
    told = {key for keys in said.values() for key in keys}
    for place, number in document.lines.items():
        key = ".".join(map(str, place))
        if place and number not in said:
            said[number] = {key: _of_group(place, told, document, reading.dialect, table, lang)}
    lines = tuple(
        Line(line, tuple(said.get(number, {}).values())) for number, line in enumerate(scrubbed(text).split("\n"), 1)
    )
    return Annotated(reading.dialect, lines, document, _has_comments(text, document, reader))


def _has_comments(text: str, document: Document, reader: Reader) -> bool:
    """Whether a comment above every line of a key leaves the values as they are, as it does in YAML alone.

    A shell's comments do not count: between lines that a backslash joins, they end the command.
    """
    keys = set(document.lines.values())
    marked = [one for n, line in enumerate(text.split("\n"), 1) for one in (["# x", line] if n in keys else [line])]
    try:
        if not isinstance(load_yaml(text, document.name).value, dict) or text.lstrip().startswith("{"):
            return False
        again = reader.parse("\n".join(marked), document.name)
    except RecipeError:
        return False
    return bool(again.value == document.value)


def _line_of(place: str, name: str) -> int:
    number = place.removeprefix(name + ":")
    return int(number) if place.startswith(name + ":") and number.isdecimal() else 0


def _of_account(account: Account, table: Table, lang: str) -> Said:
    row = row_of(table, account.key)
    targets = account.target.split(", ") if account.target else list(row.targets[:1]) if row else []
    setting = setting_of(targets[0]) if targets else None
    if row is not None and account.target:
        made = {one.name for target in targets if (one := setting_of(target))}
        setting = next((one for one in made_by(row) if one.name in made), setting)
    parts = [_meaning(row, setting, table.name, lang)]
    note = translated(account.note, lang)
    if account.outcome is not Outcome.APPLIED:
        parts.append(say(account.outcome.value, lang) + note)
    else:
        parts.append(note)
        if setting is not None and setting.words.misread[0]:
            parts.append(
                pick((f"{say('misread', 'en')}: ", f"{say('misread', 'zh')}:"), lang)
                + pick(setting.words.misread, lang)
            )
    return Said(
        account.key,
        _sentences(parts, lang),
        setting.name if setting and account.target else "",
        account.outcome.value,
    )


def _meaning(row: Row | None, setting: Setting | None, table: str, lang: str) -> str:
    own = key_words(table, row) if row is not None else None
    if own is not None:
        return pick(own, lang)
    return pick((setting.words.en, setting.words.zh), lang) if setting is not None else ""


def _sentences(parts: list[str], lang: str) -> str:
    """Parts as sentences: each with a capital, where it starts with a plain word, and a full stop."""
    ends, stop = ("。", "）", "…", ".", "?", "？"), "。" if lang == "zh" else "."
    whole = []
    for part in filter(None, parts):
        first = part.split(maxsplit=1)[0]
        start = part[0].upper() if lang == "en" and first.isalpha() else part[0]
        whole.append(start + part[1:] + ("" if part.endswith(ends) else stop))
    return ("" if lang == "zh" else " ").join(whole)


def _of_group(place: KeyPath, told: set[str], document: Document, dialect: str, table: Table, lang: str) -> Said:
    """A line that holds no value: a section, a list, or an item of one."""
    key = ".".join(map(str, place))
    above = ".".join(map(str, place[:-1]))
    if isinstance(place[-1], int) and above in told:
        return Said(key, say("item", lang, above))
    section = sections().get(key) if dialect == "luthier" else None
    if section is not None:
        return Said(key, pick((section.words.en, section.words.zh), lang))
    row = row_of(table, key)
    own = key_words(table.name, row) if row is not None else None
    group = own or GROUPS.get(str(place[-1]))
    return Said(key, pick(group, lang) if group else say("group", lang))
