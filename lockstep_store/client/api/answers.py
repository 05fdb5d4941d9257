"""The replies of a proxy as values: receipts, versions, open downloads, committed writes.

`lockstep_store.client.api.calls` makes the requests.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import LockstepError
from lockstep_store.wire.messages.files import CommittedReply, FileVersion

if TYPE_CHECKING:
    import requests


@dataclass(frozen=True)
class ClientReceipt:
    """The receipt headers of one reply. `copies` is the proxy's text, such as "2/2 fsynced"."""

    digest: Digest | None
    version: str
    cursor: int
    cache: str = ""
    copies: str = ""
    file_server: str = ""
    request_id: str = ""


@dataclass(frozen=True)
class RemoteFile:
    """One version of a path, without its content. `size` is in bytes."""

    bucket: str
    path: str
    digest: Digest
    version: str
    size: int
    content_type: str
    receipt: ClientReceipt


@dataclass(frozen=True)
class WriteOptions:
    """Lock, conditions and metadata of a write. `if_match`: a digest in hex or "*"; `if_none_match`: "*" or empty."""

    lock_number: int | None = None
    release_lock: bool = False
    if_match: str = ""
    if_none_match: str = ""
    content_type: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    def headers(self) -> dict[str, str]:
        sent = {"X-Lockstep-Metadata": json.dumps(dict(self.metadata))} if self.metadata else {}
        if self.lock_number is not None:
            sent["X-Lockstep-Lock"] = str(self.lock_number)
        if self.release_lock:
            sent["X-Lockstep-Release-Lock"] = "true"
        if self.if_match:
            sent["If-Match"] = self.if_match if self.if_match == "*" else f'"{self.if_match}"'
        if self.if_none_match:
            sent["If-None-Match"] = self.if_none_match
        return sent


UNCONDITIONAL = WriteOptions()


class HasLockNumber(Protocol):
    """Anything with a lock number: a held lock, or the cluster's description of one."""

    @property
    def number(self) -> int: ...


Lockable = HasLockNumber | int | None
"""The lock that a write is made under: what `client.lock` returned, a lock number, or None."""


def number_of(lock: Lockable) -> int | None:
    """Return the lock number that a request carries."""
    return lock if lock is None or isinstance(lock, int) else lock.number


@dataclass(frozen=True)
class Saved:
    """A committed write: the version made, and its receipt. `created`: the path had no current version before."""

    reply: CommittedReply
    receipt: ClientReceipt
    created: bool = False

    @property
    def version(self) -> FileVersion:
        return self.reply.version


class Download:
    """A reply's body while it arrives: iterate it, then close it, or use it as a context. `length` is in bytes."""

    def __init__(self, response: requests.Response, url: str) -> None:
        self._response = response
        self._url = url
        self.receipt = receipt_of(response)
        self.length = int(response.headers.get("Content-Length", 0))

    def blocks(self) -> Iterator[bytes]:
        """The bytes, at most 1 MiB at a time; PeerUnreachable when they end before the declared length."""
        from lockstep_store.client.api.transport import body_blocks

        return body_blocks(self._response, self._url)

    def __iter__(self) -> Iterator[bytes]:
        return self.blocks()

    def close(self) -> None:
        """Return the connection to its pool. Safe to repeat."""
        self._response.close()

    def __enter__(self) -> Download:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def label(bucket: str, path: str) -> str:
    """Return a remote name as people type it: `path` in the bucket `files`, otherwise `bucket:path`."""
    return path if bucket == "files" and ":" not in path else f"{bucket}:{path}"


def receipt_of(response: requests.Response) -> ClientReceipt:
    """Return the receipt headers of a reply; an absent header leaves its field empty."""
    headers = response.headers
    digest = None
    with contextlib.suppress(LockstepError):
        digest = Digest.parse(headers.get("X-Lockstep-Digest", ""))
    cursor = headers.get("X-Lockstep-Cursor", "0")
    return ClientReceipt(
        digest=digest,
        version=headers.get("X-Lockstep-Version", ""),
        cursor=int(cursor) if cursor.isdecimal() else 0,
        cache=headers.get("X-Lockstep-Cache", ""),
        copies=headers.get("X-Lockstep-Copies", ""),
        file_server=headers.get("X-Lockstep-File-Server", ""),
        request_id=headers.get("X-Request-Id", ""),
    )
