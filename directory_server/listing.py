"""Listings: one page of a bucket's files, or of their versions, at a cost that depends on the page alone.

With a delimiter a whole folder becomes one entry. Its files are never walked over: the next read starts behind the
last name that the folder could have. Names order by their UTF-8 bytes, which is the order of code points too.
"""

from __future__ import annotations

from collections.abc import Iterator

from directory_server.metadata import files
from directory_server.metadata.store import Reader, Row
from wire.errors import BadName
from wire.messages import FileVersion, ListReply, ListRequest, VersionsReply, VersionsRequest

_LAST = chr(0x10FFFF)


def list_files(reader: Reader, request: ListRequest) -> ListReply:
    """One page in the order of names; files and common prefixes count towards `limit` alike."""
    for text in (request.prefix, request.delimiter, request.after):
        _check_text(text)
    found: list[FileVersion] = []
    prefixes: list[str] = []
    last = ""
    for name, row in _entries(reader, request):
        if len(found) + len(prefixes) == request.limit:
            return ListReply(found, prefixes, last)
        last = name
        if row is None:
            prefixes.append(name)
        else:
            found.append(files.as_version(row))
    return ListReply(found, prefixes, None)


def _entries(reader: Reader, request: ListRequest) -> Iterator[tuple[str, Row | None]]:
    """Names in order, each with its row, or None for a common prefix."""
    position, inclusive = _start(request)
    # Of a folder the first file is enough, so after one a single row is read; among files reads grow longer again.
    most = request.limit + 1
    count = 1 if request.delimiter else most
    while position is not None:
        statement = files.LIST_FROM if inclusive else files.LIST_AFTER
        rows = reader.all(statement, bucket=request.bucket, path=position, count=count)
        folder: str | None = None
        for row in rows:
            path: str = row[1]
            if folder is not None and path.startswith(folder):
                continue
            if not path.startswith(request.prefix):
                return
            folder = common_prefix(path, request.prefix, request.delimiter)
            yield (path, row) if folder is None else (folder, None)
        if len(rows) < count:
            return
        inclusive = folder is not None
        position = rows[-1][1] if folder is None else after_prefix(folder)
        count = min(2 * count, most) if folder is None else 1


def _start(request: ListRequest) -> tuple[str | None, bool]:
    """Where the first read begins, and whether a file of just that name belongs to the page."""
    if request.after < request.prefix or not request.after:
        return request.prefix, True
    if common_prefix(request.after, request.prefix, request.delimiter) == request.after:
        return after_prefix(request.after), True
    return request.after, False


def common_prefix(path: str, prefix: str, delimiter: str) -> str | None:
    """The folder below `prefix` that `path` is in: up to and with the next delimiter. None when it is in none."""
    if not delimiter or not path.startswith(prefix):
        return None
    end = path.find(delimiter, len(prefix))
    return None if end < 0 else path[: end + len(delimiter)]


def after_prefix(prefix: str) -> str | None:
    """The smallest text greater than everything that begins with `prefix`; None when there is none."""
    kept = prefix.rstrip(_LAST)
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    # Between U+D7FF and U+E000 lie the surrogates, which no UTF-8 text has.
    return kept[:-1] + chr(0xE000 if following == 0xD800 else following)


def list_versions(reader: Reader, request: VersionsRequest) -> VersionsReply:
    """One page of versions, delete markers included, newest first for each path."""
    _check_text(request.prefix)
    found: list[FileVersion] = []
    last: tuple[str, str] | None = None
    path = request.after[0] if request.after else None
    for row in _version_rows(reader, request):
        if len(found) == request.limit:
            return VersionsReply(found, last)
        # The first of its path is the current one, unless a page before has shown a newer one.
        found.append(files.as_version(row, is_current=row[1] != path))
        path = row[1]
        last = (row[1], row[2])
    return VersionsReply(found, None)


def _version_rows(reader: Reader, request: VersionsRequest) -> Iterator[Row]:
    """At most one more than `limit` is taken from this; reads are bounded by it."""
    count = request.limit + 1
    bucket = request.bucket
    if request.after is not None:
        path, version = request.after
        _check_text(path)
        if request.path in (None, path) and path.startswith(request.prefix):
            yield from reader.all(files.VERSIONS_OLDER, bucket=bucket, path=path, version=version, count=count)
    elif request.path is not None:
        yield from reader.all(files.VERSIONS_OF_PATH, bucket=bucket, path=request.path, count=count)
    if request.path is not None:
        return
    if request.after is not None and request.after[0] >= request.prefix:
        rows = reader.all(files.VERSIONS_AFTER, bucket=bucket, path=request.after[0], count=count)
    else:
        rows = reader.all(files.VERSIONS_FROM, bucket=bucket, path=request.prefix, count=count)
    for row in rows:
        if not row[1].startswith(request.prefix):
            return
        yield row


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise BadName("a prefix, delimiter or place to continue from is not valid Unicode") from None
