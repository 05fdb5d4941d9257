"""A whole cluster in memory behind the proxy's routes: files with versions, accounts, buckets, locks with a queue.

It keeps what the people's programs are tested for (a lock number that is checked, versions, chunks that are missing)
and nothing else. `calls` counts what was asked; `content_bytes` the bytes of content that travelled to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from client_proxy.core.receipt import Receipt
from client_proxy.core.requests import Copy, Delete, Read, Write
from lockstep_store.wire.chunk_stream import StreamReader
from lockstep_store.wire.chunking import chunk_blocks, chunk_bytes
from lockstep_store.wire.codec import Call, encode
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.errors import (
    AlreadyExists,
    BucketNotEmpty,
    Conflict,
    Forbidden,
    MissingChunks,
    NotFound,
    PreconditionFailed,
)
from lockstep_store.wire.manifest import Manifest
from lockstep_store.wire.messages import cluster as cm
from lockstep_store.wire.messages import files as m
from lockstep_store.wire.messages import journal as jm
from lockstep_store.wire.messages import s3 as s3
from lockstep_store.wire.messages.base import CredentialRequest, Nothing
from lockstep_store.wire.messages.buckets import (
    BucketInfo,
    BucketRequest,
    BucketsReply,
    BucketsRequest,
    ChangeBucketRequest,
    CreateBucketRequest,
)
from tests.fakes.people_accounts import ADMIN
from tests.fakes.people_analytics import AnalyticsCore
from tests.fakes.people_facts import FactsCore
from tests.fakes.people_locks import LocksCore
from tests.fakes.people_operating import OperatingCore
from tests.fakes.people_search import SearchCore
from tests.fakes.people_shares import SharesCore


class PeopleCore(LocksCore, SharesCore, OperatingCore, FactsCore, AnalyticsCore, SearchCore):
    """Implements `Files` (the file store) and `Directory` (its client) as far as the routes use them."""

    def __init__(self) -> None:
        super().__init__()
        self.buckets = {"files": BucketInfo("files", ADMIN, "enabled", True, 0.0)}
        self.chunks: dict[Digest, bytes] = {}
        self.manifests: dict[Digest, Manifest] = {}
        self.history: dict[tuple[str, str], list[m.FileVersion]] = {}
        self.cursor = 0
        self.content_bytes = 0
        self.before_commit: Callable[[], None] = lambda: None
        self.enrol_reply: Callable[[cm.EnrolRequest], cm.EnrolReply] | None = None
        self.ca_pem = ""
        self.directory_url = "https://dir.example:5050"

    # ------------------------------------------------------------ what tests look at

    def content(self, path: str, bucket: str = "files") -> bytes | None:
        """Return the current content, or None."""
        versions = self.history.get((bucket, path))
        if not versions or versions[-1].delete_marker:
            return None
        return self._bytes(versions[-1].digest)

    def save(self, path: str, data: bytes, author: str = "seed", bucket: str = "files") -> m.FileVersion:
        """Write a content as another person does."""
        with self._guard:
            chunks = list(chunk_bytes(data))
            self.chunks |= {chunk.digest: bytes(chunk.data or b"") for chunk in chunks}
            manifest = Manifest((chunk.digest, chunk.length) for chunk in chunks)
            return self._commit(author, bucket, path, manifest)

    # ------------------------------------------------------------ Files

    def open(self, request: Read) -> OpenContent:
        with self._guard:
            self._who(request.credential, "open")
            versions = self.history.get((request.bucket, request.path), [])
            found = [one for one in versions if request.version in (None, one.version)][-1:]
            if not found or found[0].delete_marker:
                raise NotFound(f"{request.path!r} does not exist in bucket {request.bucket!r}")
            return OpenContent(self, found[0])

    def write(self, request: Write, blocks: Iterable[bytes]) -> m.CommittedReply:
        account = self._who(request.credential, "write")
        self._check_lock(account, request.bucket, request.path, request.lock_number)
        sent: list[tuple[Digest, int]] = []
        for chunk in chunk_blocks(blocks):
            self._keep(chunk.digest, bytes(chunk.data or b""))
            sent.append((chunk.digest, chunk.length))
        return self._committed(account, request, Manifest(sent))

    def write_chunks(self, request: Write, stream: StreamReader, announced: Digest | None = None) -> m.CommittedReply:
        account = self._who(request.credential, "write_chunks")
        self._check_lock(account, request.bucket, request.path, request.lock_number)
        missing = []
        for chunk in stream:
            if chunk.data is not None:
                self._keep(chunk.digest, bytes(chunk.data))
            elif chunk.digest not in self.chunks:
                missing.append(str(chunk.digest))
        if missing:
            raise MissingChunks(f"{len(missing)} chunks are needed", digests=missing)
        return self._committed(account, request, stream.manifest)

    def delete(self, request: Delete) -> m.DeleteReply:
        with self._guard:
            account = self._who(request.credential, "delete")
            self._check_lock(account, request.bucket, request.path, request.lock_number)
            versions = self.history.get((request.bucket, request.path), [])
            if request.version:
                kept = [one for one in versions if one.version != request.version]
                self.history[request.bucket, request.path] = kept
                return m.DeleteReply(self.cursor, len(kept) < len(versions), request.version)
            if not versions or versions[-1].delete_marker:
                return m.DeleteReply(cursor=self.cursor, existed=False)
            marker = self._commit(account, request.bucket, request.path, Manifest([]), delete_marker=True)
            return m.DeleteReply(self.cursor, True, marker.version, True)

    def copy(self, request: Copy) -> m.CommittedReply:
        with self._guard:
            account = self._who(request.credential, "copy")
            read = Read(request.credential, request.source_bucket, request.source_path, version=request.source_version)
            source = self.open(read)
            if request.move:
                self._check_lock(account, request.source_bucket, request.source_path, request.source_lock_number)
            self._check_lock(account, request.bucket, request.path, request.lock_number)
            kept = source.version
            request = msgspec.structs.replace(
                request,
                content_type=kept.content_type if request.content_type is None else request.content_type,
                metadata=kept.metadata if request.metadata is None else request.metadata,
            )
            reply = self._committed(account, request, source.manifest())
            if request.move:
                self._commit(account, request.source_bucket, request.source_path, Manifest([]), delete_marker=True)
            return reply

    def list_encoded(self, request: m.ListRequest) -> msgspec.Raw:
        return msgspec.Raw(encode(self.list(request)))

    def list(self, request: m.ListRequest) -> m.ListReply:
        with self._guard:
            self._who(request.credential, "list")
            prefix, delimiter, after = request.prefix, request.delimiter, request.after
            files: list[m.FileVersion] = []
            prefixes: list[str] = []
            for (in_bucket, path), versions in sorted(self.history.items()):
                if (
                    in_bucket != request.bucket
                    or not path.startswith(prefix)
                    or not versions
                    or versions[-1].delete_marker
                ):
                    continue
                head, cut, _ = path[len(prefix) :].partition(delimiter) if delimiter else (path, "", "")
                entry = prefix + head + cut if cut else path
                if entry <= after or entry in prefixes:
                    continue
                if len(files) + len(prefixes) == request.limit:
                    last = max([*prefixes, *(file.path for file in files)])
                    return m.ListReply(files, prefixes, last, self.cursor)
                if cut:
                    prefixes.append(entry)
                else:
                    files.append(versions[-1])
            return m.ListReply(files, prefixes, None, self.cursor)

    def versions(self, request: m.VersionsRequest) -> m.VersionsReply:
        with self._guard:
            self._who(request.credential, "versions")
            found = list(reversed(self.history.get((request.bucket, request.path or ""), [])))
            for index, version in enumerate(found):
                version.current = index == 0
            if request.after is not None:
                found = found[[one.version for one in found].index(request.after[1]) + 1 :]
            page = found[: request.limit]
            last = page[-1] if len(page) < len(found) else None
            return m.VersionsReply(versions=page, next_after=(last.path, last.version) if last else None)

    # ------------------------------------------------------------ Directory

    def bucket_life(self, bucket: str) -> int:
        return 0

    def call(self, call: Call[Any, Any], request: Any) -> Any:
        """Answer a declared call by the method named after its path: /v1/locks/acquire is `_locks_acquire`."""
        name = call.path.removeprefix("/v1/").replace("/", "_").replace("-", "_")
        return getattr(self, f"_{name}")(request)

    def _list(self, request: m.ListRequest) -> m.ListReply:
        return self.list(request)

    def _buckets(self, request: BucketsRequest) -> BucketsReply:
        self._who(request.credential, "buckets")
        return BucketsReply(list(self.buckets.values()))

    def _buckets_create(self, request: CreateBucketRequest) -> BucketInfo:
        account = self._who(request.credential, "create_bucket")
        if request.bucket in self.buckets:
            raise AlreadyExists(f"the bucket {request.bucket} exists already")
        bucket = BucketInfo(request.bucket, account, request.versioning, request.shared, time.time())
        self.buckets[bucket.name] = bucket
        return bucket

    def _buckets_change(self, request: ChangeBucketRequest) -> BucketInfo:
        self._who(request.credential, "change_bucket")
        bucket = self.buckets[request.bucket]
        bucket.versioning = request.versioning or bucket.versioning
        bucket.shared = bucket.shared if request.shared is None else request.shared
        return bucket

    def _buckets_delete(self, request: BucketRequest) -> Nothing:
        self._who(request.credential, "delete_bucket")
        if request.bucket not in self.buckets:
            raise NotFound(f"there is no bucket {request.bucket}")
        if any(bucket == request.bucket for bucket, _ in self.history):
            raise BucketNotEmpty(f"{request.bucket} has files")
        del self.buckets[request.bucket]
        return Nothing()

    def _cluster(self, request: CredentialRequest) -> cm.ClusterReply:
        self._who(request.credential, "cluster")
        self.step()
        live = [versions for versions in self.history.values() if not versions[-1].delete_marker]
        return cm.ClusterReply(
            directory_version="0.1.0",
            started_at=0.0,
            uptime_seconds=4000.0,
            copies=1,
            cursor=self.cursor,
            files=len(live),
            versions=sum(len(versions) for versions in self.history.values()),
            blobs=len(self.manifests),
            logical_bytes=sum(versions[-1].size for versions in live),
            locks=len(self.locks),
            waiters=len(self.queue),
            file_servers=self.servers,
            repair=self.repair,
        )

    def _changes(self, request: jm.ChangesRequest) -> jm.ChangesReply:
        with self._guard:
            self._who(request.credential, "changes")
            start = self.cursor if request.cursor is None else request.cursor
            if start > self.cursor:
                raise Conflict(f"there was no change {start} yet", cursor=self.cursor)
            until = time.monotonic() + request.wait_seconds
            while self.cursor == start and time.monotonic() < until:
                self._guard.wait(until - time.monotonic())
            every = sorted((one for kept in self.history.values() for one in kept), key=lambda one: one.cursor)
            later = [one for one in every if one.cursor > start]
            page = [_change(one) for one in later[: request.limit] if request.bucket in (None, one.bucket)]
            return jm.ChangesReply(page, later[: request.limit][-1].cursor if later else start)

    def _join_secret(self, request: cm.JoinSecretRequest) -> cm.JoinSecretReply:
        if self._who(request.credential, "join_secret") != ADMIN:
            raise Forbidden("only administrators invite")
        return cm.JoinSecretReply(
            "one-time-secret", time.time() + request.valid_seconds, self.ca_pem, self.directory_url
        )

    def _enrol(self, request: cm.EnrolRequest) -> cm.EnrolReply:
        if self.enrol_reply is None or request.secret != "one-time-secret":
            raise Forbidden("this join secret is not known, or was used")
        return self.enrol_reply(request)

    # ------------------------------------------------------------ inside

    def _keep(self, digest: Digest, data: bytes) -> None:
        with self._guard:
            self.content_bytes += len(data)
            self.chunks[digest] = data

    def _committed(self, account: str, request: Write | Copy, manifest: Manifest) -> m.CommittedReply:
        self.before_commit()
        with self._guard:
            bucket, path, number = request.bucket, request.path, request.lock_number
            self._check_lock(account, bucket, path, number)
            versions = self.history.get((bucket, path), [])
            current = versions[-1] if versions and not versions[-1].delete_marker else None
            wanted = request.preconditions
            if wanted.if_none_match == ["*"] and current is not None:
                raise PreconditionFailed(f"{path} exists already")
            if wanted.if_match and (current is None or str(current.digest) not in wanted.if_match):
                raise PreconditionFailed(f"{path} is not what you think")
            version = self._commit(
                account,
                bucket,
                path,
                manifest,
                content_type=request.content_type or "",
                metadata=request.metadata,
                lock_number=number,
            )
            if request.release_lock:
                for lock in [one for one in self.locks.values() if one.number == number]:
                    del self.locks[lock.id]
                self._guard.notify_all()
            return m.CommittedReply(cursor=self.cursor, version=version, copies=2)

    def _commit(
        self,
        account: str,
        bucket: str,
        path: str,
        manifest: Manifest,
        *,
        content_type: str = "",
        metadata: dict[str, str] | None = None,
        lock_number: int | None = None,
        delete_marker: bool = False,
    ) -> m.FileVersion:
        if bucket not in self.buckets:
            raise NotFound(f"there is no bucket {bucket}")
        self.cursor += 1
        self.manifests[manifest.digest] = manifest
        versions = self.history.setdefault((bucket, path), [])
        version = m.FileVersion(
            bucket=bucket,
            path=path,
            version=f"v{self.cursor:06}",
            digest=manifest.digest,
            size=manifest.size,
            author=account,
            created_at=time.time(),
            cursor=self.cursor,
            content_type=content_type,
            metadata=dict(metadata or {}),
            lock_number=lock_number or 0,
            delete_marker=delete_marker,
            created=not versions or versions[-1].delete_marker,
        )
        versions.append(version)
        self._guard.notify_all()
        return version

    def _bytes(self, digest: Digest) -> bytes:
        return b"".join(self.chunks.get(part, b"") for part, _ in self.manifests[digest].chunks)


class OpenContent:
    """A version being read."""

    def __init__(self, core: PeopleCore, version: m.FileVersion) -> None:
        self._core = core
        self.version = version
        self.cursor = core.cursor
        self.leased = False

    def receipt(self, start: int = 0, stop: int | None = None) -> Receipt:
        return Receipt(self.version.digest, self.version.version, self.cursor, "miss", 0, "1")

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        data = self._core._bytes(self.version.digest)[start:stop]
        for at in range(0, len(data), 1 << 20):
            yield data[at : at + (1 << 20)]

    def manifest(self) -> Manifest:
        return self._core.manifests[self.version.digest]

    def close(self) -> None:
        pass


def _change(made: m.FileVersion) -> jm.Change:
    kind = "delete" if made.delete_marker else "write"
    return jm.Change(
        made.cursor,
        kind,
        made.bucket,
        made.path,
        made.version,
        made.created_at,
        None if made.delete_marker else made.digest,
        None if made.delete_marker else made.size,
        made.author,
    )
