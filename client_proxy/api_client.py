"""A person's client of one proxy's HTTPS API: one typed method for each thing that can be asked.

Answers are decoded with the same shapes the programs use (`wire.messages`), refusals come back as the classes of
`wire.errors`. Moving whole files well (deltas, resuming, trees) is left to `client_proxy.transfers`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
import requests

from client_proxy.api_transport import ApiTransport, Body, body_blocks
from wire.account_messages import AccountInfo, ApiKeyInfo, ApiKeysReply, LoginReply
from wire.chunk_stream import CONTENT_TYPE as CHUNK_STREAM
from wire.cluster_messages import ClusterReply, EnrolReply, EnrolRequest, Health, JoinSecretReply
from wire.codec import decoder
from wire.digest import Digest
from wire.errors import BadRequest, LockstepError, NotFound
from wire.lock_messages import AcquireReply, LockInfo, LockPath, LocksReply
from wire.manifest import Manifest
from wire.messages import (
    MAX_LISTING,
    BucketInfo,
    BucketsReply,
    CommittedReply,
    DeleteReply,
    FileVersion,
    ListReply,
    Versioning,
    VersionsReply,
)
from wire.names import check_bucket, check_path

T = TypeVar("T")
UPLOAD_SECONDS = 600.0
POLL_MARGIN_SECONDS = 20.0
_NO_FILE_TYPE = "application/octet-stream"


@dataclass(frozen=True)
class ClientReceipt:
    """The receipt headers of one answer. `copies` is as the proxy words it, such as "2/2 fsynced"."""

    digest: Digest | None
    version: str
    cursor: int
    cache: str = ""
    copies: str = ""
    file_server: str = ""
    lock_holder: str = ""
    request_id: str = ""


@dataclass(frozen=True)
class RemoteFile:
    """What is known of one version of a path without reading it. `size` in bytes."""

    bucket: str
    path: str
    digest: Digest
    version: str
    size: int
    content_type: str
    receipt: ClientReceipt


@dataclass(frozen=True)
class WriteOptions:
    """What a write is made under. `if_match` are digests in hex, or "*"; `if_none_match` is "*" or nothing."""

    lock_number: int | None = None
    release_lock: bool = False
    if_match: str = ""
    if_none_match: str = ""
    content_type: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    def headers(self) -> dict[str, str]:
        sent = {f"X-Lockstep-Meta-{name}": value for name, value in self.metadata.items()}
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
    """An answer's body under way: iterate `blocks()`, then close it (or use it as a context)."""

    def __init__(self, response: requests.Response, url: str) -> None:
        self._response = response
        self._url = url
        self.receipt = receipt_of(response)
        self.length = int(response.headers.get("Content-Length", 0))

    def blocks(self) -> Iterator[bytes]:
        """The bytes, at most 1 MiB at a time; PeerUnreachable when they end before the declared length."""
        return body_blocks(self._response, self._url)

    def close(self) -> None:
        self._response.close()

    def __enter__(self) -> Download:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


