"""Counts what is stored, in the transaction of each change, as SQLite's engine does: with triggers.

The functions here give the same results as those that SQLite's engine calls in Python.
"""
# ruff: noqa: S608 - the names in these statements are our own

from __future__ import annotations

from collections.abc import Iterator

from directory_server.metadata.engines.postgres.redo import function, trigger
from directory_server.metadata.statements.totals import INSERT_FOLDER, INSERT_STORED, MAX_DEPTH
from lockstep_store.wire.content_types import FOUND_TYPE, UNKNOWN_TYPE, known_endings

LONGEST_KIND = 100

_KEY = "{0}.bucket, {0}.author, lockstep_kind({0}.path, {0}.content_type, {0}.metadata), lockstep_month({0}.created_at)"
_SAME = (
    "NEW.author = OLD.author AND NEW.content_type = OLD.content_type AND (NEW.metadata = OLD.metadata"
    f" OR strpos(NEW.metadata || OLD.metadata, '{FOUND_TYPE}') = 0)"
    " AND lockstep_month(NEW.created_at) = lockstep_month(OLD.created_at)"
)
_ADD_STORED = (
    " ON CONFLICT (bucket, author, kind, month) DO UPDATE SET files = t.files + excluded.files,"
    " file_bytes = t.file_bytes + excluded.file_bytes, versions = t.versions + excluded.versions,"
    " version_bytes = t.version_bytes + excluded.version_bytes;"
)
_ADD_FOLDER = (
    " ON CONFLICT (bucket, folder) DO UPDATE SET files = t.files + excluded.files, bytes = t.bytes + excluded.bytes;"
)


def definitions() -> Iterator[str]:
    """Return the statements that make the functions and triggers."""
    yield (
        "CREATE OR REPLACE FUNCTION lockstep_month(seconds double precision) RETURNS text LANGUAGE sql IMMUTABLE AS"
        " $lockstep$ SELECT coalesce(to_char(to_timestamp(seconds) AT TIME ZONE 'UTC', 'YYYY-MM'), '') $lockstep$"
    )
    yield from _kinds()
    yield (
        "CREATE OR REPLACE FUNCTION lockstep_folders(path text) RETURNS SETOF text LANGUAGE plpgsql IMMUTABLE AS"
        " $lockstep$ DECLARE part text; folder text := ''; depth int := 0; BEGIN RETURN NEXT '';"
        " FOREACH part IN ARRAY (string_to_array(path, '/'))[:array_length(string_to_array(path, '/'), 1) - 1] LOOP"
        f" depth := depth + 1; EXIT WHEN depth > {MAX_DEPTH};"
        " folder := folder || part || '/'; RETURN NEXT folder; END LOOP; RETURN; END $lockstep$"
    )
    yield "INSERT INTO content_total (id, blobs, bytes) VALUES (1, 0, 0) ON CONFLICT DO NOTHING"
    yield from _triggers()


def _kinds() -> Iterator[str]:
    """A version's content type: `kind_of` of SQLite's engine, with the endings in a table."""
    yield "CREATE TABLE IF NOT EXISTS lockstep_ending (ending text PRIMARY KEY, in_any_case boolean, kind text)"
    yield "DELETE FROM lockstep_ending"
    rows = ", ".join(
        f"('{ending}', {in_any_case}, '{kind}')" for ending, in_any_case, kind in known_endings() if "'" not in ending
    )
    yield f"INSERT INTO lockstep_ending (ending, in_any_case, kind) VALUES {rows}"
    yield (
        "CREATE OR REPLACE FUNCTION lockstep_kind(path text, content_type text, metadata text) RETURNS text"
        " LANGUAGE plpgsql STABLE AS $lockstep$ DECLARE found text := content_type; suffix text; BEGIN"
        " IF found = '' THEN suffix := substring(path from '[^/]\\.([^./]*)$');"
        " SELECT e.kind INTO found FROM lockstep_ending e WHERE e.ending = suffix"
        " OR (e.in_any_case AND e.ending = lower(suffix))"
        " ORDER BY e.ending = suffix DESC LIMIT 1;"
        # Values may have a NUL, which JSON can write and a text of PostgreSQL cannot have.
        " IF found IS NULL THEN found := coalesce(replace(metadata, '\\u0000', '')::json ->>"
        f" '{FOUND_TYPE}', '{UNKNOWN_TYPE}'); END IF;"
        " END IF;"
        f" RETURN left(lower(btrim(split_part(found, ';', 1), E' \\t\\n\\r\\f\\x0b')), {LONGEST_KIND}); END $lockstep$"
    )


