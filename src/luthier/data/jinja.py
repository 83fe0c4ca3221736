"""Chat templates are other people's programs: they are rendered in Jinja's sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError as JinjaError
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from luthier.errors import TemplateError

Render = Callable[..., str]


class _Generation(Extension):
    """``{% generation %}`` marks answers for other tools' masks; here it only lets its body through."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _refuse(message: str) -> str:
    raise JinjaError(message)


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])


def tree_of(source: str) -> nodes.Template:
    """The syntax tree of a template that compiles."""
    return _environment().parse(source)


@lru_cache(maxsize=32)
def compile_template(source: str) -> Render:
    """A function from a template's variables to its text, with the names that transformers gives to templates.

    Raises:
        TemplateError: the template is not Jinja.
    """
    environment = _environment()
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    try:
        template = environment.from_string(source)
    except JinjaError as error:
        raise TemplateError(f"the chat template is not Jinja: {error}") from error

    def render(**variables: Any) -> str:
        try:
            return str(template.render(**variables))
        except Exception as error:  # whatever somebody else's program raises
            raise TemplateError(f"the chat template refuses this conversation: {error}") from error

    return render
