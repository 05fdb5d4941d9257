"""Statements: SQLAlchemy Core expressions, compiled once per dialect and then executed by the driver.

Executing through Core costs about 60 µs a statement, most of a commit; compiling once avoids that, and one expression
still serves every engine. The driver gets values as they are, without type conversion in either direction: JSON is
text, and a flag may come back as 0 or 1.
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
    """A statement with named parameters, created at import time: ``FIND = Statement(select(t.c.a).where(…))``.

    Use `bindparam("name")` for every value that varies; the caller passes it by that name.
    """

    __slots__ = ("_compiled", "_expression")

    def __init__(self, expression: Executable) -> None:
        self._expression = expression
        self._compiled: dict[str, tuple[str, dict[str, object]]] = {}

    def for_dialect(self, dialect: Dialect) -> tuple[str, dict[str, object]]:
        """Return the SQL text, and the values of parameters that are fixed in the expression."""
        found = self._compiled.get(dialect.name)
        if found is None:
            expression = self._expression
            assert isinstance(expression, ClauseElement)
            compiled = expression.compile(dialect=dialect)
            assert isinstance(compiled, SQLCompiler)
            if "POSTCOMPILE" in str(compiled):
                raise ValueError(f"the SQL would vary with the length of a list of values; use or_: {compiled}")
            fixed = {name: bind.value for bind, name in compiled.bind_names.items() if not bind.required}
            found = self._compiled[dialect.name] = (str(compiled), fixed)
        return found

    def __repr__(self) -> str:
        return f"Statement({self._expression})"


class JoinedByComma(FunctionElement[str]):
    """Joins a group's values with commas.

    Core's aggregate_strings adds its separator only when Core executes it, which never happens here.
    """

    type = Text()
    inherit_cache = True


@compiles(JoinedByComma)
def _group_concat(element: JoinedByComma, compiler: SQLCompiler, **options: Any) -> str:
    return f"group_concat({compiler.process(element.clauses, **options)}, ',')"


@compiles(JoinedByComma, "postgresql")
def _string_agg(element: JoinedByComma, compiler: SQLCompiler, **options: Any) -> str:
    return f"string_agg({compiler.process(element.clauses, **options)}, ',')"
