"""Finds the checks in the programs' sources, and builds modules in which each can be taken away while they run.

An import hook builds them: nothing is written to the checkout, and one process can take away one check after the other.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from tests import ROOT
from tests.security.mutation import checks

PACKAGES = ("directory_server", "file_server", "client_proxy", "lockstep_store")
OUTSIDE = ("lockstep_store.client", "directory_server.metadata")
"""A client decides nothing, and the metadata's statements name columns like the attributes."""
SWITCH = "__lockstep_checks__"


_NAMES = re.compile(
    rf"\b({'|'.join(map(re.escape, [*checks.CALLS, *checks.ERRORS, *checks.ERROR_MAKERS, *checks.CODES]))})\b"
    rf"|\.({'|'.join([*checks.ROLES, *checks.ATTRIBUTES, checks.OWNER])})\b"
)
"""In every source with a check: the others need not be parsed."""


@dataclass(frozen=True)
class Check:
    """A place in a source. `id` stays the same when lines move."""

    id: str
    kind: str
    name: str
    line: int


class Switch:
    """What the built modules ask. `off` is the check that is taken away; `noticed` gets each check that refused."""

    def __init__(self) -> None:
        self.off = ""
        self.test = ""
        self.noticed: dict[str, set[str]] = {}

    def _note(self, id: str) -> None:
        self.noticed.setdefault(id, set()).add(self.test)

    def call(self, id: str, name: str, called: Any, *arguments: Any, **named: Any) -> Any:
        allow = checks.CALLS[name]
        if self.off == id:
            return allow(called, arguments, named)
        try:
            found = called(*arguments, **named)
        except BaseException:
            self._note(id)
            raise
        if allow in (checks.TRUE, checks.FALSE):
            differs = bool(found) != allow(called, arguments, named)
        elif name in ("hide", "refused", "shown", "_verdict"):
            differs = found is not allow(called, arguments, named)
        else:
            differs = False
        if differs:
            self._note(id)
        return found

    def roles(self, id: str, roles: Any) -> Any:
        return None if roles is None else _Roles(self, id, roles)

    def refuses(self, id: str) -> bool:
        self._note(id)
        return self.off != id

    def value(self, id: str, found: Any, allowing: bool) -> Any:
        if self.off == id:
            return allowing
        if bool(found) != allowing:
            self._note(id)
        return found


class _Roles(Container[str]):
    def __init__(self, switch: Switch, id: str, roles: Container[str]) -> None:
        self._switch, self._id, self._roles = switch, id, roles

    def __contains__(self, role: object) -> bool:
        return bool(self._switch.value(self._id, role in self._roles, True))


