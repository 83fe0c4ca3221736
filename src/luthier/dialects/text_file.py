"""A file's text, from whatever a path may lead to: a pipe, a device, a folder, another encoding, gigabytes."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from luthier.dialects.typography import control_faults
from luthier.errors import RecipeError

LARGEST_FILE = 1 << 20
"""Bytes. The largest recipes we know have a hundredth of it."""


def read_text(path: Path) -> str:
    """The text of a configuration file of at most ``LARGEST_FILE`` bytes, without BOM and with plain line ends.

    Raises:
        RecipeError: the file is missing, no ordinary file, too large, binary, or not UTF-8 text.
    """
    name = str(path)
    try:
        with open(path, "rb", opener=_at_once) as file:
            kind = os.fstat(file.fileno()).st_mode
            data = file.read(LARGEST_FILE + 1) if stat.S_ISREG(kind) else None
    except IsADirectoryError:
        raise RecipeError("is a folder", place=name, remedy="give the path of a file in it") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise RecipeError(f"cannot be read: {reason}", place=name, remedy="give the path of a file") from error
    if data is None:
        raise RecipeError("is no ordinary file", place=name, remedy="save the settings in a file and name that")
    if len(data) > LARGEST_FILE:
        remedy = "give the recipe; rows, weights and logs are no settings"
        raise RecipeError("is too large for a configuration file (over 1 MB)", place=name, remedy=remedy)
    text = _decoded(data, name).replace("\r\n", "\n").replace("\r", "\n")
    if faults := control_faults(text, name):
        raise RecipeError(*faults)
    return text


def _at_once(path: str, flags: int) -> int:
    """Open without waiting, as a pipe that nobody writes to would for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _decoded(data: bytes, name: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise RecipeError("is UTF-16 text, not UTF-8", place=name, remedy="save it as UTF-8")
    if b"\0" in data:
        raise RecipeError("is a binary file, not text", place=name, remedy="give a recipe")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        reason, remedy = f"is not UTF-8 text (byte {error.start})", "save it as UTF-8"
    try:
        chinese = re.search("[\u4e00-\u9fff]", data.decode("gb18030"))
    except UnicodeDecodeError:
        chinese = None
    if chinese:
        reason, remedy = f"{reason} but probably GBK", "save it as UTF-8: iconv -f gb18030 -t utf-8 OLD > NEW"
    raise RecipeError(reason, place=f"{name}:{line}", remedy=remedy)
