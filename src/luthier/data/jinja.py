"""Chat templates are other people's programs: they are rendered in Jinja's sandbox, bounded in time and size."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError as JinjaError
from jinja2 import nodes

from luthier.data.jinja_bounds import BoundedEnvironment
from luthier.data.jinja_meter import METER, Meter
from luthier.errors import TemplateError

Render = Callable[..., str]

LONGEST = 1 << 18
"""Characters of a template's source; the longest published ones have a tenth of it."""
_LONGEST_DATE = 200


def _refuse(message: str) -> str:
    raise JinjaError(message)


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _now(form: str) -> str:
    if len(form) > _LONGEST_DATE:
        raise JinjaError("the form of the date is too long")
    return datetime.now().strftime(form)


def day_in(source: str) -> str:
    """Today's date where a template may write it, so that what it makes is another text every day; else nothing."""
    return datetime.now().date().isoformat() if "strftime_now" in source else ""


def tree_of(source: str) -> nodes.Template:
    """The syntax tree of a template that compiles."""
    return BoundedEnvironment().parse(source)


@lru_cache(maxsize=32)
def compile_template(source: str) -> Render:
    """A function from a template's variables to its text, with the names that transformers gives to templates.

    Raises:
        TemplateError: the template is not Jinja, or too long.
    """
    if len(source) > LONGEST:
        raise TemplateError(f"the chat template has {len(source)} characters, and {LONGEST} is the most")
    environment = BoundedEnvironment(tojson=_tojson)
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _now
    token = METER.set(Meter(None))
    try:
        code = environment.compile(environment.bounded(source))
        template = environment.template_class.from_code(environment, code, environment.make_globals(None))
    except Exception as error:  # such as a tree that is too deep for Jinja
        raise TemplateError(f"the chat template is not Jinja: {error}") from error
    finally:
        METER.reset(token)

    def render(**variables: Any) -> str:
        token = METER.set(Meter(variables))
        try:
            return str(template.render(**variables))
        except Exception as error:  # whatever somebody else's program raises
            raise TemplateError(f"the chat template refuses this conversation: {error}") from error
        finally:
            METER.reset(token)

    return render
