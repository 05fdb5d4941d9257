"""Statements that read a page of a bucket's files or versions.

They return rows, one for each entry, or columns: a single row of JSON arrays, which a reply contains as they are. A
page of a thousand files then makes no object in this program.

Parameters: `bucket`; paths from `start` up to, but not including, `end`; `count` of entries. With a delimiter also
`delimiter`; `rest`, the place in a path from which to look for it; `beside`, how much longer a common prefix is than
the delimiter's place in that rest; and `last`, which is LAST.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Text, and_, bindparam, case, func, literal, null, select, text, union_all

from directory_server.metadata.schema import current, version
from directory_server.metadata.statement import Hex, JoinedByComma, JsonArray, Position, Statement, WholeSeconds
from directory_server.metadata.statements.files import CURRENT_COLUMNS, NULL_ID
from lockstep_store.wire.messages.s3 import ETAG_ENTRY
from lockstep_store.wire.names import MAX_PATH_BYTES

FIRST = "\x01"
"""Less than any character of a path: a path with FIRST appended is less than every path after it."""
LAST = chr(0x10FFFF) * (MAX_PATH_BYTES // 4 + 1)
"""Greater than the rest of any path: a prefix with LAST appended is greater than all paths with that prefix."""
ETAG_MARK = f'"{ETAG_ENTRY}":'
"""Occurs once in encoded metadata with an ETag: quotation marks within texts are escaped."""


class Entries(NamedTuple):
    """The same entries in each form."""

    rows: Statement
    """For each entry its common prefix, or null for a file, and a file's columns for `files.as_version`."""
    columns: Statement
    """(common prefixes, paths, sizes, seconds, milliseconds, metadata, digests, an empty array)."""
    columns_with_authors: Statement


# One bound on each side: of two, an engine seeks to one and filters by the other, row by row.
def _mine(table: Any) -> ColumnElement[bool]:
    path = table.c.path
    return and_(table.c.bucket == bindparam("bucket"), path >= bindparam("start"), path < bindparam("end"))


_paths = select(current.c.path).where(_mine(current)).order_by(current.c.path)
BEHIND = Statement(_paths.limit(1).offset(bindparam("count")))
"""The path behind the first `count`."""


def _place(path: ColumnElement[str]) -> ColumnElement[int]:
    """The place of the delimiter in the rest of the path; 0 without one."""
    return Position(func.substr(path, bindparam("rest")), bindparam("delimiter")).label("place")


def _prefix(entry: Any) -> ColumnElement[str]:
    return func.substr(entry.path, 1, entry.place + bindparam("beside"), type_=Text())


_first_paths = _paths.limit(bindparam("count")).subquery("entry")
IN_A_FOLDER = Statement(select(_first_paths.c.path).where(_place(_first_paths.c.path) > 0).limit(1))
"""The first path with the delimiter, among the first `count`."""
_NONE = literal("[]")


def _milliseconds(at: ColumnElement[float]) -> ColumnElement[int]:
    # From the difference, so that no rounding reaches the next second.
    return WholeSeconds((at - WholeSeconds(at)) * 1000)


def _needed_digest(entry: Any) -> ColumnElement[str]:
    # Compared as text, because parsing costs more.
    return case(
        (Position(entry.metadata, literal(ETAG_MARK)) > 0, literal("")), else_=func.coalesce(Hex(entry.digest), "")
    )


# ---------------------------------------------------------------- files

_FILES = (
    JsonArray(current.c.path, current.c.path),
    JsonArray(current.c.size, current.c.path),
    JsonArray(WholeSeconds(current.c.created_at), current.c.path),
    JsonArray(_milliseconds(current.c.created_at), current.c.path),
    JoinedByComma(current.c.metadata, current.c.path),
)
FILES = Entries(
    Statement(select(null(), *CURRENT_COLUMNS).where(_mine(current)).order_by(current.c.path)),
    Statement(select(_NONE, *_FILES, _NONE, _NONE).where(_mine(current))),
    Statement(select(_NONE, *_FILES, _NONE, JsonArray(current.c.author, current.c.path)).where(_mine(current))),
)
"""All files, without a limit. Their columns lack the digests, which most pages do not need."""
DIGESTS = Statement(select(JsonArray(Hex(current.c.digest), current.c.path)).where(_mine(current)))
"""The digests of all files."""

