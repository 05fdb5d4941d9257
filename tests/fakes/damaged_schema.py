"""Damages the schema of a closed SQLite file."""

from __future__ import annotations

from pathlib import Path


def spoil_a_table_name(file: Path, table: bytes) -> None:
    """Make the first letter of a table's name in `sqlite_schema` a byte that is not UTF-8."""
    data = bytearray(file.read_bytes())
    name = data.index(b"table" + table) + len("table")  # a row has its type and name side by side
    data[name] = 0xF5
    file.write_bytes(data)
