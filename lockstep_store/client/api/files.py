"""The calls about files and their versions. See `lockstep_store.client.api.calls`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lockstep_store.client.api.answers import (
    UNCONDITIONAL,
    Download,
    Lockable,
    RemoteFile,
    Saved,
    WriteOptions,
    label,
    number_of,
    receipt_of,
)
from lockstep_store.client.api.body import Body
from lockstep_store.client.api.caller import ApiCaller, decoded, file_address, quoted, version_argument
from lockstep_store.wire.chunk_stream import CONTENT_TYPE as CHUNK_STREAM
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import BadRequest, NotFound
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages.base import MAX_LISTING
from lockstep_store.wire.messages.files import CommittedReply, DeleteReply, FileVersion, ListReply, VersionsReply
from lockstep_store.wire.names import FILES_BUCKET, check_bucket, check_path

if TYPE_CHECKING:
    import requests

UPLOAD_SECONDS = 600.0
_NO_FILE_TYPE = "application/octet-stream"

Versions = list[FileVersion]
"""Its own name, because `list` is a method below."""


class FileCalls(ApiCaller):
    """Read, write, list, copy and restore. The default `bucket` is `files`, which all accounts share."""

    upload_seconds = UPLOAD_SECONDS
    """How long a write's reply may take after its last byte was sent."""

    def list_page(
        self,
        prefix: str = "",
        *,
        bucket: str = FILES_BUCKET,
        delimiter: str = "",
        limit: int = MAX_LISTING,
        cursor: str = "",
    ) -> ListReply:
        """Return one page in path order; its `next_after` is the next page's `cursor`.

        With `delimiter="/"` folders below `prefix` count as one entry each, in `prefixes`.
        """
        params = {"prefix": prefix, "delimiter": delimiter, "limit": str(limit), "cursor": cursor}
        given = {key: value for key, value in params.items() if value}
        return self._ask(ListReply, "GET", f"/api/v1/files/{check_bucket(bucket)}", params=given)

    def list_pages(self, prefix: str = "", *, bucket: str = FILES_BUCKET, delimiter: str = "") -> Iterator[ListReply]:
        """Yield every page; each is fetched when it is needed."""
        cursor: str | None = ""
        while cursor is not None:
            page = self.list_page(prefix, bucket=bucket, delimiter=delimiter, cursor=cursor)
            yield page
            cursor = page.next_after

    def list(self, prefix: str = "", *, bucket: str = FILES_BUCKET) -> Iterator[FileVersion]:
        """Yield every current file whose path begins with `prefix`, in path order."""
        for page in self.list_pages(prefix, bucket=bucket):
            yield from page.files

    def stat(self, path: str, *, bucket: str = FILES_BUCKET, version: str | None = None) -> RemoteFile:
        """Return size, digest and version of the current (or the named) version; NotFound if there is none."""
        try:
            response = self.transport.request("HEAD", file_address(bucket, path), params=version_argument(version))
        except NotFound as error:
            named = f" in version {version}" if version else ""
            raise NotFound(f"{label(bucket, path)} does not exist{named}", **error.facts) from error
        except BadRequest:
            self.open(path, bucket=bucket, version=version).close()  # refused too, and a GET has a body to say why
            raise
        receipt = receipt_of(response)
        if receipt.digest is None:
            raise BadRequest(f"{self.url} replied without a digest: it is not a Lockstep proxy of this version")
        return RemoteFile(
            bucket,
            path,
            receipt.digest,
            receipt.version,
            int(response.headers.get("Content-Length", 0)),
            response.headers.get("Content-Type", ""),
            receipt,
        )

    def stat_or_none(self, path: str, *, bucket: str = FILES_BUCKET) -> RemoteFile | None:
        """Return what `stat` does, or None when the path has no current version."""
        try:
            return self.stat(path, bucket=bucket)
        except NotFound:
            return None

    def open(
        self,
        path: str,
        *,
        bucket: str = FILES_BUCKET,
        version: str | None = None,
        start: int = 0,
        stop: int | None = None,
        if_match: Digest | None = None,
        if_none_match: Digest | None = None,
    ) -> Download:
        """Open bytes [start, stop) of a version as a stream; close it, or use it as a context.

        Raises NotFound, PreconditionFailed when the content is no longer `if_match`, and NotModified when it still is
        `if_none_match`.
        """
        headers = {}
        if start or stop is not None:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        if if_match is not None:
            headers["If-Match"] = f'"{if_match}"'
        if if_none_match is not None:
            headers["If-None-Match"] = f'"{if_none_match}"'
        response = self.transport.request(
            "GET", file_address(bucket, path), params=version_argument(version), headers=headers, stream=True
        )
        if "Range" in headers and response.status_code != 206:
            response.close()
            raise BadRequest(f"{self.url} ignored the requested range: it is not a Lockstep proxy")
        return Download(response, self.url)

    def manifest(self, path: str, *, bucket: str = FILES_BUCKET, version: str | None = None) -> Manifest:
        """Return the chunks of a version, checked against the digest in the reply's receipt."""
        address = f"/api/v1/manifests/{check_bucket(bucket)}/{quoted(check_path(path))}"
        response = self.transport.request("GET", address, params=version_argument(version))
        return Manifest.decode(response.content, receipt_of(response).digest)

    def put_body(
        self, path: str, body: Body, options: WriteOptions = UNCONDITIONAL, *, bucket: str = FILES_BUCKET
    ) -> Saved:
        """Write plain bytes. The body is sent once; a lost connection raises PeerUnreachable."""
        headers = {**options.headers(), "Content-Type": options.content_type or _NO_FILE_TYPE}
        return self._write(bucket, path, body, headers)

    def put_chunks(
        self,
        path: str,
        body: Body,
        options: WriteOptions = UNCONDITIONAL,
        *,
        bucket: str = FILES_BUCKET,
        digest: Digest | None = None,
        size: int | None = None,
        base_version: str = "",
    ) -> Saved:
        """Write a chunk stream (`wire.chunk_stream`); MissingChunks names the chunks to send with their bytes.

        Left-out chunks may be those of the current version, of `base_version`, or of an interrupted upload.
        """
        headers = {**options.headers(), "Content-Type": CHUNK_STREAM}
        if options.content_type:
            headers["X-Lockstep-Content-Type"] = options.content_type
        if digest is not None:
            headers["X-Lockstep-Digest"] = str(digest)
        if size is not None:
            headers["X-Lockstep-Size"] = str(size)
        if base_version:
            headers["X-Lockstep-Base-Version"] = base_version
        return self._write(bucket, path, body, headers)

    def delete(
        self,
        path: str,
        *,
        bucket: str = FILES_BUCKET,
        version: str | None = None,
        lock: Lockable = None,
        if_match: Digest | str = "",
    ) -> DeleteReply:
        """Delete the file; in a bucket with versioning, its versions remain. With `version`, remove exactly that one.

        Raises NotFound, Locked, LockStale, and PreconditionFailed when the content is no longer `if_match`.
        """
        options = WriteOptions(lock_number=number_of(lock), if_match=str(if_match))
        response = self.transport.request(
            "DELETE", file_address(bucket, path), params=version_argument(version), headers=options.headers()
        )
        if response.content:
            return decoded(DeleteReply, response, self.url)
        receipt = receipt_of(response)
        return DeleteReply(cursor=receipt.cursor, existed=True, version=receipt.version or None)

    def copy(
        self,
        source: str,
        target: str,
        *,
        bucket: str = FILES_BUCKET,
        to_bucket: str | None = None,
        version: str | None = None,
        lock: Lockable = None,
    ) -> Saved:
        """Copy `source` (or its `version`) to `target` within the cluster, without transferring content.

        `to_bucket` is the target's bucket, by default the source's. `lock` is the target's lock.
        """
        origin: dict[str, Any] = {"bucket": check_bucket(bucket), "path": check_path(source)}
        if version:
            origin["version"] = version
        return self._copy(origin, (to_bucket or bucket, target), move=False, lock_number=number_of(lock))

    def move(
        self,
        source: str,
        target: str,
        *,
        bucket: str = FILES_BUCKET,
        to_bucket: str | None = None,
        lock: Lockable = None,
        source_lock: Lockable = None,
    ) -> Saved:
        """Move `source` to `target` in one commit, without transferring content. `lock` is the target's lock."""
        origin = {"bucket": check_bucket(bucket), "path": check_path(source)}
        numbers = {"lock_number": number_of(lock), "source_lock_number": number_of(source_lock)}
        return self._copy(origin, (to_bucket or bucket, target), move=True, **numbers)

    def _copy(self, origin: dict[str, Any], target: tuple[str, str], *, move: bool, **numbers: int | None) -> Saved:
        message = {"source": origin, "bucket": check_bucket(target[0]), "path": check_path(target[1]), "move": move}
        message.update({key: value for key, value in numbers.items() if value is not None})
        return self._saved(self.transport.request("POST", "/api/v1/copy", message=message))

    def versions(self, path: str, *, bucket: str = FILES_BUCKET) -> Versions:
        """Return all versions of a path, newest first, including delete markers."""
        address = f"/api/v1/versions/{check_bucket(bucket)}/{quoted(check_path(path))}"
        reply = self._ask(VersionsReply, "GET", address)
        found = reply.versions
        while reply.next_after is not None:
            reply = self._ask(VersionsReply, "GET", address, params={"cursor": reply.next_after[1]})
            found += reply.versions
        return found

    def restore(self, path: str, version: str, *, bucket: str = FILES_BUCKET, lock: Lockable = None) -> Saved:
        """Restore an old version, as a new version."""
        lock_number = number_of(lock)
        address = f"/api/v1/versions/{check_bucket(bucket)}/{quoted(check_path(path))}/restore"
        message: dict[str, Any] = {"version": version}
        if lock_number is not None:
            message["lock_number"] = lock_number
        headers = WriteOptions(lock_number=lock_number).headers()
        return self._saved(self.transport.request("POST", address, message=message, headers=headers))

    def _write(self, bucket: str, path: str, body: Body, headers: dict[str, str]) -> Saved:
        response = self.transport.request(
            "PUT", file_address(bucket, path), headers=headers, body=body, read_seconds=self.upload_seconds
        )
        return self._saved(response)

    def _saved(self, response: requests.Response) -> Saved:
        reply = decoded(CommittedReply, response, self.url)
        return Saved(reply, receipt_of(response), created=response.status_code == 201)
