"""Downloads one file: verifies it while writing, and resumes after a lost connection.

The bytes go to a temporary file beside the target, which replaces the target once it is complete, verified and on disk.
Chunks that the target already contains are copied from it; chunks that an interrupted attempt left in the temporary
file are kept. A small file is one chunk, and its digest is that of its bytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from lockstep_store.client.api.answers import ClientReceipt, RemoteFile, label
from lockstep_store.client.api.calls import ApiCalls
from lockstep_store.client.local_storage import TEMPORARY_PREFIX, LocalFileError, local_problem
from lockstep_store.client.transfers.local_chunks import LocalFile
from lockstep_store.wire.digest import Digest, chunk_digest
from lockstep_store.wire.errors import BadDigest, NotFound, PeerUnreachable, PreconditionFailed
from lockstep_store.wire.manifest import MIN_CHUNK_BYTES, Manifest

ATTEMPTS_WITHOUT_PROGRESS = 4
PAUSES_SECONDS = (0.3, 1.0, 3.0)


@dataclass(frozen=True)
class Fetched:
    """A finished download. `bytes_received` counts content on the wire; `unchanged`: the target already had it."""

    file: RemoteFile
    receipt: ClientReceipt
    bytes_received: int
    unchanged: bool


def download(
    api: ApiCalls,
    bucket: str,
    path: str,
    target: Path,
    version: str | None = None,
    *,
    known: RemoteFile | None = None,
    progress: Callable[[int], None] = lambda count: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Download a version to `target`. `known` is its metadata, if the caller has it.

    LocalFileError if the disk fails, BadDigest if the content does not match its digest; `target` is then unchanged.
    """
    for last in (False, True):
        file = known or api.stat(path, bucket=bucket, version=version)
        try:
            return _Download(api, file, target, progress, sleep).run()
        except (PreconditionFailed, NotFound):
            # The version that was current has been replaced and deleted: download the newer one.
            if last or version is not None:
                raise
            known = None
    raise AssertionError("the second attempt returns or raises")


class ReadCheck:
    """Reads one version chunk by chunk, and returns only chunks that match their digests."""

    def __init__(self, api: ApiCalls, file: RemoteFile) -> None:
        self._api = api
        self._file = file
        self.received = 0
        self.receipt = file.receipt

    def manifest(self) -> Manifest:
        """The version's chunks. A small file's need no request."""
        if self._file.size <= MIN_CHUNK_BYTES:
            return Manifest([(self._file.digest, self._file.size)])
        manifest = self._api.manifest(self._file.path, bucket=self._file.bucket, version=self._file.version)
        if manifest.digest != self._file.digest or manifest.size != self._file.size:
            raise PreconditionFailed(f"{self._name} changed during the download: try again")
        return manifest

    def blocks(self) -> Iterator[bytes]:
        """The whole version in order. Resumes after a lost connection as long as there is progress."""
        manifest = self.manifest()
        done = failures = 0
        while done < len(manifest):
            try:
                for data in self.chunks(manifest, done, len(manifest)):
                    yield data
                    done += 1
                    failures = 0
            except (PeerUnreachable, BadDigest) as error:
                failures += 1
                if failures >= ATTEMPTS_WITHOUT_PROGRESS or error.facts.get("final"):
                    raise

    def chunks(self, manifest: Manifest, first: int, stop: int) -> Iterator[bytes]:
        """Chunks [first, stop), each verified. BadDigest or PeerUnreachable at the first that cannot be read."""
        if not manifest.size:
            yield b""
            return
        begin = manifest.offset_of(first)
        end = manifest.size if stop == len(manifest) else manifest.offset_of(stop)
        whole = begin == 0 and end == manifest.size
        with self._api.open(
            self._file.path,
            bucket=self._file.bucket,
            version=self._file.version or None,
            start=begin,
            stop=None if whole else end,
            if_match=self._file.digest,
        ) as answer:
            self.receipt = answer.receipt
            blocks = answer.blocks()
            buffer = bytearray()
            for digest, length in manifest.chunks[first:stop]:
                while len(buffer) < length:
                    block = next(blocks, b"")
                    if not block:
                        raise PeerUnreachable(
                            f"{self._api.url} sent fewer bytes than it declared: try again, and the download resumes"
                        )
                    self.received += len(block)
                    buffer += block
                data = bytes(memoryview(buffer)[:length])
                if chunk_digest(data) != digest:
                    raise BadDigest(f"{self._api.url} sent bytes of {self._name} that do not match their digest")
                yield data
                del buffer[:length]

    @property
    def _name(self) -> str:
        return label(self._file.bucket, self._file.path)


