"""Statements: SQLAlchemy Core expressions compiled once for a dialect and then handed to the driver.

Core's way of executing costs about 60 µs a statement, which would be most of a commit; what it compiles to is worth
keeping, because one expression serves every engine. Values go to the driver as they are: no type conversion happens
on the way in or out, so JSON is text and a flag may come back as 0 or 1.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Text
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.functions import FunctionElement


class Statement:
    """One statement with named parameters, made at import time: ``FIND = Statement(select(t.c.a).where(…))``.

    Use `bindparam("name")` for every value that varies; the caller gives it by that name.
    """

    __slots__ = ("_compiled", "_expression")

    def __init__(self, expression: Executable) -> None:
        self._expression = expression
        self._compiled: dict[str, tuple[str, dict[str, object]]] = {}

    def for_dialect(self, dialect: Dialect) -> tuple[str, dict[str, object]]:
        """The SQL text, and the values of parameters that stand fixed in the expression."""
        found = self._compiled.get(dialect.name)
        if found is None:
            expression = self._expression
            assert isinstance(expression, ClauseElement)
            compiled = expression.compile(dialect=dialect)
            assert isinstance(compiled, SQLCompiler)
            if "POSTCOMPILE" in str(compiled):
                raise ValueError(f"a list of values would be spelled out at every execution, use or_: {compiled}")
            fixed = {name: bind.value for bind, name in compiled.bind_names.items() if not bind.required}
            found = self._compiled[dialect.name] = (str(compiled), fixed)
        return found

    def __repr__(self) -> str:
        return f"Statement({self._expression})"


class JoinedByComma(FunctionElement[str]):
    """Joins a group's values with commas. Core's aggregate_strings adds its separator at execution, which a compiled
    statement never reaches."""

    type = Text()
    inherit_cache = True


@compiles(JoinedByComma)
def _group_concat(element: JoinedByComma, compiler: SQLCompiler, **options: Any) -> str:
    return f"group_concat({compiler.process(element.clauses, **options)}, ',')"


@compiles(JoinedByComma, "postgresql")
def _string_agg(element: JoinedByComma, compiler: SQLCompiler, **options: Any) -> str:
    return f"string_agg({compiler.process(element.clauses, **options)}, ',')"
