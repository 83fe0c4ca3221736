"""A configuration file as plain values, with the line on which every key stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import yaml

from luthier.dialects.text_file import LARGEST_FILE, read_text
from luthier.dialects.typography import control_faults, key_problem, layout_faults, value_problem
from luthier.dialects.yaml_versions import PREFIX, Yaml12, to_yaml
from luthier.errors import Fault, RecipeError

__all__ = ["LARGEST_FILE", "Document", "KeyPath", "load_yaml", "parse_scalar", "read_text", "to_yaml"]

KeyPath = tuple[str | int, ...]

MOST_KEYS = 2_000
MOST_NODES = 20_000
DEEPEST = 40

_SYNTAX = "is not YAML: "

_PROBLEMS = {
    "but found another document": ("--- begins another document", "keep one document a file"),
    "mapping values are not allowed in this context": (
        "a colon stands where no key can be",
        "put the value in quotes, or look at the indentation",
    ),
    "could not find expected ':'": ("a key has no colon", "write key: value; look at the line above as well"),
    "found unexpected end of stream": ("a quote is opened and never closed", "close it"),
    "found undefined alias": ("* names what no & has defined", "put a value that begins with * in quotes"),
    "found character that cannot start any token": (
        "a value cannot begin with this character, and no line with a tab",
        "put the value in quotes, indent with spaces",
    ),
}
"""What libyaml says -> what is wrong, and what to write."""

_BOOLS = {"true": True, "yes": True, "on": True, "y": True, "false": False, "no": False, "off": False, "n": False}


@dataclass(slots=True)
class Document:
    """Plain values and the line of every key; ``name`` is how places call the file."""

    name: str
    value: Any
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def place(self, path: KeyPath) -> str:
        """``file:line`` of a key, or of the nearest one above it."""
        while path and path not in self.lines:
            path = path[:-1]
        line = self.lines.get(path)
        return f"{self.name}:{line}" if line else self.name

    def leaves(self) -> Iterator[tuple[KeyPath, Any]]:
        """Every value that is no mapping with keys and no list of mappings, with its path, in the file's order."""
        yield from _leaves((), self.value)


