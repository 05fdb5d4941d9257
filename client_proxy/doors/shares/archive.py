"""A folder as a zip file, made while it is sent: nothing is kept but the block that is under way.

Content is stored as it is, because most large files are compressed already. A file that ends or changes its rights
meanwhile is left out, and the archive's last entry names it. Anything else that fails cuts the archive off.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from io import RawIOBase
from typing import Any

from client_proxy.core.requests import Read
from client_proxy.doors.shares.files import SharedFiles
from client_proxy.doors.shares.names import in_archive
from lockstep_store.wire.errors import BadRequest, Forbidden, NotFound
from lockstep_store.wire.messages.files import FileVersion, ListRequest
from lockstep_store.wire.names import check_path

MISSING = "NOT INCLUDED.txt"
_PAGE = 200
_FIRST_YEAR, _LAST_YEAR = 1980, 2107


class _Sink(RawIOBase):
    """Takes what the zip library writes, for the sender to collect."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        found, self._parts = b"".join(self._parts), []
        return found


def archive(files: SharedFiles, access: Callable[[], str], bucket: str, folder: str) -> Iterator[bytes]:
    """Yield the zip file of everything below `folder`, a prefix. `access` returns the visitor's credential."""
    sink = _Sink()
    missing: list[str] = []
    taken: set[str] = {MISSING.casefold()}
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True, strict_timestamps=False) as made:
        for version in _everything(files, access, bucket, folder):
            name = _free(in_archive(version.path[len(folder) :]), taken)
            try:
                check_path(version.path)
                opened = files.open(Read(access(), bucket, version.path))
            except (BadRequest, NotFound, Forbidden):
                missing.append(name)
                continue
            with closing(opened), made.open(_entry(name, opened.version), "w", force_zip64=True) as entry:
                for block in opened.blocks():
                    entry.write(block)
                    yield sink.taken()
        if missing:
            lines = "\n".join(missing)
            made.writestr(MISSING, f"These files could not be read when this archive was made:\n{lines}\n")
    yield sink.taken()


def _everything(files: SharedFiles, access: Callable[[], str], bucket: str, folder: str) -> Iterator[FileVersion]:
    after = ""
    while True:
        page = files.list(ListRequest(access(), bucket, prefix=folder, limit=_PAGE, after=after))
        yield from (version for version in page.files or () if not version.path.endswith("/"))
        if page.next_after is None:
            return
        after = page.next_after


def _free(name: str, taken: set[str]) -> str:
    """The name, or one beside it: some systems keep only one of two names that differ in case."""
    number, found = 1, name
    while found.casefold() in taken:
        number += 1
        stem, dot, ending = name.rpartition(".")
        found = f"{stem} ({number}).{ending}" if dot and "/" not in ending else f"{name} ({number})"
    taken.add(found.casefold())
    return found


def _entry(name: str, version: FileVersion) -> zipfile.ZipInfo:
    when = datetime.fromtimestamp(version.created_at, UTC)
    year = min(max(when.year, _FIRST_YEAR), _LAST_YEAR)
    found = zipfile.ZipInfo(name, (year, when.month, when.day, when.hour, when.minute, when.second))
    found.external_attr = 0o644 << 16
    return found


def first_then(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces, the first of them read now, so that an early failure still gets an error page."""
    first = next(pieces, b"")

    def rest() -> Iterator[bytes]:
        yield first
        yield from pieces

    return rest()