class _Download:
    def __init__(
        self,
        api: ApiCalls,
        file: RemoteFile,
        target: Path,
        progress: Callable[[int], None],
        sleep: Callable[[float], None],
    ) -> None:
        self._file = file
        self._target = target
        self._progress = progress
        self._sleep = sleep
        self._reader = ReadCheck(api, file)

    def run(self) -> Fetched:
        manifest = self._reader.manifest()
        with contextlib.ExitStack() as stack:
            old = self._old_content(stack)
            if old is not None and old.size == self._file.size and old.manifest(manifest).digest == self._file.digest:
                self._progress(self._file.size)
                return Fetched(self._file, self._reader.receipt, 0, unchanged=True)
            part = stack.enter_context(_PartFile(self._target, self._file.digest))
            kept = self._keep_good_chunks(part, manifest)
            offers = _offers(old, manifest) if old is not None else {}
            self._fill(part, manifest, kept, old, offers)
            part.put_in_place()
        return Fetched(self._file, self._reader.receipt, self._reader.received, unchanged=False)

    def _old_content(self, stack: contextlib.ExitStack) -> LocalFile | None:
        if not self._target.is_file():
            return None
        try:
            return stack.enter_context(LocalFile(self._target))
        except LocalFileError:
            return None  # unreadable: all chunks are fetched instead

    def _keep_good_chunks(self, part: _PartFile, manifest: Manifest) -> int:
        """Truncate the part file after the good chunks of an earlier attempt. Returns their number."""
        for index, (digest, length) in enumerate(manifest.chunks):
            if not length or chunk_digest(part.read(length)) != digest:
                part.cut(manifest.offset_of(index))
                return index
            self._progress(length)
        part.cut(manifest.size)
        return len(manifest)

    def _fill(
        self,
        part: _PartFile,
        manifest: Manifest,
        index: int,
        old: LocalFile | None,
        offers: dict[Digest, int],
    ) -> None:
        failures = 0
        while index < len(manifest):
            digest, length = manifest.chunks[index]
            if old is not None and digest in offers:
                data = _still_there(old, offers[digest], digest, length)
                if data is not None:
                    part.write(data)
                    self._progress(length)
                    index += 1
                    continue
                del offers[digest]
            stop = index + 1
            while stop < len(manifest) and manifest.chunks[stop][0] not in offers:
                stop += 1
            try:
                for data in self._reader.chunks(manifest, index, stop):
                    part.write(data)
                    self._progress(len(data))
                    index += 1
                    failures = 0
            except (PeerUnreachable, BadDigest) as error:
                failures += 1
                if failures >= ATTEMPTS_WITHOUT_PROGRESS or error.facts.get("final"):
                    raise
                self._sleep(PAUSES_SECONDS[min(failures, len(PAUSES_SECONDS)) - 1])


def _offers(old: LocalFile, manifest: Manifest) -> dict[Digest, int]:
    """The chunks of the new content that the target already contains: digest to offset."""
    wanted = {digest for digest, _ in manifest.chunks}
    offers: dict[Digest, int] = {}
    offset = 0
    with contextlib.suppress(LocalFileError):
        for chunk in old.chunks(manifest):
            if chunk.digest in wanted:
                offers.setdefault(chunk.digest, offset)
            offset += chunk.length
    return offers


def _still_there(old: LocalFile, offset: int, digest: Digest, length: int) -> bytes | None:
    with contextlib.suppress(LocalFileError):
        data = old.read(offset, length)
        if chunk_digest(data) == digest:
            return data
    return None


class _PartFile:
    """The temporary file beside the target. Its name contains the digest, so only the same content is resumed."""

    def __init__(self, target: Path, digest: Digest) -> None:
        self._target = target
        # The target's own name could become too long with a suffix.
        own = sha256(os.fsencode(target.name)).hexdigest()[:8]
        self._path = target.with_name(f"{TEMPORARY_PREFIX}{str(digest)[:24]}-{own}.part")
        self._done = False
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = self._open(self._path)
            if not self._alone():
                # Another process downloads the same file to the same target: do not write into its part file.
                os.close(self._descriptor)
                self._path = self._path.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}.part")
                self._descriptor = self._open(self._path)
        except OSError as error:
            raise local_problem("create a temporary file next to", target, error) from error

    def read(self, length: int) -> bytes:
        return os.read(self._descriptor, length)

    def cut(self, size: int) -> None:
        """Truncate to `size` bytes and continue there."""
        os.ftruncate(self._descriptor, size)
        os.lseek(self._descriptor, size, os.SEEK_SET)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise local_problem("write", self._target, error) from error

    def put_in_place(self) -> None:
        """Replace the target, durably."""
        try:
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(self._descriptor, self._target.stat().st_mode & 0o777)
            os.fsync(self._descriptor)
            self._path.replace(self._target)
            self._done = True
            folder = os.open(self._target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise local_problem("write", self._target, error) from error

    def __enter__(self) -> _PartFile:
        return self

    def __exit__(self, *_: object) -> None:
        empty = not self._done and os.fstat(self._descriptor).st_size == 0
        os.close(self._descriptor)
        if empty:
            self._path.unlink(missing_ok=True)

    def _alone(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another process may have made it the target before we locked it: the target must not be truncated.
            return os.path.samestat(os.fstat(self._descriptor), self._path.lstat())
        except (BlockingIOError, FileNotFoundError):
            return False

    @staticmethod
    def _open(path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