def _leaves(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves((*path, key), inner)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for index, inner in enumerate(value):
            yield from _leaves((*path, index), inner)
    elif path:
        yield path, value


def bounded(document: Document) -> Document:
    """The document itself.

    Raises:
        RecipeError: it has more than ``MOST_KEYS`` keys.
    """
    beyond = next(islice(document.leaves(), MOST_KEYS, None), None)
    if beyond is not None:
        reason = f"there are more than {MOST_KEYS} keys"
        raise RecipeError(reason, place=document.place(beyond[0]), remedy="name a folder or one file instead of many")
    return document


def load_yaml(text: str, name: str, *, version: str = "1.2") -> Document:
    """Parse a file's YAML as ``version`` 1.1 (PyYAML's) or 1.2 (ruamel's) understands it.

    Raises:
        RecipeError: bad syntax, tags, duplicate or unreadable keys, too many of them (alias bombs), too deep nesting.
    """
    faults: list[Fault] = []
    try:
        document = _load(text, name, version)
        broken = isinstance(document.value, str)
    except RecipeError as error:
        faults = list(error.faults)
        broken = any(fault.reason.startswith(_SYNTAX) for fault in faults)
    if broken and not text.lstrip().startswith(("{", "[")):
        # A full-width colon or an odd indentation breaks the parser lines later, with words that do not help.
        faults = layout_faults(text, name) or faults
    if faults:
        raise RecipeError(*faults)
    return bounded(document)


def parse_scalar(text: str) -> Any:
    """A value as it would read in a YAML 1.2 file (``2e-5``, ``true``, ``[a, b]``, plain words)."""
    return _load(text, "the command line", "1.2").value


def _load(text: str, name: str, version: str) -> Document:
    loader = Yaml12 if version == "1.2" else yaml.CSafeLoader
    try:
        _check_size(text, name)
        node = yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = str(error.problem)
        if "nesting depth" in problem:  # PyYAML's own bound, from 6.0.4 on
            raise _unfolds(name, error.problem_mark.line + 1 if error.problem_mark else 1) from error
        reason, remedy = _PROBLEMS.get(problem, (problem, "look at this line and the one above"))
        raise RecipeError(f"{_SYNTAX}{reason}", place=name + line, remedy=remedy) from error
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        raise _unreadable(text, name) from error
    document = Document(name, None)
    if node is not None:
        builder = _Builder(document, version)
        document.value = builder.build(node, (), 0)
        if builder.faults:
            raise RecipeError(*builder.faults)
    return document


def _unreadable(text: str, name: str) -> RecipeError:
    """The characters that YAML does not take."""
    found = re.search("[\ud800-\udfff\ufffe\uffff]", text)
    place = f"{name}:{text.count(chr(10), 0, found.start()) + 1}" if found else name
    other = Fault(f"{_SYNTAX}it holds {found.group()!r}" if found else f"{_SYNTAX}unreadable", place, "remove it")
    return RecipeError(*(control_faults(text, name) or [other]))


def _check_size(text: str, name: str) -> None:
    """Refuse nesting that would exhaust the C stack, on which ``yaml.compose`` recurses; events do not recurse."""
    depth = nodes = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        nodes += isinstance(event, yaml.NodeEvent)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        if depth > DEEPEST or nodes > MOST_NODES:
            raise _unfolds(name, event.start_mark.line + 1 if event.start_mark else 1)
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _unfolds(name: str, line: int) -> RecipeError:
    return RecipeError(
        f"unfolds to more than {MOST_NODES} values or {DEEPEST} levels",
        place=f"{name}:{line}",
        remedy="write the values out without aliases",
    )


class _Builder:
    """Turns nodes into plain values, noting lines; refuses what plain configuration does not need."""

    def __init__(self, document: Document, version: str) -> None:
        self.document = document
        self.version = version
        self.faults: list[Fault] = []
        self.nodes = 0

    def build(self, node: yaml.Node, path: KeyPath, depth: int) -> Any:
        """The node's value; ``path`` leads to it."""
        line = node.start_mark.line + 1
        self.document.lines.setdefault(path, line)
        self.nodes += 1
        if self.nodes > MOST_NODES or depth > DEEPEST:
            raise _unfolds(self.document.name, line)
        if isinstance(node, yaml.CollectionNode) and node.tag not in (PREFIX + "map", PREFIX + "seq"):
            return self._tag_fault(node, line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(inner, (*path, index), depth + 1) for index, inner in enumerate(node.value)]
        return self._scalar(node, line)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == PREFIX + "merge":
                self._merge(value_node, path, depth, merged)
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == PREFIX + "merge":
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self._fault("a key must be a word", line, "write key: value, without brackets around the key")
                continue
            key = str(key_node.value)
            if problem := key_problem(key):
                self._fault(problem[0], line, problem[1])
            else:
                self._scalar(key_node, line)
            if key in result:
                self._fault(
                    f"{key[:60]!r} is written twice (first on line {self.document.lines[(*path, key)]})",
                    line,
                    "keep one of them",
                )
            self.document.lines[(*path, key)] = line
            result[key] = self.build(value_node, (*path, key), depth + 1)
        return {**merged, **result}

    def _merge(self, node: yaml.Node, path: KeyPath, depth: int, merged: dict[str, Any]) -> None:
        """Lay the mappings of a merge key under the mapping at ``path``; of several the first one wins."""
        for one in reversed(node.value) if isinstance(node, yaml.SequenceNode) else [node]:
            if isinstance(one, yaml.MappingNode):
                merged |= self.build(one, path, depth + 1) or {}
            else:
                line = one.start_mark.line + 1
                self._fault(
                    "<< takes a mapping or a list of mappings", line, "write <<: *name, with &name at a mapping"
                )

    def _scalar(self, node: yaml.Node, line: int) -> Any:
        text = str(node.value)
        kind = node.tag.removeprefix(PREFIX)
        if kind in ("str", "timestamp", "value"):
            if not getattr(node, "style", None) and (problem := value_problem(text)):
                self._fault(problem[0], line, problem[1])
            return text
        if kind == "null":
            return None
        try:
            if kind == "bool":
                return _BOOLS[text.lower()]
            if kind in ("int", "float"):
                return _number(kind, text, self.version)
        except (KeyError, ValueError, OverflowError):
            self._fault(f"{text[:40]!r} cannot be read as {kind}", line, "write it in quotes to keep it as text")
            return None
        return self._tag_fault(node, line)

    def _tag_fault(self, node: yaml.Node, line: int) -> None:
        self._fault(f"the tag {node.tag[:60]!r} is not allowed in a configuration file", line, "write a plain value")

    def _fault(self, reason: str, line: int, remedy: str = "") -> None:
        self.faults.append(Fault(reason, f"{self.document.name}:{line}", remedy))


def _number(kind: str, text: str, version: str) -> int | float | str:
    """A YAML number; a leading 0 means octal in version 1.1 only, and sexagesimals stay text.

    Raises:
        ValueError: it is none.
        OverflowError: it is a whole number beyond what a float can hold, which nothing here means or prints.
    """
    digits = text.replace("_", "").lower()
    if ":" in digits:
        return text
    sign = -1 if digits.startswith("-") else 1
    unsigned = digits.lstrip("+-")
    if kind == "float":
        return sign * float(unsigned[1:] if unsigned in (".inf", ".nan") else unsigned)
    octal = version == "1.1" and len(unsigned) > 1 and unsigned.startswith("0") and unsigned[1] not in "xbo"
    whole = int(unsigned, 8 if octal else 0 if unsigned.startswith(("0x", "0b", "0o")) else 10)
    return sign * whole if float(whole) else 0
