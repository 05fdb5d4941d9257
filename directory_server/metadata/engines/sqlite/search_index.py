"""The search index: which paths contain which three letters, for searches by any part of a name.

It is a table of SQLite's FTS5 whose text is in `search_file`. Triggers of the writer's connection fill both in the
transaction that makes or removes a path, so the index is never behind, and a savepoint that is undone takes its
entries along. A new version of a path changes nothing here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from directory_server.metadata.schema_search import ADD_PATH, REMOVE_PATH

LETTERS = 3
"""Letters of a token. Shorter texts cannot be found in the index."""
MOST_TOKENS = 16
"""Tokens to look for. With three, whole names among a million took four times as long: too many others have those."""
INDEX_TABLES = "search_index"
"""The index's own tables begin with this."""
CONTAINING = (
    "SELECT f.id, f.path FROM search_index CROSS JOIN search_file f ON f.id = search_index.rowid"
    " WHERE search_index MATCH ? AND search_index.rowid BETWEEN ? AND ?"
    " ORDER BY search_index.rowid DESC LIMIT ?"
)

# A statement's OR REPLACE would hold for those of its triggers, too: hence no OR IGNORE here.
_TRIGGERS = (
    f"CREATE TEMP TRIGGER search_path_new AFTER INSERT ON main.current BEGIN {ADD_PATH} END",
    f"CREATE TEMP TRIGGER search_path_gone AFTER DELETE ON main.current BEGIN {REMOVE_PATH} END",
    "CREATE TEMP TRIGGER search_file_new AFTER INSERT ON main.search_file BEGIN"
    " INSERT INTO search_index (rowid, path) VALUES (NEW.id, NEW.path); END",
    "CREATE TEMP TRIGGER search_file_gone AFTER DELETE ON main.search_file BEGIN"
    " INSERT INTO search_index (search_index, rowid, path) VALUES ('delete', OLD.id, OLD.path); END",
)


def keep_search_index(connection: sqlite3.Connection) -> None:
    """Fill the index with every change that this connection makes. Raises sqlite3.Error."""
    connection.execute("BEGIN").close()
    for trigger in _TRIGGERS:
        connection.execute(trigger).close()
    connection.execute("COMMIT").close()


def match_expression(any_of: Sequence[Sequence[str]]) -> str:
    """Return what finds every path that contains all texts of one of the alternatives, and perhaps others."""
    found = dict.fromkeys(" AND ".join(tokens) for tokens in (_tokens(texts) for texts in any_of) if tokens)
    return " OR ".join(f"({one})" for one in found)


def _tokens(texts: Sequence[str]) -> list[str]:
    """A few tokens of the texts, as far from each other as they can be: who reads looks at the path itself."""
    found = list(_covering(texts))
    if len(found) <= MOST_TOKENS:
        return found
    return [found[place * (len(found) - 1) // (MOST_TOKENS - 1)] for place in range(MOST_TOKENS)]


def _covering(texts: Sequence[str]) -> Iterator[str]:
    seen = set()
    for text in texts:
        last = len(text) - LETTERS
        for at in (*range(0, last, LETTERS), last) if last >= 0 else ():
            token = text[at : at + LETTERS]
            if token not in seen and "\0" not in token:  # which would end the expression
                seen.add(token)
                yield '"' + token.replace('"', '""') + '"'
