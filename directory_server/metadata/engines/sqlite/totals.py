"""Counts what is stored, in the transaction of each change: by bucket, author, content type and month, and by folder.

As with quotas, triggers of the writer's connection count: versions come and go in many ways, and none can be forgotten.
A savepoint that is undone takes its counts along. Totals that reach zero are removed with the last version.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from functools import lru_cache

from directory_server.metadata.statements.totals import INSERT_FOLDER, INSERT_STORED, KEY, MAX_DEPTH
from lockstep_store.wire.content_types import FOUND_TYPE, type_of

LONGEST_KIND = 100

_SAME = (
    "NEW.author = OLD.author AND NEW.content_type = OLD.content_type AND (NEW.metadata = OLD.metadata"
    f" OR instr(NEW.metadata || OLD.metadata, '{FOUND_TYPE}') = 0)"
    " AND strftime('%Y-%m', NEW.created_at, 'unixepoch') IS strftime('%Y-%m', OLD.created_at, 'unixepoch')"
)
_CURRENT, _VERSION = "{1}1, {1}{0}.size, 0, 0", "0, 0, {1}1, {1}{0}.size"
_ADD_STORED = (
    " ON CONFLICT (bucket, author, kind, month) DO UPDATE SET files = files + excluded.files,"
    " file_bytes = file_bytes + excluded.file_bytes, versions = versions + excluded.versions,"
    " version_bytes = version_bytes + excluded.version_bytes;"
)
_IN_FOLDERS = "FROM json_each(lockstep_folders({0}.path)) f"
_ADD_FOLDER = (
    " ON CONFLICT (bucket, folder) DO UPDATE SET files = files + excluded.files, bytes = bytes + excluded.bytes;"
)


def add_functions(connection: sqlite3.Connection) -> None:
    """Give a connection the functions that totals are counted with."""
    connection.create_function("lockstep_kind", 3, kind_of, deterministic=True)
    connection.create_function("lockstep_folders", 1, _folders, deterministic=True)


@lru_cache(maxsize=256)
def kind_of(path: str, content_type: str, metadata: str) -> str:
    """Return the content type that a version counts for, without parameters."""
    found = json.loads(metadata) if not content_type and FOUND_TYPE in metadata else {}
    return type_of(path, content_type, found).partition(";")[0].strip().lower()[:LONGEST_KIND]


def folders_of(path: str) -> list[str]:
    """Return the folders that a path counts for: the bucket, and down to MAX_DEPTH folders."""
    found, at = [""], path.find("/")
    while at >= 0 and len(found) <= MAX_DEPTH:
        found.append(path[: at + 1])
        at = path.find("/", at + 1)
    return found


@lru_cache(maxsize=64)
def _folders(path: str) -> str:
    return json.dumps(folders_of(path))


def keep_totals(connection: sqlite3.Connection) -> None:
    """Count every change that this connection makes. Raises sqlite3.Error."""
    connection.execute("BEGIN").close()
    for trigger in _triggers():
        connection.execute(trigger).close()
    connection.execute("COMMIT").close()


def _triggers() -> Iterator[str]:
    yield _trigger("version_new", "INSERT", "version", _stored(_VERSION, "NEW"), "NEW.digest IS NOT NULL")
    yield _trigger("version_gone", "DELETE", "version", _stored(_VERSION, "OLD", "-"), "OLD.digest IS NOT NULL")
    yield _trigger("file_new", "INSERT", "current", _stored(_CURRENT, "NEW") + _folder("NEW", "1", "NEW.size"))
    yield _trigger("file_gone", "DELETE", "current", _stored(_CURRENT, "OLD", "-") + _folder("OLD", "-1", "-OLD.size"))
    # Most writes of a file count for the same total as the one before, which then changes once and not twice.
    resized = _stored("0, NEW.size - OLD.size, 0, 0", "NEW")
    yield _trigger("file_resized", "UPDATE", "current", resized, f"({_SAME}) AND NEW.size <> OLD.size")
    changed = _stored(_CURRENT, "OLD", "-") + _stored(_CURRENT, "NEW")
    yield _trigger("file_changed", "UPDATE", "current", changed, f"NOT ({_SAME})")
    resized = _folder("NEW", "0", "NEW.size - OLD.size")
    yield _trigger("folder_resized", "UPDATE OF size", "current", resized, "NEW.size <> OLD.size")
    # Rows that count nothing any more. A difference of 0 makes none.
    gone = (
        "DELETE FROM stored_total WHERE (bucket, author, kind, month) = (NEW.bucket, NEW.author, NEW.kind, NEW.month);"
    )
    yield _trigger("stored_empty", "UPDATE", "stored_total", gone, "NEW.files = 0 AND NEW.versions = 0")
    gone = "DELETE FROM folder_total WHERE bucket = NEW.bucket AND folder = NEW.folder;"
    yield _trigger("folder_empty", "UPDATE", "folder_total", gone, "NEW.files = 0")
    for event, was, now, row in (
        ("INSERT", "0", "NEW.refs", "NEW"),
        ("UPDATE OF refs", "OLD.refs", "NEW.refs", "NEW"),
        ("DELETE", "OLD.refs", "0", "OLD"),
    ):
        change = f"(({now} > 0) - ({was} > 0))"
        counted = (
            f"INSERT INTO content_total (id, blobs, bytes) VALUES (1, {change}, {change} * {row}.size)"  # noqa: S608 - our own names
            " ON CONFLICT (id) DO UPDATE SET blobs = blobs + excluded.blobs, bytes = bytes + excluded.bytes;"
        )
        yield _trigger(f"content_{event[:6].lower()}", event, "blob", counted, f"({was} > 0) <> ({now} > 0)")


def _trigger(name: str, event: str, table: str, body: str, condition: str = "TRUE") -> str:
    return f"CREATE TEMP TRIGGER total_{name} AFTER {event} ON main.{table} WHEN {condition} BEGIN {body} END"


def _stored(amount: str, row: str, sign: str = "") -> str:
    # WHERE: SQLite takes the ON of a conflict for that of a join otherwise.
    return f"{INSERT_STORED} SELECT {KEY.format(row)}, {amount.format(row, sign)} WHERE TRUE{_ADD_STORED} "


def _folder(row: str, files: str, size: str) -> str:
    inside = _IN_FOLDERS.format(row)
    return f"{INSERT_FOLDER} SELECT {row}.bucket, f.value, {files}, {size} {inside} WHERE TRUE{_ADD_FOLDER} "
