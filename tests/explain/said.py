"""Everything an account may say, found in the source: the texts that reach a note, f-strings with ``{}`` for parts.

A text reaches a note as an argument of one of ``SINKS``, directly or by way of a constant, a table, a loop, a
condition, a local name, or a parameter of a function that hands it on.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

SINKS: dict[str, dict[str, int]] = {
    "Key": {"note": -1},
    "Spread": {"note": -1},
    "Gather": {"note": -1},
    "Yielding": {},
    "Inert": {"reason": 1, "remedy": 3, "note": -1},
    "Refused": {"reason": 1, "remedy": 2, "note": -1},
    "Default": {"note": 3},
    "Effect": {"note": 2},
    "Account": {"note": 5},
    "Cannot": {"reason": 0, "remedy": 1},
    "Unclear": {"reason": 1, "remedy": 2},
    "applied": {"note": 1},
    "replaced": {"note": 1},
    "inert": {"reason": 0},
    "refused": {"reason": 0, "remedy": 1},
    "replace": {"note": -1},
}
"""Parameters that are texts of notes, and their positions (-1: by keyword alone)."""

HANDED_ON = ("reason", "remedy", "note", "what")
LOCAL = ("told", "after", "kind", "cut", "LEAKED")
"""Names in an f-string that hold texts themselves; the second where they are not parameters."""

COMPOSED = "{}; {}"
"""How a reason and its remedy become one note; both have entries of their own."""

Scope = list[ast.AST]
"""The nodes around an expression, innermost last."""


@dataclass
class Module:
    """A parsed file: its constants, its functions, and each node's surroundings."""

    name: str
    tree: ast.Module
    constants: dict[str, ast.expr] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.constants[node.targets[0].id] = node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                self.constants[node.target.id] = node.value
            elif isinstance(node, ast.ImportFrom):
                other = (node.module or "").startswith("luthier.recipe")
                self.imported.update({one.asname or one.name: "" if other else one.name for one in node.names})
        for inner in ast.walk(self.tree):
            if isinstance(inner, ast.FunctionDef):
                self.functions.setdefault(inner.name, inner)


