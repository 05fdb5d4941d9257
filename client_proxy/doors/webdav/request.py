"""A request to the WebDAV door: its address and headers, checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Literal

from client_proxy.doors.basic_log_ins import CallersRequest, DoorCaller
from client_proxy.doors.webdav.addresses import Address, read_address, read_destination
from client_proxy.doors.webdav.conditions import IfHeader, read_if
from client_proxy.doors.webdav.replies import DavRefusal
from client_proxy.doors.webdav.xml import MAX_BYTES, XmlElement, read_xml
from lockstep_store.runtime.http.api import Environ
from lockstep_store.wire.errors import BadRequest, IncompleteBody, TooLarge, UnsupportedMediaType
from lockstep_store.wire.manifest import MAX_FILE_BYTES
from lockstep_store.wire.messages.locks import MAX_LEASE_SECONDS

Depth = Literal["0", "1", "infinity"]

BLOCK_BYTES = 256 * 1024
_SECONDS = re.compile(r"second-([0-9]{1,18})", re.IGNORECASE)


class DavRequest(CallersRequest):
    """A request to the WebDAV door."""

    def __init__(self, environ: Environ, caller: DoorCaller) -> None:
        super().__init__(environ, caller)
        self.address = read_address(self.path)
        self.bucket = self.address.bucket

    @property
    def host(self) -> str:
        host: str = self.environ.get("HTTP_HOST", "")
        return host

    def depth(self, default: Depth) -> Depth:
        """The header Depth."""
        given = self.header("Depth", default).strip().lower()
        if given == "0":
            return "0"
        if given == "1":
            return "1"
        if given == "infinity":
            return "infinity"
        raise BadRequest(f"the header Depth must be 0, 1 or infinity, not {given[:40]!r}")

    @property
    def overwrites(self) -> bool:
        """Whether a copy or move may replace what is at its destination."""
        given = self.header("Overwrite", "T").strip().upper()
        if given not in ("T", "F"):
            raise BadRequest(f"the header Overwrite must be T or F, not {given[:40]!r}")
        return given == "T"

    @cached_property
    def destination(self) -> Address:
        """Where a copy or move goes."""
        found = read_destination(self.header("Destination"), self.host)
        if found is None:
            raise DavRefusal(502, "the destination is on another server, or outside /dav/: download, then upload there")
        return found

    @cached_property
    def conditions(self) -> IfHeader:
        """The header If."""
        return read_if(self.header("If"), self.host)

    @property
    def lease_seconds(self) -> float | None:
        """The first lease that the header Timeout names, within the cluster's bounds; None without one."""
        for wish in self.header("Timeout")[:1000].split(","):
            found = _SECONDS.fullmatch(wish.strip())
            if found is not None:
                return min(max(float(found[1]), 1.0), MAX_LEASE_SECONDS)
            if wish.strip().lower() == "infinite":
                return MAX_LEASE_SECONDS
        return None

    def xml(self) -> XmlElement | None:
        """The body as XML; None without a body."""
        body = self.keep_body(MAX_BYTES)
        return read_xml(body) if body.strip() else None

    def refuse_body(self) -> None:
        """Raise UnsupportedMediaType if there is a body."""
        if self.content_length or "HTTP_TRANSFER_ENCODING" in self.environ:
            raise UnsupportedMediaType(f"{self.method} takes no body here")

    # ------------------------------------------------------------ content

    @property
    def size(self) -> int | None:
        """The declared size of the content; None if it is sent in chunks by a client that does not know it."""
        size = self.content_length
        if "HTTP_TRANSFER_ENCODING" in self.environ:
            expected = self.header("X-Expected-Entity-Length").strip()  # the Finder
            size = int(expected) if expected.isascii() and expected.isdecimal() and len(expected) < 19 else None
        elif size is None:
            size = 0
        if size is not None and size > MAX_FILE_BYTES:
            raise TooLarge(f"a file may have at most {MAX_FILE_BYTES} bytes; this one declares {size}")
        return size

    def blocks(self) -> Iterator[bytes]:
        """The content. IncompleteBody, before its end, if its size is not the declared one; TooLarge if no file can be
        that large."""
        size = self.size
        read = 0
        while data := self.read(BLOCK_BYTES):
            read += len(data)
            if read > MAX_FILE_BYTES:
                raise TooLarge(f"a file may have at most {MAX_FILE_BYTES} bytes; nothing was stored")
            if size is not None and read > size:
                raise IncompleteBody(f"the body is longer than the {size} bytes declared; nothing was stored")
            yield data
        if size is not None and read != size:
            raise IncompleteBody(f"the body ended after {read} of {size} declared bytes; nothing was stored")
