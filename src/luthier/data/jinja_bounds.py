"""Jinja's sandbox keeps a template from what is not its own; here it is also kept from working without end.

Calls, operators and filters go through the environment, which charges for them (``Meter``); jinja_tree.py sees to what
Jinja compiles to plain Python.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import BuiltinMethodType
from typing import Any

from jinja2 import TemplateError as JinjaError
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from luthier.data.jinja_meter import METER, WIDTH, Meter
from luthier.data.jinja_tree import CHARGES, charged, read

_ABSENT = ("urlize", "striptags", "xmlattr", "wordwrap", "pprint")
"""Filters that no chat template has a use for, and whose cost is hard to tell."""
_DEEP = ("tojson", "string", "sort", "unique", "groupby", "dictsort", "min", "max", "escape", "e", "forceescape")
"""Filters that look through all of a value."""
_SLOW = ("title", "wordcount", "urlencode", "sort", "unique", "groupby", "dictsort", "min", "max")
"""Filters that take several steps of Python's for each item or character."""
_WIDE = ("center", "batch", "slice", "round", "truncate")
"""Filters whose numbers are sizes."""


class _Generation(Extension):
    """``{% generation %}`` marks answers for other tools' masks; here it only lets its body through."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Namespace(Namespace):
    """Jinja's, but it does not write out what it holds, which may be itself."""

    def __repr__(self) -> str:
        return "<namespace>"


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja as transformers sets it up, with a price on everything."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def __init__(self, **filters: Callable[..., Any]) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            finalize=read,
            extensions=[_Generation, loopcontrols],
        )
        del self.globals["lipsum"]
        self.globals["namespace"] = _Namespace
        for name in _ABSENT:
            del self.filters[name]
        self.filters = {name: _charged(name, inner) for name, inner in (self.filters | filters).items()}
        self.filters |= CHARGES
        self.tests = {name: _looking(inner) for name, inner in self.tests.items()}

    def bounded(self, source: str) -> nodes.Template:
        """The syntax tree in which everything is charged for."""
        tree = charged(self.parse(source))
        tree.set_environment(self)
        return tree

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call something, for its price."""
        meter = METER.get()
        meter.spend(4 + len(args) + len(kwargs))
        if isinstance(__obj, BuiltinMethodType):
            args = _method(meter, __obj.__self__, __obj.__name__, args, kwargs)
        elif isinstance(__obj, LoopContext) and args:
            args = (meter.each(args[0]), *args[1:])
        return meter.made(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """An operator, for the price of what it makes."""
        meter = METER.get()
        meter.spend(1)
        if isinstance(left, int) and isinstance(right, int):
            power = left.bit_length() * max(right, 0) if operator == "**" else 0
            meter.number(left, right, bits=power)
            return super().call_binop(context, operator, left, right)
        if operator == "%" and isinstance(left, str):
            values = right if isinstance(right, tuple) else tuple(right.values()) if isinstance(right, dict) else ()
            meter.written(left, (*values, right))
        elif operator == "%" and isinstance(left, bytes):
            raise JinjaError("bytes cannot be formatted")
        elif operator == "*":
            value, times = (right, left) if isinstance(left, int) else (left, right)
            meter.repeated(value, times if isinstance(times, int) else 0)
        elif operator == "+":
            meter.repeated(left, 1)
            meter.repeated(right, 1)
        made = super().call_binop(context, operator, left, right)
        return made if isinstance(made, str) else meter.made(made)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """``str.format`` in the sandbox, for its price."""
        inner = super().wrap_str_format(value)
        if inner is None:
            return None

        def bounded(*args: Any, **kwargs: Any) -> str:
            given = args[0] if len(args) == 1 and isinstance(args[0], dict) else {}
            METER.get().written(value.__self__, (*args, *kwargs.values(), *given.values()))
            return inner(*args, **kwargs)

        return bounded


def _method(meter: Meter, owner: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Charge for a method of Python's own types; its arguments, read out where they are given one by one.

    Raises:
        JinjaError: one whose cost is hard to tell.
    """
    if isinstance(owner, (list, tuple, dict, range)):
        meter.spend(meter.length(owner) // 8)
        if name in ("index", "count"):
            meter.read(owner)
    elif not isinstance(owner, str) or name in ("translate", "maketrans"):
        raise JinjaError(f"the method {name} of {type(owner).__name__} is not for templates")
    else:
        meter.read(owner)
        if name == "join" and args:
            args = (list(meter.each(args[0])),)
            meter.joined(args[0], owner)
        for value in args:
            meter.read(value)
        if name == "replace" and len(args) > 1 and isinstance(args[0], str) and isinstance(args[1], str):
            meter.replaced(owner, args[0], args[1])
        elif name in ("center", "ljust", "rjust", "zfill", "expandtabs"):
            wide = max([8, *(one for one in (*args, *kwargs.values()) if isinstance(one, int))])
            meter.text(wide * (1 + str.count(owner, "\t")))
    return args


def _charged(name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    """A filter, for its price."""
    passed = int(hasattr(inner, "jinja_pass_arg"))

    @wraps(inner)
    def charged(*args: Any, **kwargs: Any) -> Any:
        meter = METER.get()
        value, *more = args[passed:] or (None,)
        more += kwargs.values()
        long = meter.length(value)
        meter.spend(2 + len(more) + (8 * long if name in _SLOW else long // 8))
        if name in _DEEP:
            meter.read(value)
        if name in _WIDE and any(isinstance(one, int) and abs(one) > WIDTH for one in more):
            raise JinjaError(f"the filter {name} has a number above {WIDTH}")
        if name == "replace" and len(more) > 1:
            value = value if isinstance(value, str) else str(value)
            meter.replaced(value, str(more[0]), str(more[1]))
        elif name == "join":
            value = list(meter.each(value))
            meter.joined(value, str(more[0]) if more else "")
            args = (*args[:passed], value, *args[passed + 1 :])
        elif name == "format":
            meter.written(str(value), more)
        elif name == "indent":
            width = max([4, *(one if isinstance(one, int) else meter.length(one) for one in more)])
            meter.text(width * (1 + str.count(str(value), "\n")))
        elif name == "tojson":
            width = max([0, *(one if isinstance(one, int) else meter.length(one) for one in more)])
            meter.indented(value, width)
        elif name == "sum" and not all(isinstance(one, (int, float, str)) for one in more):
            raise JinjaError("the filter sum adds numbers alone")
        return meter.made(inner(*args, **kwargs))

    return charged


def _looking(inner: Any) -> Callable[..., Any]:
    """A test, for the price of looking through what it is given."""

    @wraps(inner)
    def looking(*args: Any) -> Any:
        meter = METER.get()
        meter.spend(len(args))
        if len(args) > 1:
            for value in args:
                meter.read(value)
        return inner(*args)

    return looking
