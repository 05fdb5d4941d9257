"""Listings: one page of a bucket's files, or of their versions, at a cost that depends only on the page.

With a delimiter a whole folder becomes one entry. Its files are never visited: the next read starts after the last
name that the folder could contain. Names sort by their UTF-8 bytes, which is also the order of code points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from directory_server.metadata.statements import files, listings
from directory_server.metadata.store import Reader, Row
from lockstep_store.wire.errors import BadName
from lockstep_store.wire.messages.files import (
    FileVersion,
    ListedFiles,
    ListedVersions,
    ListPage,
    ListRequest,
    VersionsPage,
    VersionsRequest,
)

_LAST = chr(0x10FFFF)
_NEWEST = _LAST
"""Used as a version id: sorts before all versions of its path."""
_names = msgspec.json.Decoder(list[str])
_Place = dict[str, Any]
"""The parameters of a page's statements."""


def list_files(reader: Reader, request: ListRequest) -> ListPage:
    """Return one page in name order; files and common prefixes count towards `limit` alike."""
    found: list[FileVersion] = []
    prefixes: list[str] = []

    def read(entries: listings.Entries, place: _Place) -> _Read:
        rows = reader.all(entries.rows, **place)
        prefixes.extend(row[0] for row in rows if row[0] is not None)
        found.extend(files.as_version(row[1:]) for row in rows if row[0] is None)
        last = rows[-1] if rows else ("", "", "")
        return _Read(len(rows), last[0] or last[2], bool(last[0]))

    next_after = _page(reader, request, read)
    return ListPage(found, prefixes, next_after)


def list_columns(reader: Reader, request: ListRequest, owner: str = "") -> ListPage:
    """Return the same page as columns, for people who may see all of it. `owner` owns the files, else their authors."""
    parts: list[Row] = []
    prefixes: list[str] = []
    with_authors = request.owners and not owner

    def read(entries: listings.Entries, place: _Place) -> _Read:
        row = reader.one(entries.columns_with_authors if with_authors else entries.columns, **place)
        assert row is not None
        folders, paths = _names.decode(row[0]), _names.decode(row[1])
        if entries is listings.FILES:
            row = (*row[:6], _digests(reader, place, row[5] or "", len(paths)), *row[7:])
        parts.append(row)
        prefixes.extend(folders)
        # Both are in order, and no file has the name of a folder.
        last = max([*folders[-1:], *paths[-1:]], default="")
        return _Read(len(folders) + len(paths), last, folders[-1:] == [last])

    next_after = _page(reader, request, read)
    _, *columns = (_joined(arrays) for arrays in zip(*parts, strict=True))
    listed = ListedFiles(*columns)
    listed.owner = owner if request.owners else ""
    return ListPage([], prefixes, next_after, columns=listed)


def _digests(reader: Reader, place: _Place, metadata: str, count: int) -> str:
    """Return the digests of `count` files, or as many empty texts if all have an ETag."""
    if metadata.count(listings.ETAG_MARK) == count:
        return ",".join(['""'] * count)
    row = reader.one(listings.DIGESTS, **place)
    assert row is not None
    return str(row[0])


def _joined(arrays: Iterable[str | None]) -> Any:
    """Join JSON arrays, or their contents without brackets, to one array that a message contains as it is."""
    inside = (text.removeprefix("[").removesuffix("]") for text in arrays if text)
    return msgspec.Raw(f"[{','.join(filter(None, inside))}]".encode())


class _Read(NamedTuple):
    """What a read added to a page."""

    length: int
    last: str
    ends_with_folder: bool


def _page(reader: Reader, request: ListRequest, read: Callable[[listings.Entries, _Place], _Read]) -> str | None:
    """Read a page; return the place of the next one, or None after the last entry."""
    for text in (request.prefix, request.delimiter, request.after):
        _check_text(text)
    place: _Place = {"bucket": request.bucket, "start": _start(request), "end": request.prefix + listings.LAST}
    if request.delimiter:
        place |= {"delimiter": request.delimiter, "last": listings.LAST, "rest": len(request.prefix) + 1}
        place["beside"] = len(request.prefix) + len(request.delimiter) - 1
        in_a_folder = reader.one(listings.IN_A_FOLDER, **place, count=request.limit)
        if in_a_folder is not None:
            return _page_with_folders(reader, request.limit, place, in_a_folder[0], read)
    behind = reader.one(listings.BEHIND, **place, count=request.limit)
    found = read(listings.FILES, place if behind is None else place | {"end": behind[0]})
    return None if behind is None else found.last


