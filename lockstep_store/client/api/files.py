"""The calls about files and their versions. See `lockstep_store.client.api.client`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import requests

from lockstep_store.client.api.answers import (
    UNCONDITIONAL,
    Download,
    RemoteFile,
    Saved,
    WriteOptions,
    label,
    receipt_of,
)
from lockstep_store.client.api.call import ApiCaller, decoded, file_address, quoted, version_argument
from lockstep_store.client.api.transport import Body
from lockstep_store.wire.chunk_stream import CONTENT_TYPE as CHUNK_STREAM
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadRequest, NotFound
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.files import (
    MAX_LISTING,
    CommittedReply,
    DeleteReply,
    FileVersion,
    ListReply,
    VersionsReply,
)
from lockstep_store.wire.names import check_bucket, check_path

UPLOAD_SECONDS = 600.0
_NO_FILE_TYPE = "application/octet-stream"


class FileCalls(ApiCaller):
    """Reading, writing, listing, and what became of a file over time."""

    def list_page(
        self, bucket: str, prefix: str = "", delimiter: str = "", limit: int = MAX_LISTING, cursor: str = ""
    ) -> ListReply:
        """One page in path order; its `next_after` is the next page's `cursor`."""
        params = {"prefix": prefix, "delimiter": delimiter, "limit": str(limit), "cursor": cursor}
        given = {key: value for key, value in params.items() if value}
        return self._ask(ListReply, "GET", f"/api/v1/files/{check_bucket(bucket)}", params=given)

    def list_pages(self, bucket: str, prefix: str = "", delimiter: str = "") -> Iterator[ListReply]:
        """Every page, asked for one at a time."""
        cursor: str | None = ""
        while cursor is not None:
            page = self.list_page(bucket, prefix, delimiter, cursor=cursor)
            yield page
            cursor = page.next_after

    def list_files(self, bucket: str, prefix: str = "") -> Iterator[FileVersion]:
        """Every current file whose path begins with `prefix`, in path order."""
        for page in self.list_pages(bucket, prefix):
            yield from page.files

    def stat(self, bucket: str, path: str, version: str | None = None) -> RemoteFile:
        """The current (or the named) version's facts; NotFound when there is none."""
        try:
            response = self.transport.request("HEAD", file_address(bucket, path), params=version_argument(version))
        except NotFound as error:
            named = f" in version {version}" if version else ""
            raise NotFound(f"{label(bucket, path)} does not exist{named}", **error.facts) from error
        except BadRequest:
            self.open(bucket, path, version).close()  # refused too, and an answer to GET can say why
            raise
        receipt = receipt_of(response)
        if receipt.digest is None:
            raise BadRequest(f"{self.url} answered without a digest: it is not a Lockstep proxy of this version")
        return RemoteFile(
            bucket,
            path,
            receipt.digest,
            receipt.version,
            int(response.headers.get("Content-Length", 0)),
            response.headers.get("Content-Type", ""),
            receipt,
        )

    def stat_or_none(self, bucket: str, path: str) -> RemoteFile | None:
        """`stat`, or None when the path has no current version."""
        try:
            return self.stat(bucket, path)
        except NotFound:
            return None

    def open(
        self,
        bucket: str,
        path: str,
        version: str | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        if_match: Digest | None = None,
    ) -> Download:
        """Bytes [start, stop) of a version, in bytes; PreconditionFailed when it is no longer `if_match`."""
        headers = {}
        if start or stop is not None:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        if if_match is not None:
            headers["If-Match"] = f'"{if_match}"'
        response = self.transport.request(
            "GET", file_address(bucket, path), params=version_argument(version), headers=headers, stream=True
        )
        if "Range" in headers and response.status_code != 206:
            response.close()
            raise BadRequest(f"{self.url} ignored the range that was asked for: it is not a Lockstep proxy")
        return Download(response, self.url)

    def manifest(self, bucket: str, path: str, version: str | None = None) -> Manifest:
        """The chunks of a version; checked against the digest that the answer's receipt states."""
        address = f"/api/v1/manifests/{check_bucket(bucket)}/{quoted(check_path(path))}"
        response = self.transport.request("GET", address, params=version_argument(version))
        return Manifest.decode(response.content, receipt_of(response).digest)

    def put(self, bucket: str, path: str, body: Body, options: WriteOptions = UNCONDITIONAL) -> Saved:
        """Write plain bytes. The body is sent once; a cut connection raises PeerUnreachable."""
        headers = {**options.headers(), "Content-Type": options.content_type or _NO_FILE_TYPE}
        return self._write(bucket, path, body, headers)

    def put_chunks(
        self,
        bucket: str,
        path: str,
        body: Body,
        options: WriteOptions = UNCONDITIONAL,
        *,
        digest: Digest | None = None,
        size: int | None = None,
    ) -> Saved:
        """Write a chunk stream (`wire.chunk_stream`); MissingChunks names the chunks to send with their bytes."""
        headers = {**options.headers(), "Content-Type": CHUNK_STREAM}
        if options.content_type:
            headers["X-Lockstep-Content-Type"] = options.content_type
        if digest is not None:
            headers["X-Lockstep-Digest"] = str(digest)
        if size is not None:
            headers["X-Lockstep-Size"] = str(size)
        return self._write(bucket, path, body, headers)

    def delete(
        self, bucket: str, path: str, version: str | None = None, options: WriteOptions = UNCONDITIONAL
    ) -> DeleteReply:
        """Remove the current version (a delete marker where versions are kept), or exactly the named one."""
        response = self.transport.request(
            "DELETE", file_address(bucket, path), params=version_argument(version), headers=options.headers()
        )
        if response.content:
            return decoded(DeleteReply, response, self.url)
        receipt = receipt_of(response)
        return DeleteReply(cursor=receipt.cursor, existed=True, version=receipt.version or None)

    def copy(
        self,
        source: tuple[str, str],
        target: tuple[str, str],
        *,
        version: str | None = None,
        move: bool = False,
        lock_number: int | None = None,
        source_lock_number: int | None = None,
    ) -> Saved:
        """Copy or move (bucket, path) to (bucket, path) in the cluster; no bytes travel."""
        origin: dict[str, Any] = {"bucket": check_bucket(source[0]), "path": check_path(source[1])}
        if version:
            origin["version"] = version
        message: dict[str, Any] = {
            "source": origin,
            "bucket": check_bucket(target[0]),
            "path": check_path(target[1]),
        }
        message["move"] = move
        numbers = {"lock_number": lock_number, "source_lock_number": source_lock_number}
        message.update({key: value for key, value in numbers.items() if value is not None})
        response = self.transport.request("POST", "/api/v1/copy", message=message)
        return self._saved(response)

    def versions(self, bucket: str, path: str) -> list[FileVersion]:
        """Every kept version of a path, newest first; delete markers too."""
        address = f"/api/v1/versions/{check_bucket(bucket)}/{quoted(check_path(path))}"
        reply = self._ask(VersionsReply, "GET", address)
        found = reply.versions
        while reply.next_after is not None:
            reply = self._ask(VersionsReply, "GET", address, params={"cursor": reply.next_after[1]})
            found += reply.versions
        return found

    def restore(self, bucket: str, path: str, version: str, lock_number: int | None = None) -> Saved:
        """Make an old version's content the current one again, as a new version."""
        address = f"/api/v1/versions/{check_bucket(bucket)}/{quoted(check_path(path))}/restore"
        message: dict[str, Any] = {"version": version}
        if lock_number is not None:
            message["lock_number"] = lock_number
        headers = WriteOptions(lock_number=lock_number).headers()
        return self._saved(self.transport.request("POST", address, message=message, headers=headers))

    def _write(self, bucket: str, path: str, body: Body, headers: dict[str, str]) -> Saved:
        response = self.transport.request(
            "PUT", file_address(bucket, path), headers=headers, body=body, read_seconds=UPLOAD_SECONDS
        )
        return self._saved(response)

    def _saved(self, response: requests.Response) -> Saved:
        reply = decoded(CommittedReply, response, self.url)
        return Saved(reply, receipt_of(response), created=response.status_code == 201)
