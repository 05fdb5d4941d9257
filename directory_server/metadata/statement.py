"""Statements: SQLAlchemy Core expressions, compiled once per dialect and then executed by the driver.

Executing through Core costs about 60 µs a statement, most of a commit; compiling once avoids that, and one expression
still serves every engine. The driver gets values as they are, without type conversion in either direction: JSON is
text, and a flag may come back as 0 or 1.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Integer, Text
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
    """Joins a group's texts with commas. The other arguments give their order, as those of JsonArray do.

    Core's aggregate_strings adds its separator only when Core executes it, which never happens here.
    """

    type = Text()
    inherit_cache = True


@compiles(JoinedByComma)
def _group_concat(element: JoinedByComma, compiler: SQLCompiler, **options: Any) -> str:
    return f"group_concat({_arguments(element, compiler, options)[0]}, ',')"


@compiles(JoinedByComma, "postgresql")
def _string_agg(element: JoinedByComma, compiler: SQLCompiler, **options: Any) -> str:
    value, *order = _arguments(element, compiler, options)
    return f"string_agg({value}, ','{_ordered_by(order)})"


class JsonArray(FunctionElement[str]):
    """Collects a group's texts or numbers in a JSON array, as text: `JsonArray(value, order…)`.

    SQLite has no order in aggregates before 3.44. It takes rows as it reads them, so the statement must read them in
    order.
    """

    type = Text()
    inherit_cache = True


@compiles(JsonArray)
def _json_group_array(element: JsonArray, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_group_array({_arguments(element, compiler, options)[0]})"


@compiles(JsonArray, "postgresql")
def _json_agg(element: JsonArray, compiler: SQLCompiler, **options: Any) -> str:
    value, *order = _arguments(element, compiler, options)
    return f"json_agg({value}{_ordered_by(order)})"


def _arguments(element: FunctionElement[str], compiler: SQLCompiler, options: dict[str, Any]) -> list[str]:
    return [compiler.process(clause, **options) for clause in element.clauses]


def _ordered_by(order: list[str]) -> str:
    return f" ORDER BY {', '.join(order)}" if order else ""


class Position(FunctionElement[int]):
    """The place of the second text in the first, counted from 1; 0 if it is not there."""

    type = Integer()
    inherit_cache = True


@compiles(Position)
def _instr(element: Position, compiler: SQLCompiler, **options: Any) -> str:
    return f"instr({compiler.process(element.clauses, **options)})"


@compiles(Position, "postgresql")
def _strpos(element: Position, compiler: SQLCompiler, **options: Any) -> str:
    return f"strpos({compiler.process(element.clauses, **options)})"


class Hex(FunctionElement[str]):
    """Bytes as lower-case hexadecimal digits."""

    type = Text()
    inherit_cache = True


@compiles(Hex)
def _lower_hex(element: Hex, compiler: SQLCompiler, **options: Any) -> str:
    return f"lower(hex({compiler.process(element.clauses, **options)}))"


@compiles(Hex, "postgresql")
def _encode_hex(element: Hex, compiler: SQLCompiler, **options: Any) -> str:
    return f"encode({compiler.process(element.clauses, **options)}, 'hex')"


class WholeSeconds(FunctionElement[int]):
    """A time in seconds, rounded down."""

    type = BigInteger()
    inherit_cache = True


@compiles(WholeSeconds)
def _truncated(element: WholeSeconds, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS INTEGER)"


@compiles(WholeSeconds, "postgresql")
def _floored(element: WholeSeconds, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST(floor({compiler.process(element.clauses, **options)}) AS BIGINT)"  # there a cast rounds
