"""What there is at an address: a file, a folder, a bucket, or the list of buckets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol

from client_proxy.core.directory_calls import Directory
from client_proxy.core.open_file import OpenFile
from client_proxy.core.requests import Copy, Delete, Read, Stat, Write
from client_proxy.doors.webdav.addresses import Address, is_shown
from client_proxy.doors.webdav.lock_lookup import locks_on, reserves
from lockstep_store.wire.errors import Forbidden, LockstepError, NotFound
from lockstep_store.wire.messages.base import MAX_BATCH
from lockstep_store.wire.messages.buckets import BUCKETS, GET_BUCKET, BucketRequest, BucketsRequest
from lockstep_store.wire.messages.files import (
    LOOKUP,
    CommittedReply,
    DeleteReply,
    FileVersion,
    ListPage,
    ListRequest,
    LookupItem,
    LookupRequest,
    Preconditions,
)
from lockstep_store.wire.messages.folders import FOLDER_TYPE
from lockstep_store.wire.messages.locks import LockInfo
from lockstep_store.wire.messages.s3 import DEAD_PROPERTIES

Kind = Literal["root", "bucket", "folder", "file"]
ONLY_NEW = Preconditions(if_none_match=["*"])


class DavFiles(Protocol):
    """The file store's calls; `client_proxy.file_store.FileStore` documents their promises."""

    def stat(self, request: Stat) -> FileVersion: ...
    def open(self, request: Read) -> OpenFile: ...
    def write(self, request: Write, blocks: Iterable[bytes]) -> CommittedReply: ...
    def delete(self, request: Delete) -> DeleteReply: ...
    def copy(self, request: Copy) -> CommittedReply: ...
    def list(self, request: ListRequest) -> ListPage: ...


@dataclass(frozen=True)
class Resource:
    """Something at an address. `version` is that of a file, or of a folder's own object, if it is known."""

    kind: Kind
    address: Address
    version: FileVersion | None = None
    created_at: float | None = None
    reserved_by: LockInfo | None = None
    """There is no file, only a lock on its name, which was taken here. It looks like an empty file."""

    @property
    def is_folder(self) -> bool:
        return self.kind != "file"

    @property
    def href(self) -> str:
        return self.address.href(folder=self.is_folder)

    @property
    def path(self) -> str:
        """The path of its own object: of a folder, with the slash at its end."""
        return self.address.folder if self.is_folder else self.address.path


