"""The search index: `search_file` with an index of three-letter parts (pg_trgm), filled by triggers.

As in SQLite's engine, the triggers run in the transaction that makes or removes a path.
"""
# ruff: noqa: S608 - the names in these statements are our own

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from directory_server.metadata.engines.postgres.redo import function, trigger
from directory_server.metadata.schema_search import ADD_PATH, REMOVE_PATH

LETTERS = 3
"""Shorter texts cannot be found in the index."""
MOST_TEXTS = 16
"""Texts of an alternative to look for: who reads looks at the path itself."""


def containing(any_of: Sequence[Sequence[str]], low: int, high: int, count: int) -> tuple[str, list[Any]]:
    """Return the statement for `Reader.containing`, and its parameters; empty if it finds nothing."""
    alternatives = [texts for texts in ([text for text in one if len(text) >= LETTERS] for one in any_of) if texts]
    if not alternatives:
        return "", []
    found, parameters = [], []
    for texts in alternatives:
        kept = sorted(texts, key=len, reverse=True)[:MOST_TEXTS]
        found.append(" AND ".join(["lockstep_folded(f.path) LIKE lockstep_folded(%s)"] * len(kept)))
        parameters += [f"%{_literal(text)}%" for text in kept]
    sql = (
        f"SELECT f.id, f.path FROM search_file f WHERE ({' OR '.join(f'({one})' for one in found)})"
        " AND f.id BETWEEN %s AND %s ORDER BY f.id DESC LIMIT %s"
    )
    return sql, [*parameters, low, high, count]


def _literal(text: str) -> str:
    for special in ("\\", "%", "_"):
        text = text.replace(special, f"\\{special}")
    return text.replace("\0", "")


def definitions() -> Iterator[str]:
    """Return the statements that make the index and its triggers."""
    # A sigma at a word's end has another small letter.
    yield (
        "CREATE OR REPLACE FUNCTION lockstep_folded(path text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS"
        " $lockstep$ SELECT translate(lower(path COLLATE \"und-x-icu\"), 'ς', 'σ') COLLATE \"C\" $lockstep$"
    )
    yield (
        "CREATE INDEX IF NOT EXISTS lockstep_search_index ON search_file USING gin (lockstep_folded(path) gin_trgm_ops)"
    )
    yield function("search_path_new", f"{ADD_PATH} RETURN NULL;")
    yield trigger("search_path_new", "AFTER INSERT", "current")
    yield function("search_path_gone", f"{REMOVE_PATH} RETURN NULL;")
    yield trigger("search_path_gone", "AFTER DELETE", "current")
