"""Files of text as bytes in UTF-8: byte order marks, UTF-16, GB18030 and gzip are undone on the way, line by line."""

from __future__ import annotations

import codecs
import gzip
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from luthier.errors import DataError

SAMPLE = 1 << 20
"""Bytes from which an encoding is told."""

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_PAIR = re.compile(rb"[\x81-\xfe][\x30-\xfe]")
_USUAL = re.compile(rb"[\xa1\xa3\xb0-\xf7][\xa1-\xfe]")
"""GB 2312's punctuation, wide letters and characters: nearly all of an ordinary Chinese text."""
_SHARE = 0.9


def suffix_of(path: Path) -> str:
    """What kind of file it is, beneath ``.gz``.

    >>> suffix_of(Path("a/rows.jsonl.gz")), suffix_of(Path("rows.CSV"))
    ('.jsonl', '.csv')
    """
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return name.suffix.lower()


def encoding_of(path: Path) -> str:
    """``utf-8``, ``utf-8-sig``, ``utf-16`` (these two by their byte order mark) or ``gb18030``.

    What is neither UTF-8 nor reads as Chinese in GB18030 counts as UTF-8, and is refused where it is read.
    """
    found = path.stat()
    return _encoding(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=256)
def _encoding(path: Path, size: int, changed: int) -> str:
    with open_bytes(path) as file:
        sample = file.read(SAMPLE)
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    if _decodes(sample, "utf-8") or not _decodes(sample, "gb18030"):
        return "utf-8"
    pairs = _PAIR.findall(sample)
    usual = sum(1 for pair in pairs if _USUAL.fullmatch(pair))
    return "gb18030" if usual >= 2 and usual >= _SHARE * len(pairs) else "utf-8"


def _decodes(sample: bytes, encoding: str) -> bool:
    """Whether a beginning is text; a whole file is, to its end."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(sample, final=len(sample) < SAMPLE)
    except UnicodeDecodeError:
        return False
    return True


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked.

    Raises:
        DataError: it cannot be opened or read.
    """
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except (OSError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(
            f"cannot be read: {reason}", place=str(path), remedy="make it readable, or copy it here anew"
        ) from error


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """The file's text with its line breaks as they are.

    Raises:
        DataError: it cannot be read, or is not text in the encoding that it seems to be in.
    """
    encoding = encoding_of(path)
    with open_bytes(path) as file:
        try:
            yield io.TextIOWrapper(file, "utf-8-sig" if encoding == "utf-8" else encoding, newline="")
        except UnicodeDecodeError as error:
            name = "UTF-8" if encoding.startswith("utf-8") else encoding.upper()
            at = _first_wrong(path, encoding)
            raise DataError(f"is not {name} text (byte {at})", place=str(path), remedy="save it as UTF-8") from error


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines in UTF-8, without a byte order mark. Lines of a UTF-8 file are not looked into.

    Raises:
        DataError: the file cannot be read, or is not text in another encoding that it seems to be in.
    """
    encoding = encoding_of(path)
    if not encoding.startswith("utf-8"):
        with open_text(path) as text:
            for line in _unbroken(text):
                yield line.encode("utf-8", "surrogatepass")
        return
    with open_bytes(path) as file:
        if encoding == "utf-8-sig":
            file.read(len(codecs.BOM_UTF8))
        yield from file


def _unbroken(text: TextIO) -> Iterator[str]:
    """Lines that end at a line feed only, as those of a binary file do."""
    held = ""
    for line in text:
        held += line
        if held.endswith("\n"):
            yield held
            held = ""
    if held:
        yield held


def _first_wrong(path: Path, encoding: str) -> int:
    decoder = codecs.getincrementaldecoder(encoding)()
    done = 0
    with open_bytes(path) as file:
        while chunk := file.read(SAMPLE):
            held = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                return done - held + error.start
            done += len(chunk)
    return done - len(decoder.getstate()[0])
