"""Files and folders as a zip file, made while it is sent: nothing is kept but the block that is under way.

Content is stored as it is, because most large files are compressed already. What cannot be named, is too much, or has
nothing in it is refused before the first byte. A file below a folder that may not be read, or that ends meanwhile, is
left out, and the archive's last entry names it. Anything else that fails cuts the archive off.
"""

from __future__ import annotations

import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from io import RawIOBase
from typing import Any, Protocol

from client_proxy.core.open_file import OpenFile
from client_proxy.core.requests import Read
from client_proxy.doors.shown_names import beside, in_archive
from lockstep_store.wire.errors import BadRequest, Forbidden, NotFound, Overloaded, TooLarge
from lockstep_store.wire.messages.base import MAX_LISTING
from lockstep_store.wire.messages.files import FileVersion, ListReply, ListRequest
from lockstep_store.wire.names import check_path

MISSING = "NOT INCLUDED.txt"
MAX_FILES = 50_000
"""A zip file ends with a table of its files, which is in memory until then: about 1 KB for each."""
MAX_OF_A_CLIENT, MAX_UNDER_WAY = MAX_FILES, 2 * MAX_FILES
_FIRST_YEAR, _LAST_YEAR = 1980, 2107
_FOLDER, _FILE = 0o40755 << 16, 0o644 << 16


class ArchivedFiles(Protocol):
    """The file store's calls; `client_proxy.file_store.FileStore` documents their promises."""

    def open(self, request: Read) -> OpenFile: ...
    def list(self, request: ListRequest) -> ListReply: ...


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


class _Names:
    """Gives each entry a name of its own: some systems keep only one of two names that differ in case."""

    def __init__(self) -> None:
        self._files = {MISSING.casefold()}
        self._folders: set[str] = set()
        self._numbers: dict[str, int] = {}
        """The last number that each name got. Trying all from the start would take hours where most names collide."""

    def of_file(self, name: str) -> str:
        """A free name for a file, whose folders have no file's name."""
        *folders, last = in_archive(name).split("/")
        above = self.of_folder("/".join(folders)) if folders else ""
        found = self._free(above, last, "", self._files, self._folders)
        self._files.add(found.casefold())
        return found

    def of_folder(self, name: str) -> str:
        """The folder's name with a slash at its end; the same for each file in it."""
        found = ""
        for part in in_archive(name).split("/"):
            found = self._free(found, part, "/", self._files) + "/"
            self._folders.add(found[:-1].casefold())
        return found

    def _free(self, above: str, part: str, kind: str, *taken: set[str]) -> str:
        wanted = (above + part).casefold() + kind
        number = self._numbers.get(wanted, 1)
        while True:
            found = above + (part if number == 1 else beside(part, str(number)))
            if not any(found.casefold() in names for names in taken):
                self._numbers[wanted] = number
                return found
            number += 1


class Archives:
    """Makes zip files of a store's files. Bounds the files of all that are being sent, and of those to one client.

    Thread-safe.
    """

    def __init__(self, files: ArchivedFiles) -> None:
        self._files = files
        self._guard = threading.Lock()
        self._listed: Counter[str] = Counter()
        """The files of the archives that are being sent, by client."""

    def make(
        self, client: str, access: Callable[[], str], bucket: str, base: str, paths: Sequence[str]
    ) -> Iterator[bytes]:
        """Yield the zip file of `paths`, which all begin with `base`: the entries' names leave it out.

        A path that ends with a slash, or an empty one, is a folder with everything in it. `access` returns the reader's
        credential, and `client` is the reader's address. Raises before the first piece: NotFound, Forbidden, TooLarge,
        Overloaded.
        """
        wanted = _everything(self._files, access, bucket, paths)
        with self._counted(client, len(wanted)):
            yield from _pieces(self._files, access, bucket, base, wanted)

    @contextmanager
    def _counted(self, client: str, files: int) -> Iterator[None]:
        with self._guard:
            if self._listed[client] + files > MAX_OF_A_CLIENT or self._listed.total() + files > MAX_UNDER_WAY:
                raise Overloaded("too many zip files are being sent: retry when some of them have ended")
            self._listed[client] += files
        try:
            yield
        finally:
            with self._guard:
                self._listed[client] -= files
                self._listed += Counter()  # leaves out clients without any


def _pieces(
    files: ArchivedFiles, access: Callable[[], str], bucket: str, base: str, wanted: Sequence[str]
) -> Iterator[bytes]:
    sink, names = _Sink(), _Names()
    missing: list[str] = []
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True, strict_timestamps=False) as made:
        for path in wanted:
            if path.endswith("/"):
                if path != base:
                    made.writestr(_folder(names.of_folder(path[len(base) :])), b"")
                continue
            name = names.of_file(path[len(base) :])
            try:
                opened = files.open(Read(access(), bucket, check_path(path)))
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


def _everything(files: ArchivedFiles, access: Callable[[], str], bucket: str, paths: Sequence[str]) -> list[str]:
    """The paths of all files, each once, and of the folders that are objects themselves."""
    found: dict[str, None] = {}
    for path in paths:
        if path and not path.endswith("/"):
            files.open(Read(access(), bucket, path)).close()
            found[path] = None
            continue
        before = len(found)
        for below in _below(files, access, bucket, path):
            found[below] = None
            if len(found) > MAX_FILES:
                raise TooLarge(
                    f"a zip file holds at most {MAX_FILES} files here: choose fewer, or use an S3 client",
                    limit=MAX_FILES,
                )
        if path and len(found) == before:
            raise NotFound(f"there is no folder {path!r} in bucket {bucket!r}", path=path)
    return list(found)


def _below(files: ArchivedFiles, access: Callable[[], str], bucket: str, folder: str) -> Iterator[str]:
    after = ""
    while True:
        page = files.list(ListRequest(access(), bucket, prefix=folder, limit=MAX_LISTING, after=after))
        yield from (version.path for version in page.files)
        if page.next_after is None:
            return
        after = page.next_after


def _folder(name: str) -> zipfile.ZipInfo:
    found = zipfile.ZipInfo(name)
    found.external_attr = _FOLDER | 0x10  # 0x10: a folder, for Windows
    return found


def _entry(name: str, version: FileVersion) -> zipfile.ZipInfo:
    when = datetime.fromtimestamp(version.created_at, UTC)
    year = min(max(when.year, _FIRST_YEAR), _LAST_YEAR)
    found = zipfile.ZipInfo(name, (year, when.month, when.day, when.hour, when.minute, when.second))
    found.external_attr = _FILE
    return found


def first_then(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces, the first of them read now, so that an early failure is still an error reply."""
    first = next(pieces, b"")

    def rest() -> Iterator[bytes]:
        yield first
        yield from pieces

    return rest()
