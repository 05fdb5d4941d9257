"""The routes for files: list, read, write, delete, copy; and a file's manifest.

The file store verifies the bytes, and `lockstep_store.runtime.http.content` sends them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from client_proxy.core.open_file import OpenFile
from client_proxy.core.receipt import Receipt
from client_proxy.core.requests import Copy, Delete, Read, Write
from client_proxy.doors.rest.file_headers import (
    CHUNK_STREAM_TYPE,
    MANIFEST_TYPE,
    checked_metadata,
    given_content_type,
    given_metadata,
    version_headers,
)
from client_proxy.doors.rest.json_body import JsonBody, LockNumber
from client_proxy.doors.rest.reply import committed_reply, json_reply, receipt_headers
from client_proxy.doors.rest.request import RestRequest
from client_proxy.metrics import CONTENT_METRICS
from lockstep_store.runtime.http import conditions
from lockstep_store.runtime.http.api import RawReply
from lockstep_store.runtime.http.content import StreamedContent, content_body
from lockstep_store.wire.chunk_stream import StreamReader
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadRequest
from lockstep_store.wire.messages.base import MAX_LISTING, Bucket, PathText, Text
from lockstep_store.wire.messages.files import (
    CommittedReply,
    DeleteReply,
    ListReply,
    ListRequest,
    VersionsReply,
    VersionsRequest,
)
from lockstep_store.wire.names import MAX_PATH_BYTES, check_bucket, check_path


class CopySource(JsonBody):
    """The file to copy; without `version`, its current one."""

    bucket: Bucket
    path: PathText
    version: Text | None = None


class CopyBody(JsonBody):
    """Copy or move `source` to `bucket`/`path`. `content_type` and `metadata` replace the source's."""

    source: CopySource
    bucket: Bucket
    path: PathText
    move: bool = False
    lock_number: LockNumber | None = None
    """The lock held on the target, if any."""
    source_lock_number: LockNumber | None = None
    release_lock: bool = False
    content_type: Text | None = None
    metadata: dict[str, str] | None = None


class Files(Protocol):
    """The file store's calls for these routes; `client_proxy.file_store.FileStore` documents their promises."""

    def open(self, request: Read) -> OpenFile: ...
    def write(self, request: Write, blocks: Iterable[bytes]) -> CommittedReply: ...
    def write_chunks(self, request: Write, stream: StreamReader, announced: Digest | None = None) -> CommittedReply: ...
    def delete(self, request: Delete) -> DeleteReply: ...
    def copy(self, request: Copy) -> CommittedReply: ...
    def list(self, request: ListRequest) -> ListReply: ...
    def list_encoded(self, request: ListRequest) -> msgspec.Raw: ...
    def versions(self, request: VersionsRequest) -> VersionsReply: ...


