"""No file and no function grows past what can be read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests import ROOT

PACKAGES = ("lockstep_store", "directory_server", "file_server", "client_proxy", "local_cluster")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def _sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (file for file in (ROOT / package).rglob("*.py") if "migrations" not in file.parts)


def _long_functions(source: str) -> list[tuple[str, int]]:
    """Name and length of every function that is too long, nested ones included."""
    functions = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
    lengths = ((node.name, (node.end_lineno or 0) - node.lineno + 1) for node in functions)
    return [(name, length) for name, length in lengths if length > MAX_FUNCTION_LINES]


def test_no_file_is_too_long() -> None:
    """A file past 400 lines has more than one job: split it."""
    lengths = {str(file.relative_to(ROOT)): len(file.read_text("utf-8").splitlines()) for file in _sources()}
    assert len(lengths) > 300
    assert {name: length for name, length in lengths.items() if length > MAX_FILE_LINES} == {}


def test_no_function_is_too_long() -> None:
    """A function past 60 lines does more than one thing: name its steps."""
    found = {str(file.relative_to(ROOT)): _long_functions(file.read_text("utf-8")) for file in _sources()}
    assert {name: functions for name, functions in found.items() if functions} == {}


def test_a_long_function_is_noticed() -> None:
    """The measure counts from `def` to the last line, also inside a class."""
    body = "        pass\n" * MAX_FUNCTION_LINES
    assert _long_functions(f"class A:\n    def long(self):\n{body}") == [("long", MAX_FUNCTION_LINES + 1)]
    assert _long_functions("class A:\n    def short(self):\n        pass\n") == []