class Extraction:
    """The texts of notes in some files.

    ``texts`` holds each with the places it is said at; ``unresolved`` the expressions that led nowhere.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self.modules = [Module(path.stem, ast.parse(path.read_text(encoding="utf-8"))) for path in sorted(files)]
        self.texts: dict[str, str] = {}
        self.unresolved: dict[str, str] = {}
        self.sinks: dict[tuple[str, str], dict[str, int]] = {}
        before = -1
        while before != sum(map(len, self.sinks.values())):
            before = sum(map(len, self.sinks.values()))
            self.texts.clear()
            self.unresolved.clear()
            for module in self.modules:
                self._walk(module, module.tree, [])

    def _walk(self, module: Module, node: ast.AST, scope: Scope) -> None:
        if isinstance(node, ast.Call):
            for part in self._said(module, node, scope):
                self._add(self._resolve(module, part, scope), module, part)
        elif isinstance(node, ast.Tuple) and module.name in ("contradictions", "inert"):
            for part in _rule(node, scope):
                self._add(self._resolve(module, part, scope), module, part)
        for child in ast.iter_child_nodes(node):
            self._walk(module, child, [*scope, node])

    def _add(self, texts: Iterable[str], module: Module, node: ast.expr) -> None:
        for text in texts:
            if text.strip() and text != COMPOSED:
                self.texts.setdefault(text, f"{module.name}.py:{node.lineno}")

    def _said(self, module: Module, call: ast.Call, scope: Scope) -> Iterator[ast.expr]:
        """The arguments of a call that are texts of notes."""
        name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        wanted = self._sink(module, module.imported.get(name, name), name)
        arguments = [part for one in call.args for part in _unfolded(module, one, scope)]
        for index, argument in enumerate(arguments):
            if index in wanted.values():
                yield argument
        for keyword in call.keywords:
            if keyword.arg in wanted and keyword.value is not None:
                yield keyword.value

    def _sink(self, module: Module, name: str, local: str) -> dict[str, int]:
        if local in module.functions:
            return self.sinks.get((module.name, local), SINKS.get(local, {}))
        if name in SINKS:
            return SINKS[name]
        homes = (other for other in self.modules if name in other.functions)
        return next((found for home in homes if (found := self.sinks.get((home.name, name)))), {})

    def _resolve(self, module: Module, node: ast.expr, scope: Scope) -> list[str]:
        """The texts that an expression may be."""
        if isinstance(node, ast.Constant):
            return [node.value] if isinstance(node.value, str) else []
        if isinstance(node, ast.JoinedStr):
            return self._patterns(module, node, scope)
        if isinstance(node, ast.IfExp):
            return self._resolve(module, node.body, scope) + self._resolve(module, node.orelse, scope)
        if isinstance(node, ast.BoolOp):
            return [text for value in node.values for text in self._resolve(module, value, scope)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            sides = [self._resolve(module, side, scope) for side in (node.left, node.right)]
            return ["".join(pair) for pair in product(*sides)]
        if isinstance(node, ast.List):
            return [text for value in node.elts for text in self._resolve(module, value, scope)]
        if isinstance(node, ast.Name):
            return self._named(module, node, scope)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            table = module.constants.get(node.value.id)
            if isinstance(table, ast.Dict):
                return [text for value in table.values for text in self._resolve(module, value, [])]
        if isinstance(node, ast.Call):
            found = self._called(module, node, scope)
            if found is not None:
                return found
        self.unresolved.setdefault(ast.unparse(node), f"{module.name}.py:{node.lineno}")
        return []

    def _called(self, module: Module, node: ast.Call, scope: Scope) -> list[str] | None:
        """The texts that a look-up in a table, or a function of these files, gives back."""
        if isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            table: ast.expr | None = node.func.value
            table = module.constants.get(table.id) if isinstance(table, ast.Name) else table
            values = [*table.values, *node.args[1:]] if isinstance(table, ast.Dict) else None
            return None if values is None else [text for one in values for text in self._resolve(module, one, scope)]
        if isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == "'; '.join":
            return self._resolve(module, node.args[0], scope)
        local = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        name = module.imported.get(local, local)
        homes = [module] if local in module.functions else [one for one in self.modules if name in one.functions]
        if not homes or name in SINKS:
            return None
        function = homes[0].functions[name]
        given = [one.value for one in ast.walk(function) if isinstance(one, ast.Return) and one.value is not None]
        return [text for value in given for text in self._resolve(homes[0], value, [function])]

    def _patterns(self, module: Module, node: ast.JoinedStr, scope: Scope) -> list[str]:
        """An f-string with ``{}`` for its parts; a part that is always one text stands there itself."""
        parts = []
        for value in node.values:
            inner = value.value if isinstance(value, ast.FormattedValue) else None
            texts: list[str] = []
            if isinstance(inner, ast.Name) and (
                inner.id in HANDED_ON or (inner.id in LOCAL and _is_local(inner, scope))
            ):
                texts = self._resolve(module, inner, scope)
            if len(texts) != 1:
                self._add((text for text in texts if " " in text), module, node)
            parts.append(
                str(value.value)
                if isinstance(value, ast.Constant)
                else texts[0]
                if texts[1:] == [] and any(texts)
                else "{}"
            )
        return ["".join(parts)]

    def _named(self, module: Module, node: ast.Name, scope: Scope) -> list[str]:
        """What a name holds: a local, a parameter (whose function then says texts itself), a loop's, a constant."""
        for index in range(len(scope) - 1, -1, -1):
            around = scope[index]
            if isinstance(around, ast.FunctionDef):
                if self._hand_on(module, around, node.id):
                    default = _default_of(around, node.id)
                    return self._resolve(module, default, scope[:index]) if default is not None else []
                values = list(_assigned(around, node.id))
                if values:
                    return [text for value in values for text in self._resolve(module, value, scope)]
            elif isinstance(around, (ast.GeneratorExp, ast.ListComp, ast.DictComp, ast.SetComp)):
                for loop in around.generators:
                    found = self._looped(module, loop.target, loop.iter, node.id)
                    if found is not None:
                        return [text for value in found for text in self._resolve(module, value, [])]
        for home in (module, *(other for other in self.modules if node.id in module.imported)):
            if module.imported.get(node.id, node.id) in home.constants:
                return self._resolve(home, home.constants[module.imported.get(node.id, node.id)], [])
        self.unresolved.setdefault(node.id, f"{module.name}.py:{node.lineno}")
        return []

    def _hand_on(self, module: Module, function: ast.FunctionDef, name: str) -> bool:
        plain = [*function.args.posonlyargs, *function.args.args]
        shift = 1 if plain and plain[0].arg == "self" else 0
        position = next((at - shift for at, one in enumerate(plain) if one.arg == name), None)
        if position is None and name not in [one.arg for one in function.args.kwonlyargs]:
            return False
        known = self.sinks.setdefault((module.name, function.name), dict(SINKS.get(function.name, {})))
        known[name] = -1 if position is None else position
        return True

    def _looped(self, module: Module, target: ast.expr, source: ast.expr, name: str) -> list[ast.expr] | None:
        """The values that a loop over a literal table gives to ``name``; None when the loop has no such name."""
        names = [target] if isinstance(target, ast.Name) else list(getattr(target, "elts", ()))
        at = next((i for i, one in enumerate(names) if isinstance(one, ast.Name) and one.id == name), None)
        if at is None:
            return None
        if isinstance(source, ast.Name):
            source = module.constants.get(source.id, source)
        if not isinstance(source, (ast.Tuple, ast.List)):
            return None
        if isinstance(target, ast.Name):
            return source.elts
        return [row.elts[at] for row in source.elts if isinstance(row, ast.Tuple)]


