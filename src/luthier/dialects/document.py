"""A configuration file as plain values, with the line on which every key stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from luthier.errors import Fault, RecipeError

KeyPath = tuple[str | int, ...]

LARGEST_FILE = 1 << 20
MOST_NODES = 50_000
DEEPEST = 40

_PLAIN = "tag:yaml.org,2002:"

_BOOLS = {"true": True, "yes": True, "on": True, "y": True, "false": False, "no": False, "off": False, "n": False}


class _Yaml12(yaml.CSafeLoader):
    """YAML 1.2's core schema, and merge keys: ``2e-5`` is a float, ``on`` and ``012`` are what they look like."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


_Yaml12.add_implicit_resolver(_PLAIN + "bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Yaml12.add_implicit_resolver(_PLAIN + "null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Yaml12.add_implicit_resolver(_PLAIN + "merge", re.compile(r"^<<$"), ["<"])
_Yaml12.add_implicit_resolver(
    _PLAIN + "int", re.compile(r"^[-+]?[0-9]+$|^0o[0-7]+$|^0x[0-9a-fA-F]+$"), list("-+0123456789")
)
_Yaml12.add_implicit_resolver(
    _PLAIN + "float",
    re.compile(
        r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+.0123456789"),
)


class _Dumper(yaml.SafeDumper):
    """Puts every text in quotes that YAML 1.1 or 1.2 would take for something else, such as a commit named 12e4."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Text with rare line breaks is escaped; PyYAML would fold them to spaces."""
        return self.represent_scalar(_PLAIN + "str", data, style='"' if re.search("[\x85\u2028\u2029]", data) else None)


_Dumper.add_representer(str, _Dumper.represent_str)
for _first, _resolvers in _Yaml12.yaml_implicit_resolvers.items():
    for _tag, _pattern in _resolvers:
        _Dumper.add_implicit_resolver(_tag, _pattern, [_first])


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


def read_text(path: Path) -> str:
    """The text of a configuration file, without BOM and with plain line ends.

    Raises:
        RecipeError: the file is missing, too large, or not UTF-8 text.
    """
    try:
        data = path.read_bytes() if path.stat().st_size <= LARGEST_FILE else None
    except IsADirectoryError:
        data = None
    except OSError as error:
        raise RecipeError(
            f"cannot be read: {error.strerror}", place=str(path), remedy="give the path of a file"
        ) from error
    if data is None:
        raise RecipeError("is not a configuration file (over 1 MB, or a folder)", place=str(path))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"is not UTF-8 text (byte {error.start})", place=str(path), remedy="save it as UTF-8"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def load_yaml(text: str, name: str, *, version: str = "1.2") -> Document:
    """Parse YAML as ``version`` 1.1 (PyYAML's) or 1.2 (ruamel's) understands it.

    Raises:
        RecipeError: bad syntax, tags, duplicate keys, too many nodes (alias bombs) or too deep nesting.
    """
    loader = _Yaml12 if version == "1.2" else yaml.CSafeLoader
    try:
        _check_size(text, name)
        node = yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RecipeError(
            f"is not YAML: {error.problem}", place=name + line, remedy="look at this line and the one above"
        ) from error
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        raise RecipeError(f"is not YAML: {error}", place=name) from error
    document = Document(name, None)
    if node is not None:
        builder = _Builder(document, version)
        document.value = builder.build(node, (), 0)
        if builder.faults:
            raise RecipeError(*builder.faults)
    return document


def parse_scalar(text: str) -> Any:
    """A value as it would read in a YAML 1.2 file (``2e-5``, ``true``, ``[a, b]``, plain words)."""
    return load_yaml(text, "the command line").value


def to_yaml(value: Any) -> str:
    """Plain values as YAML that reads the same under both versions."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


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
        if isinstance(node, yaml.CollectionNode) and node.tag not in (_PLAIN + "map", _PLAIN + "seq"):
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
            if key_node.tag == _PLAIN + "merge":
                self._merge(value_node, path, depth, merged)
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _PLAIN + "merge":
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self._fault("a key must be a word", line)
                continue
            self._scalar(key_node, line)
            key = str(key_node.value)
            if key in result:
                self._fault(
                    f"{key!r} is written twice (first on line {self.document.lines[(*path, key)]})",
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
                self._fault("<< takes a mapping or a list of mappings", one.start_mark.line + 1)

    def _scalar(self, node: yaml.Node, line: int) -> Any:
        text = str(node.value)
        kind = node.tag.removeprefix(_PLAIN)
        if kind in ("str", "timestamp", "value"):
            return text
        if kind == "null":
            return None
        try:
            if kind == "bool":
                return _BOOLS[text.lower()]
            if kind in ("int", "float"):
                return _number(kind, text, self.version)
        except (KeyError, ValueError):
            self._fault(f"{text[:40]!r} cannot be read as {kind}", line, "write it in quotes to keep it as text")
            return None
        return self._tag_fault(node, line)

    def _tag_fault(self, node: yaml.Node, line: int) -> None:
        self._fault(f"the tag {node.tag[:60]!r} is not allowed in a configuration file", line, "write a plain value")

    def _fault(self, reason: str, line: int, remedy: str = "") -> None:
        self.faults.append(Fault(reason, f"{self.document.name}:{line}", remedy))


def _number(kind: str, text: str, version: str) -> int | float | str:
    """A YAML number; a leading 0 means octal in version 1.1 only, and sexagesimals stay text."""
    digits = text.replace("_", "").lower()
    if ":" in digits:
        return text
    sign = -1 if digits.startswith("-") else 1
    unsigned = digits.lstrip("+-")
    if kind == "int":
        if unsigned.startswith(("0x", "0b", "0o")):
            return sign * int(unsigned, 0)
        if version == "1.1" and len(unsigned) > 1 and unsigned.startswith("0"):
            return sign * int(unsigned, 8)
        return sign * int(unsigned)
    if unsigned in (".inf", ".nan"):
        return sign * float(unsigned[1:])
    return sign * float(unsigned)
