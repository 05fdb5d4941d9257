"""Statements: SQLAlchemy Core expressions, compiled once per dialect and then executed by the driver.

Executing through Core costs about 60 µs a statement, most of a commit; compiling once avoids that, and one expression
still serves every engine. The driver gets values as they are, without type conversion in either direction: JSON is
text, and a flag may come back as 0 or 1.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from sqlalchemy import BigInteger, ColumnElement, Integer, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.functions import FunctionElement

T = TypeVar("T")


class Statement:
    """A statement with named parameters, created at import time: ``FIND = Statement(select(t.c.a).where(…))``.

    Use `bindparam("name")` for every value that varies; the caller passes it by that name. `postgresql` replaces an
    expression that PostgreSQL does not understand.
    """

    __slots__ = ("_compiled", "_expression", "_postgresql")

    def __init__(self, expression: Executable, postgresql: Executable | None = None) -> None:
        self._expression = expression
        self._postgresql = postgresql
        self._compiled: dict[str, tuple[str, dict[str, object]]] = {}

    def for_dialect(self, dialect: Dialect) -> tuple[str, dict[str, object]]:
        """Return the SQL text, and the values of parameters that are fixed in the expression."""
        found = self._compiled.get(dialect.name)
        if found is None:
            expression = self._expression
            if dialect.name == "postgresql" and self._postgresql is not None:
                expression = self._postgresql
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


class EngineFunction(FunctionElement[T]):
    """A function that each engine calls in its own way; in these texts, {0} is an argument."""

    inherit_cache = True
    in_general: ClassVar[str]
    in_postgresql: ClassVar[str]

    def written(self, text: str, arguments: list[str]) -> str:
        return text.format(*arguments)


@compiles(EngineFunction)
def _in_general(element: EngineFunction[Any], compiler: SQLCompiler, **options: Any) -> str:
    return element.written(element.in_general, _arguments(element, compiler, options))


@compiles(EngineFunction, "postgresql")
def _in_postgresql(element: EngineFunction[Any], compiler: SQLCompiler, **options: Any) -> str:
    return element.written(element.in_postgresql, _arguments(element, compiler, options))


def _arguments(element: EngineFunction[Any], compiler: SQLCompiler, options: dict[str, Any]) -> list[str]:
    return [compiler.process(clause, **options) for clause in element.clauses]


class OrderedAggregate(EngineFunction[str]):
    """Collects the first argument of a group's rows, in the order that the others give, as far as `where` is true.

    SQLite has no order in aggregates before 3.44. It takes rows as it reads them, so the statement must read them in
    order.
    """

    type = Text()
    inherit_cache = True

    def __init__(self, *arguments: ColumnElement[Any], where: ColumnElement[bool] | None = None) -> None:
        super().__init__(*arguments, *([] if where is None else [where]))
        self._is_filtered = where is not None

    def written(self, text: str, arguments: list[str]) -> str:
        condition = f" FILTER (WHERE {arguments.pop()})" if self._is_filtered else ""
        value, *order = arguments
        return text.format(value, order=f" ORDER BY {', '.join(order)}" if order else "", filter=condition)


class JoinedByComma(OrderedAggregate):
    """Joins a group's texts with commas.

    Core's aggregate_strings adds its separator only when Core executes it, which never happens here.
    """

    inherit_cache = True
    in_general = "group_concat({0}, ','){filter}"
    in_postgresql = "string_agg({0}, ','{order}){filter}"


class JsonArray(OrderedAggregate):
    """Collects a group's texts or numbers in a JSON array, as text."""

    inherit_cache = True
    in_general = "json_group_array({0}){filter}"
    in_postgresql = "coalesce(json_agg({0}{order}){filter}, '[]')"


class Position(EngineFunction[int]):
    """The place of the second text in the first, counted from 1; 0 if it is not there."""

    type = Integer()
    inherit_cache = True
    in_general = "instr({0}, {1})"
    in_postgresql = "strpos({0}, {1})"


class Hex(EngineFunction[str]):
    """Bytes as lower-case hexadecimal digits."""

    type = Text()
    inherit_cache = True
    in_general = "lower(hex({0}))"
    in_postgresql = "encode({0}, 'hex')"


class WholeSeconds(EngineFunction[int]):
    """A time in seconds, rounded down."""

    type = BigInteger()
    inherit_cache = True
    in_general = "CAST({0} AS INTEGER)"
    in_postgresql = "CAST(floor({0}) AS BIGINT)"  # there a cast rounds
