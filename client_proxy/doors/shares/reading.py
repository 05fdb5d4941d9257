"""The pages and downloads of links that read: a file, or a folder with its listing and its zip file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Literal, NamedTuple
from urllib.parse import urlencode

from client_proxy.core.directory_calls import Directory
from client_proxy.core.requests import Read, Stat
from client_proxy.doors.archives import Archives, first_then
from client_proxy.doors.shares.files import SharedFiles, WatchedBody
from client_proxy.doors.shares.pages import message, page
from client_proxy.doors.shares.visit import ShareVisit
from client_proxy.doors.shown_names import attachment, last_part
from client_proxy.metrics import CONTENT_METRICS
from lockstep_store.runtime.http import conditions
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.runtime.http.content import StreamedContent, content_body
from lockstep_store.runtime.http.untrusted_content import UNTRUSTED_CONTENT
from lockstep_store.wire.errors import BadName, BadRequest, NotFound, Unavailable
from lockstep_store.wire.messages.files import FileVersion, ListRequest
from lockstep_store.wire.messages.shares import OPEN_SHARE, USE_SHARE, OpenShareReply, OpenShareRequest, UseShareRequest
from lockstep_store.wire.names import check_path

LISTED = 500
_DOWNLOAD_HEADERS = (
    ("Content-Type", "application/octet-stream"),
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Robots-Tag", "noindex, nofollow"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    *UNTRUSTED_CONTENT,
)


class ListedFile(NamedTuple):
    """A line of a folder's page."""

    name: str
    address: str
    size: int = 0
    saved_at: float = 0.0


class ShareReading:
    """Serves visitors of links that read. `monotonic` paces the checks of long downloads."""

    def __init__(self, files: SharedFiles, directory: Directory, monotonic: Callable[[], float]) -> None:
        self._files = files
        self._archives = Archives(files)
        self._directory = directory
        self._monotonic = monotonic

    def answer(self, visit: ShareVisit, link: OpenShareReply) -> RawReply:
        """The reply to a GET or HEAD."""
        folder = not link.path or link.path.endswith("/")
        if visit.action == "f":
            if bool(visit.rest) != folder:
                raise NotFound("there is no such file")
            return self._download(visit, link, check_path(link.path + visit.rest) if folder else link.path)
        if link.used_up:
            return used_up()
        if not folder and not visit.action:
            return self._file_page(visit, link)
        if folder and visit.action in ("", "d", "zip"):
            below = _below(link.path, visit.rest)
            return self._zip(visit, link, below) if visit.action == "zip" else self._folder_page(visit, link, below)
        raise NotFound("there is nothing at this address")

    # ------------------------------------------------------------ pages

    def _file_page(self, visit: ShareVisit, link: OpenShareReply) -> RawReply:
        found = self._files.stat(Stat(visit.access(), link.bucket, link.path))
        return page(
            "file",
            title=last_part(link.path),
            size=found.size,
            saved_at=found.created_at,
            download=visit.link_to("f"),
            expires_at=link.expires_at,
        )

    def _folder_page(self, visit: ShareVisit, link: OpenShareReply, folder: str) -> RawReply:
        request = ListRequest(
            visit.access(), link.bucket, prefix=folder, delimiter="/", limit=LISTED, after=visit.after()
        )
        found = self._files.list(request)
        below = folder[len(link.path) :]
        folders = [
            ListedFile(last_part(prefix) or "/", visit.link_to("d", prefix[len(link.path) :]))
            for prefix in found.prefixes
            if _may_link(prefix)
        ]
        files = [
            _line(visit, link, version)
            for version in found.files or ()
            if not version.path.endswith("/") and version.readable and _may_link(version.path)
        ]
        here = visit.link_to("d", below) if below else visit.link_to()
        above = below.rstrip("/").rpartition("/")[0]
        up = (visit.link_to("d", f"{above}/") if above else visit.link_to()) if below else ""
        return page(
            "folder",
            title=last_part(folder) or link.bucket,
            parent=up,
            folders=folders,
            files=files,
            archive=visit.link_to("zip", below),
            more=f"{here}?{urlencode({'after': found.next_after})}" if found.next_after is not None else "",
            expires_at=link.expires_at,
        )

    # ------------------------------------------------------------ downloads

    def _download(self, visit: ShareVisit, link: OpenShareReply, path: str) -> RawReply:
        resumes = "HTTP_RANGE" in visit.environ
        if link.used_up and not resumes:
            return used_up()
        try:
            opened = self._files.open(Read(visit.access(), link.bucket, path))
        except BadRequest as error:  # a customer's key encrypted it (SSE-C); the words name the bucket
            raise NotFound("there is no such file here") from error
        body: list[bytes] | StreamedContent = []
        try:
            version, environ = opened.version, visit.environ
            tag = version.digest.hex()
            headers = [("Content-Disposition", attachment(last_part(path))), ("ETag", f'"{tag}"'), *_DOWNLOAD_HEADERS]
            headers.append(("Accept-Ranges", "bytes"))
            if visit.method == "HEAD":
                return RawReply(200, [*headers, ("Content-Length", str(version.size))], [])
            status, start, stop, about_part = conditions.wanted_part(environ, tag, version.created_at, version.size)
            if not self._may_use(visit, path, "download", resumes=status == 206):
                return used_up()
            headers += about_part
            whole = visit.may_send_whole(stop - start)
            body = content_body(opened, start, stop, CONTENT_METRICS, whole=whole)
            return RawReply(status, headers, body if isinstance(body, list) else self._watched(visit, body))
        finally:
            if not isinstance(body, StreamedContent):
                opened.close()

    def _zip(self, visit: ShareVisit, link: OpenShareReply, folder: str) -> RawReply:
        name = f"{last_part(folder) or link.bucket}.zip"
        headers = [("Content-Disposition", attachment(name)), *_DOWNLOAD_HEADERS]
        if visit.method == "HEAD":
            return RawReply(200, headers, [])
        pieces = first_then(self._archives.make(visit.address, visit.access, link.bucket, folder, [folder]))
        if not self._may_use(visit, folder, "zip"):
            return used_up()
        return RawReply(200, headers, self._watched(visit, pieces))

    def _may_use(
        self, visit: ShareVisit, path: str, what: Literal["download", "zip"], *, resumes: bool = False
    ) -> bool:
        request = UseShareRequest(visit.access(), path, what, visit.address, resumes)
        return self._directory.call(USE_SHARE, request).allowed

    def _watched(self, visit: ShareVisit, body: StreamedContent | Iterator[bytes]) -> WatchedBody:
        def demand_good() -> None:
            with suppress(Unavailable):  # whether it has ended is then not known
                self._directory.call(OPEN_SHARE, OpenShareRequest(visit.access()))

        return WatchedBody(body, demand_good, self._monotonic)


def used_up() -> RawReply:
    """The page of a link without a use left."""
    return message(410, "This link is used up", "It has been used as often as it may be. Ask the person who sent it.")


def _below(base: str, rest: str) -> str:
    """The folder `rest` below `base`, as a prefix. BadName for one that leads elsewhere."""
    if not rest:
        return base
    if not rest.endswith("/"):
        raise NotFound("there is no such folder")
    return check_path(base + rest)


def _may_link(path: str) -> bool:
    """Whether a browser can ask for the path: `..` in an address leads elsewhere."""
    try:
        return bool(check_path(path))
    except BadName:
        return False


def _line(visit: ShareVisit, link: OpenShareReply, version: FileVersion) -> ListedFile:
    below = version.path[len(link.path) :]
    return ListedFile(last_part(version.path), visit.link_to("f", below), version.size, version.created_at)