class ApiClient:
    """Everything a person can ask of the proxy at `transport.url`. Safe to use from several threads."""

    def __init__(self, transport: ApiTransport) -> None:
        self.transport = transport

    @property
    def url(self) -> str:
        return self.transport.url

    # ------------------------------------------------------------ people

    def login(self, username: str, password: str, *, register: bool = False) -> LoginReply:
        """Log in and use the token from here on. A new name makes an account; `register` insists on a new name."""
        address = "/api/v1/auth/register" if register else "/api/v1/auth/login"
        body = {"username": username, "password": password}
        reply = self._ask(LoginReply, "POST", address, message=body)
        if reply.token:
            self.transport.credential = reply.token
        elif register:
            return self.login(username, password)
        return reply

    def logout(self) -> None:
        """End this log-in's token at the cluster, and forget it."""
        self.transport.request("POST", "/api/v1/auth/logout", message={}, repeatable=True)
        self.transport.credential = ""

    def me(self) -> AccountInfo:
        return self._ask(AccountInfo, "GET", "/api/v1/auth/me")

    def api_keys(self) -> list[ApiKeyInfo]:
        return self._ask(ApiKeysReply, "GET", "/api/v1/auth/keys").keys

    def create_key(self, name: str) -> ApiKeyInfo:
        return self._ask(ApiKeyInfo, "POST", "/api/v1/auth/keys", message={"name": name})

    def revoke_key(self, key_id: str) -> None:
        self.transport.request("DELETE", f"/api/v1/auth/keys/{_segment(key_id)}", repeatable=True)

    # ------------------------------------------------------------ buckets

    def buckets(self) -> list[BucketInfo]:
        return self._ask(BucketsReply, "GET", "/api/v1/buckets").buckets

    def bucket(self, name: str) -> BucketInfo:
        return self._ask(BucketInfo, "GET", f"/api/v1/buckets/{check_bucket(name)}")

    def create_bucket(self, name: str, versioning: Versioning = "enabled", *, shared: bool = False) -> BucketInfo:
        message = {"name": check_bucket(name), "versioning": versioning, "shared": shared}
        return self._ask(BucketInfo, "POST", "/api/v1/buckets", message=message)

    def change_bucket(self, name: str, versioning: Versioning | None = None, shared: bool | None = None) -> BucketInfo:
        wanted = {"versioning": versioning, "shared": shared}
        message = {key: value for key, value in wanted.items() if value is not None}
        return self._ask(BucketInfo, "PATCH", f"/api/v1/buckets/{check_bucket(name)}", message=message, repeatable=True)

    def delete_bucket(self, name: str) -> None:
        self.transport.request("DELETE", f"/api/v1/buckets/{check_bucket(name)}")

    # ------------------------------------------------------------ files

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
            response = self.transport.request("HEAD", _file(bucket, path), params=_version(version))
        except NotFound as error:
            named = f" in version {version}" if version else ""
            raise NotFound(f"{label(bucket, path)} does not exist{named}", **error.facts) from error
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
            "GET", _file(bucket, path), params=_version(version), headers=headers, stream=True
        )
        if "Range" in headers and response.status_code != 206:
            response.close()
            raise BadRequest(f"{self.url} ignored the range that was asked for: it is not a Lockstep proxy")
        return Download(response, self.url)

    def manifest(self, bucket: str, path: str, version: str | None = None) -> Manifest:
        """The chunks of a version; checked against the digest that the answer's receipt states."""
        address = f"/api/v1/manifests/{check_bucket(bucket)}/{_quoted(check_path(path))}"
        response = self.transport.request("GET", address, params=_version(version))
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
            "DELETE", _file(bucket, path), params=_version(version), headers=options.headers()
        )
        if response.content:
            return _decode(DeleteReply, response, self.url)
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
        reply = self._ask(VersionsReply, "GET", f"/api/v1/versions/{check_bucket(bucket)}/{_quoted(check_path(path))}")
        return reply.versions

    def restore(self, bucket: str, path: str, version: str, lock_number: int | None = None) -> Saved:
        """Make an old version's content the current one again, as a new version."""
        address = f"/api/v1/versions/{check_bucket(bucket)}/{_quoted(check_path(path))}/restore"
        message: dict[str, Any] = {"version": version}
        if lock_number is not None:
            message["lock_number"] = lock_number
        headers = WriteOptions(lock_number=lock_number).headers()
        return self._saved(self.transport.request("POST", address, message=message, headers=headers))

    # ------------------------------------------------------------ locks

    def acquire(
        self,
        paths: list[LockPath],
        *,
        request_id: str,
        wait_seconds: float = 0.0,
        lease_seconds: float = 60.0,
        queue: bool = False,
        client: str = "",
    ) -> AcquireReply:
        """Ask for all of `paths` at once. Repeating it with the same `request_id` keeps the place in line."""
        message = {
            "paths": [{"bucket": path.bucket, "path": path.path} for path in paths],
            "wait_seconds": wait_seconds,
            "lease_seconds": lease_seconds,
            "queue": queue,
            "client": client,
            "request_id": request_id,
        }
        patience = wait_seconds + POLL_MARGIN_SECONDS
        return self._ask(AcquireReply, "POST", "/api/v1/locks", message=message, read_seconds=patience, repeatable=True)

    def renew(self, lock_id: str, lease_seconds: float) -> LockInfo:
        address = f"/api/v1/locks/{_segment(lock_id)}"
        message = {"lease_seconds": lease_seconds}
        return self._ask(LockInfo, "PUT", address, message=message, read_seconds=POLL_MARGIN_SECONDS)

    def release(self, lock_id: str, *, break_lock: bool = False) -> None:
        """Release a lock or give up a place in line; `break_lock` takes it from someone else (administrators)."""
        params = {"break": "true"} if break_lock else {}
        self.transport.request("DELETE", f"/api/v1/locks/{_segment(lock_id)}", params=params, repeatable=True)

    def locks(self) -> LocksReply:
        return self._ask(LocksReply, "GET", "/api/v1/locks")

    # ------------------------------------------------------------ the cluster

    def health(self) -> Health:
        """The proxy's own health; needs no log-in. Unavailable when it is not well."""
        return self._ask(Health, "GET", "/api/v1/health")

    def cluster(self) -> ClusterReply:
        return self._ask(ClusterReply, "GET", "/api/v1/cluster")

    def join_secret(self, valid_seconds: float) -> JoinSecretReply:
        return self._ask(
            JoinSecretReply, "POST", "/api/v1/cluster/join-secret", message={"valid_seconds": valid_seconds}
        )

    def enrol(self, request: EnrolRequest) -> EnrolReply:
        """Have a new program's certificate request signed; the secret inside vouches for it, no log-in is needed."""
        return self._ask(EnrolReply, "POST", "/api/v1/enrol", message=request)

    def close(self) -> None:
        self.transport.close()

    def _ask(self, kind: type[T], method: str, address: str, **arguments: Any) -> T:
        return _decode(kind, self.transport.request(method, address, **arguments), self.url)

    def _write(self, bucket: str, path: str, body: Body, headers: dict[str, str]) -> Saved:
        response = self.transport.request(
            "PUT", _file(bucket, path), headers=headers, body=body, read_seconds=UPLOAD_SECONDS
        )
        return self._saved(response)

    def _saved(self, response: requests.Response) -> Saved:
        reply = _decode(CommittedReply, response, self.url)
        return Saved(reply, receipt_of(response), created=response.status_code == 201)


def label(bucket: str, path: str) -> str:
    """How people write and read a remote name: `path` in the bucket `files`, otherwise `bucket:path`."""
    return path if bucket == "files" and ":" not in path else f"{bucket}:{path}"


def receipt_of(response: requests.Response) -> ClientReceipt:
    """The receipt headers of an answer; a header that is absent leaves its field empty."""
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
        lock_holder=headers.get("X-Lockstep-Lock-Holder", ""),
        request_id=headers.get("X-Request-Id", ""),
    )


def _decode(kind: type[T], response: requests.Response, url: str) -> T:
    try:
        return decoder(kind).decode(response.content)
    except (msgspec.DecodeError, LockstepError) as error:
        raise BadRequest(
            f"{url} answered in an unknown form ({error}): update the older of the two programs"
        ) from error


def _file(bucket: str, path: str) -> str:
    return f"/api/v1/files/{check_bucket(bucket)}/{_quoted(check_path(path))}"


def _quoted(path: str) -> str:
    return quote(path, safe="/~")


def _segment(text: str) -> str:
    return quote(text, safe="")


def _version(version: str | None) -> dict[str, str]:
    return {"version": version} if version else {}
