"""A meaning as labelled lines of text, in English or Chinese."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from luthier.explain.catalogue import Setting, Use, defaults_of, made_by, sections, settings, uses_of
from luthier.explain.glossary import key_words
from luthier.explain.labels import pick, say, title, unit_text
from luthier.explain.limits import default_text, is_number, is_switch, range_text, value_text
from luthier.explain.lookup import Meaning
from luthier.explain.notes import translated


@dataclass(frozen=True, slots=True)
class Entry:
    """One meaning told: a head, and (what the line is about, its label, its text)."""

    head: str
    lines: tuple[tuple[str, str, str], ...]

    def tree(self) -> dict[str, Any]:
        """Plain values, for ``--json``; lines about the same thing make a list."""
        told: dict[str, Any] = {"name": self.head}
        for about, _, text in self.lines:
            told.setdefault(about, []).append(text)
        return told


def entry(name: str, meaning: Meaning, lang: str) -> Entry:
    """What there is to say of one meaning of ``name``."""
    where = say("join", lang).join(dict.fromkeys(title(key.table) for key in meaning.keys))
    if meaning.setting is None:
        return Entry(f"{name} ({where})", tuple(_without_setting(meaning, lang)))
    head = meaning.setting.name
    if meaning.value:
        head = f"{name}: {say('value', lang, head)}"
    elif meaning.keys:
        head = f"{name} ({where}) -> {head}"
    lines = _section(meaning.setting, lang) if meaning.setting.section else _setting(meaning.setting, lang)
    return Entry(head, (*_own_lines(meaning, lang), *lines))


def _own_lines(meaning: Meaning, lang: str) -> Iterator[tuple[str, str, str]]:
    """What the keys that were asked for have of their own: their words, their notes, what else they set."""
    told: dict[tuple[str, str], list[str]] = {}
    for key in meaning.keys:
        words = key_words(key.table, key.row)
        said = [] if words is None else [("note", pick(words, lang))]
        said += [("note", translated(key.row.note, lang))] if key.row.note else []
        others = [one.name for one in made_by(key.row)[1:]]
        said += [("makes", ", ".join(others))] if others else []
        for one in said:
            told.setdefault(one, []).append(title(key.table))
    for (about, text), tables in told.items():
        label = say("join", lang).join(tables)
        yield about, f"{label}: {say('makes', lang)}" if about == "makes" else label, text


def _without_setting(meaning: Meaning, lang: str) -> Iterator[tuple[str, str, str]]:
    if meaning.own is not None:
        yield "what", say("what", lang), pick(meaning.own, lang)
    for text in dict.fromkeys(_reason(key.row, lang) for key in meaning.keys):
        if text:
            yield "here", say("here", lang), text


def _reason(row: Any, lang: str) -> str:
    """Why a key makes no setting, as its row says it."""
    row = getattr(row, "inner", row)
    reason = translated(getattr(row, "reason", "") or row.note, lang)
    remedy = translated(getattr(row, "remedy", ""), lang)
    return " -> ".join(part for part in (reason, remedy) if part)


def _section(setting: Setting, lang: str) -> Iterator[tuple[str, str, str]]:
    yield "what", say("what", lang), pick((setting.words.en, setting.words.zh), lang)
    inside = [name for name in (*sections(), *settings()) if name.rpartition(".")[0] == setting.name]
    yield "settings", say("settings", lang), ", ".join(inside)


def _setting(setting: Setting, lang: str) -> Iterator[tuple[str, str, str]]:
    words, info = setting.words, setting.info
    yield "what", say("what", lang), pick((words.en, words.zh), lang)
    if words.unit:
        yield "unit", say("unit", lang), unit_text(words.unit, lang)
    yield "range", say("range", lang), range_text(info, lang)
    yield "default", say("default", lang), default_text(info, lang)
    told: dict[str, list[str]] = {}
    for table, _, value, note in defaults_of(setting.name):
        text = value_text(value, lang) + (f" ({translated(note, lang)})" if note else "")
        told.setdefault(text, []).append(title(table))
    for text, tables in told.items():
        names = say("join", lang).join(dict.fromkeys(tables))
        yield "default elsewhere", say("default elsewhere", lang), f"{names}: {text}"
    more, less = ("raise", "lower") if is_number(info) else ("on", "off") if is_switch(info) else ("set", "leave")
    yield "up", say(more, lang), pick(words.up, lang)
    yield "down", say(less, lang), pick(words.down, lang)
    if words.cost[0]:
        yield "cost", say("cost", lang), pick(words.cost, lang)
    yield from _elsewhere(setting, lang)
    for about, pair in (("history", words.history), ("misread", words.misread)):
        if pair[0]:
            yield about, say(about, lang), pick(pair, lang)


def _elsewhere(setting: Setting, lang: str) -> Iterator[tuple[str, str, str]]:
    for about, first in (("elsewhere", True), ("also", False)):
        text = "; ".join(
            f"{key} ({say('join', lang).join(tables)})" for key, tables in called(uses_of(setting.name), first).items()
        )
        if text:
            yield about, say(about, lang), text


def called(uses: tuple[Use, ...], first: bool) -> dict[str, list[str]]:
    """Key -> the systems that call a setting so, old names too; ``first`` for keys that are mainly about it."""
    found: dict[str, list[str]] = {}
    for use in uses:
        if use.first is first:
            for name in use.row.names:
                tables = found.setdefault(name, [])
                if title(use.table) not in tables:
                    tables.append(title(use.table))
    return found
