"""GET, HEAD and PROPFIND."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from email.utils import formatdate

from client_proxy.core.directory_calls import Directory
from client_proxy.core.open_file import OpenFile
from client_proxy.core.requests import Read
from client_proxy.doors.webdav.addresses import href
from client_proxy.doors.webdav.held_locks import HeldLocks, at, tag_of
from client_proxy.doors.webdav.lock_lookup import is_of_folder
from client_proxy.doors.webdav.properties import LOCK_DISCOVERY, QUOTA, Wanted, active_lock, response
from client_proxy.doors.webdav.replies import XML_TYPE, DavRefusal, xml_reply
from client_proxy.doors.webdav.request import DavRequest
from client_proxy.doors.webdav.resources import DavFiles, Resource, Resources
from client_proxy.doors.webdav.xml import HEAD, document
from client_proxy.metrics import CONTENT_METRICS
from lockstep_store.runtime.http import conditions
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.runtime.http.content import StreamedContent, content_body
from lockstep_store.runtime.http.untrusted_content import UNTRUSTED_CONTENT
from lockstep_store.wire.content_types import guessed_type, type_of
from lockstep_store.wire.errors import Forbidden, LockstepError, NotFound
from lockstep_store.wire.messages.files import FileVersion
from lockstep_store.wire.messages.locks import LockInfo
from lockstep_store.wire.messages.quotas import QUOTA as QUOTA_CALL
from lockstep_store.wire.messages.quotas import QuotaRequest

_FOLDER_PAGE = b"This is a WebDAV folder. Open it with a file manager or another WebDAV client, not with a browser.\n"


class DavReading:
    """Serves the methods that change nothing. Thread-safe."""

    def __init__(self, files: DavFiles, directory: Directory, resources: Resources, locks: HeldLocks) -> None:
        self._files = files
        self._directory = directory
        self._resources = resources
        self._locks = locks

    # ------------------------------------------------------------ content

    def get(self, request: DavRequest) -> RawReply:
        """GET and HEAD."""
        address = request.address
        if address.path and not address.as_folder:
            with suppress(NotFound, Forbidden):  # it may be a folder
                return self._content(request, self._files.open(Read(request.access, address.bucket, address.path)))
        found = self._resources.find(request.access, address)
        if found.is_folder:
            headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(_FOLDER_PAGE)))]
            return RawReply(200, [*headers, *UNTRUSTED_CONTENT], [_FOLDER_PAGE])
        if found.reserved_by is None:  # it has just come back
            return self._content(request, self._files.open(Read(request.access, address.bucket, address.path)))
        headers = [("Content-Type", guessed_type(found.path)), ("Content-Length", "0")]
        return RawReply(200, [*headers, *UNTRUSTED_CONTENT], [b""])

    def _content(self, request: DavRequest, opened: OpenFile) -> RawReply:
        body: list[bytes] | StreamedContent = []
        try:
            version, environ = opened.version, request.environ
            tag = version.version
            headers = content_headers(version)
            if conditions.not_modified(environ, tag, version.created_at):
                return RawReply(304, headers, [])
            if request.method == "HEAD":
                return RawReply(200, [*headers, ("Content-Length", str(version.size))], [])
            status, start, stop, about_part = conditions.wanted_part(environ, tag, version.created_at, version.size)
            headers += about_part
            body = content_body(opened, start, stop, CONTENT_METRICS, whole=request.may_send_whole(stop - start))
            return RawReply(status, headers, body)
        finally:
            if not isinstance(body, StreamedContent):
                opened.close()

    # ------------------------------------------------------------ properties

    def propfind(self, request: DavRequest) -> RawReply:
        """PROPFIND of a resource and, with depth 1, of what is in it. A long answer is made while it is sent."""
        wanted = Wanted(request.xml())
        depth = request.depth("infinity")
        if depth == "infinity":
            raise DavRefusal(
                403,
                "a folder's whole tree may have millions of files: ask with the header Depth: 0 or 1",
                "propfind-finite-depth",
            )
        found = self._resources.find(request.access, request.address, with_settings=wanted.asks_dead)
        quota = self._quota(request) if wanted.asks(*QUOTA) else {}
        first = self._page(request, [found], wanted, quota, read=True)
        if depth == "0" or not found.is_folder:
            return xml_reply(207, document("multistatus", first))
        pages = self._resources.members(request.access, found)
        second = self._page(request, next(pages, []), wanted, quota)
        third = next(pages, None)
        if third is None:
            return xml_reply(207, document("multistatus", [*first, *second]))

        def rest() -> Iterator[bytes]:
            yield HEAD + b'<D:multistatus xmlns:D="DAV:">' + "".join((*first, *second)).encode()
            yield "".join(self._page(request, third, wanted, quota)).encode()
            for page in pages:
                yield "".join(self._page(request, page, wanted, quota)).encode()
            yield b"</D:multistatus>\n"

        return RawReply(207, [XML_TYPE, *UNTRUSTED_CONTENT], rest())

    def _page(
        self, request: DavRequest, page: list[Resource], wanted: Wanted, quota: dict[str, str], *, read: bool = False
    ) -> list[str]:
        """The responses about a page of resources. `read`: they have their settings already."""
        if wanted.asks_dead and not read:
            page = self._resources.with_settings(request.access, page)
        shows_locks = wanted.all or wanted.only_names or wanted.asks(LOCK_DISCOVERY)
        locks = self._locks_of(request, page, own=read) if shows_locks else {}
        return [
            response(one, wanted, quota | ({LOCK_DISCOVERY: locks.get(one.href, "")} if shows_locks else {}))
            for one in page
        ]

    def _locks_of(self, request: DavRequest, page: list[Resource], *, own: bool) -> dict[str, str]:
        """The locks of resources as XML, by address. A folder's lock is shown at everything in it."""
        above: LockInfo | None = None
        if own:
            lock = self._locks.covering(request.access, at(page[0]))
            return {} if lock is None else {page[0].href: lock_shown(lock, page[0])}
        if page and page[0].address.path:
            above = self._locks.covering(request.access, page[0].address.parent)
            above = above if above is not None and is_of_folder(above) else None
        places = {(one.address.bucket, one.path): one for one in page if one.path}
        found = self._locks.on(request.access, places)
        shown = {} if above is None else {one.href: lock_shown(above, one) for one in page}
        return shown | {places[place].href: lock_shown(lock, places[place]) for place, lock in found.items()}

    def _quota(self, request: DavRequest) -> dict[str, str]:
        """The bucket's quota in bytes, for those who may know it."""
        if not request.address.bucket:
            return {}
        with suppress(LockstepError):
            reply = self._directory.call(QUOTA_CALL, QuotaRequest(request.access, "bucket", request.address.bucket))
            for one in reply.quotas:
                if one.resource == "bytes" and one.used is not None:
                    found = {"quota-used-bytes": str(one.used)}
                    if one.allowed is not None:
                        found["quota-available-bytes"] = str(max(0, one.allowed - one.used))
                    return found
        return {}


def lock_shown(lock: LockInfo, resource: Resource, owner: str = "", token: str = "") -> str:
    """A lock at a resource, with the address that was locked."""
    root = resource.href
    if is_of_folder(lock) and lock.paths:
        first = min(lock.paths, key=lambda path: (len(path.path), path.path))
        root = href(first.bucket, first.path)
    return active_lock(lock, root, owner, token)


def content_headers(version: FileVersion) -> list[tuple[str, str]]:
    """The headers of a file's content. It is a download: a page in it must not run with this site's rights."""
    kind = type_of(version.path, version.content_type, version.metadata)
    return [
        ("Content-Type", kind if kind.isascii() and kind.isprintable() else guessed_type(version.path)),
        ("ETag", tag_of(version)),
        ("Last-Modified", formatdate(int(version.created_at), usegmt=True)),
        ("Accept-Ranges", "bytes"),
        ("Cache-Control", "private, no-cache"),
        ("Content-Disposition", "attachment"),
        *UNTRUSTED_CONTENT,
    ]