class Resources:
    """Finds resources. Thread-safe. `access` is the request's credential."""

    def __init__(self, files: DavFiles, directory: Directory) -> None:
        self._files = files
        self._directory = directory

    def find(self, access: str, address: Address, *, with_settings: bool = False) -> Resource:
        """What is at `address`. NotFound if there is nothing, or nothing that the person may know of."""
        if not address.bucket:
            self._directory.call(BUCKETS, BucketsRequest(access))  # also this answer is for those who may log in
            return Resource("root", address)
        if not address.path:
            info = self._directory.call(GET_BUCKET, BucketRequest(access, address.bucket))
            return Resource("bucket", address, created_at=info.created_at)
        if address.as_folder:
            return self._folder(access, address, with_settings=with_settings)
        try:
            where = Stat(access, address.bucket, address.path, with_settings=with_settings)
            return Resource("file", address, self._files.stat(where))
        except (NotFound, Forbidden) as refusal:  # rights to a folder do not include its name without the slash
            found = self._folder_or_reserved(access, address, with_settings=with_settings)
            if found is None:
                raise refusal
            return found

    def _folder_or_reserved(self, access: str, address: Address, *, with_settings: bool) -> Resource | None:
        with suppress(NotFound, Forbidden):
            return self._folder(access, address, with_settings=with_settings)
        return self._reserved(access, address)

    def _reserved(self, access: str, address: Address) -> Resource | None:
        lock = locks_on(self._directory, access, [(address.bucket, address.path)]).get((address.bucket, address.path))
        return Resource("file", address, reserved_by=lock) if lock is not None and reserves(lock) else None

    def _folder(self, access: str, address: Address, *, with_settings: bool) -> Resource:
        first = self._first_below(access, address)
        if first is None:
            raise NotFound(f"there is no {address.path!r} in bucket {address.bucket!r}")
        if first.path != address.folder:
            return Resource("folder", address)
        if with_settings:
            with suppress(NotFound, Forbidden):
                first = self._files.stat(Stat(access, address.bucket, address.folder, with_settings=True))
        return Resource("folder", address, first)

    def look(self, access: str, address: Address, *, with_settings: bool = False) -> Resource | None:
        """Like `find`; None if there is nothing."""
        try:
            return self.find(access, address, with_settings=with_settings)
        except NotFound:
            return None

    def has_folder(self, access: str, address: Address) -> bool:
        """Whether there is a folder, or a bucket, at the address."""
        if not address.path:
            return self.look(access, address) is not None
        return self._first_below(access, address) is not None

    def _first_below(self, access: str, address: Address) -> FileVersion | None:
        page = self._files.list(ListRequest(access, address.bucket, prefix=address.folder, limit=1))
        return page.files[0] if page.files else None

    def keep(self, access: str, folder: Address, *, leaving: str) -> None:
        """Make the folder one that stays when it is empty, if `leaving` (a path) is all that it has.

        Folders exist by their files. On a desktop they stay without any, and a client that deletes the last file before
        it writes the next would otherwise write into a folder that is not there.
        """
        if not folder.path:
            return
        with suppress(LockstepError):  # the change itself matters more
            page = self._files.list(ListRequest(access, folder.bucket, prefix=folder.folder, delimiter="/", limit=2))
            if {*(file.path for file in page.files), *page.prefixes} == {leaving}:
                self.make_folder(access, folder)

    def make_folder(self, access: str, address: Address, settings: dict[str, str] | None = None) -> FileVersion:
        """Create the folder's own object. PreconditionFailed if there is one."""
        write = Write(
            access,
            address.bucket,
            address.folder,
            size=0,
            content_type=FOLDER_TYPE,
            preconditions=ONLY_NEW,
            settings=settings or {},
        )
        return self._files.write(write, ()).version

    # ------------------------------------------------------------ members

    def members(self, access: str, folder: Resource) -> Iterator[list[Resource]]:
        """Everything in a folder, without what is deeper, in pages."""
        if folder.kind == "root":
            found = self._directory.call(BUCKETS, BucketsRequest(access)).buckets
            yield [Resource("bucket", Address(one.name), created_at=one.created_at) for one in found]
            return
        address = folder.address
        for page in self._pages(access, address, delimiter="/"):
            yield [
                *(Resource("folder", Address(address.bucket, one[:-1])) for one in page.prefixes if is_shown(one)),
                *(
                    Resource("file", Address(address.bucket, one.path, False), one)
                    for one in page.files
                    if one.path != address.folder and is_shown(one.path)
                ),
            ]

    def files_below(self, access: str, address: Address) -> Iterator[list[FileVersion]]:
        """Every file of a folder, at any depth, the folder's own object included, in pages."""
        for page in self._pages(access, address):
            yield page.files

    def _pages(self, access: str, address: Address, *, delimiter: str = "") -> Iterator[ListPage]:
        after: str | None = ""
        while after is not None:
            page = self._files.list(
                ListRequest(access, address.bucket, prefix=address.folder, delimiter=delimiter, after=after)
            )
            yield page
            after = page.next_after

    def with_settings(self, access: str, members: list[Resource]) -> list[Resource]:
        """The same members, with the settings of those that the person may read."""
        where = [one for one in members if one.kind in ("file", "folder")]
        found: dict[tuple[str, str], FileVersion] = {}
        for start in range(0, len(where), MAX_BATCH):
            items = [
                LookupItem(access, one.address.bucket, one.path, with_settings=True)
                for one in where[start : start + MAX_BATCH]
            ]
            reply = self._directory.call(LOOKUP, LookupRequest(items))
            for item, outcome in zip(items, reply.results, strict=True):
                if outcome.value is not None:
                    found[item.bucket, item.path] = outcome.value
        return [
            Resource(one.kind, one.address, found.get((one.address.bucket, one.path), one.version), one.created_at)
            for one in members
        ]


def kept_settings(version: FileVersion | None) -> dict[str, str]:
    """The settings that a copy takes along: what WebDAV clients say about the file."""
    value = version.settings.get(DEAD_PROPERTIES) if version is not None else None
    return {} if value is None else {DEAD_PROPERTIES: value}