def _page_with_folders(
    reader: Reader, limit: int, place: _Place, in_a_folder: str, read: Callable[[listings.Entries, _Place], _Read]
) -> str | None:
    in_front = read(listings.FILES, place | {"end": in_a_folder})
    found = read(listings.FILES_AND_FOLDERS, place | {"start": in_a_folder, "count": limit - in_front.length})
    if in_front.length + found.length < limit:
        return None
    following = found.last + (listings.LAST if found.ends_with_folder else listings.FIRST)
    behind = reader.one(listings.BEHIND, **place | {"start": following, "count": 0})
    return None if behind is None else found.last


def _start(request: ListRequest) -> str:
    """Return the lower bound of the page: not above its first path, and above every path before that."""
    if request.after < request.prefix or not request.after:
        return request.prefix
    if common_prefix(request.after, request.prefix, request.delimiter) == request.after:
        return request.after + listings.LAST
    return request.after + listings.FIRST


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


def list_versions(reader: Reader, request: VersionsRequest) -> VersionsPage:
    """Return one page of versions and delete markers, newest first for each path; common prefixes count alike."""
    request = _with_known_place(reader, request)
    found: list[FileVersion] = []
    prefixes: list[str] = []
    last: tuple[str, str] | None = None
    path = _continued(request)
    for name, row in _version_entries(reader, request):
        if len(found) + len(prefixes) == request.limit:
            return VersionsPage(found, last, prefixes=prefixes)
        if row is None:
            prefixes.append(name)
            last = (name, "")
            continue
        # The first of its path is the current one, unless a page before has shown a newer one.
        found.append(files.as_version(row, is_current=name != path))
        path = name
        last = (name, row[2])
    return VersionsPage(found, None, prefixes=prefixes)


def has_version_columns(request: VersionsRequest) -> bool:
    """Whether `list_version_columns` can reply."""
    return request.columns and request.path is None and not request.delimiter


def list_version_columns(reader: Reader, request: VersionsRequest, owner: str = "") -> VersionsPage:
    """Return the same page as columns: see `list_columns`."""
    request = _with_known_place(reader, request)
    after = request.after
    place = {"bucket": request.bucket, "end": request.prefix + listings.LAST, "count": request.limit}
    if after is None or after[0] < request.prefix:
        found = reader.one(listings.VERSIONS, start=request.prefix, **place)
    elif not after[0].startswith(request.prefix):
        return VersionsPage([], None)
    else:
        found = reader.one(listings.VERSIONS_AFTER, **place, **_behind_version(*after))
    assert found is not None
    ids, paths = _names.decode(found[0]), _names.decode(found[1])
    _, *columns, shown_ids, delete_markers = (_joined((array,)) for array in found)
    listed = ListedVersions(*columns)
    listed.ids, listed.delete_markers, listed.continued = shown_ids, delete_markers, _continued(request) or ""
    if owner:
        listed.owners, listed.owner = [], owner
    next_after = None
    if len(ids) == request.limit:
        last = (paths[-1], ids[-1])
        if reader.one(listings.MORE_VERSIONS, **place | {"count": 1}, **_behind_version(*last)) is not None:
            next_after = last
    return VersionsPage([], next_after, columns=listed)


def _behind_version(path: str, version: str) -> _Place:
    return {"after": path, "version": version, "start": path + listings.FIRST}


def _with_known_place(reader: Reader, request: VersionsRequest) -> VersionsRequest:
    """Return the request, checked, with the id of the version that clients call "null"."""
    after = request.after
    for text in (request.prefix, request.delimiter, after[0] if after else ""):
        _check_text(text)
    if after is None or after[1] != files.NULL_ID:
        return request
    null = reader.one(files.NULL_VERSION, bucket=request.bucket, path=after[0])
    # A caller that deletes what a page shows asks for the page after a version that is gone.
    return msgspec.structs.replace(request, after=(after[0], null[2] if null is not None else _NEWEST))


def _continued(request: VersionsRequest) -> str | None:
    """Return the path whose newest version an earlier page showed."""
    return request.after[0] if request.after is not None and request.after[1] != _NEWEST else None


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
