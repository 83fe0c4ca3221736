"""Files of text as bytes in UTF-8: byte order marks, UTF-16, GB18030, gzip and zstd are undone on the way."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from luthier.errors import DataError

SAMPLE = 1 << 20
"""Bytes from which an encoding is told."""

CHUNK = 1 << 20
"""Characters or bytes that are read at a time."""

PACKED = (".gz", ".zst")
"""What the name of a packed file ends in."""

_STEP = 1 << 12
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_CODE = re.compile(rb"[\x81-\xfe][\x30-\x39][\x81-\xfe][\x30-\x39]|[\x81-\xfe][\x30-\xfe]")
"""GB18030's characters of four bytes (emoji and the like) and of two."""
_USUAL = re.compile(rb"[\xa1\xa3\xb0-\xf7][\xa1-\xfe]")
"""GB 2312's punctuation, wide letters and characters: nearly all of an ordinary Chinese text."""
_SHARE = 0.9
_ZEROS, _FEW = 0.1, 8
"""Of the characters of rows at least that share are signs and Latin letters, and at least so many."""


def suffix_of(path: Path) -> str:
    """What kind of file it is, beneath ``.gz`` or ``.zst``.

    >>> suffix_of(Path("a/rows.jsonl.gz")), suffix_of(Path("rows.CSV"))
    ('.jsonl', '.csv')
    """
    name = path.with_suffix("") if is_packed(path) else path
    return name.suffix.lower()


def is_packed(path: Path) -> bool:
    """Whether it has to be unpacked.

    >>> is_packed(Path("rows.jsonl.GZ"))
    True
    """
    return path.suffix.lower() in PACKED


@contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """What the disk says of a file, or what is wrong with a packed one, as an error of the data."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(
            f"cannot be read: {reason}", place=str(path), remedy="make it readable, or copy it here anew"
        ) from error


def encoding_of(path: Path) -> str:
    """``utf-8``, ``utf-8-sig``, ``utf-16`` (these two by their byte order mark), ``utf-16-le``, ``utf-16-be`` or
    ``gb18030``.

    What is neither UTF-8 nor reads as Chinese in GB18030 counts as UTF-8, and is refused where it is read.

    Raises:
        DataError: the file cannot be read.
    """
    with read_errors(path):
        found = path.stat()
    return _encoding(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=256)
def _encoding(path: Path, size: int, changed: int) -> str:
    with open_bytes(path) as file:
        sample = file.read(SAMPLE)
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    if b"\0" in sample and (wide := _unmarked(sample)):
        return wide
    if _decodes(sample, "utf-8") or not _decodes(sample, "gb18030"):
        return "utf-8"
    pairs = [code for code in _CODE.findall(sample) if len(code) == 2]
    usual = sum(1 for pair in pairs if _USUAL.fullmatch(pair))
    return "gb18030" if usual >= 2 and usual >= _SHARE * len(pairs) else "utf-8"


def _unmarked(sample: bytes) -> str | None:
    """UTF-16 without a mark: one half of many of its characters is zero, and always the same one."""
    zeros = sample[0::2].count(0), sample[1::2].count(0)
    if min(zeros) or max(zeros) < max(_FEW, _ZEROS * len(sample) / 2):
        return None
    name = "utf-16-le" if zeros[1] else "utf-16-be"
    return name if _decodes(sample, name) else None


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
    with read_errors(path), _opened(path) as file:
        yield cast(BinaryIO, file)


def _opened(path: Path) -> Any:
    if path.suffix.lower() == ".zst":
        return io.BufferedReader(_unpacked_zst(path))
    return gzip.open(path, "rb") if is_packed(path) else path.open("rb")


def _unpacked_zst(path: Path) -> Any:
    import pyarrow

    return pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd")


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


def byte_of(path: Path, characters: int) -> int:
    """Where in the unpacked file its first characters end, a byte order mark included.

    Raises:
        DataError: the file cannot be read.
    """
    encoding = encoding_of(path)
    name, count = ("utf-16-le", 2) if encoding == "utf-16" else (encoding, 3 * (encoding == "utf-8-sig"))
    with open_text(path) as file:
        while characters > 0 and (read := file.read(min(CHUNK, characters))):
            count += len(read.encode(name.removesuffix("-sig"), "surrogatepass"))
            characters -= len(read)
    return count


def packed_bytes(path: Path, plain: int) -> int:
    """About how many bytes of a packed file its first unpacked ones take.

    Raises:
        DataError: the file cannot be read.
    """
    if path.suffix.lower() == ".zst":
        return min(path.stat().st_size, round(path.stat().st_size * plain / max(1, plain_size(path))))
    with read_errors(path), path.open("rb") as file:
        before = 0
        for packed, more in _unpacked(file):
            if more >= plain:
                return before + round((packed - before) * plain / max(1, more))
            before = packed
            plain -= more
        return before


def plain_size(path: Path) -> int:
    """Bytes of a file; of a packed one about as many as it has unpacked, by its beginning.

    Raises:
        DataError: the file cannot be read.
    """
    with read_errors(path), path.open("rb") as file:
        size = path.stat().st_size
        if not is_packed(path):
            return size
        packed = unpacked = 0
        for packed, more in _unpacked_steps(path) if path.suffix.lower() == ".zst" else _unpacked(file):
            unpacked += more
            if packed >= SAMPLE:
                break
        return round(size * unpacked / packed) if packed else 0


def _unpacked(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """(bytes of a packed file read so far, bytes unpacked from the latest of them), in small steps."""
    unpack = zlib.decompressobj(wbits=31)
    while chunk := file.read(_STEP):
        more = 0
        while chunk:
            more += len(unpack.decompress(chunk))
            chunk = unpack.unused_data.lstrip(b"\0") if unpack.eof else b""
            unpack = zlib.decompressobj(wbits=31) if unpack.eof else unpack
        yield file.tell(), more


def _unpacked_steps(path: Path) -> Iterator[tuple[int, int]]:
    """The like for zstd, which reads ahead."""
    import pyarrow

    with pyarrow.OSFile(str(path)) as file, pyarrow.CompressedInputStream(file, "zstd") as stream:
        while chunk := stream.read(CHUNK):
            yield file.tell(), len(chunk)


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
