"""Lines of files, none held that is longer than a row may be: of such a one, its beginning and what is wrong."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import AnyStr, TextIO

from luthier.data.block import Broken
from luthier.data.text_file import encoding_of, open_bytes, open_text
from luthier.errors import Fault

LONGEST = 1 << 27
"""Characters or bytes that a row may have, so that a packed file of nothing but one line cannot fill the memory."""

KEPT = 1 << 10
"""Characters of a longer one that are kept."""


def lines_of(path: Path) -> Iterator[bytes | Broken]:
    """The lines in UTF-8, without a byte order mark. Lines of a UTF-8 file are not looked into.

    Raises:
        DataError: the file cannot be read, or is not text in another encoding that it seems to be in.
    """
    encoding = encoding_of(path)
    if not encoding.startswith("utf-8"):
        with open_text(path) as text:
            for line in bounded(_to_line_feeds(text), path):
                yield line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line
        return
    with open_bytes(path) as file:
        if encoding == "utf-8-sig":
            file.read(len(codecs.BOM_UTF8))
        yield from bounded(file.readline, path)


def bounded(readline: Callable[[int], AnyStr], path: Path) -> Iterator[AnyStr | Broken]:
    """The lines of a file; one of more than LONGEST characters is passed over."""
    number = 0
    while line := readline(LONGEST + 1):
        number += 1
        if len(line) <= LONGEST:
            yield line
            continue
        begins = line[:KEPT]
        while line and line[-1:] not in (b"\n", b"\r", "\n", "\r"):
            line = readline(LONGEST + 1)
        yield Broken(
            Fault(
                f"has a line of more than {LONGEST:,} characters",
                f"{path}:{number}",
                "break it into rows of their own",
            ),
            begins if isinstance(begins, str) else begins.decode("utf-8", "backslashreplace"),
        )


def _to_line_feeds(text: TextIO) -> Callable[[int], str]:
    """What reads up to a line feed, as from a binary file, where a carriage return would end the line too."""

    def readline(most: int) -> str:
        parts: list[str] = []
        while most > 0 and (part := text.readline(most)):
            parts.append(part)
            most -= len(part)
            if part.endswith("\n"):
                break
        return "".join(parts)

    return readline