class FileRoutes:
    """The routes below /files, /manifests and /copy."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def list_files(self, request: RestRequest) -> RawReply:
        """One page of a bucket."""
        page = self._files.list_encoded(
            ListRequest(
                request.access(),
                request.bucket(),
                prefix=request.argument("prefix", limit=MAX_PATH_BYTES),
                delimiter=request.argument("delimiter", limit=256),
                limit=request.number_argument("limit", MAX_LISTING, 1, MAX_LISTING),
                after=request.argument("cursor", limit=2 * MAX_PATH_BYTES),
            )
        )
        return json_reply(page)

    def read(self, request: RestRequest) -> RawReply:
        """GET and HEAD of a file."""
        opened = self._files.open(
            Read(request.access(), request.bucket(), request.file_path(), version=request.version())
        )
        body: list[bytes] | StreamedContent = []
        try:
            version, environ = opened.version, request.environ
            tag = version.digest.hex()
            headers = version_headers(version)
            if conditions.not_modified(environ, tag, version.created_at):
                return RawReply(304, [*headers, *_unread(opened)], [])
            if request.method == "HEAD":
                return RawReply(200, [*headers, ("Content-Length", str(version.size)), *_unread(opened)], [])
            status, start, stop, about_part = conditions.wanted_part(environ, tag, version.created_at, version.size)
            headers += about_part
            # Reading the first block of a stream changes what the receipt foresees.
            whole = request.may_send_whole(stop - start)
            receipt = None if whole else opened.receipt(start, stop)
            body = content_body(opened, start, stop, CONTENT_METRICS, whole=whole)
            headers += receipt_headers(receipt or opened.receipt(start, stop))
            return RawReply(status, headers, body)
        finally:
            if not isinstance(body, StreamedContent):
                opened.close()

    def write(self, request: RestRequest) -> RawReply:
        """PUT of a file: plain bytes, or a chunk stream."""
        streams_chunks = _media_type(request) == CHUNK_STREAM_TYPE
        if not streams_chunks and "HTTP_X_LOCKSTEP_DIGEST" in request.environ:
            raise BadRequest("X-Lockstep-Digest announces a chunk stream; plain bytes are sent without it")
        write = Write(
            request.access(),
            request.bucket(),
            request.file_path(),
            size=request.number_header("X-Lockstep-Size") if streams_chunks else request.declared_length(),
            lock_number=_lock_number(request),
            release_lock=_release_lock(request),
            preconditions=conditions.write_preconditions(request.environ),
            content_type=_content_type(request, streams_chunks),
            metadata=given_metadata(request.environ) or {},
            base_version=request.bounded("X-Lockstep-Base-Version") or None,
        )
        if not streams_chunks:
            return committed_reply(self._files.write(write, request.blocks()))
        announced = request.bounded("X-Lockstep-Digest")
        digest = Digest.parse(announced) if announced else None
        return committed_reply(self._files.write_chunks(write, StreamReader(request.read), digest))

    def delete(self, request: RestRequest) -> RawReply:
        """DELETE of a path, or of exactly one version."""
        deleted = self._files.delete(
            Delete(
                request.access(),
                request.bucket(),
                request.file_path(),
                version=request.version(),
                preconditions=conditions.write_preconditions(request.environ),
                lock_number=_lock_number(request),
                release_lock=_release_lock(request),
            )
        )
        headers = [("X-Lockstep-Cursor", str(deleted.cursor))]
        if deleted.version:
            headers.append(("X-Lockstep-Version", deleted.version))
        return json_reply(deleted, headers=headers)

    def copy(self, request: RestRequest) -> RawReply:
        """Copy or move within the cluster."""
        credential = request.access()
        body = request.message(CopyBody)
        committed = self._files.copy(
            Copy(
                credential,
                check_bucket(body.bucket),
                check_path(body.path),
                source_bucket=check_bucket(body.source.bucket),
                source_path=check_path(body.source.path),
                source_version=body.source.version,
                move=body.move,
                lock_number=body.lock_number,
                source_lock_number=body.source_lock_number,
                release_lock=body.release_lock,
                preconditions=conditions.write_preconditions(request.environ),
                content_type=None if body.content_type is None else given_content_type(body.content_type),
                metadata=checked_metadata(body.metadata),
            )
        )
        return committed_reply(committed)

    def manifest(self, request: RestRequest) -> RawReply:
        """A file's manifest in canonical form."""
        opened = self._files.open(
            Read(request.access(), request.bucket(), request.file_path(), version=request.version())
        )
        try:
            body = opened.manifest().encode()
            headers = [("Content-Type", MANIFEST_TYPE), ("Content-Length", str(len(body)))]
            return RawReply(200, [*headers, *_unread(opened)], [body])
        finally:
            opened.close()


def _unread(opened: OpenFile) -> list[tuple[str, str]]:
    """The receipt of a reply without content, whose source is not looked up."""
    version = opened.version
    return receipt_headers(Receipt(version.digest, version.version, opened.cursor, "", 0, "", opened.leased))


def _lock_number(request: RestRequest) -> int | None:
    return request.number_header("X-Lockstep-Lock")


def _release_lock(request: RestRequest) -> bool:
    return request.flag_header("X-Lockstep-Release-Lock")


def _content_type(request: RestRequest, streams_chunks: bool) -> str:
    """The content type of the file, not of the chunk stream."""
    given = request.bounded("X-Lockstep-Content-Type") if streams_chunks else request.environ.get("CONTENT_TYPE")
    return given_content_type(given or "")


def _media_type(request: RestRequest) -> str:
    given: str = request.environ.get("CONTENT_TYPE", "")
    return given.partition(";")[0].strip().lower()
