"""The first batch, or a row's stages, as one HTML page that loads nothing."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path

from luthier.errors import RunError
from luthier.record.folder import write_whole
from luthier.report.markup import Content, Html, joined, table, tag
from luthier.show.document import Document, Run
from luthier.show.first import FirstBatch
from luthier.show.reason import Reason
from luthier.show.trace import Trace
from luthier.show.words import WORDS, Pair, all_uses, counted, cut_words, fate_words, headline, place, summary
from luthier.terminal import visible

MARK = "<!-- luthier show -->\n"
"""How our pages begin; no other file is overwritten."""


def write_page(path: Path, page: str) -> None:
    """Write a page.

    Raises:
        RunError: something else lies there, or it cannot be written.
    """
    try:
        if path.exists() and not path.read_bytes().startswith(MARK.encode()):
            raise RunError("is not a page of luthier show", place=str(path), remedy="name another file")
        write_whole(path, page)
    except OSError as error:
        raise RunError(
            f"cannot be written: {error.strerror}", place=str(path), remedy="name a file in a folder that is there"
        ) from error


def batch_page(first: FirstBatch, source: str, language: str) -> str:
    """The page of a first batch; ``source`` is the recipe's name, ``language`` the one that is shown first."""
    count = len(first.documents)
    sections = (
        tag(
            "section",
            tag("h2", f"{number}/{count} · {visible(document.origin)}"),
            tag("p", _pair(place(document, first))),
            tag("p", _pair(cut_words(document.cut)), " · ", _pair(counted(document))),
            _tokens(document),
            _reasons(document, opened=count == 1),
        )
        for number, document in enumerate(first.documents, 1)
    )
    lines = (tag("p", _pair(headline(first))), tag("p", _pair(summary(first))), _legend())
    return _page("first batch", source, language, *lines, *sections)


def row_page(found: Trace, source: str, language: str) -> str:
    """The page of a row's stages."""
    messages: list[list[Content]] = [
        [tag("code", visible(one.role)), tag("code", _broken(one.content))] for one in found.example.messages
    ]
    fate = _pair(fate_words(found.fate.value, [len(one) for one in found.kept]))
    return _page(
        "row",
        source,
        language,
        tag("p", visible(found.example.origin)),
        _legend(),
        tag("section", tag("h2", _say("as read")), table([], messages)),
        tag(
            "section",
            tag("h2", _say("rendered")),
            tag("p", _pair(counted(found.whole))),
            _tokens(found.whole),
            _reasons(found.whole, opened=True),
        ),
        tag("section", tag("h2", _say("fate")), tag("p", fate)),
        tag("section", tag("h2", _say("use")), *(tag("p", _pair(use)) for use in all_uses(found.uses))),
    )


def _page(title: str, source: str, language: str, *content: Content) -> str:
    other, ours = WORDS["other language"]
    button = tag(
        "button", tag("span", other, lang="en"), tag("span", ours, lang="zh"), id="language", type="button", hidden=True
    )
    head = tag("header", tag("h1", _say("title")), tag("p", _say(title), " · ", tag("code", visible(source))))
    script = tag("script", Html(_asset("page.js")))
    body = tag("body", button, tag("main", head, *content), tag("footer", tag("p", _say("foot"))), script)
    policy = f"default-src 'none'; style-src {_hash('page.css')}; script-src {_hash('page.js')}; base-uri 'none'"
    top = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=f"{policy}; form-action 'none'"),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="color-scheme", content="light dark"),
        tag("title", f"{visible(source)} · luthier show"),
        tag("style", Html(_asset("page.css"))),
    )
    return f"{MARK}<!doctype html>\n" + tag("html", top, body, lang=language) + "\n"


def _tokens(document: Document) -> Html:
    """Every token in an element of its own, whose title has its number, id, position and label."""
    learned = document.learned

    def titled(at: int) -> str:
        return f"{at}: {document.ids[at]} @ {document.positions[at]} → {document.labels[at]}"

    tokens = (
        tag(
            "b",
            _broken(document.pieces[begin]),
            class_=" ".join(["l"] * learned[begin] + ["c"] * document.control[begin]) or None,
            title="\n".join(map(titled, range(begin, end))),
        )
        for begin, end in document.groups()
    )
    return tag("div", *tokens, class_="tokens", dir="ltr")


def _reasons(document: Document, *, opened: bool) -> Html:
    def row(run: Run) -> list[Content]:
        mark = tag("b", _say("learned"), class_="l") if run.learned else _say("read")
        text = tag("code", visible(document.text(run.begin, run.end)))
        return [f"{run.begin}–{run.end - 1}", mark, text, _reason(run.reason)]

    head: list[Content] = [_say("tokens"), "", _say("text"), _say("why")]
    found = table(head, [row(run) for run in document.runs()], figures=frozenset({0}))
    return tag("details", tag("summary", _say("why")), found, open=opened)


def _legend() -> Html:
    learned, control = tag("b", _say("learned"), class_="l"), tag("b", _say("control"), class_="c")
    return tag("p", learned, tag("b", _say("read")), control, class_="legend")


def _broken(text: str) -> str:
    """Text whose line breaks are shown and kept, and whose other control characters are only shown."""
    return visible(text).replace("↵", "↵\n")


def _reason(reason: Reason) -> Html:
    return _pair((visible(reason.words("en")), visible(reason.words("zh"))))


def _say(key: str) -> Html:
    return _pair(WORDS[key])


def _pair(pair: Pair) -> Html:
    return joined(tag("span", pair[0], lang="en"), tag("span", pair[1], lang="zh"))


def _hash(name: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(_asset(name).encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return files("luthier.show").joinpath(name).read_text(encoding="utf-8")
