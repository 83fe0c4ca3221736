"""YAML 1.2's scalars for PyYAML, which knows those of 1.1 only; and a dumper whose texts both versions read alike."""

from __future__ import annotations

import re

import yaml

from luthier.dialects.typography import value_problem

PREFIX = "tag:yaml.org,2002:"


class Yaml12(yaml.CSafeLoader):
    """YAML 1.2's core schema, and merge keys: ``2e-5`` is a float, ``on`` and ``012`` are what they look like."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


Yaml12.add_implicit_resolver(PREFIX + "bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
Yaml12.add_implicit_resolver(PREFIX + "null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
Yaml12.add_implicit_resolver(PREFIX + "merge", re.compile(r"^<<$"), ["<"])
Yaml12.add_implicit_resolver(
    PREFIX + "int", re.compile(r"^[-+]?[0-9]+$|^0o[0-7]+$|^0x[0-9a-fA-F]+$"), list("-+0123456789")
)
Yaml12.add_implicit_resolver(
    PREFIX + "float",
    re.compile(
        r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+.0123456789"),
)


class Dumper(yaml.SafeDumper):
    """Puts every text in quotes that YAML 1.1 or 1.2 would take for something else, such as a commit named 12e4."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Text with rare line breaks is escaped, which PyYAML would fold to spaces; odd typography is quoted."""
        style = '"' if re.search("[\x85\u2028\u2029]", data) or value_problem(data) else None
        return self.represent_scalar(PREFIX + "str", data, style=style)


Dumper.add_representer(str, Dumper.represent_str)
for _first, _resolvers in Yaml12.yaml_implicit_resolvers.items():
    for _tag, _pattern in _resolvers:
        Dumper.add_implicit_resolver(_tag, _pattern, [_first])


def to_yaml(value: object) -> str:
    """Plain values as YAML that reads the same under both versions."""
    text: str = yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True)
    return text
