"""Listings: one page of a bucket's files, or of their versions, at a cost that depends only on the page.

With a delimiter a whole folder becomes one entry. Its files are never visited: the next read starts after the last
name that the folder could contain. Names sort by their UTF-8 bytes, which is also the order of code points.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from directory_server.metadata.statements import files
from directory_server.metadata.store import Reader, Row
from lockstep_store.wire.errors import BadName
from lockstep_store.wire.messages.files import FileVersion, ListReply, ListRequest, VersionsReply, VersionsRequest

_LAST = chr(0x10FFFF)
_NEWEST = _LAST
"""Used as a version id: sorts before all versions of its path."""


def list_files(reader: Reader, request: ListRequest) -> ListReply:
    """Return one page in name order; files and common prefixes count towards `limit` alike."""
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
    """Yield names in order, each with its row, or None for a common prefix."""
    position, inclusive = _start(request)
    # A folder needs only its first file, so after one a single row is read; among files, reads grow again.
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
    """Return where the first read begins, and whether a file of that very name belongs to the page."""
    if request.after < request.prefix or not request.after:
        return request.prefix, True
    if common_prefix(request.after, request.prefix, request.delimiter) == request.after:
        return after_prefix(request.after), True
    return request.after, False


def common_prefix(path: str, prefix: str, delimiter: str) -> str | None:
    """Return the folder below `prefix` that contains `path`, up to and with the next delimiter; None without one."""
    if not delimiter or not path.startswith(prefix):
        return None
    end = path.find(delimiter, len(prefix))
    return None if end < 0 else path[: end + len(delimiter)]


def after_prefix(prefix: str) -> str | None:
    """Return the smallest text greater than every text with this prefix; None when there is none."""
    kept = prefix.rstrip(_LAST)
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    # Between U+D7FF and U+E000 lie the surrogates, which no UTF-8 text has.
    return kept[:-1] + chr(0xE000 if following == 0xD800 else following)


def list_versions(reader: Reader, request: VersionsRequest) -> VersionsReply:
    """Return one page of versions and delete markers, newest first for each path; common prefixes count alike."""
    for text in (request.prefix, request.delimiter, request.after[0] if request.after else ""):
        _check_text(text)
    found: list[FileVersion] = []
    prefixes: list[str] = []
    last: tuple[str, str] | None = None
    after = request.after
    if after is not None and after[1] == files.NULL_ID:
        null = reader.one(files.NULL_VERSION, bucket=request.bucket, path=after[0])
        # A caller that deletes what a page shows asks for the page after a version that is gone.
        request = msgspec.structs.replace(request, after=(after[0], null[2] if null is not None else _NEWEST))
    path = after[0] if after is not None and request.after != (after[0], _NEWEST) else None
    for name, row in _version_entries(reader, request):
        if len(found) + len(prefixes) == request.limit:
            return VersionsReply(found, last, prefixes=prefixes)
        if row is None:
            prefixes.append(name)
            last = (name, "")
            continue
        # The first of its path is the current one, unless a page before has shown a newer one.
        found.append(files.as_version(row, is_current=name != path))
        path = name
        last = (name, row[2])
    return VersionsReply(found, None, prefixes=prefixes)


def _version_entries(reader: Reader, request: VersionsRequest) -> Iterator[tuple[str, Row | None]]:
    """Yield paths in order, each with its versions' rows, newest first, or None for a common prefix."""
    bucket, most = request.bucket, request.limit + 1
    if request.path is not None:
        for row in _older(reader, bucket, request.path, request.after, most):
            yield request.path, row
        return
    position: str | None = request.prefix
    inclusive = True
    if request.after is not None and request.after[0] >= request.prefix:
        path = request.after[0]
        folder = common_prefix(path, request.prefix, request.delimiter)
        if folder == path:
            position = after_prefix(folder)
        else:
            if folder is None and path.startswith(request.prefix):
                for row in _older(reader, bucket, path, request.after, most):
                    yield path, row
            position, inclusive = path, False
    count = 1 if request.delimiter else most
    while position is not None:
        statement = files.VERSIONS_FROM if inclusive else files.VERSIONS_AFTER
        rows = reader.all(statement, bucket=bucket, path=position, count=count)
        folder = None
        for row in rows:
            if folder is not None and row[1].startswith(folder):
                continue
            if not row[1].startswith(request.prefix):
                return
            folder = common_prefix(row[1], request.prefix, request.delimiter)
            yield (row[1], row) if folder is None else (folder, None)
        if len(rows) < count:
            return
        inclusive = folder is not None
        if folder is not None:
            position, count = after_prefix(folder), 1
            continue
        # The read may have ended among one path's versions: the rest of them comes first.
        position, count = rows[-1][1], min(2 * count, most)
        for row in _older(reader, bucket, rows[-1][1], (rows[-1][1], rows[-1][2]), most):
            yield row[1], row


def _older(reader: Reader, bucket: str, path: str, after: tuple[str, str] | None, count: int) -> list[Row]:
    """Return the versions of one path that are older than `after`'s, newest first."""
    if after is None:
        return reader.all(files.VERSIONS_OF_PATH, bucket=bucket, path=path, count=count)
    return reader.all(files.VERSIONS_OLDER, bucket=bucket, path=path, version=after[1], count=count)


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise BadName("a prefix, delimiter or place to continue from is not valid Unicode") from None