def _rule(node: ast.Tuple, scope: Scope) -> list[ast.expr]:
    """The texts of a tuple that is (condition, reason, keys), or is yielded as (key, reason, remedy)."""
    if len(node.elts) != 3:
        return []
    if isinstance(scope[-1], ast.Yield):
        return node.elts[1:]
    says = isinstance(node.elts[1], (ast.Constant, ast.JoinedStr)) and isinstance(scope[-1], ast.Tuple)
    return [node.elts[1]] if says and not isinstance(node.elts[2], ast.Constant) else []


def _is_local(node: ast.Name, scope: Scope) -> bool:
    """Whether a name is no parameter of a function around it."""
    functions = (around for around in scope if isinstance(around, ast.FunctionDef))
    return all(node.id not in [one.arg for one in (*f.args.args, *f.args.kwonlyargs)] for f in functions)


def _unfolded(module: Module, node: ast.expr, scope: Scope) -> list[ast.expr]:
    """An argument, or those of a starred tuple that has a name."""
    if not isinstance(node, ast.Starred):
        return [node]
    name = getattr(node.value, "id", "")
    local = (value for around in scope if isinstance(around, ast.FunctionDef) for value in _assigned(around, name))
    table = next(local, module.constants.get(name))
    return list(table.elts) if isinstance(table, ast.Tuple) else [node]


def _assigned(function: ast.FunctionDef, name: str) -> Iterator[ast.expr]:
    """The values that a function gives to a local name, or appends to it."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            targets, values = [*node.targets], [node.value] * len(node.targets)
            if isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
                targets, values = node.targets[0].elts, node.value.elts
        elif isinstance(node, ast.NamedExpr):
            targets, values = [node.target], [node.value]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append":
            targets, values = [node.func.value], node.args
        else:
            continue
        pairs = zip(targets, values, strict=True)
        yield from (value for target, value in pairs if isinstance(target, ast.Name) and target.id == name)


def _default_of(function: ast.FunctionDef, name: str) -> ast.expr | None:
    """The default of a parameter, or None."""
    plain = [*function.args.posonlyargs, *function.args.args]
    pairs = [*zip(reversed(plain), reversed(function.args.defaults), strict=False)]
    pairs += [
        (one, value) for one, value in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True) if value
    ]
    return next((value for one, value in pairs if one.arg == name), None)
