"""The text that ``print(training_arguments)`` writes: one ``key=value,`` a line, texts without quotes."""

from __future__ import annotations

import ast
import re
import warnings
from typing import Any

from luthier.dialects.document import DEEPEST, Document, bounded
from luthier.dialects.typography import MOST, control_faults, key_problem
from luthier.errors import Fault, RecipeError

_HEAD = re.compile(r"^.{0,200}?\b\w*(?:TrainingArguments|Config)\($")
_LINE = re.compile(r"^\s*(\w+)\s*=(.*)$")
_MEMBER = re.compile(r"<\w+\.\w+: ('[^'\\]*')>")
_NUMBER = re.compile(r"[-+]?(?:[0-9]{1,50}(?:\.[0-9]{0,50})?|\.[0-9]{1,50})(?:[eE][-+]?[0-9]{1,3})?")
_WORDS = {"None": None, "True": True, "False": False}


def is_dump(text: str) -> bool:
    """Whether the first line with anything on it opens a printed TrainingArguments."""
    first = text.lstrip().partition("\n")[0].rstrip()
    return bool(_HEAD.match(first))


def load_dump(text: str, name: str) -> Document:
    """The fields of a printed TrainingArguments, each with its line.

    Raises:
        RecipeError: lines that are no fields, fields written twice, too many of them, values that do not end.
    """
    document = Document(name, {})
    faults = control_faults(text, name)
    opened = closed = False
    for number, line in enumerate(text.split("\n"), 1):
        place = f"{name}:{number}"
        if not line.strip():
            continue
        if not opened:
            opened = True
        elif closed:
            faults.append(Fault("text after the closing bracket", place, "keep the printed arguments only"))
            break
        elif line.strip() == ")":
            closed = True
        elif (match := _LINE.match(line)) is None:
            problem = key_problem(line.partition("=")[0].strip()[:200])
            reason, remedy = problem or (f"{line.strip()[:40]!r} is no argument", "write key=value, one a line")
            faults.append(Fault(reason, place, remedy))
        elif match[1] in document.value:
            first = document.lines[(match[1],)]
            faults.append(
                Fault(f"{match[1][:60]!r} is written twice (first on line {first})", place, "keep one of them")
            )
        else:
            document.lines[(match[1],)] = number
            document.value[match[1]] = _value(match[2].strip(), place, faults)
    if not closed and not faults:
        faults.append(Fault("the closing bracket is missing", name, "copy the printed arguments to their end"))
    if faults:
        raise RecipeError(*faults[:MOST])
    return bounded(document)


def _value(written: str, place: str, faults: list[Fault]) -> Any:
    plain = written.removesuffix(",").strip()
    if plain in _WORDS:
        return _WORDS[plain]
    if _NUMBER.fullmatch(plain):
        return int(plain) if plain.lstrip("+-").isdigit() else _float(plain)
    if plain[:1] in ("[", "{", "(", '"', "'", "<"):
        return _literal(_MEMBER.sub(r"\1", plain), plain, place, faults)
    return plain


def _float(plain: str) -> float | str:
    found = float(plain)
    return plain if found in (float("inf"), float("-inf")) else found


def _literal(source: str, plain: str, place: str, faults: list[Fault]) -> Any:
    """A Python list, mapping or quoted text; what is none of them is text, such as ``<HUB_TOKEN>``."""
    if plain.startswith("<") and source == plain:
        return plain
    try:
        if sum(map(source.count, "[{(")) > DEEPEST or len(source) > 100_000:
            raise ValueError(source)
        with warnings.catch_warnings(action="ignore"):  # of backslashes that Python would not print
            return _plain(ast.literal_eval(source))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        faults.append(Fault(f"{plain[:40]!r} cannot be read", place, "write it on one line, as Python prints it"))
        return None


def _plain(value: Any) -> Any:
    """The value if JSON could hold it.

    Raises:
        ValueError: it could not.
    """
    if isinstance(value, dict):
        return {_plain(str(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, str):
        value.encode()  # half a character (a lone surrogate) is no text; its error is a ValueError
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float) and abs(value) < 1e300:
        return value
    raise ValueError(value)
