"""The client of a cluster: every call of the API, and operations that take several calls.

This is the public class behind `lockstep_store.connect`. The command line and the menu use it, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from lockstep_store.client.api.answers import Lockable, Saved, WriteOptions, number_of
from lockstep_store.client.api.body import Body
from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.lock_holder import LockHolder, agent_name
from lockstep_store.client.lock_watcher import LockWatcher
from lockstep_store.client.transfers.download import Fetched, ReadCheck, download
from lockstep_store.client.transfers.trees import TreeReport, get_tree, put_tree
from lockstep_store.client.transfers.upload import Progress, Sent, no_progress, upload, upload_stream
from lockstep_store.client.watcher import Watcher
from lockstep_store.wire.digest import Digest
from lockstep_store.wire.messages.locks import DEFAULT_LEASE_SECONDS, LockPath
from lockstep_store.wire.names import FILES_BUCKET

NO_METADATA: Mapping[str, str] = {}


class Client(ApiCalls):
    """One proxy of a cluster, in one person's name. Safe to use from several threads; use it as a context to close it.

    `path` is a file's name in `bucket`, which is by default `files`, the bucket that everybody shares. Sizes are
    bytes, durations seconds; times called `…_at` are seconds since 1970. Every method raises a subclass of
    `LockstepError`: NotLoggedIn, Forbidden and Unavailable may come from any of them.
    """

    def put(
        self,
        path: str,
        data: bytes | BinaryIO,
        *,
        bucket: str = FILES_BUCKET,
        lock: Lockable = None,
        release: bool = False,
        if_match: Digest | str = "",
        if_none_match: str = "",
        content_type: str = "",
        metadata: Mapping[str, str] = NO_METADATA,
    ) -> Saved:
        """Save `data`, bytes or a binary stream, as `path`; on return its copies are on disk.

        `lock` is the lock to write under; `release=True` ends it in the same commit. `if_match` is the digest that the
        current content must have, `if_none_match="*"` demands that there is no such file yet.

        The data is sent once. Raises Locked, LockStale, PreconditionFailed; PeerUnreachable if the connection is lost,
        and then `stat` shows whether the write was committed. `upload` retries by itself.
        """
        options = WriteOptions(number_of(lock), release, str(if_match), if_none_match, content_type, metadata)
        if isinstance(data, bytes):
            saved = self.put_body(path, Body([data], len(data)), options, bucket=bucket)
        else:
            saved = upload_stream(self, data, bucket, path, options=options).saved
        if release:
            _released(lock)
        return saved

    def get(self, path: str, *, bucket: str = FILES_BUCKET, version: str | None = None) -> bytes:
        """Return the whole content, every chunk checked against its digest. Raises NotFound.

        It is all in memory; `stream` and `download` are for large files.
        """
        return b"".join(self.stream(path, bucket=bucket, version=version))

    def stream(self, path: str, *, bucket: str = FILES_BUCKET, version: str | None = None) -> Iterator[bytes]:
        """Yield verified chunks of at most 4 MiB, resuming after a lost connection. Raises NotFound."""
        yield from ReadCheck(self, self.stat(path, bucket=bucket, version=version)).blocks()

    def upload(
        self,
        source: str | Path,
        path: str,
        *,
        bucket: str = FILES_BUCKET,
        lock: Lockable = None,
        release: bool = False,
        if_match: Digest | str = "",
        if_none_match: str = "",
        content_type: str = "",
        metadata: Mapping[str, str] = NO_METADATA,
        progress: Progress = no_progress,
    ) -> Sent:
        """Save the local file `source` as `path`, sending only the chunks that the cluster lacks.

        Retries after a lost connection, and finds out whether the earlier attempt was committed. `progress` is called
        with the number of bytes transferred since its last call. Raises what `put` does, and LocalFileError.
        """
        options = WriteOptions(number_of(lock), release, str(if_match), if_none_match, content_type, metadata)
        sent = upload(self, Path(source), bucket, path, options=options, progress=progress)
        if release:
            _released(lock)
        return sent

    def download(
        self,
        path: str,
        target: str | Path,
        *,
        bucket: str = FILES_BUCKET,
        version: str | None = None,
        progress: Progress = no_progress,
    ) -> Fetched:
        """Fetch `path` to the local file `target`, reusing chunks that `target` already contains.

        `target` is replaced once everything is verified and on disk; until then it stays unchanged. Raises NotFound,
        BadDigest, LocalFileError.
        """
        return download(self, bucket, path, Path(target), version, progress=progress)

    def upload_folder(self, folder: str | Path, prefix: str = "", *, bucket: str = FILES_BUCKET) -> TreeReport:
        """Save every file below `folder` as `prefix` and its relative name, several at once.

        Files with the same content are skipped. One file's failure does not stop the others: see the report.
        """
        return put_tree(self, Path(folder), bucket, prefix)

    def download_folder(self, prefix: str, folder: str | Path, *, bucket: str = FILES_BUCKET) -> TreeReport:
        """Fetch every current file whose path begins with `prefix` into `folder`, several at once."""
        return get_tree(self, bucket, prefix, Path(folder))

    def lock(
        self,
        path: str | Sequence[str],
        *,
        bucket: str = FILES_BUCKET,
        wait: float | None = 0.0,
        lease: float = DEFAULT_LEASE_SECONDS,
        on_lost: Callable[[str], None] = lambda reason: None,
    ) -> LockHolder:
        """Take the write lock on one path, or on several together, and return it held.

        Waits in line for at most `wait` seconds (None: for ever). The lease, at most 3600 seconds, is renewed in the
        background until the lock is released; as a context it is released at the end. `on_lost` is called with the
        reason, from the renewing thread, if that fails.

        Raises Locked if another person holds it for longer than `wait`, Deadlock if waiting would close a cycle.
        """
        paths = [path] if isinstance(path, str) else path
        named = [LockPath(bucket, one) for one in paths]
        holder = LockHolder(self, named, lease_seconds=lease, client=agent_name(), on_lost=on_lost)
        holder.acquire(patience_seconds=wait)
        return holder

    def watch(self, prefix: str = "", *, bucket: str | None = None, cursor: int | None = None) -> Watcher:
        """Return the changes to paths that begin with `prefix`, as an iterable without end.

        `bucket` is one bucket, or None for all that you may use. Changes start after `cursor`, by default now; after a
        restart of your program, continue from `watcher.cursor`. When the cluster restarts, the iterable waits: no
        change is lost or repeated.
        """
        return Watcher(self, bucket, prefix, cursor)

    def watch_locks(self) -> LockWatcher:
        """Return all locks and who waits for them, now and whenever they have changed, as an iterable without end.

        When the cluster restarts, the iterable waits.
        """
        return LockWatcher(self)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.url!r})"


def connect(
    url: str,
    *,
    ca: str | Path | None = None,
    token: str = "",
    api_key: str = "",
    username: str = "",
    password: str = "",
    code: str = "",
) -> Client:
    """Return a client of the proxy at `url`, such as https://127.0.0.1:5000.

    `ca` is the cluster's CA file (`certs/ca.pem`), by default the system's authorities. The credential is a log-in's
    `token`, an `api_key`, or `username` and `password`, which log in at once; a new name makes an account. An
    account with a second factor also needs a `code`. With a token or a key nothing is sent before the first call.

    Raises SetupError for a bad address or CA file, NotLoggedIn for a wrong password, SecondFactorNeeded for a missing
    or wrong code, PeerUnreachable.
    """
    if sum(map(bool, (token, api_key, username))) > 1 or bool(username) != bool(password):
        raise TypeError("give one of token, api_key, or username with password")
    from lockstep_store.client.api.transport import ApiTransport

    client = Client(ApiTransport(url, Path(ca) if ca is not None else None, token or api_key))
    if username:
        try:
            client.login(username, password, code=code)
        except BaseException:
            client.close()
            raise
    return client


def _released(lock: Lockable) -> None:
    if isinstance(lock, LockHolder):
        lock.released()
