"""The consistency rules of the directory's tables, each one statement that finds violations.

A rule is one statement, not pages: a statement reads one snapshot, so a concurrent commit is never seen half done. It
does not block writers; only SQLite's log grows while it runs. Each returns at most `limit` rows of (name, detail),
either of which may be a digest.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import text

from directory_server.metadata.schema_search import NAME_OF
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements.search import FILLED, FILLED_SETTING
from directory_server.metadata.statements.totals import (
    COUNTED_CONTENT,
    COUNTED_FOLDERS,
    COUNTED_STORED,
    in_postgresql,
)
from directory_server.metadata.store import Reader


class Check(NamedTuple):
    """One rule; `kind` names its violation."""

    kind: str
    broken: Statement


def _check(kind: str, sql: str, postgresql: str = "") -> Check:
    """Return a rule; `postgresql` is its statement where that is another."""
    return Check(kind, Statement(text(f"{sql} LIMIT :limit"), text(f"{postgresql or sql} LIMIT :limit")))


CHECKS: tuple[Check, ...] = (
    _check(
        "reference count",
        "SELECT b.digest, 'counts ' || b.refs || ' references, but there are ' || coalesce(n.n, 0)"
        " FROM blob b LEFT JOIN (SELECT digest, count(*) AS n FROM (SELECT digest FROM version"
        " WHERE digest IS NOT NULL UNION ALL SELECT digest FROM part) named GROUP BY digest) n"
        " ON n.digest = b.digest WHERE b.refs <> coalesce(n.n, 0)",
    ),
    _check(
        "use of a quota",
        "SELECT u.scope || ' ' || u.name, 'counts ' || u.used || ' ' || u.resource || ', but there are ' || u.found"
        " FROM (SELECT s.scope, s.name, s.resource, s.used, CASE s.resource"
        " WHEN 'files' THEN (SELECT count(*) FROM current c"
        " WHERE CASE s.scope WHEN 'bucket' THEN c.bucket ELSE c.author END = s.name)"
        " WHEN 'versions' THEN (SELECT count(*) FROM version v WHERE v.digest IS NOT NULL"
        " AND CASE s.scope WHEN 'bucket' THEN v.bucket ELSE v.author END = s.name)"
        " ELSE (SELECT coalesce(sum(v.size), 0) FROM version v WHERE v.digest IS NOT NULL"
        " AND CASE s.scope WHEN 'bucket' THEN v.bucket ELSE v.author END = s.name)"
        " + (SELECT coalesce(sum(p.size), 0) FROM part p JOIN upload a ON a.id = p.upload"
        " WHERE CASE s.scope WHEN 'bucket' THEN a.bucket ELSE a.account END = s.name) END AS found"
        " FROM usage s) u WHERE u.used <> u.found",
    ),
    _check(
        "quota without its count",
        "SELECT q.scope || ' ' || q.name, q.resource || ' are not counted' FROM quota q LEFT JOIN usage u"
        " ON u.scope = q.scope AND u.name = q.name AND u.resource = q.resource"
        " WHERE q.resource IN ('bytes', 'files', 'versions') AND u.name IS NULL",
    ),
    _check(
        "version without its blob",
        "SELECT v.bucket || '/' || v.path, 'version ' || v.id FROM version v LEFT JOIN blob b ON b.digest = v.digest"
        " WHERE v.digest IS NOT NULL AND b.digest IS NULL",
    ),
    _check(
        "size",
        "SELECT v.bucket || '/' || v.path, 'version ' || v.id || ' has ' || v.size || ' bytes, its blob ' || b.size"
        " FROM version v JOIN blob b ON b.digest = v.digest WHERE b.size <> v.size",
    ),
    _check(
        "part without its blob",
        "SELECT p.upload, 'part ' || p.number FROM part p LEFT JOIN blob b ON b.digest = p.digest"
        " WHERE b.digest IS NULL OR b.size <> p.size",
    ),
    _check(
        "part without its upload",
        "SELECT p.upload, 'part ' || p.number FROM part p LEFT JOIN upload u ON u.id = p.upload WHERE u.id IS NULL",
    ),
    _check(
        "upload without its bucket",
        "SELECT u.bucket || '/' || u.path, 'upload ' || u.id FROM upload u"
        " LEFT JOIN bucket b ON b.name = u.bucket WHERE b.name IS NULL",
    ),
    _check(
        "delete marker",
        "SELECT v.bucket || '/' || v.path, 'version ' || v.id || ' is half a delete marker' FROM version v"
        " WHERE (v.digest IS NULL AND NOT v.delete_marker) OR (v.digest IS NOT NULL AND v.delete_marker)",
    ),
    _check(
        "current version missing",
        "SELECT c.bucket || '/' || c.path, 'version ' || c.version || ' is missing or differs' FROM current c"
        " LEFT JOIN version v ON v.id = c.version WHERE v.id IS NULL OR v.bucket <> c.bucket OR v.path <> c.path"
        " OR v.digest IS NULL OR v.digest <> c.digest OR v.size <> c.size OR v.content_type <> c.content_type"
        " OR v.metadata <> c.metadata OR v.author <> c.author OR v.lock_number <> c.lock_number"
        " OR v.cursor <> c.cursor",
    ),
    _check(
        "current version not the newest",
        "SELECT c.bucket || '/' || c.path, 'version ' || c.version FROM current c WHERE EXISTS"
        " (SELECT 1 FROM version v WHERE v.bucket = c.bucket AND v.path = c.path AND v.id > c.version)",
    ),
    _check(
        "file without a current version",
        "SELECT v.bucket || '/' || v.path, 'version ' || v.id || ' should be current' FROM version v"
        " WHERE v.digest IS NOT NULL AND NOT EXISTS"
        " (SELECT 1 FROM version o WHERE o.bucket = v.bucket AND o.path = v.path AND o.id > v.id)"
        " AND NOT EXISTS (SELECT 1 FROM current c WHERE c.bucket = v.bucket AND c.path = v.path)",
    ),
    _check(
        "two null versions",
        "SELECT bucket || '/' || path, count(*) || ' null versions' FROM version WHERE null_version"
        " GROUP BY bucket, path HAVING count(*) > 1",
    ),
    _check(
        "version not in the journal",
        "SELECT v.bucket || '/' || v.path, 'version ' || v.id FROM version v LEFT JOIN journal j ON j.cursor = v.cursor"
        " WHERE j.cursor IS NULL OR j.bucket <> v.bucket OR j.path <> v.path"
        " OR (j.version <> '' AND j.version <> v.id)",
    ),
    _check(
        "version without its bucket",
        "SELECT v.bucket || '/' || v.path, 'version ' || v.id FROM version v"
        " LEFT JOIN bucket b ON b.name = v.bucket WHERE b.name IS NULL",
    ),
    _check(
        "bucket without its owner",
        "SELECT b.name, 'owner ' || b.owner FROM bucket b LEFT JOIN account a ON a.name = b.owner WHERE a.name IS NULL",
    ),
    _check(
        "copy on an unknown file server",
        "SELECT h.digest, 'file server ' || h.server_id FROM holder h LEFT JOIN file_server f ON f.id = h.server_id"
        " WHERE f.id IS NULL OR f.state = 'removed'",
    ),
    _check(
        "copy of an unknown blob",
        "SELECT h.digest, 'file server ' || h.server_id FROM holder h LEFT JOIN blob b ON b.digest = h.digest"
        " WHERE b.digest IS NULL",
    ),
    _check(
        "blob without a copy",
        "SELECT b.digest, b.refs || ' versions refer to it' FROM blob b"
        " WHERE b.refs > 0 AND NOT EXISTS (SELECT 1 FROM holder h WHERE h.digest = b.digest)",
    ),
    _check(
        "locked path without its lock",
        "SELECT p.bucket || '/' || p.path, 'lock number ' || p.lock_number FROM lock_path p"
        " LEFT JOIN lock l ON l.number = p.lock_number WHERE l.number IS NULL",
    ),
    _check(
        "lock without a path",
        "SELECT 'lock number ' || l.number, l.account FROM lock l"
        " WHERE NOT EXISTS (SELECT 1 FROM lock_path p WHERE p.lock_number = l.number)",
    ),
    _check(
        "fence behind its lock",
        "SELECT p.bucket || '/' || p.path, 'lock number ' || p.lock_number || ', fence ' || coalesce(f.number, 0)"
        " FROM lock_path p LEFT JOIN path_fence f ON f.bucket = p.bucket AND f.path = p.path"
        " WHERE coalesce(f.number, 0) < p.lock_number",
    ),
    _check(
        "lock number ahead of its counter",
        "SELECT p.bucket || '/' || p.path, 'fence ' || p.number FROM path_fence p"
        " WHERE p.number > (SELECT coalesce(max(value), 0) FROM counter WHERE name = 'lock_number')",
    ),
    _check(
        "waiting path without its waiter",
        "SELECT p.bucket || '/' || p.path, 'place ' || p.seq FROM waiter_path p"
        " LEFT JOIN waiter w ON w.seq = p.seq WHERE w.seq IS NULL",
    ),
    _check(
        "key without its account",
        "SELECT k.account, 'API key ' || k.id FROM api_key k LEFT JOIN account a ON a.name = k.account"
        " WHERE a.name IS NULL",
    ),
    _check(
        "S3 key without its account",
        "SELECT k.account, 'S3 key ' || k.access_key_id FROM s3_key k LEFT JOIN account a ON a.name = k.account"
        " WHERE a.name IS NULL",
    ),
    # While the index is filled, files are missing from it; what it has must be right all the same.
    _check(
        "file not in the search index",
        "SELECT c.bucket || '/' || c.path, 'searches do not find it' FROM current c WHERE NOT EXISTS"  # noqa: S608 - our own names
        " (SELECT 1 FROM search_bucket b JOIN search_file f ON f.number = b.number WHERE b.name = c.bucket"
        f" AND f.name = {NAME_OF.format('c.path')} AND f.path = c.path)"
        f" AND EXISTS (SELECT 1 FROM setting WHERE name = '{FILLED_SETTING}' AND value = '{FILLED}')",
    ),
    _check(
        "search index",
        "SELECT f.path, 'entry ' || f.id || ' belongs to no file' FROM search_file f"
        " LEFT JOIN search_bucket b ON b.number = f.number LEFT JOIN current c ON c.bucket = b.name AND c.path = f.path"
        " WHERE c.path IS NULL",
    ),
    _check(
        "name not in the search index",
        "SELECT f.path, 'entry ' || f.id || ' is not found by its last letters' FROM search_file f"
        " WHERE length(f.path) >= 3 AND NOT EXISTS (SELECT 1 FROM search_index WHERE rowid = f.id"
        " AND search_index MATCH '\"' || replace(substr(f.path, -3), '\"', '\"\"') || '\"')",
        # Its index is one on `search_file` itself, and cannot lack a row.
        postgresql="SELECT f.path, '' FROM search_file f WHERE FALSE",
    ),
)

_STORED = "bucket, author, kind, month"
_AMOUNT = "files, file_bytes, versions, version_bytes"
TOTAL = "total"
"""The kind of what fsck counts again."""


def _total(table: str, counted: str, name: str, columns: str) -> Check:
    """A total that is missing, wrong or left over."""
    kept, right = f"SELECT {columns} FROM {table}", f"SELECT {columns} FROM ({counted}) counted"  # noqa: S608 - our own names
    found = f"SELECT {name}, 'a total in {table} is wrong' FROM"
    sql = f"{found} ({kept} EXCEPT {right}) gone UNION {found} ({right} EXCEPT {kept}) new"
    return _check(TOTAL, sql, in_postgresql(sql))


CHECKS = (
    *CHECKS,
    _total("stored_total", COUNTED_STORED, "bucket || ', ' || author", f"{_STORED}, {_AMOUNT}"),
    _total("folder_total", COUNTED_FOLDERS, "bucket || '/' || folder", "bucket, folder, files, bytes"),
    _total("content_total", COUNTED_CONTENT, "'contents'", "blobs, bytes"),
)

_COUNTED = ("version", "current", "blob", "holder", "journal", "lock", "account", "bucket")
_COUNTS = {table: Statement(text(f"SELECT count(*) FROM {table}")) for table in _COUNTED}  # noqa: S608 - names above


def find_broken(reader: Reader, check: Check, limit: int) -> list[tuple[str, str]]:
    """Return (name, detail) of each violation of one rule."""
    return [(_as_text(name), _as_text(detail)) for name, detail in reader.all(check.broken, limit=limit)]


def count_rows(reader: Reader) -> dict[str, int]:
    """Return the number of rows by table."""
    return {table: int((reader.one(statement) or (0,))[0]) for table, statement in _COUNTS.items()}


def _as_text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
