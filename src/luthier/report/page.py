"""The page as a whole: a pure function of what a run's folder holds, and its writing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from luthier.record.folder import RunFolder, write_whole
from luthier.report.account import account
from luthier.report.answers import answers
from luthier.report.curves import curves
from luthier.report.data import data
from luthier.report.head import head
from luthier.report.history import history
from luthier.report.markup import Html, tag
from luthier.report.notes import notes
from luthier.report.outcome import outcome
from luthier.report.source import Record, read_record
from luthier.report.words import WORDS, say


def write_report(folder: RunFolder) -> Path:
    """Write the report of a run, finished or not, into its folder, and return where it lies.

    Raises:
        RunError: the folder is not a run's, or one of its records is damaged.
    """
    write_whole(folder.report, build_page(read_record(folder)))
    return folder.report


def build_page(record: Record) -> str:
    """The page of a run's records."""
    past = history(record.events)
    sections = (
        head(record, past),
        answers(past),
        curves(past),
        data(record, past),
        outcome(record, past),
        notes(record, past),
        account(record, past),
    )
    return document(record.name, sections)


def document(title: str, parts: Sequence[Html | str | None]) -> str:
    """A whole page around its parts, in both languages, which loads nothing."""
    other, ours = WORDS["other language"]
    button = tag(
        "button", tag("span", other, lang="en"), tag("span", ours, lang="zh"), id="language", type="button", hidden=True
    )
    foot = tag("footer", tag("p", say("foot")))
    body = tag("body", button, tag("main", *(part for part in parts if part)), foot, _script())
    return "<!doctype html>\n" + tag("html", _top(title), body, lang="en") + "\n"


def _top(title: str) -> Html:
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy()),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="color-scheme", content="light dark"),
        tag("meta", name_="referrer", content="no-referrer"),
        tag("title", f"{title} · Luthier"),
        tag("style", Html(_asset("style.css"))),
    )


def _script() -> Html:
    return tag("script", Html(_asset("script.js")))


def _policy() -> str:
    """Nothing from anywhere; and of what stands in the page only our own style and script, known by their hashes."""
    style, script = (_hash(_asset(name)) for name in ("style.css", "script.js"))
    return f"default-src 'none'; style-src {style}; script-src {script}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return files("luthier.report").joinpath(name).read_text(encoding="utf-8")