# ---------------------------------------------------------------- files and folders


def _walk(columns: list[Any]) -> Any:
    """Seek one entry after the other: after a file the next path, after a folder the first path behind it."""
    columns = [*columns, _place(current.c.path)]
    first = select(*columns).where(_mine(current)).order_by(current.c.path).limit(1).subquery("first")
    walk = select(*first.c, literal(1).label("number")).cte("walk", recursive=True)
    here, other = walk.c, current.alias("other").c
    behind = case((here.place == 0, here.path), else_=_prefix(here).concat(bindparam("last")))
    mine = and_(other.bucket == bindparam("bucket"), other.path > behind, other.path < bindparam("end"))
    following = select(other.path).where(mine).order_by(other.path).limit(1).scalar_subquery()
    found = and_(current.c.bucket == bindparam("bucket"), current.c.path == following)
    step = select(*columns, here.number + 1).select_from(walk.join(current, found))
    return walk.union_all(step.where(here.number < bindparam("count"))).c


def _walked_rows() -> Statement:
    entry = _walk(CURRENT_COLUMNS)
    shown = (entry[column.key] for column in CURRENT_COLUMNS)
    return Statement(select(case((entry.place > 0, _prefix(entry))), *shown).order_by(entry.number))


def _walked_columns(*, with_authors: bool) -> Statement:
    c = current.c
    entry = _walk([c.path, c.size, c.created_at, c.metadata, c.digest, c.author])

    def of_files(value: ColumnElement[Any]) -> ColumnElement[Any]:
        return JsonArray(value, entry.number, where=entry.place == 0)

    return Statement(
        select(
            JsonArray(_prefix(entry), entry.number, where=entry.place > 0),
            of_files(entry.path),
            of_files(entry.size),
            of_files(WholeSeconds(entry.created_at)),
            of_files(_milliseconds(entry.created_at)),
            JoinedByComma(entry.metadata, entry.number, where=entry.place == 0),
            of_files(_needed_digest(entry)),
            of_files(entry.author) if with_authors else _NONE,
        )
    )


FILES_AND_FOLDERS = Entries(_walked_rows(), _walked_columns(with_authors=False), _walked_columns(with_authors=True))
"""The first `count` files and common prefixes."""

# ---------------------------------------------------------------- versions


def _versions(*wheres: ColumnElement[bool]) -> Any:
    """Versions in path order, newest first, read in that order from each of the places."""
    c = version.c
    columns = (c.path, c.id, c.size, c.created_at, c.metadata, c.digest, c.author, c.null_version, c.delete_marker)
    found = union_all(*(select(*columns).where(where) for where in wheres)).order_by(text("path"), text("id DESC"))
    return found.limit(bindparam("count")).subquery("entry")  # the limit keeps the order for the aggregates


def _version_columns(entry: Any) -> Statement:
    def array(value: ColumnElement[Any]) -> ColumnElement[Any]:
        return JsonArray(value, entry.path, entry.id.desc())

    is_marker = case((entry.delete_marker, literal("true")), else_=literal("false"))
    return Statement(
        select(
            array(entry.id),
            array(entry.path),
            array(entry.size),
            array(WholeSeconds(entry.created_at)),
            array(_milliseconds(entry.created_at)),
            JoinedByComma(entry.metadata, entry.path, entry.id.desc()),
            array(_needed_digest(entry)),
            array(entry.author),
            array(case((entry.null_version, literal(NULL_ID)), else_=entry.id)),
            JoinedByComma(is_marker, entry.path, entry.id.desc()),
        )
    )


_OLDER = and_(
    version.c.bucket == bindparam("bucket"), version.c.path == bindparam("after"), version.c.id < bindparam("version")
)
VERSIONS = _version_columns(_versions(_mine(version)).c)
"""(ids, paths, sizes, seconds, milliseconds, metadata, digests, authors, shown ids, delete markers)."""
VERSIONS_AFTER = _version_columns(_versions(_OLDER, _mine(version)).c)
"""The same, beginning with the older versions than `version` of the path `after`."""
MORE_VERSIONS = Statement(select(literal(1)).select_from(_versions(_OLDER, _mine(version))))
"""Whether there is any of these; with a `count` of 1."""
