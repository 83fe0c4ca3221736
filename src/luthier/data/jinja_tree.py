"""What Jinja compiles to plain Python goes through filters that charge for it: the syntax tree is changed to say so.

That is loops, ``~``, comparisons, slices, lists and the like, and a template's own text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jinja2 import nodes, pass_context
from jinja2.runtime import Context
from jinja2.visitor import NodeTransformer

from luthier.data.jinja_meter import METER, TEXT

_EACH, _TEXT, _JOIN, _READ, _SLICE, _MADE = (
    f"luthier {name}" for name in ("each", "text", "join", "read", "slice", "made")
)
"""Filters of our own; no template can write a name with a space."""


@pass_context
def _each(context: Context, items: Any) -> Iterator[Any]:
    return METER.get().each(items, 2)


@pass_context
def _text(context: Context, units: int) -> None:
    METER.get().spend(units)


@pass_context
def _join(context: Context, *parts: Any) -> str:
    METER.get().joined(parts)
    return "".join(map(str, parts))


@pass_context
def read(context: Context, value: Any) -> Any:
    """A value that is compared or written out. That it asks for the context keeps Jinja from doing so while it
    compiles."""
    meter = METER.get()
    meter.spend(1)
    meter.read(value)
    return value


@pass_context
def _slice(context: Context, value: Any, *bounds: Any) -> Any:
    METER.get().repeated(value, 1)
    return value[slice(*bounds)]


@pass_context
def _made(context: Context, value: Any) -> Any:
    return METER.get().made(value)


CHARGES = {_EACH: _each, _TEXT: _text, _JOIN: _join, _READ: read, _SLICE: _slice, _MADE: _made}
"""Our filters, for the environment that compiles a tree which was ``charged``."""


def charged(tree: nodes.Template) -> nodes.Template:
    """The syntax tree, changed in place, in which plain Python is charged for as well."""
    made: nodes.Template = _Charging().visit(tree)
    return made


class _Charging(NodeTransformer):
    """Puts our filters around what Jinja would compile to plain Python."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.iter = _filter(node.iter, _EACH)
        return node

    def visit_Output(self, node: nodes.Output) -> Any:  # noqa: N802
        self.generic_visit(node)
        own = sum(len(part.data) for part in node.nodes if isinstance(part, nodes.TemplateData))
        charge = _filter(nodes.Const(1 + own // TEXT, lineno=node.lineno), _TEXT)
        return [nodes.ExprStmt(charge, lineno=node.lineno), node] if own else node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(node.nodes[0], _JOIN, *node.nodes[1:])

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _seen(node.expr)
        for operand in node.ops:
            operand.expr = _seen(operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        bounds = (node.arg.start, node.arg.stop, node.arg.step)
        return _filter(node.node, _SLICE, *(one or nodes.Const(None, lineno=node.lineno) for one in bounds))

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(node, _MADE)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(node, _MADE)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(node, _MADE) if node.ctx == "load" else node


def _seen(node: nodes.Expr) -> nodes.Expr:
    return node if isinstance(node, nodes.Const) else _filter(node, _READ)


def _filter(node: Any, name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)
