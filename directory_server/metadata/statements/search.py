"""Statements about the search index: its rows by name or by age, a bucket's paths, and filling it.

What a path contains is asked of the engine (`Reader.containing`), which has an index for it.
"""

from __future__ import annotations

from sqlalchemy import bindparam, select, text

from directory_server.metadata.schema import current
from directory_server.metadata.schema_search import BUCKET_IDS, NAME_OF, search_bucket, search_file
from directory_server.metadata.statement import Statement
from directory_server.metadata.statements.people import read_setting, write_setting
from directory_server.metadata.store import Reader, Tx

FILLED_SETTING = "search_filled"
"""How far the index has been filled: a bucket and a path with "/" between them, or FILLED."""
FILLED = "*"
EMPTY = (
    "INSERT INTO search_index (search_index) VALUES ('delete-all')",
    "DELETE FROM search_file",
    f"DELETE FROM setting WHERE name = '{FILLED_SETTING}'",  # noqa: S608 - our own name
)
"""For metadata that is changed without the engine: the index is filled again."""

_NUMBERS = Statement(select(search_bucket.c.name, search_bucket.c.number))
_of_bucket = search_file.c.number == bindparam("number")
OF_NAME = Statement(
    select(search_file.c.name, search_file.c.path)
    .where(_of_bucket, search_file.c.name == bindparam("name"), search_file.c.path > bindparam("path"))
    .order_by(search_file.c.path)
    .limit(bindparam("count"))
)
"""Paths of one name, behind `path`."""
AFTER_NAME = Statement(
    select(search_file.c.name, search_file.c.path)
    .where(_of_bucket, search_file.c.name > bindparam("name"), search_file.c.name < bindparam("end"))
    .order_by(search_file.c.name, search_file.c.path)
    .limit(bindparam("count"))
)
"""Names and paths behind `name`, up to but not including `end`."""
NEWEST = Statement(
    select(search_file.c.id, search_file.c.path)
    .where(search_file.c.id.between(bindparam("low"), bindparam("high")))
    .order_by(search_file.c.id.desc())
    .limit(bindparam("count"))
)
"""A bucket's files, the one that got its path last first."""
PATHS = Statement(
    select(current.c.path)
    .where(
        current.c.bucket == bindparam("bucket"),
        current.c.path >= bindparam("start"),
        current.c.path < bindparam("end"),
    )
    .order_by(current.c.path)
    .limit(bindparam("count"))
)
"""A bucket's paths from `start` up to, but not including, `end`."""

_AFTER = Statement(
    text(
        "SELECT bucket, path FROM current WHERE (bucket, path) > (:bucket, :path)"
        " ORDER BY bucket, path LIMIT 1 OFFSET :count - 1"
    )
)
_LAST = Statement(
    text("SELECT bucket, path FROM current WHERE bucket >= :bucket ORDER BY bucket DESC, path DESC LIMIT 1")
)
_PAGE = "FROM current c WHERE (c.bucket, c.path) > (:bucket, :path) AND (c.bucket, c.path) <= (:to_bucket, :to_path)"
_ADD_BUCKETS = Statement(
    text(
        f"INSERT INTO search_bucket (name) SELECT DISTINCT c.bucket {_PAGE}"  # noqa: S608 - our own names
        " AND NOT EXISTS (SELECT 1 FROM search_bucket b WHERE b.name = c.bucket)"
    )
)
_ADD_FILES = Statement(
    text(
        "INSERT INTO search_file (id, number, name, path)"  # noqa: S608 - our own names
        " SELECT n.next + row_number() OVER (PARTITION BY p.bucket ORDER BY p.path) - 1, n.number, p.name, p.path"
        f" FROM (SELECT c.bucket AS bucket, c.path AS path, {NAME_OF.format('c.path')} AS name {_PAGE}) p"
        " JOIN (SELECT b.name, b.number, coalesce((SELECT max(f.id) + 1 FROM search_file f"
        f" WHERE f.id >= b.number * {BUCKET_IDS} AND f.id < (b.number + 1) * {BUCKET_IDS}),"
        f" b.number * {BUCKET_IDS}) AS next FROM search_bucket b) n ON n.name = p.bucket"
        " WHERE NOT EXISTS (SELECT 1 FROM search_file o"
        " WHERE o.number = n.number AND o.name = p.name AND o.path = p.path)"
    )
)


def bucket_numbers(reader: Reader) -> dict[str, int]:
    """Return the numbers of the buckets that have had a file."""
    return {row[0]: int(row[1]) for row in reader.all(_NUMBERS)}


def ids_of(number: int) -> tuple[int, int]:
    """Return the lowest and the highest id that files of a bucket may have."""
    return number * BUCKET_IDS, (number + 1) * BUCKET_IDS - 1


def is_filled(reader: Reader) -> bool:
    """Whether the index has every file: not while it is filled after an upgrade or a restore."""
    return read_setting(reader, FILLED_SETTING) == FILLED


def fill(tx: Tx, count: int) -> bool:
    """Add the next `count` files to the index, where they are missing; return whether it has all of them now."""
    done = read_setting(tx, FILLED_SETTING) or "/"
    if done == FILLED:
        return True
    bucket, _, path = done.partition("/")
    place = {"bucket": bucket, "path": path}
    behind = tx.one(_AFTER, count=count, **place)
    last = behind or tx.one(_LAST, bucket=bucket)
    if last is not None:
        page = {**place, "to_bucket": last[0], "to_path": last[1]}
        tx.run(_ADD_BUCKETS, **page)
        tx.run(_ADD_FILES, **page)
    write_setting(tx, FILLED_SETTING, FILLED if behind is None else f"{behind[0]}/{behind[1]}")
    return behind is None
