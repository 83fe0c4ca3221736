"""Characters that only look like those a configuration needs, or that cannot be seen at all.

Word processors, web pages and Chinese input methods put them in: ``lora_r：8``, ``“lora”``, a no-break space.
"""

from __future__ import annotations

import re
import unicodedata

from luthier.errors import Fault

SPACES = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
INVISIBLE = (
    "\u00ad\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\ufeff"
)
DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\uff0d"
DOUBLE_QUOTES = "\u201c\u201d\u201e\u201f\uff02"
SINGLE_QUOTES = "\u2018\u2019\u201a\u201b\uff07"
MARKS = {"\uff1a": ":", "\uff1d": "=", "\uff0c": ",", "\uff5b": "{", "\uff5d": "}", "\uff3b": "[", "\uff3d": "]"}

_PLAIN = str.maketrans(
    {
        **MARKS,
        **dict.fromkeys(SPACES, " "),
        **dict.fromkeys(INVISIBLE + "\u200c\u200d", ""),
        **dict.fromkeys(DASHES, "-"),
        **dict.fromkeys(DOUBLE_QUOTES, '"'),
        **dict.fromkeys(SINGLE_QUOTES, "'"),
    }
)
_ODD = re.compile("[" + "".join(map(chr, _PLAIN)) + "]")
_UNSEEN = re.compile(f"[{INVISIBLE}]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_QUOTED = re.compile(
    f"[{DOUBLE_QUOTES}{SINGLE_QUOTES}]([^{DOUBLE_QUOTES}{SINGLE_QUOTES}]*)[{DOUBLE_QUOTES}{SINGLE_QUOTES}]"
)
_INDENT = re.compile(rf"[ ]*([\t{SPACES}{INVISIBLE}])[\s{INVISIBLE}]*[^\s#]")
_COLON = re.compile(rf"[\s-]*[\"']?([A-Za-z_][\w.-]*)[\"']?[ \t{SPACES}]*(?:(\uff1a)|:([{SPACES}{INVISIBLE}]))")
MOST = 20


def plain(text: str) -> str:
    """``text`` as it would be typed: plain quotes, dashes and spaces, nothing invisible.

    >>> plain("\u201clora\u200b_r\u201d\uff1a")
    '"lora_r":'
    """
    return text.translate(_PLAIN)


def called(letter: str) -> str:
    """A character by its code and name.

    >>> called("\u00a0")
    'U+00A0 (no-break space)'
    """
    return f"U+{ord(letter):04X} ({unicodedata.name(letter, 'a control character').lower()})"


def key_problem(key: str) -> tuple[str, str] | None:
    """Why a key cannot be meant as it is written, and what to write; None where it can."""
    found = _CONTROL.search(key) or _ODD.search(key)
    if found is None:
        return None
    likely = _CONTROL.sub("", plain(key)).strip(" \"'")
    return f"the key {key[:60]!r} holds {called(found.group())}", f"write {likely[:60]}" if likely else "remove it"


def value_problem(value: str) -> tuple[str, str] | None:
    """Why a value that stands without quotes cannot be meant as it is written, and what to write; None where it can."""
    keep = "or put all of it in quotes to keep it"
    if found := _UNSEEN.search(value):
        return f"{value[:60]!r} holds {called(found.group())}, which cannot be seen", f"remove it, {keep}"
    if value != value.strip(SPACES):
        edge = value[0] if value[0] in SPACES else value[-1]
        return f"{value[:60]!r} begins or ends with {called(edge)}", f"remove it, {keep}"
    if found := _QUOTED.fullmatch(value):
        return f"{value[:60]} stands in typographic quotes", f'write "{found[1][:60]}", {keep}'
    return None


def control_faults(text: str, name: str) -> list[Fault]:
    """Every line that holds a control character, such as those that steer a terminal."""
    faults: list[Fault] = []
    for number, line in enumerate(text.split("\n") if _CONTROL.search(text) else [], 1):
        if found := _CONTROL.search(line):
            faults.append(Fault(f"holds the control character {found.group()!r}", f"{name}:{number}", "remove it"))
    return faults[:MOST]


def layout_faults(text: str, name: str) -> list[Fault]:
    """What typography does to the layout of YAML: odd indentation, full-width colons, odd spaces behind colons."""
    faults: list[Fault] = []
    for number, line in enumerate(text.split("\n"), 1):
        place = f"{name}:{number}"
        if found := _INDENT.match(line):
            what = "a tab" if found[1] == "\t" else called(found[1])
            faults.append(Fault(f"is indented with {what}", place, "use spaces"))
        elif found := _COLON.match(line):
            where = f"behind {found[1][:60]} stands" if found[2] else f"behind the colon of {found[1][:60]} stands"
            reason = f"{where} {called(found[2] or found[3])}"
            faults.append(Fault(reason, place, f"write {found[1][:60]}: with a plain colon and space"))
    return faults[:MOST]