def _triggers() -> Iterator[str]:
    current, version = "{1}1, {1}{0}.size, 0, 0", "0, 0, {1}1, {1}{0}.size"
    yield from _make(
        "version",
        "AFTER INSERT OR DELETE",
        "version",
        f"IF TG_OP = 'INSERT' THEN IF NEW.digest IS NOT NULL THEN {_stored(version, 'NEW')} END IF;"
        f" ELSIF OLD.digest IS NOT NULL THEN {_stored(version, 'OLD', '-')} END IF;",
    )
    yield from _make(
        "file",
        "AFTER INSERT OR DELETE",
        "current",
        f"IF TG_OP = 'INSERT' THEN {_stored(current, 'NEW')} {_folder('NEW', '1', 'NEW.size')}"
        f" ELSE {_stored(current, 'OLD', '-')} {_folder('OLD', '-1', '-OLD.size')} END IF;",
    )
    # Most writes of a file count for the same total as the one before, which then changes once and not twice.
    resized = _stored("0, NEW.size - OLD.size, 0, 0", "NEW")
    yield from _make(
        "file_changed",
        "AFTER UPDATE",
        "current",
        f"IF {_SAME} THEN IF NEW.size <> OLD.size THEN {resized} END IF;"
        f" ELSE {_stored(current, 'OLD', '-')} {_stored(current, 'NEW')} END IF;"
        f" IF NEW.size <> OLD.size THEN {_folder('NEW', '0', 'NEW.size - OLD.size')} END IF;",
    )
    gone = "DELETE FROM {0} t WHERE ({1}) = ({2});"
    key = ("bucket", "author", "kind", "month")
    yield from _make(
        "stored_empty",
        "AFTER UPDATE",
        "stored_total",
        gone.format("stored_total", ", ".join(f"t.{one}" for one in key), ", ".join(f"NEW.{one}" for one in key)),
        "NEW.files = 0 AND NEW.versions = 0",
    )
    yield from _make(
        "folder_empty",
        "AFTER UPDATE",
        "folder_total",
        gone.format("folder_total", "t.bucket, t.folder", "NEW.bucket, NEW.folder"),
        "NEW.files = 0",
    )
    yield from _make(
        "content",
        "AFTER INSERT OR DELETE OR UPDATE OF refs",
        "blob",
        "IF TG_OP <> 'INSERT' AND OLD.refs > 0 THEN change := -1; amount := -OLD.size; END IF;"
        " IF TG_OP <> 'DELETE' AND NEW.refs > 0 THEN change := change + 1; amount := amount + NEW.size; END IF;"
        " IF change <> 0 THEN INSERT INTO content_total AS t (id, blobs, bytes) VALUES (1, change, amount)"
        " ON CONFLICT (id) DO UPDATE SET blobs = t.blobs + excluded.blobs, bytes = t.bytes + excluded.bytes; END IF;",
        declare="DECLARE change int := 0; amount bigint := 0;",
    )


def _make(name: str, event: str, table: str, body: str, condition: str = "TRUE", declare: str = "") -> Iterator[str]:
    yield function(f"total_{name}", f"{body} RETURN NULL;", declare)
    yield trigger(f"total_{name}", event, table, condition)


def _stored(amount: str, row: str, sign: str = "") -> str:
    insert = INSERT_STORED.replace("stored_total", "stored_total AS t")
    return f"{insert} SELECT {_KEY.format(row)}, {amount.format(row, sign)}{_ADD_STORED}"


def _folder(row: str, files: str, size: str) -> str:
    insert = INSERT_FOLDER.replace("folder_total", "folder_total AS t")
    return f"{insert} SELECT {row}.bucket, f, {files}, {size} FROM lockstep_folders({row}.path) f{_ADD_FOLDER}"