class _Builder(ast.NodeTransformer):
    """Replaces every check in one module."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._where: list[str] = []
        self._counts: Counter[str] = Counter()
        self.found: list[Check] = []

    def _new(self, node: ast.AST, kind: str, name: str) -> ast.Constant | None:
        """The id of a check; None for a place that has its name and is none, which stays as it is."""
        id = f"{self._module}:{'.'.join(self._where)}:{name}"
        self._counts[id] += 1
        if self._counts[id] > 1:
            id += f"#{self._counts[id]}"
        if id in checks.NO_CHECKS:
            return None
        self.found.append(Check(id, kind, name.partition(" ")[0], getattr(node, "lineno", 0)))
        return ast.Constant(id)

    def _ask(self, question: str, *arguments: ast.expr, keywords: Sequence[ast.keyword] = ()) -> ast.Call:
        asked = ast.Attribute(ast.Name(SWITCH, ast.Load()), question, ast.Load())
        return ast.Call(asked, list(arguments), list(keywords))

    def _inside(self, node: Any) -> Any:
        self._where.append(node.name)
        self.generic_visit(node)
        self._where.pop()
        return node

    visit_FunctionDef = visit_ClassDef = visit_AsyncFunctionDef = _inside

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = _name(node.func)
        if ast.unparse(node.func) in checks.CALLS:
            name = ast.unparse(node.func)
        if name in checks.CALLS:
            id = self._new(node, "call", name)
            if id is not None:
                return self._ask("call", id, ast.Constant(name), node.func, *node.args, keywords=node.keywords)
        if name in checks.ROLES and self._module != "lockstep_store.runtime.http.api":
            served = " ".join([name, *(ast.unparse(one) for one in node.args[: 1 if name == "serve" else 2])])
            if name == "serve" and len(node.args) == 3:
                node.args[2] = self._roles(node, served, node.args[2])
            for given in node.keywords:
                if given.arg == "roles":
                    given.value = self._roles(node, served, given.value)
        return node

    def _roles(self, node: ast.Call, served: str, roles: ast.expr) -> ast.expr:
        id = self._new(node, "roles", served)
        return roles if id is None else self._ask("roles", id, roles)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        name = _refusal(node.exc)
        self.generic_visit(node)
        id = self._new(node, "raise", name) if name else None
        return node if id is None else ast.If(self._ask("refuses", id), [node], [])

    def visit_If(self, node: ast.If | ast.IfExp) -> ast.AST:
        node.test = self._condition(node.test)
        self.generic_visit(node)
        return node

    visit_IfExp = visit_If

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        node.values = [self._condition(value) for value in node.values]
        self.generic_visit(node)
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        if isinstance(node.op, ast.Not):
            node.operand = self._condition(node.operand)
        self.generic_visit(node)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        node.ifs = [self._condition(value) for value in node.ifs]
        self.generic_visit(node)
        return node

    def _condition(self, node: ast.expr) -> ast.expr:
        name, allowing = "", True
        if isinstance(node, ast.Attribute) and node.attr in checks.ATTRIBUTES:
            name, allowing = node.attr, checks.ATTRIBUTES[node.attr]
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
            sides = {_name(node.left), _name(node.comparators[0])}
            if checks.OWNER in sides and "account" in sides:
                name, allowing = checks.OWNER, isinstance(node.ops[0], ast.Eq)
        id = self._new(node, "attribute", name) if name else None
        return node if id is None else self._ask("value", id, node, ast.Constant(allowing))


def _name(node: ast.expr | None) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _refusal(node: ast.expr | None) -> str:
    if not isinstance(node, ast.Call):
        return ""
    name = _name(node.func)
    if name in checks.ERRORS or name in checks.ERROR_MAKERS:
        return name
    first = node.args[0] if node.args else None
    if name == "S3Error" and isinstance(first, ast.Constant) and first.value in checks.CODES:
        return str(first.value)
    return ""


def build(source: str, module: str, file: str) -> tuple[ast.Module, list[Check]]:
    """Return the module's tree with every check replaced, and the checks."""
    builder = _Builder(module)
    tree = builder.visit(ast.parse(source, file))
    return ast.fix_missing_locations(tree), builder.found


def all_checks() -> list[Check]:
    """Return every check of the programs, in the order of modules and lines."""
    found = []
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            source = file.read_text("utf-8")
            if not module.startswith(OUTSIDE) and _NAMES.search(source):
                found += build(source, module, str(file))[1]
    return found


def exists(id: str) -> bool:
    """Whether there is still such a check; only its module is read."""
    module = id.partition(":")[0]
    file = ROOT / (module.replace(".", "/") + ".py")
    return file.exists() and id in {check.id for check in build(file.read_text("utf-8"), module, str(file))[1]}


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        tree, _ = build(Path(self.path).read_text("utf-8"), fullname, str(self.path))
        return compile(tree, self.path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    def __init__(self, only: Container[str] | None) -> None:
        self._only = only

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in PACKAGES or fullname.startswith(OUTSIDE):
            return None
        if self._only is not None and fullname not in self._only:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        loader = spec.loader if spec is not None else None
        if spec is not None and isinstance(loader, SourceFileLoader):
            if not _NAMES.search(Path(loader.path).read_text("utf-8")):
                return None
            spec.loader = _Loader(fullname, str(spec.origin))
        return spec


def install(only: Container[str] | None = None) -> Switch:
    """Have every module that is imported from now on, or `only` those, built with its checks replaced."""
    switch = Switch()
    setattr(builtins, SWITCH, switch)
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]  # the few that this tool has imported
    sys.meta_path.insert(0, _Finder(only))
    return switch
